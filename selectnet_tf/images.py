"""Arrays of images, in memory or in files, read batch by batch inside a tf.data pipeline."""

import hashlib
import mmap
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from selectnet_tf import _files

MOST_BYTES = 1 << 30  # a digest reads no more
CHUNK_BYTES = 1 << 24
LACKING = "images of dtype {}, which TensorFlow lacks: give x.astype('float32'), or str for texts"
RAGGED = (
    "the images have several shapes: resize images, pad series and tokens; several inputs are a"
    " tuple of arrays, not a list"
)


class Images:
    """Images of one shape and dtype, in one or several parts, as one sequence without a copy.

    Args:
        *parts: [n, ...] arrays, np.memmaps, h5py.Datasets, or any object with `shape`, a NumPy
            `dtype`, and int arrays as indices. Lists and tensors are copied into arrays.

    Attributes:
        lengths: the number of images of each part.
        shape: (n, ...) of all parts together.
        dtype: in this machine's byte order, whatever the parts' is.

    Raises:
        ValueError: parts of different shapes, dtypes or columns, or a dtype that TensorFlow lacks.
    """

    def __init__(self, *parts: Any) -> None:
        for part in parts:
            if part is None:
                raise ValueError("images are None: give [] where there are none")
            if hasattr(part, "toarray"):  # SciPy's sparse matrices have it
                raise ValueError("images are sparse: give x.toarray()")
        columns = [list(part.columns) for part in parts if hasattr(part, "columns") and len(part)]
        if any(other != columns[0] for other in columns):
            raise ValueError(
                "data frames of other columns, or in another order: give the same ones, as in"
                " unlabeled[labeled.columns]"
            )
        arrays = [part if _is_lazy(part) else _to_array(part) for part in parts]
        for part in arrays:
            _check_texts(part)
        if not all(part.shape for part in arrays):
            raise ValueError("images are a number, but have to be an array [n, ...]")
        kinds = {(tuple(part.shape[1:]), _kind(part.dtype)) for part in arrays if len(part)}
        if len(kinds) > 1:
            found = ", ".join(f"{list(shape)} {dtype}" for shape, dtype in sorted(kinds))
            raise ValueError(
                f"images of several shapes or types: {found}: bring them to one shape and type"
            )
        self.lengths = [len(part) for part in arrays]
        self.parts = [part for part in arrays if len(part)] or arrays[:1]
        self._starts = np.cumsum([0, *(len(part) for part in self.parts)])
        self.shape: tuple[int, ...] = (int(self._starts[-1]), *self.parts[0].shape[1:])
        self._places = np.arange(len(self))
        widest = np.result_type(*(part.dtype for part in self.parts))  # texts differ in length
        self.dtype = widest.newbyteorder("=")
        try:
            tf.as_dtype(self.dtype)
        except TypeError:
            raise ValueError(LACKING.format(self.dtype)) from None

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def leaves(self) -> dict[Any, "Images"]:
        """The Images of each input, by its name or place; of one input, itself."""
        return {"": self}

    @property
    def nbytes(self) -> int:
        """Bytes of all images."""
        return int(np.prod(self.shape)) * self.dtype.itemsize

    def __getitem__(self, places: Any) -> Any:
        """Returns the images at `places`: [k, ...].

        Args:
            places: as for NumPy: an int, ints [k] (negative ones from the end), a mask [n] or a
                slice.

        Raises:
            IndexError: a place out of range, or a mask of another length.
        """
        places = self._places[places]
        if not places.ndim:
            image: np.ndarray = self[places[None]][0]
            return image
        if places.ndim > 1:
            raise IndexError(f"places are {list(places.shape)}, but have to be an int or ints [k]")
        if len(self.parts) == 1:
            return _read(self.parts[0], places, self.dtype)
        found = np.empty((len(places), *self.shape[1:]), self.dtype)
        of_part = np.searchsorted(self._starts, places, side="right") - 1
        for i, part in enumerate(self.parts):
            here = of_part == i
            if here.any():
                found[here] = _read(part, places[here] - self._starts[i], self.dtype)
        return found

    def gather(self, places: tf.Tensor) -> Any:
        """Returns images as a tensor [k, ...], in a tf.data pipeline or a tf.function.

        Args:
            places: int tensor [k] of static length.
        """
        images = tf.numpy_function(
            lambda p: np.ascontiguousarray(self[p]),
            [places],
            tf.as_dtype(self.dtype),
            stateful=False,
        )
        return tf.ensure_shape(images, [places.shape[0], *self.shape[1:]])


