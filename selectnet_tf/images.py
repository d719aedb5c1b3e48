"""Where images lie:

Arrays in memory or memory-mapped files, read batch by batch inside a tf.data pipeline.
"""

import hashlib
import mmap
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

MOST_BYTES = 1 << 30  # a digest reads no more
CHUNK_BYTES = 1 << 24
NO_IMAGES = "None: give [] where there are none"
SPARSE = "sparse: give x.toarray()"
RAGGED = "the images have several shapes: resize pictures, pad series and tokens"


class Images:
    """Images of one shape and dtype in one or several parts, as one sequence. Nothing is copied but
    what is asked for.

    Args:
        *parts: [n, ...] arrays, np.memmaps, h5py.Datasets, or whatever else has `shape`, a NumPy
        `dtype` and takes an int
            array in []. Lists and tensors are copied into arrays.

    Attributes:
        shape, dtype: of all parts together: [n, ...]. The dtype has this machine's byte order,
            whatever the parts' is.

    Raises:
        ValueError: parts of different shapes or dtypes, or a dtype that TensorFlow does not have.
    """

    def __init__(self, *parts: Any) -> None:
        for part in parts:
            if part is None or hasattr(part, "toarray"):  # SciPy's sparse matrices have it
                raise ValueError(f"images are {NO_IMAGES if part is None else SPARSE}")
        arrays = [part if _is_lazy(part) else _array(part) for part in parts]
        if not all(part.shape for part in arrays):
            raise ValueError(
                "images have to be arrays [n, ...]: join the inputs of a dict along an axis, and"
                " take them apart in the model"
            )
        kinds = {(tuple(part.shape[1:]), _kind(part.dtype)) for part in arrays if len(part)}
        if len(kinds) > 1:
            found = ", ".join(f"{list(shape)} {dtype}" for shape, dtype in sorted(kinds))
            raise ValueError(
                f"images of several shapes or types: {found}: bring them to one shape and type"
            )
        self.parts = [part for part in arrays if len(part)] or arrays[:1]
        self._starts = np.cumsum([0, *(len(part) for part in self.parts)])
        self.shape: tuple[int, ...] = (int(self._starts[-1]), *self.parts[0].shape[1:])
        self.dtype = np.result_type(*(part.dtype for part in self.parts)).newbyteorder(
            "="
        )  # of texts, as wide as the longest
        try:
            known = tf.as_dtype(self.dtype) and self.dtype != object
        except TypeError:
            known = False
        if not known:
            raise ValueError(
                f"images of dtype {self.dtype}, which TensorFlow does not have: give numbers, or"
                " str for texts"
            )

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def nbytes(self) -> int:
        """Bytes of all images."""
        return int(np.prod(self.shape)) * self.dtype.itemsize

    def __getitem__(self, places: Any) -> np.ndarray:
        """places: as NumPy takes them: an int, ints [k] (negative ones from the end), a mask [n] or
        a slice -> [k, ...].

        Raises:
            IndexError: a place that there is not, or a mask of another length.
        """
        places = _places(places, len(self))
        if not places.ndim:
            image: np.ndarray = self[places[None]][0]
            return image
        if len(self.parts) == 1:
            return _read(self.parts[0], places, self.dtype)
        found = np.empty((len(places), *self.shape[1:]), self.dtype)
        of_part = np.searchsorted(self._starts, places, side="right") - 1
        for i, part in enumerate(self.parts):
            here = of_part == i
            if here.any():
                found[here] = _read(part, places[here] - self._starts[i], self.dtype)
        return found

    def gather(self, places: tf.Tensor) -> tf.Tensor:
        """places:

        Int tensor [k] of static length -> tensor [k, ...], in a tf.data pipeline or a tf.function.
        """
        images = tf.numpy_function(
            lambda p: np.ascontiguousarray(self[p]), [places], self.dtype, stateful=False
        )
        return tf.ensure_shape(images, [places.shape[0], *self.shape[1:]])


