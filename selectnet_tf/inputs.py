"""What people give to a Pool, as checked arrays: labels, minor classes, weights, tf.data.Datasets."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from selectnet_tf.images import RAGGED


def classes(y_labeled: Any, n: int) -> tuple[np.ndarray, int]:
    """(classes [n], 0) of integer classes [n] or [n, 1]; (classes [n], m) of one-hot labels [n, m].

    Raises:
        ValueError: labels of another shape, or that are no classes; says what to do.
    """
    y: np.ndarray = np.asarray(y_labeled)
    one_hot = y.shape[1] if y.ndim == 2 and y.shape[1] > 1 else 0
    if one_hot:
        if not ((y == 0) | (y == 1)).all() or not (y.sum(1) == 1).all():
            raise ValueError(f"y_labeled is {list(y.shape)}, but its rows are not one-hot: give [n] integer classes, or one 1 a row")
        y = y.argmax(1)
    y = y.reshape(-1) if y.ndim == 2 else y
    if y.ndim != 1 or len(y) != n:
        raise ValueError(f"y_labeled has to be [{n}], one class for each labeled image, but is {list(y.shape)}")
    if not len(y):
        raise ValueError("no labeled image: the classifier needs some of each class")
    if y.dtype.kind in "OSU":
        raise ValueError("y_labeled has to hold integer classes from 0: number its words, as by np.unique(y, return_inverse=True)")
    if not np.issubdtype(y.dtype, np.integer) or y.min() < 0:
        raise ValueError(f"y_labeled has to hold integer classes from 0, but is {y.dtype} from {y.min()} to {y.max()}")
    if y.max() >= 2**31:
        raise ValueError(f"y_labeled holds class {y.max()}, beyond 32 bits: number the classes, as by np.unique(y, return_inverse=True)")
    return y, one_hot


def minor(wanted: Any, y: np.ndarray) -> np.ndarray:
    """The minor classes as a sorted array of int32. y: [n] classes of D. Raises ValueError where they are no classes of it."""
    found: np.ndarray = np.asarray(wanted)
    if found.ndim != 1 or (found.size and found.dtype.kind not in "iu"):
        raise ValueError(f"minor is {wanted!r}, but has to be a list of integer classes, such as [2, 3]")
    missing = sorted(set(found.tolist()) - set(np.unique(y).tolist()))
    if missing or not len(found):
        raise ValueError(f"minor classes without a labeled image: {missing}" if missing else "no minor class: name at least one")
    return np.unique(found.astype(np.int32))


def weights(sample_weight: Any, labeled: int, n: int) -> np.ndarray:
    """[n] float32: the weights [labeled] that are given, and 1 for what is unlabeled."""
    given: np.ndarray = np.asarray(sample_weight)
    if given.dtype.kind not in "biuf" or given.shape != (labeled,) or not np.isfinite(given).all() or given.min() < 0:
        raise ValueError(f"sample_weight has to be [{labeled}] finite numbers from 0, one for each labeled image")
    return np.pad(given.astype(np.float32), (0, n - labeled), constant_values=1.0)


def pairs(dataset: tf.data.Dataset) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """(images [n, ...], classes [n] or [n, m], weights [n] or None) of a dataset of pairs, or of triples, batched or not.

    Raises:
        ValueError: neither pairs nor triples, unknown shapes, or a dataset without an end.
    """
    spec = _finite(dataset, "labeled").element_spec
    if not isinstance(spec, (tuple, list)) or len(spec) not in (2, 3) or not all(isinstance(part, tf.TypeSpec) for part in spec):
        raise ValueError("labeled has to give (image, class) pairs, or (image, class, weight), each one array: map it to that")
    if any(part.shape.rank is None for part in spec):
        raise ValueError("labeled gives arrays of unknown shape: give the dataset an output_signature")
    found = list((dataset.unbatch() if _batched(*spec[:2]) else dataset).as_numpy_iterator())
    if not found:
        raise ValueError("no labeled image: the classifier needs some of each class")
    x, y, *weight = zip(*found, strict=True)
    return _stack(x), np.stack(y), np.stack(weight[0]) if weight else None


def alone(dataset: tf.data.Dataset, like: np.ndarray) -> np.ndarray:
    """[n, ...] images of a dataset of images (of tuples, the first), batched or not. like: [.., ...] images of the same shape."""
    if isinstance(_finite(dataset, "unlabeled").element_spec, (tuple, list)):
        dataset = dataset.map(lambda image, *_: image)
    if not isinstance(dataset.element_spec, tf.TypeSpec):
        raise ValueError("unlabeled has to give images, each one array: map it, as in unlabeled.map(lambda row: row['image'])")
    if dataset.element_spec.shape.rank is None:
        raise ValueError("unlabeled gives arrays of unknown shape: give the dataset an output_signature")
    dataset = dataset.unbatch() if dataset.element_spec.shape.rank == like.ndim else dataset
    found = list(dataset.as_numpy_iterator())
    return _stack(found) if found else like[:0]


def _finite(dataset: tf.data.Dataset, name: str) -> tf.data.Dataset:
    if dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise ValueError(f"{name} never ends, and a Pool reads it once: leave out repeat(), or take(n)")
    return dataset


def _batched(images: tf.TypeSpec, labels: tf.TypeSpec) -> bool:
    """Whether (image, class) pairs come in batches: a lone class is a scalar or a one-hot vector, most of which are floats."""
    if labels.shape.rank != 1:
        return bool(labels.shape.rank)
    size = labels.shape[0]
    alike = bool(images.shape.rank) and images.shape[0] == size
    return size is None or (alike and labels.dtype.is_integer)


def _stack(rows: Sequence[np.ndarray]) -> np.ndarray:
    if len({np.shape(row) for row in rows}) > 1:
        raise ValueError(RAGGED)
    return np.stack(rows)
