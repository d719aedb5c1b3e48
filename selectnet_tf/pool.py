"""What is trained on now: the images, an index array into them, and the tf.data view of that index."""

import numpy as np
import tensorflow as tf

from selectnet_tf.images import Images, batches


class Pool:
    """The labeled set D and the unlabeled set U as one sequence, and an index array that says what is trained on now.

    Args:
        x_labeled: [n_labeled, ...] images of D, any dtype (uint8 is the cheapest: rescale inside the model). An array or
            an np.memmap, as x_unlabeled: they are read where they lie, batch by batch, and never copied or changed.
        y_labeled: [n_labeled] integer classes from 0; or [n_labeled, m] one-hot, and then a batch's labels are one-hot too.
        x_unlabeled: [n_unlabeled, ...] images of U; may be empty where nothing is selected.
        minor: the minor classes.
        seed: of the order, the augmentation and the oversampling.

    Attributes:
        images: the Images, n in all, D first.
        labels: [n] int32, -1 where unlabeled.
        labeled: [n] bool.
        index, targets: [k] int32 each: the positions trained on now, and the class each is trained as.
        even: whether each epoch draws as many images of every class from the index; False unless it is set.

    Raises:
        ValueError: shapes that don't fit each other, labels that are no classes, a minor class without a labeled image.
    """

    def __init__(self, x_labeled, y_labeled, x_unlabeled, minor, seed=0):
        y = np.asarray(y_labeled)
        self.one_hot = y.shape[1] if y.ndim == 2 else 0  # classes of one-hot labels
        if self.one_hot:
            y = _classes_of(y)
        self.images = Images(x_labeled, x_unlabeled)
        _check(len(x_labeled), y, minor)
        self.minor = np.unique(np.asarray(minor, np.int32))
        self.labeled = np.arange(len(y) + len(x_unlabeled)) < len(y)
        self.labels = np.where(self.labeled, np.pad(y.astype(np.int32), (0, len(x_unlabeled))), -1).astype(np.int32)
        self.seed, self.even = int(seed), False
        self.train_on_labeled()
        self.begin_epoch(0)

    @classmethod
    def from_dataset(cls, labeled, unlabeled, minor, seed=0):
        """A Pool of two tf.data.Datasets, batched or not: (image, class) pairs, and images (of pairs, the first).

        Both are read once, into memory; for more than fits there, hand np.memmaps to Pool.
        """
        x, y = zip(*labeled.unbatch().as_numpy_iterator() if _batched(labeled, y=True) else labeled.as_numpy_iterator(), strict=True)
        if isinstance(unlabeled.element_spec, (tuple, list)):
            unlabeled = unlabeled.map(lambda image, *_: image)
        unlabeled = unlabeled.unbatch() if len(unlabeled.element_spec.shape) == x[0].ndim + 1 else unlabeled
        return cls(np.stack(x), np.stack(y), np.stack(list(unlabeled.as_numpy_iterator())), minor, seed)

    @classmethod
    def from_directory(cls, labeled_dir, unlabeled_dir, minor, image_size=96, cache_dir=".cache", seed=0):
        """A Pool of folders: one for each class in labeled_dir, any tree in unlabeled_dir, see folders.read.

        minor: names or numbers. The Pool has `names` of the classes and the `files`, D's first, besides.
        """
        from selectnet_tf.data import folders  # above the library, so only where it is asked for

        labeled = folders.read(labeled_dir, image_size, cache_dir)
        names, y = labeled.classes(labeled_dir)
        pool = folders.read(unlabeled_dir, image_size, cache_dir)
        unknown = [word for word in minor if word not in names and not isinstance(word, int)]
        if unknown:
            raise ValueError(f"minor class {unknown[0]!r} is none of {', '.join(names)}")
        made = cls(labeled.images, y, pool.images, [names.index(w) if w in names else w for w in minor], seed)
        made.names, made.files = names, [*labeled.paths(labeled_dir), *pool.paths(unlabeled_dir)]
        return made

    def train_on(self, index, targets):
        """Swaps: from the next round on, train on images[index] as the classes `targets` (both [k])."""
        self.index, self.targets = np.asarray(index, np.int32), np.asarray(targets, np.int32)

    def train_on_labeled(self, added=(), added_targets=()):
        """D, and behind it `added` [k] as the classes `added_targets` [k] (Algorithm 1, step 5)."""
        index = np.concatenate([np.flatnonzero(self.labeled), np.asarray(added, np.int64)])
        self.train_on(index, np.concatenate([self.labels[self.labeled], np.asarray(added_targets, np.int64)]))

    def balance(self):
        """D, and every class sampled with replacement up to the largest class's size (Section 4.2, Oversampling)."""
        rng = np.random.default_rng([self.seed, 1])
        y = self.labels[self.labeled]
        counts = np.bincount(y)
        extra = [rng.choice(np.flatnonzero(y == c), counts.max() - n) for c, n in enumerate(counts) if n]
        extra = np.concatenate(extra)
        self.train_on_labeled(extra, y[extra])

    def copy_minor(self, copies):
        """D, and `copies` further copies of each of its minor images (the released code's oversampling)."""
        minor = np.flatnonzero(np.isin(self.labels, self.minor))
        self.train_on_labeled(np.tile(minor, copies), np.tile(self.labels[minor], copies))

    def begin_epoch(self, epoch):
        """Puts the images in this epoch's order. Call it before each pass over `dataset`."""
        rng = np.random.default_rng([self.seed, 2, epoch])
        order = _even_order(self.targets, rng) if self.even else rng.permutation(len(self.index))
        self._pass = self.index[order], self.targets[order], np.int32(epoch)

    def counts(self) -> np.ndarray:
        """How many images of each class this epoch trains on: [k], up to the largest class among them."""
        return np.bincount(self._pass[1])

    def dataset(self, batch_size, augment=None, first_batch=0):
        """The index as a tf.data.Dataset of (images [B, ...], classes [B]), of known length.

        Its order and augmentation follow from (seed, epoch, step) alone, so a batch can be had again after a restart:
        `first_batch` skips to it. What is left over after the last full batch sits this epoch out (another
        remainder each time), because a replica must never be handed an empty batch.
        """
        steps = len(self.index) // batch_size
        if not steps:
            raise ValueError(f"{len(self.index)} training images don't fill one batch: use --batch_size={len(self.index)} or less")
        seed = self.seed % 2**31

        def batch(step):  # no tf.Variable: under op determinism (GPUs), tf.data does not work ahead where one is read
            index, targets, epoch = self._pass
            here = slice(step * batch_size, (step + 1) * batch_size)
            return index[here], targets[here], epoch

        def load(step):
            index, classes, epoch = tf.numpy_function(batch, [step], [tf.int32] * 3, stateful=False)
            images = self.images.gather(tf.ensure_shape(index, [batch_size]))  # [B, ...]
            classes = tf.ensure_shape(classes, [batch_size])
            if augment:
                images = augment(images, tf.random.fold_in(tf.stack([seed, tf.ensure_shape(epoch, [])]), tf.cast(step, tf.int32)))
            return images, tf.one_hot(classes, self.one_hot) if self.one_hot else classes

        return batches(load, first_batch, steps)

    def get_state(self):
        return {"index": self.index, "targets": self.targets}

    def set_state(self, state):
        self.train_on(state["index"], state["targets"])


