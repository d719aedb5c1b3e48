"""Reads pickles of numbers without calling anything that they name.

Python's unpickler builds NumPy arrays from any state in the file, and NumPy trusts that state: a
crafted batch of 170 bytes crashes the process. Here `load` builds dicts, lists and bytes only. An
array stays a description until `array` has checked its dtype, shape and length.
"""

import dataclasses
import pickletools
from typing import Any

import numpy as np

ARRAY, DTYPE, RECONSTRUCT, ENCODE = "ndarray", "dtype", "_reconstruct", "encode"
MODULES = ("numpy", "numpy.core.multiarray", "numpy._core.multiarray", "_codecs")
PLAIN = {  # opcodes that push their argument
    **dict.fromkeys(
        ("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT")
    ),
    **dict.fromkeys(("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINBYTES", "SHORT_BINBYTES")),
}
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}


class Forbidden(Exception):
    """A file names a function or class that no file of numbers needs."""


@dataclasses.dataclass(frozen=True)
class _Name:
    """One of the four names that a pickled array needs."""

    name: str


@dataclasses.dataclass(eq=False)
class _Made:
    """Description of an object in the file.

    Attributes:
        by: name of its constructor.
        arguments: of the constructor.
        state: set afterwards.
    """

    by: str
    arguments: tuple
    state: Any = None


_MARK = object()


def load(content: bytes) -> Any:
    """Returns the content of a pickle of dicts, lists, tuples, numbers, text, bytes and arrays.

    An array is returned as an argument for `array`.

    Raises:
        Forbidden: the pickle names another class or function.
        Exception: the pickle is damaged.
    """
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    argument: Any
    for opcode, argument, _ in pickletools.genops(content):
        name = opcode.name
        if name in PLAIN:
            stack.append(argument)
        elif name in CONSTANTS:
            stack.append(CONSTANTS[name])
        elif name in ("STRING", "BINSTRING", "SHORT_BINSTRING"):  # Python 2's bytes
            stack.append(argument.encode("latin1"))
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name == "STOP":
            return stack.pop()
        elif name not in ("PROTO", "FRAME"):
            _build(name, argument, stack)
    raise ValueError("the file ends too early")


def _build(name: str, argument: Any, stack: list[Any]) -> None:
    """Applies one instruction to the stack."""
    if name == "MARK":
        stack.append(_MARK)
    elif name in ("EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE"):
        stack.append({"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}[name]())
    elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
        size = int(name[-1])
        stack[-size:] = [tuple(stack[-size:])]
    elif name == "TUPLE":
        stack.append(tuple(_since_mark(stack)))
    elif name in ("LIST", "DICT"):
        made = _since_mark(stack)
        stack.append(made if name == "LIST" else _put({}, made))
    elif name in ("APPEND", "APPENDS"):
        more = [stack.pop()] if name == "APPEND" else _since_mark(stack)
        _expect(stack[-1], list).extend(more)
    elif name in ("SETITEM", "SETITEMS"):
        more = [stack.pop(-2), stack.pop()] if name == "SETITEM" else _since_mark(stack)
        _put(_expect(stack[-1], dict), more)
    elif name in ("GLOBAL", "STACK_GLOBAL"):
        stack.append(
            _known(*(argument.split(" ", 1) if name == "GLOBAL" else (stack.pop(-2), stack.pop())))
        )
    elif name == "REDUCE":
        arguments, named = stack.pop(), stack.pop()
        stack.append(_made(_expect(named, _Name).name, _expect(arguments, tuple)))
    elif name == "BUILD":
        state = stack.pop()
        _expect(stack[-1], _Made).state = state
    else:
        raise ValueError(f"an unsupported instruction {name}")


def _since_mark(stack: list[Any]) -> list[Any]:
    place = len(stack) - 1
    while stack[place] is not _MARK:
        place -= 1
        if place < 0:
            raise ValueError("no mark")
    found = stack[place + 1 :]
    del stack[place:]
    return found


def _expect(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise ValueError(f"expected {kind.__name__}, received {type(value).__name__}")
    return value


def _put(into: dict, items: list[Any]) -> dict:
    for key, value in zip(items[::2], items[1::2], strict=True):
        if type(key) not in (bytes, str):  # hashing nested tuples takes for ever
            raise ValueError(f"expected a text as key, received {type(key).__name__}")
        into[key] = value
    return into


def _known(module: Any, name: Any) -> _Name:
    if module not in MODULES or name not in (ARRAY, DTYPE, RECONSTRUCT, ENCODE):
        raise Forbidden(f"{module}.{name}")
    return _Name(name)


def _made(name: str, arguments: tuple) -> Any:
    if name == ENCODE:  # Python 3 writes bytes so for old protocols
        text, codec = arguments
        if codec not in ("latin1", b"latin1"):
            raise Forbidden(f"the codec {codec}")
        return _expect(text, str).encode("latin1")
    return _Made(name, arguments)


def array(found: Any) -> np.ndarray:
    """Returns a pickled array of numbers.

    Args:
        found: as `load` returns it.

    Raises:
        Forbidden: an array of another kind.
        ValueError, TypeError: a dtype, shape or length that does not fit.
    """
    if _expect(found, _Made).by != RECONSTRUCT or found.arguments[:2] != (_Name(ARRAY), (0,)):
        raise Forbidden("an array of an unknown kind")
    _, shape, made, fortran, content = _expect(found.state, tuple)
    if _expect(made, _Made).by != DTYPE:
        raise Forbidden("a dtype of an unknown kind")
    kind, order = made.arguments[0], _expect(made.state, tuple)[1]
    kind, order = (
        v.decode("ascii") if type(v) is bytes else _expect(v, str) for v in (kind, order)
    )
    if kind not in ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8") or order not in (
        "|",
        "<",
        ">",
        "=",
    ):
        raise ValueError(f"an array of {kind}")
    if not all(type(size) is int and size >= 0 for size in _expect(shape, tuple)):
        raise ValueError("expected a shape of sizes")
    flat = np.frombuffer(_expect(content, bytes), np.dtype(("" if order == "|" else order) + kind))
    return flat.reshape(shape, order="F" if fortran is True else "C")


def integers(found: Any) -> np.ndarray:
    """Returns a list or a pickled array of integers as [n] int64."""
    if isinstance(found, _Made):
        found = array(found)
        return found.astype(np.int64, casting="safe" if found.dtype != np.uint64 else "same_kind")
    if not all(type(value) is int and abs(value) < 2**62 for value in _expect(found, list)):
        raise ValueError("expected a list of integers")
    return np.array(found, np.int64)
