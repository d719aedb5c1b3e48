"""Exact resume: a run's whole state in one file, so that a killed run ends with the same bits.

Keras's own ways (BackupAndRestore, save_weights, .keras) lose Dropout's seed states, so every
variable is stored here.
"""

import contextlib
import json
import os
import pathlib
import signal
import threading
import warnings
from collections.abc import Iterator, Mapping
from types import FrameType
from typing import Any

import keras
import numpy as np

from selectnet_tf._backend import build, scope
from selectnet_tf._files import replacing

MONITORS = (
    keras.callbacks.EarlyStopping,
    keras.callbacks.ReduceLROnPlateau,
    keras.callbacks.ModelCheckpoint,
)
KEPT = (  # attributes of MONITORS, besides best_weights
    "best",
    "wait",
    "cooldown_counter",
    "best_epoch",
    "stopped_epoch",
    "_batches_seen_since_last_saving",
)
VERSION = 4
TAKEN = ("model", "optimizer", "metrics", "callbacks")  # names of Checkpoint's own arrays


class Stopped(SystemExit):
    """Raised by a signal, once the state is saved; its code is 128 + the signal's number."""


class Checkpoint(keras.callbacks.Callback):
    """The callback that saves the whole state after each epoch; `fit` runs it last.

    Inside `signals()`, SIGINT and SIGTERM save it after the current batch. The states of Keras's
    EarlyStopping, ReduceLROnPlateau and ModelCheckpoint are saved too.

    Args:
        path: the state file, in NumPy's .npz format.
        parts: name -> object with get_state() -> dict of arrays and set_state(dict), such as
            {"selection": selection}.
        header: a JSON-ready dict that a resumed run must share, such as {"recipe": ...,
            "replicas": 1}.

    Attributes:
        stopped: whether EarlyStopping had ended the restored run; `fit` leaves it ended.
        batch_size: images a step, of the restored state until `fit` sets its own; 0 before either.
        position: the (epoch, batch) that the restored or last saved state continues from; None
            before either. `fit` continues from there alone.
        others: the run's callbacks; `fit` sets them.
        or_else: the alternative to deleting the file in messages, such as " or pass --force".

    Raises:
        ValueError: a header that is no JSON, or with a "version"; a part with a reserved name.
    """

    or_else = ""

    def __init__(
        self,
        path: str | os.PathLike[str],
        parts: dict[str, Any],
        header: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        _check_contents(parts, header or {})
        self.path, self.parts = pathlib.Path(path), parts
        self.header = {"version": VERSION, **(header or {})}
        self.others: list[keras.callbacks.Callback] = []
        self._signal: int | None = None
        self._epoch = 0
        self._restored = self._diverged = self._cut = False
        self._forget()

    def _forget(self) -> None:
        """Forgets a restored state."""
        self.stopped = False
        self.position: tuple[int, int] | None = None
        self.batch_size = 0
        self._rates: list[tuple[Any, np.ndarray]] = []
        self._first_batch = 0  # of a resumed half epoch
        self._metrics: list[np.ndarray] = []
        self._monitors: dict[str, np.ndarray] = {}

    @contextlib.contextmanager
    def signals(self) -> Iterator[None]:
        """Makes SIGINT and SIGTERM finish the batch, save, and raise Stopped.

        Outside the main thread, where Python takes no signals, nothing changes. With several steps
        an execution, they finish the epoch: releases of Keras count its batches
        differently.
        """

        def note(number: int, frame: FrameType | None) -> None:
            self._signal = number

        self._signal = None  # forgets a signal of an earlier run
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        old = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
            self.heed_signal()  # it may come after the last epoch was saved
        finally:
            for number, handler in old.items():
                signal.signal(number, handler)

    def heed_signal(self) -> None:
        """Raises Stopped after a signal."""
        number, self._signal = self._signal, None
        if number:
            raise Stopped(128 + number)

    def set_model(self, model: keras.Model) -> None:
        super().set_model(model)
        self._rates = []
        for variable in model.optimizer.variables if self._first_batch else ():
            if variable.name == "learning_rate":  # read before any callback sets it
                self._rates.append((variable, keras.ops.convert_to_numpy(variable)))

    def prepare(self) -> None:
        """Makes the file's folder; `fit` calls it before the callbacks, which may empty files.

        Raises:
            ValueError: the file holds a run that was not restored, or a state can't be saved.
        """
        if not self._restored and self.path.exists():
            raise ValueError(
                f"{self.path} holds a run that this one would overwrite: call restore(model)"
                " before fit, or delete it"
            )
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._collect_states()  # raises now where a state can't be saved

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.prepare()
        self._restored = True
        self._diverged = False
        for callback in self.others:  # after they have reset themselves
            self.remind(callback)
        self._monitors = {}

    @property
    def fills_metrics(self) -> bool:
        """Whether the model has the restored half epoch's metrics, as it does once called."""
        shapes = [list(v.shape) for v in self.model.metrics_variables]
        return shapes == [list(v.shape) for v in self._metrics]

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._epoch = epoch
        if self._first_batch:  # callbacks have set the rate again in the resumed epoch
            for variable, value in self._rates:
                variable.assign(value)
        if self._metrics:  # Keras has just reset the resumed epoch's metrics
            if not self.fills_metrics:
                raise ValueError(
                    "the state file is of a half epoch with other metrics: compile the model with"
                    " the same ones"
                )
            for variable, value in zip(self.model.metrics_variables, self._metrics, strict=True):
                variable.assign(value)
            self._metrics = []

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        single = getattr(self.model, "steps_per_execution", 1) == 1
        left = batch + 1 < self.params["steps"]
        self._cut = left and bool(self.model.stop_training)  # by a callback, as at a time limit
        if left and single and (self._signal or self._cut):
            self.save(self._epoch, self._first_batch + batch + 1)
            self.heed_signal()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._first_batch = 0
        if not self._cut:
            self.save(epoch + 1)
        self.heed_signal()

    def remind(self, callback: keras.callbacks.Callback) -> None:
        """Restores the saved state of one of the `others`."""
        kind = type(callback).__name__
        names = dict.fromkeys(name.split("/")[0] for name in self._monitors)  # in their order
        saved = [name for name in names if name.removeprefix(kind).isdigit()]
        # by the order within the kind, as callbacks of another kind may come and go
        alike = [c for c in self.others if type(c).__name__ == kind]
        for name, other in zip(saved, alike, strict=False):
            if other is callback:
                _set_monitor(callback, strip_prefix(self._monitors, f"{name}/"))

    def _monitoring(self) -> list[tuple[str, keras.callbacks.Callback]]:
        monitors = [c for c in self.others if isinstance(c, MONITORS)]
        return [(f"{type(c).__name__}{i}", c) for i, c in enumerate(monitors)]

    def save(self, epoch: int, batch: int = 0) -> None:
        """Writes the state after `epoch` whole epochs and `batch` batches of the next one.

        Weights that are not finite are not written: the file keeps the last state that is.
        """
        variables = {"model": self.model.variables, "optimizer": self.model.optimizer.variables}
        if batch:
            variables["metrics"] = self.model.metrics_variables
        arrays = {
            f"{k}/{i}": keras.ops.convert_to_numpy(v)
            for k, vs in variables.items()
            for i, v in enumerate(vs)
        }
        if not all(_is_finite(v) for k, v in arrays.items() if not k.startswith("metrics")):
            self._warn_not_finite(epoch)
            return
        for name, callback in self._monitoring():
            arrays |= {f"callbacks/{name}/{k}": v for k, v in _monitor_state(callback).items()}
        arrays["batch_size"] = np.array(self.batch_size)
        arrays["optimizer_kind"] = np.array(_optimizer_kind(self.model))
        # EarlyStopping's; an end by another callback, as at a time limit, is none for good
        ended = any(getattr(c, "stopped_epoch", 0) for c in self.others)
        arrays["stopped"] = np.array(ended and bool(getattr(self.model, "stop_training", False)))
        arrays = {k: _readable(v) for k, v in (arrays | self._collect_states()).items()}
        arrays["header"] = np.array(json.dumps(self.header, sort_keys=True))
        arrays["position"] = np.array([epoch, batch])
        arrays["names"] = np.array(sorted(arrays))
        with replacing(self.path) as beside, open(beside, "wb") as file:
            np.savez(file, **arrays)  # to a file: NumPy adds .npz to a name
        self.position = epoch, batch

    def _warn_not_finite(self, epoch: int) -> None:
        if not self._diverged:
            self._diverged = True
            kept, rate = "no state", "a smaller learning rate"
            if self.path.exists():  # with the compiled rate, which a resumed run keeps
                kept = f"{self.path} keeps the last good state"
                rate += " by keras.callbacks.LearningRateScheduler(lambda epoch: 1e-4)"
            warnings.warn(
                f"the weights after {epoch} epochs are not finite and not saved ({kept}): train"
                f" with clipnorm=1 in the optimizer or with {rate}",
                stacklevel=2,
            )

    def restore(self, model: keras.Model) -> tuple[int, int]:
        """Restores a saved state. Returns (epoch, batch) to resume at; (0, 0) without a state file.

        Args:
            model: the compiled model.

        Raises:
            ValueError: the model is not compiled, or the file is damaged or of another header,
                model, data or version; names the cure.
        """
        if getattr(model, "optimizer", None) is None:
            raise ValueError(
                "the model is not compiled: call model.compile(optimizer, loss) before"
                " restore(model)"
            )
        self._restored = True
        self._forget()
        if not self.path.exists():
            self.position = 0, 0
            return self.position
        arrays = self.read()
        for name, part in self.parts.items():
            try:
                part.set_state(strip_prefix(arrays, f"{name}/"))
            except ValueError as error:
                raise self._differs("run", error) from None
        epoch, self._first_batch = (int(v) for v in arrays["position"])
        self._build(model)
        self._restore_variables(model, arrays)
        self._metrics = _numbered(arrays, "metrics")
        self._monitors = strip_prefix(arrays, "callbacks/")
        self.stopped = bool(arrays["stopped"])
        self.batch_size = int(arrays["batch_size"])
        self.position = epoch, self._first_batch
        return self.position

    def _build(self, model: keras.Model) -> None:
        """Creates the weights of a model that was never called, by an image of the pool."""
        if model.built:
            return
        pools = (getattr(part, "pool", None) for part in self.parts.values())
        pool = next((pool for pool in pools if pool is not None), None)
        if pool is None:
            raise ValueError(
                "the model has no weights yet to restore: call it on one batch before"
                " restore(model)"
            )
        build(model, pool.images)

    def _restore_variables(self, model: keras.Model, arrays: dict[str, np.ndarray]) -> None:
        with scope(model):
            model.optimizer.build(model.trainable_variables)
        kind = _optimizer_kind(model)
        before = str(arrays["optimizer_kind"])
        if before != kind:  # kinds may have variables of the same shapes
            raise self._differs("optimizer", f"{before}, not {kind}")
        found = [
            (name, _numbered(arrays, name), of.variables)
            for name, of in (("model", model), ("optimizer", model.optimizer))
        ]
        for name, saved, variables in found:
            shapes = [[list(v.shape) for v in values] for values in (saved, variables)]
            if shapes[0] != shapes[1]:
                pairs = (f"{a}, not {b}" for a, b in zip(*shapes, strict=False) if a != b)
                raise self._differs(name, next(pairs, f"{len(saved)} arrays, not {len(variables)}"))
        for _, saved, variables in found:
            for variable, value in zip(variables, saved, strict=True):
                variable.assign(value)

    @property
    def _cure(self) -> str:
        """The end of a message: how to start the run again."""
        return f"delete {self.path}{self.or_else} to start this run again"

    def _differs(self, what: str, difference: object) -> ValueError:
        said = f"the state file is of another {what} ({difference})"
        return ValueError(f"{said}: use the same, or {self._cure}")

    def _collect_states(self) -> dict[str, np.ndarray]:
        """Returns the parts' states as PART/NAME.

        Raises:
            ValueError: a state is no array of numbers or texts.
        """
        found = {}
        for name, part in self.parts.items():
            for key, value in part.get_state().items():
                found[f"{name}/{key}"] = array = np.asarray(value)
                if array.dtype.hasobject:
                    raise ValueError(
                        f"part {name!r} returns {key!r} as a {type(value).__name__}: get_state has"
                        " to return arrays of numbers or texts, and no entry for None"
                    )
        return found

    def read(self) -> dict[str, np.ndarray]:
        """Returns the arrays of the file.

        Raises:
            ValueError: the file is damaged, or of another version or run; names the cure.
        """
        with open(self.path, "rb") as opened:  # outside try: an OSError is no damage
            try:
                with np.load(opened) as file:
                    arrays = {k: file[k] for k in file.files}
                header = json.loads(str(arrays["header"]))
                version = header.get("version")
                whole = version != VERSION or set(arrays["names"]) == set(arrays) - {"names"}
            except MemoryError:
                raise
            # zipfile, zlib, NumPy and JSON raise a dozen kinds of error for a changed byte
            except Exception as error:
                raise ValueError(
                    f"the state file is damaged ({type(error).__name__}): {self._cure}"
                ) from None
        if not whole:
            raise ValueError(f"the state file is damaged (arrays are missing): {self._cure}")
        if version != VERSION:
            raise ValueError(
                "the state file was written by another release of selectnet_tf (its version is"
                f" {version}, this run's is {VERSION}): finish the run with that, or {self._cure}"
            )
        difference = _first_difference("", header, json.loads(json.dumps(self.header)))
        if difference:
            raise self._differs("run", difference)
        return arrays


def _check_contents(parts: Mapping[str, Any], header: dict[str, Any]) -> None:
    for name in parts:
        if name in TAKEN or "/" in name:
            raise ValueError(
                f"a part is called {name!r}, but has to have no / and none of the reserved names"
                f" {', '.join(TAKEN)}: rename it"
            )
    if "version" in header:
        raise ValueError(
            "header has a 'version', which is the state file's own: give yours another name"
        )
    try:
        json.dumps(header, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"header can't be JSON ({error}): give texts, lists, dicts and Python's numbers, such"
            " as float(x)"
        ) from None


def _first_difference(name: str, theirs: Any, mine: Any) -> str:
    """Returns the first difference between two headers, or ''."""
    if isinstance(theirs, dict) and isinstance(mine, dict):
        found = (
            _first_difference(f"{name} {key}".strip(), theirs.get(key), mine.get(key))
            for key in sorted(theirs.keys() | mine.keys())
        )
        return next(filter(None, found), "")
    if theirs == mine:
        return ""
    return f"its {name} is {json.dumps(theirs)}, this run's is {json.dumps(mine)}"


def strip_prefix(arrays: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """Returns the arrays whose names begin with `prefix`, without it."""
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}


def _is_finite(array: np.ndarray) -> bool:
    array = _readable(array)
    return array.dtype.kind != "f" or bool(np.isfinite(array).all())


def _readable(array: np.ndarray) -> np.ndarray:
    """Returns bfloat16, which NumPy can't read back, as float32; other arrays as they are."""
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else array


def _optimizer_kind(model: keras.Model) -> str:
    optimizer = model.optimizer
    return type(getattr(optimizer, "inner_optimizer", optimizer)).__name__  # of mixed_float16


def _monitor_state(callback: keras.callbacks.Callback) -> dict[str, np.ndarray]:
    values = {k: getattr(callback, k, None) for k in KEPT}
    state = {k: np.asarray(v) for k, v in values.items() if v is not None}
    weights = getattr(callback, "best_weights", None) or []
    return state | {f"best_weights/{i}": w for i, w in enumerate(weights)}


def _set_monitor(callback: keras.callbacks.Callback, state: dict[str, np.ndarray]) -> None:
    for name in KEPT:
        if name in state:
            setattr(callback, name, state[name].item())
    if weights := _numbered(state, "best_weights"):
        callback.best_weights = weights


def _numbered(arrays: dict[str, np.ndarray], name: str) -> list[np.ndarray]:
    """Returns the arrays NAME/0, NAME/1 and so on."""
    found = strip_prefix(arrays, f"{name}/")
    return [found[str(i)] for i in range(len(found))]
