"""Where images lie: arrays in memory or memory-mapped files, read batch by batch inside a tf.data pipeline."""

import mmap

import numpy as np
import tensorflow as tf


class Images:
    """Images of one shape and dtype in one or several parts, as one sequence. Nothing is copied but what is asked for.

    Args:
        *parts: [n, ...] arrays, np.memmaps, or whatever has `shape`, `dtype` and takes an int array in [].

    Attributes:
        shape, dtype: of all parts together: [n, ...].

    Raises:
        ValueError: parts of different shapes or dtypes.
    """

    def __init__(self, *parts):
        parts = [part if hasattr(part, "dtype") and not tf.is_tensor(part) else np.asarray(part) for part in parts]
        kinds = {(tuple(part.shape[1:]), np.dtype(part.dtype).name) for part in parts if len(part)}
        if len(kinds) > 1:
            found = ", ".join(f"{list(shape)} {dtype}" for shape, dtype in sorted(kinds))
            raise ValueError(f"images of several shapes or types: {found}: bring them to one shape and type")
        self.parts = [part for part in parts if len(part)] or parts[:1]
        self._starts = np.cumsum([0, *(len(part) for part in self.parts)])
        self.shape, self.dtype = (int(self._starts[-1]), *self.parts[0].shape[1:]), np.dtype(self.parts[0].dtype)

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, places):
        """places: [k] ints, or a slice -> [k, ...] array."""
        if isinstance(places, slice):
            places = np.arange(len(self))[places]
        if len(self.parts) == 1:
            return _read(self.parts[0], places)
        found = np.empty((len(places), *self.shape[1:]), self.dtype)
        of_part = np.searchsorted(self._starts, places, side="right") - 1
        for i, part in enumerate(self.parts):
            here = of_part == i
            if here.any():
                found[here] = _read(part, places[here] - self._starts[i])
        return found

    def gather(self, places):
        """places: int tensor [k] of static length -> tensor [k, ...], in a tf.data pipeline or a tf.function."""
        images = tf.numpy_function(lambda p: np.ascontiguousarray(self[p]), [places], self.dtype, stateful=False)
        return tf.ensure_shape(images, [places.shape[0], *self.shape[1:]])


def batches(load, first, last):
    """load(step) of every step from `first` to before `last`, in order, as a tf.data.Dataset that works ahead.

    tf.data's autotuner is off: an iterator waits, when it ends, for the autotuner to wake up, and that sleeps twice as long
    each time, up to a minute. An epoch of 30 seconds takes 41 with it.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    steps = tf.data.Dataset.range(first, last).map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return steps.prefetch(2).with_options(options)


class Subset:
    """The images of `source` at `places` [k], without a copy of them: a part for Images."""

    def __init__(self, source, places):
        self.source, self.places = source, np.asarray(places, np.int64)
        self.shape, self.dtype = (len(self.places), *source.shape[1:]), source.dtype

    def __len__(self):
        return len(self.places)

    def __getitem__(self, places):
        return _read(self.source, self.places[places])


def _read(part, places):
    """part[places]. A memory-mapped file is mapped anew each time, so that what was read does not pile up in memory."""
    if isinstance(part, np.memmap) and part._mmap is not None and part.filename and part.flags.c_contiguous:
        mapped = np.frombuffer(part._mmap, np.uint8).ctypes.data  # a slice of a memmap keeps the whole one's offset
        start = part.offset - part.offset % mmap.ALLOCATIONGRANULARITY
        part = np.memmap(part.filename, part.dtype, "r", start + part.ctypes.data - mapped, part.shape)
    return np.asarray(part[places])
