"""A run's state as one file: arrays, the states of the run's parts, and what has to be the same when it goes on."""

import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from selectnet_tf.files import replacing

VERSION = 3
TAKEN = ("model", "optimizer", "metrics", "callbacks")  # what Checkpoint keeps besides the parts


class Part(Protocol):
    """What has a state to keep."""

    def get_state(self) -> dict[str, np.ndarray]: ...

    def set_state(self, state: dict[str, np.ndarray], /) -> None: ...


class StateFile:
    """Whole or not there: it is written beside and moved into its place.

    Args:
        path: in NumPy's .npz format.
        parts: name -> object with get_state() -> dict of arrays and set_state(dict).
        header: JSON-ready dict of what has to be the same when the run goes on.

    Attributes:
        or_else: what a message names besides deleting the file, such as " or pass --force".

    Raises:
        ValueError: a header that JSON does not give back, or that has a "version"; a part called as something else in the file.
    """

    or_else = ""

    def __init__(self, path: str | os.PathLike[str], parts: Mapping[str, Part], header: dict[str, Any] | None = None) -> None:
        _check(parts, header or {})
        self.path, self.parts, self.header = pathlib.Path(path), parts, {"version": VERSION, **(header or {})}

    @property
    def cure(self) -> str:
        return f"delete {self.path}{self.or_else} to start this run again"

    def states(self) -> dict[str, np.ndarray]:
        """The parts' states, as PART/NAME. Raises ValueError where one is no array of numbers or texts, which alone can be read back."""
        found = {}
        for name, part in self.parts.items():
            for key, value in part.get_state().items():
                found[f"{name}/{key}"] = array = np.asarray(value)
                if array.dtype.hasobject:
                    what = f"part {name!r} gives {key!r} as a {type(value).__name__}"
                    raise ValueError(f"{what}: get_state has to give arrays of numbers or texts, and to leave out what is not there yet")
        return found

    def write(self, arrays: dict[str, np.ndarray], epoch: int, batch: int = 0) -> None:
        """Keeps `arrays`, the parts' states and how far the run is: `epoch` whole epochs and `batch` batches of the next."""
        kept: dict[str, Any] = {name: _readable(array) for name, array in (arrays | self.states()).items()}
        kept["header"] = np.array(json.dumps(self.header, sort_keys=True))
        kept["position"] = np.array([epoch, batch])
        kept["names"] = np.array(sorted(kept))
        with replacing(self.path) as beside, open(beside, "wb") as file:  # a file, for NumPy adds .npz to a name
            np.savez(file, **kept)
            file.flush()

    def read(self) -> dict[str, np.ndarray]:
        """What was written. Raises ValueError where it is damaged, or of another version or run; says what to do."""
        with open(self.path, "rb") as opened:  # what can't be opened is not damaged
            try:
                with np.load(opened) as file:
                    arrays = {k: file[k] for k in file.files}
                header = json.loads(str(arrays["header"]))
                version = header.get("version")
                whole = version != VERSION or set(arrays["names"]) == set(arrays) - {"names"}
            except MemoryError:
                raise
            except Exception as error:  # zipfile, zlib, NumPy and JSON have a dozen kinds of error for a changed byte
                raise ValueError(f"the state file is damaged ({type(error).__name__}): {self.cure}") from None
        if not whole:
            raise ValueError(f"the state file is damaged (arrays are missing): {self.cure}")
        if version != VERSION:
            what = f"its version is {version}, this run's is {VERSION}"
            raise ValueError(
                f"the state file was written by another release of selectnet_tf ({what}): finish the run with that, or {self.cure}"
            )
        difference = _difference("", header, json.loads(json.dumps(self.header)))
        if difference:
            raise ValueError(f"the state file is of another run ({difference}): use the same, or {self.cure}")
        return arrays

    def put_back(self, arrays: dict[str, np.ndarray]) -> tuple[int, int]:
        """Gives the parts their states. Returns (epoch, batch) to go on from. Raises ValueError where a part refuses its state."""
        for name, part in self.parts.items():
            try:
                part.set_state(group(arrays, name))
            except ValueError as error:
                raise ValueError(f"the state file is of another run ({error}): use the same, or {self.cure}") from None
        epoch, batch = (int(v) for v in arrays["position"])
        return epoch, batch


def _readable(array: np.ndarray) -> np.ndarray:
    """As NumPy can read it back: bfloat16, which it does not have, as float32."""
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else array


def _check(parts: Mapping[str, Part], header: dict[str, Any]) -> None:
    for name in parts:
        if name in TAKEN or "/" in name:
            raise ValueError(
                f"a part is called {name!r}, but may have no / and none of the file's own names, {', '.join(TAKEN)}: rename it"
            )
    if "version" in header:
        raise ValueError("header has a 'version', as the state file has of its own: give yours another name")
    try:
        read = [json.loads(json.dumps(header, sort_keys=True)) for _ in range(2)]
    except (TypeError, ValueError) as error:
        raise ValueError(f"header is not for JSON ({error}): give texts, lists, dicts and Python's numbers, such as float(x)") from None
    if difference := _difference("", *read):
        raise ValueError(f"header equals nothing, not even itself ({difference}): leave out NaN")


def group(arrays: dict[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    """The arrays under NAME/, without it."""
    return {k.split("/", 1)[1]: v for k, v in arrays.items() if k.startswith(f"{name}/")}


def _difference(name: str, theirs: Any, mine: Any) -> str:
    """'' or the first thing in which two headers differ."""
    if isinstance(theirs, dict) and isinstance(mine, dict):
        found = (_difference(f"{name} {key}".strip(), theirs.get(key), mine.get(key)) for key in sorted(theirs.keys() | mine.keys()))
        return next(filter(None, found), "")
    return "" if theirs == mine else f"its {name} is {json.dumps(theirs)}, this run's is {json.dumps(mine)}"
