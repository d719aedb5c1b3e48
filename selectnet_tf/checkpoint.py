"""Exact resume: the whole state of a run in one file, so that a run that was killed ends
bit-identical to one that was not.

Keras's own ways (BackupAndRestore, save_weights, .keras) lose Dropout's seed states, so every
variable is stored here.
"""

import contextlib
import json
import os
import pathlib
import signal
from collections.abc import Iterator, Mapping
from types import FrameType
from typing import Any, Protocol

import keras
import numpy as np

from selectnet_tf._files import replacing

MONITORS = (
    keras.callbacks.EarlyStopping,
    keras.callbacks.ReduceLROnPlateau,
    keras.callbacks.ModelCheckpoint,
)
KEPT = (
    "best",
    "wait",
    "cooldown_counter",
    "best_epoch",
    "stopped_epoch",
    "_batches_seen_since_last_saving",
)  # of these, and best_weights


class Stopped(SystemExit):
    """A signal asked to stop, and the state has been saved.

    Its code is 128 + the signal's number, as shells expect.
    """


class Checkpoint(keras.callbacks.Callback):
    """Saves the whole state after each epoch and, inside `signals()`, after the batch in which
    SIGINT or SIGTERM comes. The last callback.

    What Keras's EarlyStopping, ReduceLROnPlateau and ModelCheckpoint remember is saved too.

    Args:
        path: the state file, in NumPy's .npz format.
        parts: name -> object with get_state() -> dict of arrays and set_state(dict), e.g.
            {"selection": selection}.
        header: JSON-ready dict of what has to be the same when the run goes on, e.g. {"recipe":
            ..., "replicas": 1}.

    Attributes:
        stopped: whether the restored run was ended by a callback, such as EarlyStopping; `fit`
            leaves it ended.
        others: the run's callbacks; `fit` sets them.
        batch_size: images a step; that of the restored state until `fit` sets its own, and 0
            before either.
        position: (epoch, batch) that `restore` returned, or that the last state saved goes on
            from; None before either. `fit` goes on from there alone.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        parts: dict[str, Any],
        header: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.file = StateFile(path, parts, header)
        self.others: list[keras.callbacks.Callback] = []
        self._signal: int | None = None
        self._epoch = 0
        self._restored = False
        self._begin_anew()

    def _begin_anew(self) -> None:
        """Forgets a state that was put back."""
        self.stopped = False
        self.position: tuple[int, int] | None = None
        self.batch_size = 0
        self._rates: list[tuple[Any, np.ndarray]] = []
        self._first_batch = 0  # where a half epoch goes on
        self._metrics: list[np.ndarray] = []
        self._monitors: dict[str, np.ndarray] = {}

    @contextlib.contextmanager
    def signals(self) -> Iterator[None]:
        """Inside, SIGINT and SIGTERM let the batch finish, save, and raise Stopped.

        Where the model takes several steps an execution, they let the epoch finish: releases of
        Keras count its batches differently.
        """

        def note(number: int, frame: FrameType | None) -> None:
            self._signal = number

        self._signal = None  # one that came in an earlier run has ended that one
        old = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
            self.heed_signal()  # that came after the last epoch was saved
        finally:
            for number, handler in old.items():
                signal.signal(number, handler)

    def heed_signal(self) -> None:
        """Raises Stopped where a signal has come."""
        number, self._signal = self._signal, None
        if number:
            raise Stopped(128 + number)

    def set_model(self, model: keras.Model) -> None:
        super().set_model(model)
        half = (
            model.optimizer.variables if self._first_batch else []
        )  # read before any callback sets them
        self._rates = [
            (v, keras.ops.convert_to_numpy(v)) for v in half if v.name == "learning_rate"
        ]

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        if not self._restored and self.file.path.exists():
            raise ValueError(
                f"{self.file.path} holds a run that this one would overwrite: call restore(model)"
                " before fit, or delete it"
            )
        self._restored = True
        self.file.path.parent.mkdir(parents=True, exist_ok=True)
        self.file.states()  # what can't be kept is said before the first epoch
        for callback in self.others:  # after they have set themselves back
            self.remind(callback)
        self._monitors = {}

    @property
    def fills_metrics(self) -> bool:
        """Whether the model has the metrics that the restored half epoch had

        It lacks them until it was called once.
        """
        return [list(v.shape) for v in self.model.metrics_variables] == [
            list(v.shape) for v in self._metrics
        ]

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._epoch = epoch
        for variable, value in (
            self._rates if self._first_batch else ()
        ):  # callbacks set them once more in the epoch that goes on
            variable.assign(value)
        if self._metrics:  # going on in mid-epoch: Keras has just set the metrics back to zero
            if not self.fills_metrics:
                raise ValueError(
                    "the state file is of a half epoch with other metrics: compile the model with"
                    " the same ones"
                )
            for variable, value in zip(self.model.metrics_variables, self._metrics, strict=True):
                variable.assign(value)
            self._metrics = []

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if (
            self._signal
            and batch + 1 < self.params["steps"]
            and getattr(self.model, "steps_per_execution", 1) == 1
        ):
            self.save(self._epoch, self._first_batch + batch + 1)
            self.heed_signal()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._first_batch = 0
        self.save(epoch + 1)
        self.heed_signal()

    def remind(self, callback: keras.callbacks.Callback) -> None:
        """Gives one of the `others` back what it remembered when the restored state was saved."""
        for name, other in self._monitoring():
            if other is callback:
                _set_monitor(callback, subtree(self._monitors, name))

    def _monitoring(self) -> list[tuple[str, keras.callbacks.Callback]]:
        return [
            (f"{type(c).__name__}{i}", c)
            for i, c in enumerate(c for c in self.others if isinstance(c, MONITORS))
        ]

    def save(self, epoch: int, batch: int = 0) -> None:
        """Writes the state after `epoch` whole epochs and `batch` batches of the next."""
        variables = {"model": self.model.variables, "optimizer": self.model.optimizer.variables}
        if batch:
            variables["metrics"] = self.model.metrics_variables
        arrays = {
            f"{k}/{i}": keras.ops.convert_to_numpy(v)
            for k, vs in variables.items()
            for i, v in enumerate(vs)
        }
        for name, callback in self._monitoring():
            arrays |= {f"callbacks/{name}/{k}": v for k, v in _monitor_state(callback).items()}
        arrays["batch_size"] = np.array(self.batch_size)
        arrays["stopped"] = np.array(bool(getattr(self.model, "stop_training", False)))
        self.file.write(arrays, epoch, batch)
        self.position = epoch, batch

    def restore(self, model: keras.Model) -> tuple[int, int]:
        """Puts a saved state back. Returns (epoch, batch) to go on from; (0, 0) where there is no
        state file.

        Raises:
            ValueError: the file is damaged, or of another recipe, replica count, model, data or
                version; says what to do. Or the model is not compiled.
        """
        if getattr(model, "optimizer", None) is None:
            raise ValueError(
                "the model is not compiled: call model.compile(optimizer, loss) before"
                " restore(model)"
            )
        self._restored = True
        self._begin_anew()
        if not self.file.path.exists():
            self.position = 0, 0
            return self.position
        arrays = self.file.read()
        epoch, self._first_batch = self.file.put_back(arrays)
        self._build(model)
        self._restore_variables(model, arrays)
        self._metrics = _numbered(subtree(arrays, "metrics"))
        self._monitors = subtree(arrays, "callbacks")
        self.stopped = bool(arrays["stopped"])
        self.batch_size = int(arrays.get("batch_size", 0))  # older states lack it
        self.position = epoch, self._first_batch
        return self.position

    def _build(self, model: keras.Model) -> None:
        """Makes the weights of a model that has never been called, on an image of the selection's
        pool.
        """
        if model.built:
            return
        pools = (getattr(part, "pool", None) for part in self.file.parts.values())
        pool = next((pool for pool in pools if pool is not None), None)
        if pool is None:
            raise ValueError(
                "the model has no weights yet, so nothing can be put back: call it on one batch"
                " before restore(model)"
            )
        with model.distribute_strategy.scope():
            model(pool.images[:1])

    def _restore_variables(self, model: keras.Model, arrays: dict[str, np.ndarray]) -> None:
        with model.distribute_strategy.scope():
            model.optimizer.build(model.trainable_variables)
        found = [
            (name, _numbered(subtree(arrays, name)), of.variables)
            for name, of in (("model", model), ("optimizer", model.optimizer))
        ]
        for name, saved, variables in found:
            shapes = [[list(v.shape) for v in values] for values in (saved, variables)]
            if shapes[0] != shapes[1]:
                what = next(
                    (f"{a} against {b}" for a, b in zip(*shapes, strict=False) if a != b),
                    f"{len(saved)} against {len(variables)} arrays",
                )
                raise ValueError(
                    f"the state file is of another {name} ({what}): use the same, or"
                    f" {self.file.cure}"
                )
        for _, saved, variables in found:
            for variable, value in zip(variables, saved, strict=True):
                variable.assign(value)


def _monitor_state(callback: keras.callbacks.Callback) -> dict[str, np.ndarray]:
    state = {
        k: np.asarray(getattr(callback, k)) for k in KEPT if getattr(callback, k, None) is not None
    }
    return state | {
        f"best_weights/{i}": w for i, w in enumerate(getattr(callback, "best_weights", None) or [])
    }


def _set_monitor(callback: keras.callbacks.Callback, state: dict[str, np.ndarray]) -> None:
    for name in KEPT:
        if name in state:
            setattr(callback, name, state[name].item())
    if weights := _numbered(subtree(state, "best_weights")):
        callback.best_weights = weights


def _numbered(arrays: dict[str, np.ndarray]) -> list[np.ndarray]:
    return [arrays[str(i)] for i in range(len(arrays))]


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
        ValueError: a header that JSON does not give back, or that has a "version"; a part
            called as something else in the file.
    """

    or_else = ""

    def __init__(
        self,
        path: str | os.PathLike[str],
        parts: Mapping[str, Part],
        header: dict[str, Any] | None = None,
    ) -> None:
        _check_contents(parts, header or {})
        self.path, self.parts, self.header = (
            pathlib.Path(path),
            parts,
            {"version": VERSION, **(header or {})},
        )

    @property
    def cure(self) -> str:
        return f"delete {self.path}{self.or_else} to start this run again"

    def states(self) -> dict[str, np.ndarray]:
        """The parts' states, as PART/NAME.

        Raises ValueError where one is no array of numbers or texts, which alone can be read back.
        """
        found = {}
        for name, part in self.parts.items():
            for key, value in part.get_state().items():
                found[f"{name}/{key}"] = array = np.asarray(value)
                if array.dtype.hasobject:
                    what = f"part {name!r} gives {key!r} as a {type(value).__name__}"
                    raise ValueError(
                        f"{what}: get_state has to give arrays of numbers or texts, and to leave"
                        " out what is not there yet"
                    )
        return found

    def write(self, arrays: dict[str, np.ndarray], epoch: int, batch: int = 0) -> None:
        """Keeps `arrays`, the parts' states and how far the run is:

        `epoch` whole epochs and `batch` batches of the next.
        """
        kept: dict[str, Any] = {
            name: _readable(array) for name, array in (arrays | self.states()).items()
        }
        kept["header"] = np.array(json.dumps(self.header, sort_keys=True))
        kept["position"] = np.array([epoch, batch])
        kept["names"] = np.array(sorted(kept))
        with (
            replacing(self.path) as beside,
            open(beside, "wb") as file,
        ):  # a file, for NumPy adds .npz to a name
            np.savez(file, **kept)
            file.flush()

    def read(self) -> dict[str, np.ndarray]:
        """What was written.

        Raises ValueError where it is damaged, or of another version or run; says what to do.
        """
        with open(self.path, "rb") as opened:  # what can't be opened is not damaged
            try:
                with np.load(opened) as file:
                    arrays = {k: file[k] for k in file.files}
                header = json.loads(str(arrays["header"]))
                version = header.get("version")
                whole = version != VERSION or set(arrays["names"]) == set(arrays) - {"names"}
            except MemoryError:
                raise
            # zipfile, zlib, NumPy and JSON have a dozen kinds of error for a changed byte
            except Exception as error:
                raise ValueError(
                    f"the state file is damaged ({type(error).__name__}): {self.cure}"
                ) from None
        if not whole:
            raise ValueError(f"the state file is damaged (arrays are missing): {self.cure}")
        if version != VERSION:
            what = f"its version is {version}, this run's is {VERSION}"
            raise ValueError(
                f"the state file was written by another release of selectnet_tf ({what}): finish"
                f" the run with that, or {self.cure}"
            )
        difference = _first_difference("", header, json.loads(json.dumps(self.header)))
        if difference:
            raise ValueError(
                f"the state file is of another run ({difference}): use the same, or {self.cure}"
            )
        return arrays

    def put_back(self, arrays: dict[str, np.ndarray]) -> tuple[int, int]:
        """Gives the parts their states.

        Returns (epoch, batch) to go on from. Raises ValueError where a part refuses its state.
        """
        for name, part in self.parts.items():
            try:
                part.set_state(subtree(arrays, name))
            except ValueError as error:
                raise ValueError(
                    f"the state file is of another run ({error}): use the same, or {self.cure}"
                ) from None
        epoch, batch = (int(v) for v in arrays["position"])
        return epoch, batch


