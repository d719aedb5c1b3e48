"""The pool: all images, and an index array of those that are trained on now."""

import functools
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from selectnet_tf import augment as augmentation
from selectnet_tf._files import expand
from selectnet_tf._validate import check_whole
from selectnet_tf.images import RAGGED, digest, map_steps, name_inputs, open_images

TOO_FEW = "{0} training images don't fill one batch: use batch_size={0} or less"
GROUP_BYTES = 1 << 21  # of small images, up to 32 batches of this size together are read at once


class Pool:
    """The labeled set D and the unlabeled pool U as one sequence, and an index into it.

    Args:
        x_labeled: [n_labeled, ...] images of D, any dtype (uint8 is the cheapest: rescale inside
            the model). An array, an np.memmap or an h5py.Dataset: it is read batch by batch, never
            copied or changed. For a model of several inputs, a dict of such arrays by the inputs'
            names, or a tuple of them in the inputs' order.
        y_labeled: [n_labeled] or [n_labeled, 1] classes from 0, as integers, bools or whole
            floats; or [n_labeled, m] one-hot labels, and then a batch's are one-hot too.
        x_unlabeled: [n_unlabeled, ...] images of U, like x_labeled; may be empty without a rule.
        minor: the minor classes.
        seed: of the order, the augmentation and the oversampling.
        sample_weight: [n_labeled] weights of D in the loss; unlabeled images weigh 1. None: all
            images weigh 1.

    Attributes:
        images: the Images, [n, ...], D first; of several inputs, they index to a dict or tuple.
        labels: [n] int32, -1 where unlabeled.
        labeled: [n] bool.
        one_hot: the number of classes where y_labeled is one-hot, else 0.
        index: [k] int32, the positions trained on now.
        targets: [k] int32, the class that each is trained as.
        weights: [k] float32, the weight of each in the loss; None where all weigh the same.
        even: whether each epoch draws equally many images of every class from the index; False
            unless set.
        names: the classes' names, of a Pool of folders.
        files: the images' paths, D first, of a Pool of folders.

    Raises:
        ValueError: shapes that don't fit each other, labels that are not classes, a minor class
            without a labeled image.
    """

    names: Sequence[str] = ()
    files: Sequence[str] = ()

    def __init__(
        self,
        x_labeled: Any,
        y_labeled: Any,
        x_unlabeled: Any,
        minor: Sequence[int],
        seed: int = 0,
        sample_weight: Any = None,
    ) -> None:
        if any(isinstance(x, tf.data.Dataset) for x in (x_labeled, x_unlabeled)):
            raise ValueError(
                "Pool takes arrays: use Pool.from_dataset(labeled, unlabeled, minor) for tf.data"
            )
        self.images = open_images(x_labeled, x_unlabeled)
        y, self.one_hot = _parse_classes(y_labeled, self.images.lengths[0])
        self.minor = _parse_minor(minor, y)
        n = len(self.images)
        self.labeled = np.arange(n) < len(y)
        self.labels = np.full(n, -1, np.int32)
        self.labels[: len(y)] = y
        self.sample_weight = None
        if sample_weight is not None:
            self.sample_weight = _parse_weights(sample_weight, len(y), n)
        check_whole("seed", seed, 0)
        self.seed, self.even = int(seed), False
        self.train_on_labeled()
        self.begin_epoch(0)

    @classmethod
    def from_dataset(
        cls,
        labeled: tf.data.Dataset,
        unlabeled: tf.data.Dataset,
        minor: Sequence[int],
        seed: int = 0,
    ) -> "Pool":
        """Returns a Pool of two tf.data.Datasets, batched or not, which are read into memory once.

        For more than fits into memory, pass np.memmaps to Pool. An "image" may be any array of one
        shape: a row of a table, a series, tokens.

        Args:
            labeled: pairs (image, class) or triples (image, class, weight). An image may be a dict
                or a tuple of arrays, for a model of several inputs.
            unlabeled: images, or tuples that begin with one.
            minor: the minor classes.
            seed: as in Pool.
        """
        x, y, sample_weight = _read_labeled(labeled)
        return cls(x, y, _read_unlabeled(unlabeled, x), minor, seed, sample_weight)

    @classmethod
    def from_directory(
        cls,
        labeled_dir: str | os.PathLike[str],
        unlabeled_dir: str | os.PathLike[str],
        minor: Sequence[int | str],
        image_size: int = 96,
        cache_dir: str | os.PathLike[str] = ".cache",
        seed: int = 0,
    ) -> "Pool":
        """Returns a Pool of two folders of images, with `names` and `files`.

        Args:
            labeled_dir: one subfolder for each class.
            unlabeled_dir: any tree of images.
            minor: names of classes, or their positions among the sorted names.
            image_size: pixels a side.
            cache_dir: the folder of decoded images.
            seed: as in Pool.
        """
        # above the library: only where asked for
        from selectnet_tf.data.folders import decoding, listing

        roots = [expand(root) for root in (labeled_dir, unlabeled_dir)]
        listed = [listing.list_images(root) for root in roots]
        pairs = list(zip(roots, listed, strict=True))
        paths = [root / file for root, each in pairs for file in each.files]
        levels = decoding.find_levels(decoding.read_headers(paths).deep)
        labeled, unlabeled = (
            listing.read_folder(root, image_size, cache_dir, listing=each, levels=levels)
            for root, each in pairs
        )
        names, y = labeled.classes(labeled_dir)
        pool = cls(labeled.images, y, unlabeled.images, _parse_names(minor, names), seed)
        pool.names = names
        pool.files = [*labeled.paths(labeled_dir), *unlabeled.paths(unlabeled_dir)]
        return pool

    def train_on(self, index: Any, targets: Any, weights: Any = None) -> None:
        """Replaces the training set, from the next epoch on.

        Args:
            index: [k] positions in `images`.
            targets: [k] classes to train them as.
            weights: [k] weights in the loss, on top of `sample_weight`; None: 1.
        """
        self.index, self.targets = np.asarray(index, np.int32), np.asarray(targets, np.int32)
        if self.sample_weight is not None:
            given = 1.0 if weights is None else np.asarray(weights)
            weights = self.sample_weight[self.index] * given
        self.weights = None if weights is None else np.asarray(weights, np.float32)

    def train_on_labeled(
        self, added: Any = (), added_targets: Any = (), weights: Any = None
    ) -> None:
        """Replaces the training set by D and the images added to it (Algorithm 1, step 5).

        Args:
            added: [k] positions in `images`.
            added_targets: [k] classes to train them as.
            weights: [n_labeled + k] weights in the loss; None: 1.
        """
        index = np.concatenate([np.flatnonzero(self.labeled), np.asarray(added, np.int64)])
        known = self.labels[self.labeled]
        self.train_on(index, np.concatenate([known, np.asarray(added_targets, np.int64)]), weights)

    def balance(self, classes: Sequence[int] | None = None) -> None:
        """Trains on D, oversampled with replacement to the largest class's size (Section 4.2).

        Args:
            classes: the classes to oversample; None: all.
        """
        rng = np.random.default_rng([self.seed, 1])
        y = self.labels[self.labeled]
        counts = np.bincount(y)
        raised = [c for c in np.flatnonzero(counts) if classes is None or c in classes]
        extra = np.concatenate(
            [rng.choice(np.flatnonzero(y == c), counts.max() - counts[c]) for c in raised]
        )
        self.train_on_labeled(extra, y[extra])

    def copy_minor(self, copies: int) -> None:
        """Trains on D and further copies of its minor images (the released code's oversampling).

        Args:
            copies: further copies of each.
        """
        minor = np.flatnonzero(np.isin(self.labels, self.minor))
        self.train_on_labeled(np.tile(minor, copies), np.tile(self.labels[minor], copies))

    def begin_epoch(self, epoch: int) -> None:
        """Puts the images in this epoch's order. Call it before each pass over `dataset`."""
        rng = np.random.default_rng([self.seed, 2, epoch])
        order = _even_order(self.targets, rng) if self.even else rng.permutation(len(self.index))
        weights = np.ones(len(order), np.float32) if self.weights is None else self.weights[order]
        self._pass = self.index[order], self.targets[order], weights, np.int32(epoch)

    def counts(self) -> np.ndarray:
        """Returns the number of images of each class that this epoch trains on: [classes].

        Where images have weights, it is the sum of these, scaled to a mean of 1.
        """
        _, targets, weights, _ = self._pass
        mean = weights.mean(dtype=np.float64)
        if self.weights is None or not mean:
            return np.bincount(targets)
        return np.bincount(targets, weights / mean)

    def dataset(
        self, batch_size: int, augment: augmentation.Augments | None = None, first_batch: int = 0
    ) -> tf.data.Dataset:
        """Returns the training set as batches: images [B, ...], labels [B] and any weights [B].

        Order and augmentation follow from (seed, epoch, step) alone, so a resumed run gets the same
        batches. The images left over after the last full batch sit this epoch out, others each
        time, because a replica must never be handed an empty batch.

        Args:
            batch_size: B.
            augment: a callable (images, seed) -> images, or a dict of them by input; see
                augment.py.
            first_batch: the step to begin with.

        Raises:
            ValueError: the training set doesn't fill one batch.
        """
        steps = len(self.index) // batch_size
        if not steps:
            raise ValueError(TOO_FEW.format(len(self.index)))
        seed = self.seed % 2**31
        weighted = self.weights is not None
        batch_bytes = batch_size * self.images.nbytes // len(self.images)
        group = max(1, min(32, GROUP_BYTES // max(1, batch_bytes)))  # steps read at once

        def slice_pass(first: int) -> tuple[Any, ...]:
            # No tf.Variable: under op determinism (GPUs), tf.data does not prefetch past one.
            index, targets, weights, epoch = self._pass
            here = np.arange(first, min(first + group, steps), dtype=np.int32)
            rows = slice(here[0] * batch_size, (here[-1] + 1) * batch_size)
            places = np.stack([np.full_like(here, epoch), here], axis=1)
            return index[rows], targets[rows], weights[rows], places

        def load(first: tf.Tensor) -> Any:
            kinds = [tf.int32, tf.int32, tf.float32, tf.int32]
            *rows, places = tf.numpy_function(slice_pass, [first], kinds, stateful=False)
            index, classes, weights = (tf.ensure_shape(x, [None]) for x in rows)
            labels = tf.one_hot(classes, self.one_hot) if self.one_hot else classes
            data = (self.images.gather(index), labels, weights)[: 2 + weighted]
            batches = tf.nest.map_structure(
                lambda x: tf.reshape(x, [-1, batch_size, *x.shape[1:]]), data
            )
            if augment is None:
                return batches
            return *batches, tf.ensure_shape(places, [None, 2])

        data = map_steps(load, first_batch, steps, group).unbatch()
        if augment is not None:

            def change(images: tf.Tensor, *rest: tf.Tensor) -> tuple[tf.Tensor, ...]:
                *others, place = rest
                fold = tf.random.fold_in(tf.stack([seed, place[0]]), place[1])
                return augmentation.apply_augment(augment, images, fold), *others

            data = data.map(change, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
            data = data.prefetch(2)
        left = max(0, steps - first_batch)
        return data.apply(tf.data.experimental.assert_cardinality(left))

    @functools.cached_property
    def identity(self) -> dict[str, np.ndarray]:
        """The pool's fingerprint: its numbers, seed, and digests of labels and images.

        images.digest says which bytes count.
        """
        known = self.labels
        if self.sample_weight is not None:
            known = np.stack([self.labels, self.sample_weight])
        return {
            "numbers of labeled and unlabeled images": np.array(
                [self.labeled.sum(), (~self.labeled).sum()]
            ),
            "minor classes": self.minor,
            "seed": np.array([self.seed]),
            "labels": np.array(digest(known)),
            "images": np.array(digest(self.images)),
        }

    def get_state(self) -> dict[str, np.ndarray]:
        """Returns the training set and the pool's fingerprint."""
        weights = {} if self.weights is None else {"weights": self.weights}
        return {"index": self.index, "targets": self.targets, **weights, **self.identity}

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Restores a state of get_state.

        Raises:
            ValueError: the state is of other data, or of another seed.
        """
        for name, mine in self.identity.items():
            if not np.array_equal(state[name], mine):
                difference = "they have changed"
                if mine.ndim:
                    difference = f"it has {state[name].tolist()} and this pool {mine.tolist()}"
                raise ValueError(f"the state is of other {name}: {difference}")
        self.index, self.targets = state["index"], state["targets"]
        self.weights = state.get("weights")


def _even_order(classes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns an order of [k] positions with as many of each class, give or take one.

    Args:
        classes: [k] of the training set; absent classes get no position.
        rng: draws the order, and the classes whose quota is larger by one.
    """
    kinds = rng.permutation(np.unique(classes))
    quotas = np.full(len(kinds), len(classes) // len(kinds))
    quotas[: len(classes) % len(kinds)] += 1
    drawn = []
    for c, quota in zip(kinds, quotas, strict=True):
        places = rng.permutation(np.flatnonzero(classes == c))
        drawn.append(np.resize(places, quota))
    return rng.permutation(np.concatenate(drawn))


def _parse_classes(y_labeled: Any, n: int) -> tuple[np.ndarray, int]:
    """Returns (classes [n], number of one-hot columns, 0 for integer classes)."""
    y: np.ndarray = np.asarray(y_labeled)
    if y.dtype == object:  # such as a column of a frame of several types
        y = np.array(y.tolist())
    one_hot = y.shape[1] if y.ndim == 2 and y.shape[1] > 1 else 0
    if one_hot:
        if not ((y == 0) | (y == 1)).all() or not (y.sum(1) == 1).all():
            raise ValueError(
                f"y_labeled is {list(y.shape)}, but its rows are not one-hot: give [n] integer"
                " classes, or one 1 a row"
            )
        y = y.argmax(1)
    y = y.reshape(-1) if y.ndim == 2 else y
    if y.ndim != 1 or len(y) != n:
        raise ValueError(
            f"y_labeled has to be [{n}], one class for each labeled image, but is {list(y.shape)}"
        )
    if not len(y):
        raise ValueError("no labeled image: give some of each class")
    if y.dtype.kind in "OSU":
        raise ValueError(
            "y_labeled has to hold integer classes from 0: number its words, as by np.unique(y,"
            " return_inverse=True)"
        )
    if y.dtype == bool or (y.dtype.kind == "f" and (y % 1 == 0).all() and abs(y).max() < 2**31):
        y = y.astype(np.int64)
    if not np.issubdtype(y.dtype, np.integer) or y.min() < 0:
        raise ValueError(
            f"y_labeled has to hold integer classes from 0, but is {y.dtype} from {y.min()} to"
            f" {y.max()}: number the classes, as by np.unique(y, return_inverse=True), and give"
            " images without one in x_unlabeled"
        )
    if y.max() >= 2**31:
        raise ValueError(
            f"y_labeled holds class {y.max()}, beyond 32 bits: number the classes, as by"
            " np.unique(y, return_inverse=True)"
        )
    return y, one_hot


def _parse_minor(minor: Any, y: np.ndarray) -> np.ndarray:
    """Returns the minor classes, sorted, as int32; y: [n_labeled] classes of D."""
    classes: np.ndarray = np.asarray(minor)
    if classes.ndim != 1 or (classes.size and classes.dtype.kind not in "iu"):
        raise ValueError(
            f"minor is {minor!r}, but has to be a list of integer classes, such as [2, 3]"
        )
    if not len(classes):
        raise ValueError("minor is empty: name at least one class")
    missing = sorted(set(classes.tolist()) - set(np.unique(y).tolist()))
    if missing:
        raise ValueError(f"minor classes without a labeled image: {missing}: add some or leave out")
    return np.unique(classes.astype(np.int32))


def _parse_names(minor: Sequence[int | str], names: Sequence[str]) -> list[int]:
    """Returns the minor classes as positions among the names of folders.

    Names sort as text, "10" before "2": a number that is also another folder's name is refused.
    """
    if isinstance(minor, (str, int)):
        raise ValueError(f"minor is {minor!r}, but has to be a list of classes: [{minor!r}]")
    found = []
    for word in minor:
        if word in names:
            found.append(names.index(str(word)))
            continue
        if not isinstance(word, (int, np.integer)):
            raise ValueError(f"minor class {word!r} is none of {', '.join(names)}")
        if str(word) in names and names.index(str(word)) != word:
            other = repr(names[int(word)]) if 0 <= int(word) < len(names) else "none"
            raise ValueError(
                f"minor class {word} is folder {str(word)!r}, or class {word}, which is {other}:"
                " give its name"
            )
        found.append(int(word))
    return found


def _parse_weights(sample_weight: Any, labeled: int, n: int) -> np.ndarray:
    """Returns the weights of the labeled images, and 1 for the others: [n] float32."""
    weights: np.ndarray = np.asarray(sample_weight)
    numbers = weights.dtype.kind in "biuf" and weights.shape == (labeled,)
    if not numbers or not np.isfinite(weights).all() or weights.min() < 0:
        raise ValueError(
            f"sample_weight is {weights.dtype} {list(weights.shape)}, but has to be [{labeled}]"
            " finite numbers from 0, one for each labeled image"
        )
    return np.pad(weights.astype(np.float32), (0, n - labeled), constant_values=1.0)


def _read_labeled(
    dataset: tf.data.Dataset,
) -> tuple[Any, np.ndarray, np.ndarray | None]:
    """Returns images [n, ...], classes [n] or [n, m], and weights [n] or None."""
    _check_finite(dataset, "labeled")
    spec = dataset.element_spec
    rows = isinstance(spec, (tuple, list)) and len(spec) in (2, 3)
    inputs = list(name_inputs(spec[0]).values()) if rows else []
    if not inputs or not all(isinstance(part, tf.TypeSpec) for part in [*inputs, *spec[1:]]):
        raise ValueError(
            "labeled has to give (image, class) pairs, or (image, class, weight), of arrays: map it"
            " to that"
        )
    _check_shapes([*inputs, *spec[1:]], "labeled")
    batched = _is_batched(inputs[0], spec[1])
    found = list((dataset.unbatch() if batched else dataset).as_numpy_iterator())
    if not found:
        raise ValueError("no labeled image: give some of each class")
    x, y, *weight = zip(*found, strict=True)
    return _stack(x), np.stack(y), np.stack(weight[0]) if weight else None


def _read_unlabeled(dataset: tf.data.Dataset, x_labeled: Any) -> Any:
    """Returns images [n, ...]; a dataset of the rank of x_labeled [n_labeled, ...] is batched."""
    _check_finite(dataset, "unlabeled")
    if isinstance(dataset.element_spec, (tuple, list)):
        dataset = dataset.map(lambda image, *_: image)
    spec = list(name_inputs(dataset.element_spec).values())
    if not all(isinstance(part, tf.TypeSpec) for part in spec):
        raise ValueError(
            "unlabeled has to give images, of arrays: map it, as in unlabeled.map(lambda row:"
            " row['image'])"
        )
    _check_shapes(spec, "unlabeled")
    batched = spec[0].shape.rank == next(iter(name_inputs(x_labeled).values())).ndim
    found = list((dataset.unbatch() if batched else dataset).as_numpy_iterator())
    return _stack(found) if found else []


def _check_finite(dataset: tf.data.Dataset, name: str) -> None:
    if dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise ValueError(
            f"{name} never ends, and a Pool reads it once: leave out repeat(), or take(n)"
        )


def _check_shapes(parts: Sequence[tf.TypeSpec], name: str) -> None:
    if any(part.shape.rank is None for part in parts):
        raise ValueError(
            f"{name} gives arrays of unknown shape: give the dataset an output_signature"
        )


def _is_batched(images: tf.TypeSpec, labels: tf.TypeSpec) -> bool:
    """Returns whether pairs come in batches: a lone class is a scalar or a (float) one-hot row."""
    if labels.shape.rank != 1:
        return bool(labels.shape.rank)
    size = labels.shape[0]
    same = bool(images.shape.rank) and images.shape[0] == size
    return size is None or (same and labels.dtype.is_integer)


def _stack(rows: Sequence[Any]) -> Any:
    if isinstance(rows[0], dict):
        return {key: _stack([row[key] for row in rows]) for key in rows[0]}
    if isinstance(rows[0], tuple):
        return tuple(map(_stack, zip(*rows, strict=True)))
    if len({np.shape(row) for row in rows}) > 1:
        raise ValueError(RAGGED)
    return np.stack(rows)
