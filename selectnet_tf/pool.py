"""What is trained on now:

The images, an index array into them, and the tf.data view of that index.
"""

import functools
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from selectnet_tf import augment as augmentation
from selectnet_tf._validate import check_whole
from selectnet_tf.images import RAGGED, Images, batches, digest


class Pool:
    """The labeled set D and the unlabeled set U as one sequence, and an index array that says what
    is trained on now.

    Args:
        x_labeled: [n_labeled, ...] images of D, any dtype (uint8 is the cheapest: rescale
            inside the model). An array, an np.memmap or an h5py.Dataset, as x_unlabeled: they are
            read where they lie, batch by batch, and never copied or changed.
        y_labeled: [n_labeled] or [n_labeled, 1] integer classes from 0; or [n_labeled, m]
            one-hot, and then a batch's labels are one-hot too.
        x_unlabeled: [n_unlabeled, ...] images of U; may be empty where nothing is selected.
        minor: the minor classes.
        seed: of the order, the augmentation and the oversampling.
        sample_weight: [n_labeled] weights of D in the loss; unlabeled picks have weight 1.
            None: all have.

    Attributes:
        images: the Images, n in all, D first.
        labels: [n] int32, -1 where unlabeled.
        labeled: [n] bool.
        index, targets: [k] int32 each: the positions trained on now, and the class each is
            trained as.
        weights: [k] float32, the weight of each in the loss; None where all weigh the same.
        names, files: of a Pool of folders: the classes' names, and the pictures' files, D's first.
        even: whether each epoch draws as many images of every class from the index; False
            unless it is set.

    Raises:
        ValueError: shapes that don't fit each other, labels that are no classes, a minor class
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
        self.images = Images(x_labeled, x_unlabeled)
        y, self.one_hot = parse_classes(
            y_labeled, len(x_labeled)
        )  # one_hot: how many classes, 0 where labels are integers
        self.minor = parse_minor(minor, y)
        self.labeled = np.arange(len(self.images)) < len(y)
        self.labels = np.where(
            self.labeled, np.pad(y.astype(np.int32), (0, len(self.images) - len(y))), -1
        ).astype(np.int32)
        self.sample_weight = (
            None
            if sample_weight is None
            else parse_weights(sample_weight, len(y), len(self.images))
        )
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
        """A Pool of two tf.data.Datasets, batched or not: (image, class) pairs or (image, class,
        weight), and images (of pairs, the first).

        Both are read once, into memory; for more than fits there, hand np.memmaps to Pool. An
        "image" may be any array of one shape: a row of a table, a series, tokens.
        """
        x, y, sample_weight = read_pairs(labeled)
        return cls(x, y, read_images(unlabeled, x), minor, seed, sample_weight)

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
        """A Pool of folders: one for each class in labeled_dir, any tree in unlabeled_dir, see
        folders.read.

        minor: names, or numbers of them in their order as text; a number that is another folder's
        name is refused. The Pool has `names` of the classes and the `files`, D's first, besides.
        """
        from selectnet_tf.data.folders import (
            listing,  # above the library, so only where it is asked for
        )

        labeled = listing.read_folder(labeled_dir, image_size, cache_dir)
        names, y = labeled.classes(labeled_dir)
        pool = listing.read_folder(unlabeled_dir, image_size, cache_dir)
        unknown = [
            word for word in minor if word not in names and not isinstance(word, (int, np.integer))
        ]
        if unknown:
            raise ValueError(f"minor class {unknown[0]!r} is none of {', '.join(names)}")
        for word in minor:
            if (
                word not in names and str(word) in names and names.index(str(word)) != word
            ):  # "10" stands before "2"
                other = repr(names[int(word)]) if 0 <= int(word) < len(names) else "none"
                raise ValueError(
                    f"minor class {word} is folder {str(word)!r}, or class {word}, which is"
                    f" {other}: give its name"
                )
        made = cls(
            labeled.images,
            y,
            pool.images,
            [names.index(w) if w in names else int(w) for w in minor],
            seed,
        )
        made.names, made.files = names, [*labeled.paths(labeled_dir), *pool.paths(unlabeled_dir)]
        return made

    def train_on(self, index: Any, targets: Any, weights: Any = None) -> None:
        """Swaps:

        From the next round on, train on images[index] as the classes `targets`, each times its
        weight (all [k]).
        """
        self.index, self.targets = np.asarray(index, np.int32), np.asarray(targets, np.int32)
        if self.sample_weight is not None:
            weights = self.sample_weight[self.index] * (
                1.0 if weights is None else np.asarray(weights)
            )
        self.weights = None if weights is None else np.asarray(weights, np.float32)

    def train_on_labeled(
        self, added: Any = (), added_targets: Any = (), weights: Any = None
    ) -> None:
        """D, and behind it `added` [k] as the classes `added_targets` [k] (Algorithm 1, step 5).

        Weights: [n_labeled + k].
        """
        index = np.concatenate([np.flatnonzero(self.labeled), np.asarray(added, np.int64)])
        self.train_on(
            index,
            np.concatenate([self.labels[self.labeled], np.asarray(added_targets, np.int64)]),
            weights,
        )

    def balance(self, classes: Sequence[int] | None = None) -> None:
        """D, and each of `classes` (all, by default) sampled with replacement up to the largest
        class's size (Section 4.2).
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
        """D, and `copies` further copies of each of its minor images (the released code's
        oversampling).
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
        """How many images of each class this epoch trains on: [k], up to the largest class among
        them.

        Where they have weights, the sums of these, scaled to a mean of 1: as many as weigh so much.
        """
        _, targets, weights, _ = self._pass
        mean = weights.mean(dtype=np.float64)
        return (
            np.bincount(targets)
            if self.weights is None or not mean
            else np.bincount(targets, weights / mean)
        )

    def dataset(
        self, batch_size: int, augment: augmentation.Augment | None = None, first_batch: int = 0
    ) -> tf.data.Dataset:
        """The index as a tf.data.Dataset of (images [B, ...], classes [B]), and weights [B] if
        there are any, of known length.

        Its order and augmentation follow from (seed, epoch, step) alone, so a batch can be had
        again after a restart: `first_batch` skips to it. What is left over after the last full
        batch sits this epoch out (another remainder each time), because a replica must never be
        handed an empty batch.
        """
        steps = len(self.index) // batch_size
        if not steps:
            raise ValueError(
                f"{len(self.index)} training images don't fill one batch: use"
                f" batch_size={len(self.index)} or less"
            )
        seed = self.seed % 2**31
        weighted = self.weights is not None

        def batch(
            step: int,
        ) -> tuple[
            Any,
            ...,
            # No tf.Variable: under op determinism (GPUs), tf.data does not prefetch past one.
        ]:
            index, targets, weights, epoch = self._pass
            here = slice(step * batch_size, (step + 1) * batch_size)
            return index[here], targets[here], weights[here], epoch

        def load(step: tf.Tensor) -> tuple[tf.Tensor, ...]:
            kinds = [tf.int32, tf.int32, tf.float32, tf.int32]
            index, classes, weights, epoch = tf.numpy_function(batch, [step], kinds, stateful=False)
            images = self.images.gather(tf.ensure_shape(index, [batch_size]))  # [B, ...]
            classes = tf.ensure_shape(classes, [batch_size])
            if augment:
                fold = tf.random.fold_in(
                    tf.stack([seed, tf.ensure_shape(epoch, [])]), tf.cast(step, tf.int32)
                )
                images = augmentation.apply(augment, images, fold)
            labels = tf.one_hot(classes, self.one_hot) if self.one_hot else classes
            return (
                (images, labels, tf.ensure_shape(weights, [batch_size]))
                if weighted
                else (images, labels)
            )

        return batches(load, first_batch, steps)

    @functools.cached_property
    def identity(self) -> dict[str, np.ndarray]:
        """What tells this data from other: counts of D and U, minor classes, a digest of the labels
        and one of the images.

        See images.digest for what that covers.
        """
        counts = np.array([self.labeled.sum(), (~self.labeled).sum()])
        known = (
            self.labels
            if self.sample_weight is None
            else np.stack([self.labels, self.sample_weight])
        )
        digests = {"labels": np.array(digest(known)), "images": np.array(digest(self.images))}
        return {
            "numbers of labeled and unlabeled images": counts,
            "minor classes": self.minor,
            **digests,
        }

    def get_state(self) -> dict[str, np.ndarray]:
        """What is trained on now, and what data it is of."""
        weights = {} if self.weights is None else {"weights": self.weights}
        return {"index": self.index, "targets": self.targets, **weights, **self.identity}

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Raises ValueError where the state is of other data; says in what they differ."""
        for what, mine in self.identity.items():
            if not np.array_equal(state[what], mine):
                said = (
                    f"it has {state[what].tolist()} and this pool {mine.tolist()}"
                    if mine.ndim
                    else "they are not what they were"
                )
                raise ValueError(f"the state is of other {what}: {said}")
        self.index, self.targets, self.weights = (
            state["index"],
            state["targets"],
            state.get("weights"),
        )


