"""Reads pickles of numbers without running code that they name.

NumPy trusts the state that a pickle gives for an array: a crafted batch of 170 bytes crashes the
process. Here stand-ins take the place of NumPy's classes and check the state first.
"""

import io
import pickle
from typing import Any

import numpy as np

MODULES = ("numpy", "numpy.core.multiarray", "numpy._core.multiarray", "_codecs")
KINDS = ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8")
ORDERS = ("|", "<", ">", "=")


class Forbidden(Exception):
    """A file names a function or class that no file of numbers needs."""


class _DType:
    """numpy.dtype of one number."""

    def __init__(self, kind: Any, *_: Any) -> None:
        self.kind, self.order = _as_text(kind), "="

    def __setstate__(self, state: tuple) -> None:
        self.order = _as_text(state[1])


class _Array:
    """numpy.ndarray; `content` is there once its state is set."""

    content: np.ndarray

    def __setstate__(self, state: tuple) -> None:
        _, shape, dtype, fortran, content = state
        if type(dtype) is not _DType or dtype.kind not in KINDS or dtype.order not in ORDERS:
            raise ValueError("an array of an unknown dtype")
        if type(content) is not bytes or not all(type(n) is int and n >= 0 for n in shape):
            raise ValueError("an array of an unknown shape")
        flat = np.frombuffer(content, np.dtype(dtype.order.strip("|") + dtype.kind))
        self.content = flat.reshape(shape, order="F" if fortran is True else "C")


def _encode(text: str, codec: Any) -> bytes:
    """codecs.encode, by which Python 3 writes bytes for old protocols."""
    if _as_text(codec) != "latin1":
        raise Forbidden(f"the codec {codec}")
    return text.encode("latin1")


KNOWN = {
    "ndarray": _Array,
    "dtype": _DType,
    "_reconstruct": lambda kind, shape, code: _Array(),
    "encode": _encode,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module not in MODULES or name not in KNOWN:
            raise Forbidden(f"{module}.{name}")
        return KNOWN[name]


def load(content: bytes) -> Any:
    """Returns the content of a pickle of dicts, lists, tuples, numbers, text, bytes and arrays.

    An array is returned as an argument for `array`; text of Python 2 as bytes.

    Raises:
        Forbidden: the pickle names another class or function.
        Exception: the pickle is damaged.
    """
    return _Unpickler(io.BytesIO(content), encoding="bytes").load()


def array(found: Any) -> np.ndarray:
    """Returns a pickled array of numbers, as `load` returns it.

    Raises:
        ValueError: it is no array, or one without a state.
    """
    if not isinstance(found, _Array) or not hasattr(found, "content"):
        raise ValueError(f"expected an array, received {type(found).__name__}")
    return found.content


def integers(found: Any) -> np.ndarray:
    """Returns a list or a pickled array of integers as [n] int64."""
    if isinstance(found, _Array):
        found = array(found)
        return found.astype(np.int64, casting="safe" if found.dtype != np.uint64 else "same_kind")
    if not (type(found) is list and all(type(n) is int and abs(n) < 2**62 for n in found)):
        raise ValueError("expected a list of integers")
    return np.array(found, np.int64)


def _as_text(value: Any) -> str:
    return value.decode("ascii") if type(value) is bytes else str(value)
