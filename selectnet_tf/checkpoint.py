"""Exact resume: the whole state of a run in one file, so that a run that was killed ends bit-identical to one that was not.

Keras's own ways (BackupAndRestore, save_weights, .keras) lose Dropout's seed states, so every variable is stored here.
"""

import contextlib
import json
import pathlib
import signal

import keras
import numpy as np

from selectnet_tf.files import replacing

VERSION = 2


class Stopped(SystemExit):
    """A signal asked to stop, and the state has been saved. Its code is 128 + the signal's number, as shells expect."""


class Checkpoint(keras.callbacks.Callback):
    """Saves the whole state after each epoch, and after the batch in which SIGINT or SIGTERM comes. The last callback.

    Args:
        path: the state file, an .npz.
        parts: name -> object with get_state() -> dict of arrays and set_state(dict), e.g. {"selection": selection}.
        header: JSON-ready dict of what has to be the same when the run goes on, e.g. {"recipe": ..., "replicas": 1}.
    """

    def __init__(self, path, parts, header):
        super().__init__()
        self.path, self.parts, self.header = pathlib.Path(path), parts, {"version": VERSION, **header}
        self._signal = self._epoch = self._metrics = None
        self._first_batch = 0  # where a half epoch goes on

    @contextlib.contextmanager
    def signals(self):
        """Inside, SIGINT and SIGTERM let the batch finish, save, and raise Stopped."""

        def note(number, frame):
            self._signal = number

        old = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in old.items():
                signal.signal(number, handler)

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch
        if self._metrics is not None:  # going on in mid-epoch: Keras has just set the metrics back to zero
            if len(self.model.metrics_variables) < len(self._metrics):  # without a strategy, they are made at first use
                self._make_metrics()
            for variable, value in zip(self.model.metrics_variables, self._metrics, strict=True):
                variable.assign(value)
            self._metrics = None

    def _make_metrics(self):
        output = np.eye(1, *self.model.output_shape[1:], dtype=np.float32)
        for labels in (np.zeros(1, np.int32), output):  # sparse, or one-hot
            with contextlib.suppress(ValueError):
                return self.model.compute_metrics(None, labels, output)

    def on_train_batch_end(self, batch, logs=None):
        if self._signal and batch + 1 < self.params["steps"]:
            self.save(self._epoch, self._first_batch + batch + 1)
            raise Stopped(128 + self._signal)

    def on_epoch_end(self, epoch, logs=None):
        self._first_batch = 0
        self.save(epoch + 1)
        if self._signal:
            raise Stopped(128 + self._signal)

    def save(self, epoch, batch=0):
        """Writes the state after `epoch` whole epochs and `batch` batches of the next."""
        variables = {"model": self.model.variables, "optimizer": self.model.optimizer.variables}
        if batch:
            variables["metrics"] = self.model.metrics_variables
        arrays = {f"{k}/{i}": keras.ops.convert_to_numpy(v) for k, vs in variables.items() for i, v in enumerate(vs)}
        for name, part in self.parts.items():
            arrays |= {f"{name}/{k}": v for k, v in part.get_state().items()}
        arrays["header"] = np.array(json.dumps(self.header, sort_keys=True))
        arrays["position"] = np.array([epoch, batch])
        with replacing(self.path) as beside:
            np.savez(beside, **arrays)

    def restore(self, model):
        """Puts a saved state back. Returns (epoch, batch) to go on from; (0, 0) where there is no state file.

        Raises:
            ValueError: the file is damaged, or of another recipe, replica count or version; says what to do.
        """
        if not self.path.exists():
            return 0, 0
        arrays = self._read()
        self._restore_variables(model, arrays)
        for name, part in self.parts.items():
            part.set_state(_group(arrays, name))
        epoch, self._first_batch = (int(v) for v in arrays["position"])
        return epoch, self._first_batch

    def _read(self):
        cure = f"delete {self.path} or pass --force to start this run again"
        try:
            with np.load(self.path) as file:
                arrays = {k: file[k] for k in file.files}
            header = json.loads(str(arrays["header"]))
        except Exception as error:  # a damaged archive can raise anything
            raise ValueError(f"the state file is damaged ({type(error).__name__}): {cure}") from None
        expected = json.loads(json.dumps(self.header))
        for key in sorted(expected.keys() | header.keys()):
            if header.get(key) != expected.get(key):
                what = f"its {key} is {_short(header.get(key))}, this run's is {_short(expected.get(key))}"
                raise ValueError(f"the state file is of another run ({what}): use the same, or {cure}")
        return arrays

    def _restore_variables(self, model, arrays):
        with model.distribute_strategy.scope():
            model.optimizer.build(model.trainable_variables)
        for name, variables in (("model", model.variables), ("optimizer", model.optimizer.variables)):
            saved = _group(arrays, name)
            if [list(saved[str(i)].shape) for i in range(len(saved))] != [list(v.shape) for v in variables]:
                raise ValueError(f"the state file is of another {name}: delete {self.path} or pass --force to start this run again")
            for i, variable in enumerate(variables):
                variable.assign(saved[str(i)])
        metrics = _group(arrays, "metrics")
        self._metrics = [metrics[str(i)] for i in range(len(metrics))] or None


def _group(arrays, name):
    return {k.split("/", 1)[1]: v for k, v in arrays.items() if k.startswith(f"{name}/")}


def _short(value):
    text = json.dumps(value)
    return text if len(text) < 60 else "different"
