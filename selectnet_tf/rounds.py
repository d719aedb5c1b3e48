"""One training run as rounds of `fit` under one CallbackList.

Keras reads a dataset's length once for each `fit`, so a training set that grows inside one `fit` is cut short. Here every
round is a `fit` of its own, while callbacks, history and progress bar see one continuous run: train_step is traced once.
"""

import keras
import tensorflow as tf


class _SharedCallbacks(keras.callbacks.CallbackList):
    """A CallbackList whose train hooks fire once for the run, not once for each `fit`."""

    _begun = False
    _last_logs = None

    def on_train_begin(self, logs=None):
        if not self._begun:
            self._begun = True
            super().on_train_begin(logs)

    def on_train_end(self, logs=None):
        self._last_logs = logs

    def finish(self):
        if self._begun:
            super().on_train_end(self._last_logs)


def fit(
    model, selection, *, epochs, batch_size=32, augment=None, callbacks=(),
    initial_epoch=0, initial_batch=0, verbose="auto", **fit_arguments,
):  # fmt: skip
    """Trains a compiled model on the selection's pool, swapping the training set between rounds.

    Args:
        model: a compiled keras.Model of any kind with one input and one output, probabilities or logits; its loss is a
            sparse categorical one, or a categorical one where the pool's labels are one-hot.
        selection: the Selection. It acts before your callbacks, unless it stands among them.
        epochs: epochs of the whole run; a multiple of `selection.every` ends on a last scoring.
        batch_size: images a step, over all replicas.
        augment: a callable (images, seed) -> images, see augment.py.
        callbacks: Keras callbacks, as for one `fit`.
        initial_epoch, initial_batch: where to go on, of a run whose state was restored (checkpoint.py).
        verbose: as in Keras.
        **fit_arguments: more of keras.Model.fit's, such as validation_data.

    Returns:
        keras.callbacks.History over all rounds.

    Raises:
        ValueError: a batch that the replicas can't share evenly, an optimizer with use_ema, BackupAndRestore among the
            callbacks, a call inside strategy.scope().
    """
    if not model.compiled:
        raise ValueError("the model is not compiled: call model.compile(optimizer, loss) before fit")
    replicas = model.distribute_strategy.num_replicas_in_sync
    callbacks = list(callbacks)
    _check(model, callbacks, batch_size, replicas)
    shared = _shared(model, selection, callbacks, verbose)
    if not initial_epoch and not initial_batch:
        selection.reset()
    epoch, first_batch = initial_epoch, initial_batch
    model.stop_training = False
    synchronized = _synchronize(model) if replicas > 1 else []
    try:
        while epoch < epochs and not model.stop_training:
            end = epoch + 1 if first_batch else min(epochs, selection.round_end(epoch))
            selection.pool.begin_epoch(epoch)  # under a strategy, Keras takes a batch before any callback is called
            data = selection.pool.dataset(batch_size, augment, first_batch)
            shared.set_params({"verbose": verbose, "epochs": epochs, "steps": int(data.cardinality())})
            model.fit(data, epochs=end, initial_epoch=epoch, callbacks=shared, shuffle=False, verbose=verbose, **fit_arguments)
            epoch, first_batch = end, 0
    finally:
        shared.finish()
        for layer in synchronized:
            layer.synchronized = False
    return model.history


def _shared(model, selection, callbacks, verbose):
    if selection not in callbacks:
        callbacks.insert(0, selection)
    if verbose and not any(isinstance(c, keras.callbacks.ProgbarLogger) for c in callbacks):
        callbacks.insert(0, keras.callbacks.ProgbarLogger())  # ends its line before the selection prints one
    return _SharedCallbacks(callbacks, add_history=True, model=model)


def _check(model, callbacks, batch_size, replicas):
    if tf.distribute.has_strategy():
        raise ValueError("call fit outside strategy.scope(): only building and compiling the model belong inside")
    check_batch(batch_size, replicas)
    if getattr(model.optimizer, "use_ema", False):
        raise ValueError("an optimizer with use_ema overwrites the weights at the end of every round: turn it off")
    if any(isinstance(c, keras.callbacks.BackupAndRestore) for c in callbacks):
        raise ValueError("BackupAndRestore would send every round back to its epoch: use Checkpoint, which resumes exactly")


def check_batch(batch_size, replicas):
    """Raises ValueError with the nearest sizes that divide, where the replicas can't share a batch evenly."""
    if batch_size % replicas:
        below, above = batch_size // replicas * replicas, (batch_size // replicas + 1) * replicas
        nearest = f"{below} or {above}" if below else f"{above}"
        raise ValueError(f"batch_size {batch_size} can't be shared evenly by {replicas} replicas: use {nearest}")


def _synchronize(model):
    """Makes every BatchNormalization share its batch statistics over the replicas. Returns those that did not."""
    changed = []
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            changed += _synchronize(layer)
        elif isinstance(layer, keras.layers.BatchNormalization) and not layer.synchronized:
            layer.synchronized = True
            changed.append(layer)
    return changed