def _readable(array: np.ndarray) -> np.ndarray:
    """As NumPy can read it back: bfloat16, which it does not have, as float32."""
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else array


def _check_contents(parts: Mapping[str, Part], header: dict[str, Any]) -> None:
    for name in parts:
        if name in TAKEN or "/" in name:
            raise ValueError(
                f"a part is called {name!r}, but may have no / and none of the file's own names,"
                f" {', '.join(TAKEN)}: rename it"
            )
    if "version" in header:
        raise ValueError(
            "header has a 'version', as the state file has of its own: give yours another name"
        )
    try:
        read = [json.loads(json.dumps(header, sort_keys=True)) for _ in range(2)]
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"header is not for JSON ({error}): give texts, lists, dicts and Python's numbers, such"
            " as float(x)"
        ) from None
    if difference := _first_difference("", *read):
        raise ValueError(f"header equals nothing, not even itself ({difference}): leave out NaN")


def subtree(arrays: dict[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    """The arrays under NAME/, without it."""
    return {k.split("/", 1)[1]: v for k, v in arrays.items() if k.startswith(f"{name}/")}


def _first_difference(name: str, theirs: Any, mine: Any) -> str:
    """'' or the first thing in which two headers differ."""
    if isinstance(theirs, dict) and isinstance(mine, dict):
        found = (
            _first_difference(f"{name} {key}".strip(), theirs.get(key), mine.get(key))
            for key in sorted(theirs.keys() | mine.keys())
        )
        return next(filter(None, found), "")
    return (
        ""
        if theirs == mine
        else f"its {name} is {json.dumps(theirs)}, this run's is {json.dumps(mine)}"
    )