class Inputs(Images):
    """Several inputs of each sample, such as tokens and their mask, with the methods of Images.

    Args:
        *parts: dicts with the same keys, or tuples of the same length, of parts for Images; []
            where there are none.
    """

    def __init__(self, *parts: Any) -> None:
        first = next(part for part in parts if _is_several(part))
        named = [_name_inputs(part, first) for part in parts]
        self._leaves: dict[Any, Images] = {}
        for key in named[0]:
            try:
                self._leaves[key] = Images(*(part[key] for part in named))
            except ValueError as error:
                raise ValueError(f"input {key!r}: {error}") from None
        lengths = {key: leaf.lengths for key, leaf in self.leaves.items()}
        self.lengths, *others = lengths.values()
        if any(other != self.lengths for other in others):
            raise ValueError(f"inputs of several lengths: {lengths}: give one row for each sample")
        self._kind = type(first)

    def __len__(self) -> int:
        return sum(self.lengths)

    @property
    def leaves(self) -> dict[Any, Images]:
        return self._leaves

    @property
    def nbytes(self) -> int:
        return sum(leaf.nbytes for leaf in self.leaves.values())

    def __getitem__(self, places: Any) -> Any:
        return self._pack({key: leaf[places] for key, leaf in self.leaves.items()})

    def gather(self, places: tf.Tensor) -> Any:
        return self._pack({key: leaf.gather(places) for key, leaf in self.leaves.items()})

    def _pack(self, found: dict[Any, Any]) -> Any:
        return tuple(found.values()) if issubclass(self._kind, tuple) else found


def open_images(*parts: Any) -> Images:
    """Returns Images of parts, or Inputs where one is a dict or a tuple of arrays."""
    several = any(_is_several(part) for part in parts)
    return Inputs(*parts) if several else Images(*parts)


class Subset:
    """The images of `source` at `places` [k], without a copy of them: a part for Images."""

    def __init__(self, source: Any, places: Any) -> None:
        self.source = source
        self.places = np.arange(len(source))[np.asarray(places, np.int64)]
        self.shape, self.dtype = (len(self.places), *source.shape[1:]), source.dtype

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, places: Any) -> np.ndarray:
        return _read(self.source, self.places[places], self.dtype)