def _even_order(classes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An order of [k] places that holds as many places of each class, give or take one, and each
    place of a class as often.

    classes: [k] of what is trained on; those that do not occur get no place.
    """
    kinds = rng.permutation(
        np.unique(classes)
    )  # whose quota is larger by one, where k is no multiple, changes too
    quotas = np.full(len(kinds), len(classes) // len(kinds))
    quotas[: len(classes) % len(kinds)] += 1
    drawn = []
    for c, quota in zip(kinds, quotas, strict=True):
        places = rng.permutation(np.flatnonzero(classes == c))
        drawn.append(np.resize(places, quota))
    return rng.permutation(np.concatenate(drawn))


def parse_classes(y_labeled: Any, n: int) -> tuple[np.ndarray, int]:
    """(classes [n], 0) of integer classes [n] or [n, 1]; (classes [n], m) of one-hot labels [n, m].

    Raises:
        ValueError: labels of another shape, or that are no classes; says what to do.
    """
    y: np.ndarray = np.asarray(y_labeled)
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
        raise ValueError("no labeled image: the classifier needs some of each class")
    if y.dtype.kind in "OSU":
        raise ValueError(
            "y_labeled has to hold integer classes from 0: number its words, as by np.unique(y,"
            " return_inverse=True)"
        )
    if not np.issubdtype(y.dtype, np.integer) or y.min() < 0:
        raise ValueError(
            f"y_labeled has to hold integer classes from 0, but is {y.dtype} from {y.min()} to"
            f" {y.max()}"
        )
    if y.max() >= 2**31:
        raise ValueError(
            f"y_labeled holds class {y.max()}, beyond 32 bits: number the classes, as by"
            " np.unique(y, return_inverse=True)"
        )
    return y, one_hot


def parse_minor(wanted: Any, y: np.ndarray) -> np.ndarray:
    """The minor classes as a sorted array of int32.

    Y: [n] classes of D. Raises ValueError where they are no classes of it.
    """
    found: np.ndarray = np.asarray(wanted)
    if found.ndim != 1 or (found.size and found.dtype.kind not in "iu"):
        raise ValueError(
            f"minor is {wanted!r}, but has to be a list of integer classes, such as [2, 3]"
        )
    missing = sorted(set(found.tolist()) - set(np.unique(y).tolist()))
    if missing or not len(found):
        raise ValueError(
            f"minor classes without a labeled image: {missing}"
            if missing
            else "no minor class: name at least one"
        )
    return np.unique(found.astype(np.int32))


def parse_weights(sample_weight: Any, labeled: int, n: int) -> np.ndarray:
    """[n] float32: the weights [labeled] that are given, and 1 for what is unlabeled."""
    given: np.ndarray = np.asarray(sample_weight)
    if (
        given.dtype.kind not in "biuf"
        or given.shape != (labeled,)
        or not np.isfinite(given).all()
        or given.min() < 0
    ):
        raise ValueError(
            f"sample_weight has to be [{labeled}] finite numbers from 0, one for each labeled image"
        )
    return np.pad(given.astype(np.float32), (0, n - labeled), constant_values=1.0)


def read_pairs(dataset: tf.data.Dataset) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """(images [n, ...], classes [n] or [n, m], weights [n] or None) of a dataset of pairs, or of
    triples, batched or not.

    Raises:
        ValueError: neither pairs nor triples, unknown shapes, or a dataset without an end.
    """
    spec = _finite(dataset, "labeled").element_spec
    if (
        not isinstance(spec, (tuple, list))
        or len(spec) not in (2, 3)
        or not all(isinstance(part, tf.TypeSpec) for part in spec)
    ):
        raise ValueError(
            "labeled has to give (image, class) pairs, or (image, class, weight), each one array:"
            " map it to that"
        )
    if any(part.shape.rank is None for part in spec):
        raise ValueError(
            "labeled gives arrays of unknown shape: give the dataset an output_signature"
        )
    found = list((dataset.unbatch() if _batched(*spec[:2]) else dataset).as_numpy_iterator())
    if not found:
        raise ValueError("no labeled image: the classifier needs some of each class")
    x, y, *weight = zip(*found, strict=True)
    return _stack(x), np.stack(y), np.stack(weight[0]) if weight else None


def read_images(dataset: tf.data.Dataset, like: np.ndarray) -> np.ndarray:
    """[n, ...] images of a dataset of images (of tuples, the first), batched or not.

    Like: [.., ...] images of the same shape.
    """
    if isinstance(_finite(dataset, "unlabeled").element_spec, (tuple, list)):
        dataset = dataset.map(lambda image, *_: image)
    if not isinstance(dataset.element_spec, tf.TypeSpec):
        raise ValueError(
            "unlabeled has to give images, each one array: map it, as in unlabeled.map(lambda row:"
            " row['image'])"
        )
    if dataset.element_spec.shape.rank is None:
        raise ValueError(
            "unlabeled gives arrays of unknown shape: give the dataset an output_signature"
        )
    dataset = dataset.unbatch() if dataset.element_spec.shape.rank == like.ndim else dataset
    found = list(dataset.as_numpy_iterator())
    return _stack(found) if found else like[:0]


def _finite(dataset: tf.data.Dataset, name: str) -> tf.data.Dataset:
    if dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise ValueError(
            f"{name} never ends, and a Pool reads it once: leave out repeat(), or take(n)"
        )
    return dataset


def _batched(images: tf.TypeSpec, labels: tf.TypeSpec) -> bool:
    """Whether (image, class) pairs come in batches:

    A lone class is a scalar or a one-hot vector, most of which are floats.
    """
    if labels.shape.rank != 1:
        return bool(labels.shape.rank)
    size = labels.shape[0]
    alike = bool(images.shape.rank) and images.shape[0] == size
    return size is None or (alike and labels.dtype.is_integer)


def _stack(rows: Sequence[np.ndarray]) -> np.ndarray:
    if len({np.shape(row) for row in rows}) > 1:
        raise ValueError(RAGGED)
    return np.stack(rows)