def batches(load: Callable[[tf.Tensor], Any], first: int, last: int) -> tf.data.Dataset:
    """load(step) of every step from `first` to before `last`, in order, as a tf.data.Dataset that
    works ahead.

    tf.data's autotuner is off: an iterator waits, when it ends, for the autotuner to wake up, and
    that sleeps twice as long each time, up to a minute. An epoch of 30 seconds takes 41 with it.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    steps = tf.data.Dataset.range(first, last).map(
        load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
    return steps.prefetch(2).with_options(options)


class Subset:
    """The images of `source` at `places` [k], without a copy of them: a part for Images."""

    def __init__(self, source: Any, places: Any) -> None:
        self.source, self.places = source, _places(np.asarray(places, np.int64), len(source))
        self.shape, self.dtype = (len(self.places), *source.shape[1:]), source.dtype

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, places: Any) -> np.ndarray:
        return _read(self.source, self.places[places], self.dtype)


def digest(images: Any) -> str:
    """32 hex digits that differ where arrays differ: in shape, dtype or content.

    Of up to 1 GiB every byte counts. Of more, so many rows count as fill 1 GiB, evenly spread from
    the first to the last. Where the images lie, in how many parts and in which byte order makes no
    difference.

    Args:
        images: Images, or what Images takes.
    """
    images = images if isinstance(images, Images) else Images(images)
    row = max(1, int(np.prod(images.shape[1:])) * images.dtype.itemsize)
    n, most = len(images), max(2, MOST_BYTES // row)
    places = np.arange(n) if n <= most else np.linspace(0, n - 1, most).astype(np.int64)
    found = hashlib.blake2b(f"{images.shape} {images.dtype.name}".encode(), digest_size=16)
    step = max(1, CHUNK_BYTES // row)
    for start in range(0, len(places), step):
        found.update(images[places[start : start + step]].tobytes())
    return found.hexdigest()


def _kind(dtype: np.dtype) -> str:
    """What parts have to have in common: texts may be of several lengths."""
    return {"U": "text", "S": "bytes"}.get(dtype.kind, dtype.name)


def _is_lazy(part: Any) -> bool:
    """Whether `part` is read where it lies:

    An array, or an array-like that is indexed by position (no pandas.Series).
    """
    return (
        hasattr(part, "shape")
        and isinstance(getattr(part, "dtype", None), np.dtype)
        and not hasattr(part, "iloc")
    )


def _array(part: Any) -> np.ndarray:
    """What is copied into an array. Raises ValueError where its rows differ in length."""
    if isinstance(part, tf.RaggedTensor):
        raise ValueError(RAGGED)
    try:
        return np.asarray(part)
    except ValueError as error:
        raise ValueError(RAGGED if "inhomogeneous" in str(error) else str(error)) from None


def _places(places: Any, n: int) -> np.ndarray:
    """Places among n, as NumPy takes them, as ints from 0."""
    if isinstance(places, slice):
        return np.arange(*places.indices(n))
    given: np.ndarray = np.asarray(places)
    if given.dtype == bool:
        if given.shape != (n,):
            raise IndexError(f"a mask of {list(given.shape)} for {n} images")
        return np.flatnonzero(given)
    if not given.size:
        return np.zeros(0, np.int64)
    if given.dtype.kind not in "iu" or given.ndim > 1:
        raise IndexError(
            f"places have to be ints, one or [k], but are {given.dtype} {list(given.shape)}"
        )
    if given.min() < -n or given.max() >= n:
        raise IndexError(f"places from {given.min()} to {given.max()}, but there are {n} images")
    given = given.astype(np.int64)
    return np.where(given < 0, given + n, given)


def _read(part: Any, places: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """part[places]. A memory-mapped file is mapped anew each time, so that what was read does not
    pile up in memory.

    Not one that is mapped copy-on-write: what was changed there is not in the file. What is no
    array of NumPy (h5py) gets each place once and in order, since some take nothing else.
    """
    if not isinstance(part, (np.ndarray, Images, Subset)):
        rows, back = np.unique(places, return_inverse=True)
        return np.asarray(part[rows], dtype)[back]
    buffer = getattr(part, "_mmap", None)
    if (
        isinstance(part, np.memmap)
        and buffer is not None
        and part.filename
        and part.flags.c_contiguous
        and part.mode != "c"
    ):
        mapped = np.frombuffer(
            buffer, np.uint8
        ).ctypes.data  # a slice of a memmap keeps the whole one's offset
        start = part.offset - part.offset % mmap.ALLOCATIONGRANULARITY
        part = np.memmap(
            part.filename, part.dtype, "r", start + part.ctypes.data - mapped, part.shape
        )
    return np.asarray(part[places], dtype)