def _even_order(classes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An order of [k] places that holds as many places of each class, give or take one, and each place of a class as often.

    classes: [k] of what is trained on; those that do not occur get no place.
    """
    kinds = rng.permutation(np.unique(classes))  # whose quota is larger by one, where k is no multiple, changes too
    quotas = np.full(len(kinds), len(classes) // len(kinds))
    quotas[: len(classes) % len(kinds)] += 1
    drawn = []
    for c, quota in zip(kinds, quotas, strict=True):
        places = rng.permutation(np.flatnonzero(classes == c))
        drawn.append(np.resize(places, quota))
    return rng.permutation(np.concatenate(drawn))


def _classes_of(y):
    """[n, m] one-hot -> [n] classes."""
    if not ((y == 0) | (y == 1)).all() or not (y.sum(1) == 1).all():
        raise ValueError(f"y_labeled is {list(y.shape)}, but its rows are not one-hot: give [n] integer classes, or one 1 a row")
    return y.argmax(1)


def _batched(dataset, y):
    """Whether a dataset of (image, class) pairs comes in batches: a lone class is a scalar, or a one-hot vector."""
    images, classes = dataset.element_spec
    return len(images.shape) == 4 or len(classes.shape) == 2 or (len(classes.shape) == 1 and len(images.shape) != 3)


def _check(labeled, y, minor):
    if y.ndim != 1 or len(y) != labeled:
        raise ValueError(f"y_labeled has to be [{labeled}], one class for each labeled image, but is {list(y.shape)}")
    if not len(y):
        raise ValueError("no labeled image: the classifier needs some of each class")
    if not np.issubdtype(y.dtype, np.integer) or y.min() < 0:
        raise ValueError(f"y_labeled has to hold integer classes from 0, but is {y.dtype} from {y.min()} to {y.max()}")
    missing = sorted(set(np.asarray(minor).tolist()) - set(np.unique(y).tolist()))
    if missing or not len(minor):
        raise ValueError(f"minor classes without a labeled image: {missing}" if missing else "no minor class: name at least one")