def digest(images: Any) -> str:
    """Returns 32 hex digits that differ where shape, dtype or content differ.

    Up to 1 GiB every byte counts; of larger arrays, 1 GiB of evenly spaced rows from the first to
    the last. Location, number of parts and byte order make no difference.

    Args:
        images: Images, or a part for Images: [n, ...].
    """
    images = images if isinstance(images, Images) else Images(images)
    if isinstance(images, Inputs):
        of_leaves = repr({key: digest(leaf) for key, leaf in images.leaves.items()})
        return _files.digest(of_leaves.encode())
    row = max(1, int(np.prod(images.shape[1:])) * images.dtype.itemsize)
    n, most = len(images), max(2, MOST_BYTES // row)
    places = np.arange(n) if n <= most else np.linspace(0, n - 1, most).astype(np.int64)
    found = hashlib.blake2b(f"{images.shape} {images.dtype.name}".encode(), digest_size=16)
    step = max(1, CHUNK_BYTES // row)
    for start in range(0, len(places), step):
        rows = images[places[start : start + step]]
        # the bytes of objects are addresses
        found.update(repr(rows.tolist()).encode() if rows.dtype == object else rows.tobytes())
    return found.hexdigest()


def map_steps(
    load: Callable[[tf.Tensor], Any], first: int, last: int, stride: int = 1
) -> tf.data.Dataset:
    """Returns load(step) of each stride-th step from `first` to before `last`, prefetched.

    tf.data's autotuner is off: an iterator waits, when it ends, for the autotuner to wake up, and
    that sleeps twice as long each time, up to a minute. An epoch of 30 seconds takes 41 with it.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    steps = tf.data.Dataset.range(first, last, stride).map(
        load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
    return steps.prefetch(2).with_options(options)


def name_inputs(inputs: Any) -> dict[Any, Any]:
    """Returns the inputs in a dict or tuple by name or place; a lone one as ""."""
    if isinstance(inputs, dict):
        return dict(inputs)
    return dict(enumerate(inputs)) if isinstance(inputs, tuple) else {"": inputs}


def _is_several(part: Any) -> bool:
    """Returns whether a part is a dict, or a tuple of arrays, and not one array."""
    arrays = isinstance(part, tuple) and all(getattr(one, "shape", ()) for one in part)
    return bool(part) if arrays else isinstance(part, dict)


def _name_inputs(part: Any, first: Any) -> dict[Any, Any]:
    """Returns the inputs of a part by key or place, as many as `first`, a dict or a tuple, has."""
    named = name_inputs(first)
    if not _is_several(part) and not len(part):
        return {key: one[:0] for key, one in named.items()}
    keys: Any = part.keys() if isinstance(part, dict) else range(len(part))
    if isinstance(part, dict) != isinstance(first, dict) or set(keys) != set(named):
        raise ValueError(
            "labeled and unlabeled images have different inputs: give both a dict of the same"
            " keys, or a tuple of the same length"
        )
    return {key: part[key] for key in named}


def _kind(dtype: np.dtype) -> str:
    """Returns the type that all parts must share: the length of texts doesn't count."""
    return {"U": "text", "O": "text", "S": "bytes"}.get(dtype.kind, dtype.name)


def _check_texts(part: Any) -> None:
    """Raises ValueError where an array of objects holds something other than texts."""
    if part.dtype != object:
        return
    if not isinstance(part, np.ndarray) or (part.size and not isinstance(part.flat[0], str)):
        raise ValueError(LACKING.format(part.dtype))
    odd = next((i for i, text in enumerate(part.flat) if not isinstance(text, str)), None)
    if odd is not None:
        raise ValueError(
            f"text {odd} is {part.flat[odd]!r}, no text: fill in missing ones, as by"
            " frame['text'].fillna('')"
        )


def _is_lazy(part: Any) -> bool:
    """Returns whether `part` is array-like and indexed by position: a pandas.Series is not."""
    typed = isinstance(getattr(part, "dtype", None), np.dtype)
    return typed and hasattr(part, "shape") and not hasattr(part, "iloc")


def _to_array(part: Any) -> np.ndarray:
    if isinstance(part, tf.RaggedTensor):
        raise ValueError(RAGGED)
    if not isinstance(part, (list, tuple)) and not hasattr(part, "__array__"):
        raise ValueError(
            f"images are a {type(part).__name__}, but have to be an array: read it first, as in"
            " np.concatenate([data[i][0] for i in range(len(data))]) for batches (images, classes)"
        )
    try:
        return np.asarray(part)
    except ValueError as error:
        raise ValueError(RAGGED if "inhomogeneous" in str(error) else str(error)) from None


def _read(part: Any, places: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Returns part[places].

    A memory-mapped file is mapped again each time, so that its pages don't pile up in memory; not
    in mode "c", whose changes are not in the file. Other array-likes (h5py) get sorted, unique
    places: some take no others.
    """
    if not isinstance(part, (np.ndarray, Images, Subset)):
        rows, back = np.unique(places, return_inverse=True)
        return np.asarray(part[rows], dtype)[back]
    if not isinstance(part, np.memmap):
        return np.asarray(part[places], dtype)
    buffer: Any = getattr(part, "_mmap", None)
    if buffer is not None and part.filename and part.flags.c_contiguous and part.mode != "c":
        # a slice of a memmap keeps the offset of the whole, so its own follows from the addresses
        inside = part.ctypes.data - np.frombuffer(buffer, np.uint8).ctypes.data
        start = part.offset - part.offset % mmap.ALLOCATIONGRANULARITY
        part = np.memmap(part.filename, part.dtype, "r", start + inside, part.shape)
    return np.asarray(part[places], dtype)
