"""One training run as rounds of `fit` under one CallbackList.

Keras reads a dataset's length once for each `fit`, so a training set that grows inside one `fit` is
cut short. Here every round is a `fit` of its own. Callbacks, history and progress bar see one
continuous run, and train_step is traced once.
"""

import contextlib
import os
import warnings
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from selectnet_tf import augment as augmentation
from selectnet_tf._backend import check_backend, count_replicas
from selectnet_tf._validate import check_callable, check_whole
from selectnet_tf.alignment import find_counted_losses
from selectnet_tf.checkpoint import Checkpoint
from selectnet_tf.images import MOST_BYTES
from selectnet_tf.pool import TOO_FEW, Pool
from selectnet_tf.scoring import NOT_FINITE, check_input, find_not_finite, preserving_seeds
from selectnet_tf.selection import Selection

FIT_ARGUMENTS = (
    "validation_data",
    "validation_batch_size",
    "validation_steps",
    "validation_freq",
    "class_weight",
)
# functions of Keras's losses that take integer classes
OF_CLASSES = ("sparse_categorical_crossentropy", "categorical_generalized_cross_entropy")
OF_ONE_UNIT = ("binary_crossentropy", "binary_focal_crossentropy")
OF_PROBABILITIES = (  # (function or class, package) of losses
    *((name, "keras") for name in OF_CLASSES),
    ("categorical_crossentropy", "keras"),
    ("categorical_focal_crossentropy", "keras"),
    ("PriorCrossentropy", "selectnet_tf"),
)


def fit(
    model: keras.Model,
    selection: Selection,
    *,
    epochs: int,
    batch_size: int = 32,
    augment: augmentation.Augments | None = None,
    callbacks: Any = (),
    checkpoint: str | os.PathLike[str] | None = None,
    initial_epoch: int = 0,
    initial_batch: int = 0,
    verbose: str | int = "auto",
    **fit_arguments: Any,
) -> keras.callbacks.History:
    """Trains a compiled model on the selection's pool, swapping the training set between rounds.

    Args:
        model: a compiled keras.Model with one output, probabilities or logits; its loss is a sparse
            categorical one, a categorical one for one-hot labels, or a binary one of one unit.
        selection: the Selection. It acts before the callbacks, unless it is among them.
        epochs: epochs of the whole run; a multiple of `selection.every` ends on a last scoring.
        batch_size: images a step, over all replicas.
        augment: a callable (images, seed) -> images, or, of several inputs, a dict of them by the
            input's name or place; see augment.py.
        callbacks: Keras callbacks, as for one `fit`; a Checkpoint among them runs last.
        checkpoint: a state file (.npz) of the run, to resume from where it exists, and to save to
            after each epoch and on SIGINT and SIGTERM; see Checkpoint.
        initial_epoch: the epoch to begin at without a state file, such as that of an earlier fit,
            or as Checkpoint.restore returns it.
        initial_batch: the batch of that epoch to resume at, as Checkpoint.restore returns it.
        verbose: as in Keras.
        **fit_arguments: validation_data, validation_batch_size, validation_steps,
            validation_freq and class_weight, as in keras.Model.fit.

    Returns:
        keras.callbacks.History over all rounds.

    Raises:
        ValueError: before the first epoch: a model without an output of classes or with an input
            that would truncate the images' values, a rule that returns no mask, an augmentation
            that changes shape, dtype or range, a batch that the replicas can't share evenly or D
            can't fill, an optimizer with use_ema, BackupAndRestore among the callbacks, a call
            inside strategy.scope().
    """
    called = keras.tree.flatten(callbacks) if callbacks else []
    places = {"epochs": epochs, "initial_epoch": initial_epoch, "initial_batch": initial_batch}
    for name, number in places.items():
        check_whole(name, number, 0)
    _check_arguments(model, selection, batch_size, fit_arguments)
    saver = None if checkpoint is None else Checkpoint(checkpoint, {"selection": selection})
    if saver is not None:
        called.append(saver)
        if saver.path.exists():
            initial_epoch, initial_batch = saver.restore(model)
            place = f"after {initial_epoch} of {epochs} epochs"
            says = f"resumes {place}"
            if saver.stopped:
                says = f"a callback ended this run {place}: delete the file to train again"
            if verbose:
                print(f"{checkpoint}: {says}", flush=True)
    saved = [c for c in called if isinstance(c, Checkpoint)]
    fresh = not initial_epoch and not initial_batch
    _check_callbacks(called, initial_epoch, initial_batch, batch_size)
    replicas = count_replicas(model)
    shared = _share_callbacks(model, selection, called, verbose, batch_size)
    selection.batch_size = batch_size
    if fresh:
        selection.reset()
    with preserving_seeds(model):
        _rehearse(selection, augment, batch_size, epochs, fresh, fit_arguments.get("class_weight"))
    epoch, first_batch = initial_epoch, initial_batch
    for each in saved:
        each.prepare()
    model.stop_training = any(each.stopped for each in saved)
    synchronized = _synchronize(model) if replicas > 1 else []
    with saver.signals() if saver else contextlib.nullcontext():
        selection.driven = True
        try:
            while epoch < epochs and not model.stop_training:
                end = epoch + 1 if first_batch else min(epochs, selection.round_end(epoch))
                # under a strategy, Keras takes a batch before it calls any callback
                selection.pool.begin_epoch(epoch)
                data = selection.pool.dataset(batch_size, augment, first_batch)
                steps = int(data.cardinality())
                if steps < 1:
                    raise ValueError(
                        f"initial_batch is {first_batch}, but the epoch has"
                        f" {len(selection.pool.index) // batch_size} batches: give the one that"
                        " restore(model) returns"
                    )
                if first_batch and not all(each.fills_metrics for each in saved):
                    with preserving_seeds(model):  # makes the metrics, for Checkpoint to fill
                        model.test_on_batch(*next(data.as_numpy_iterator()))
                shared.set_params({"verbose": verbose, "epochs": epochs, "steps": steps})
                model.fit(
                    data,
                    epochs=end,
                    initial_epoch=epoch,
                    callbacks=shared,
                    shuffle=False,
                    verbose=verbose,
                    **fit_arguments,
                )
                epoch, first_batch = end, 0
            shared.end_again()
            if model.stop_training and 0 < epoch <= selection.every and selection.rule is not None:
                warnings.warn(
                    f"a callback ended the run before any selected image was trained on (every is"
                    f" {selection.every}): select more often, or let it wait, as by"
                    f" EarlyStopping(start_from_epoch={2 * selection.every})",
                    stacklevel=2,
                )
        finally:
            shared.finish()
            selection.driven = False
            for layer in synchronized:
                layer.synchronized = False
    return model.history


def check_batch(batch_size: int, replicas: int) -> None:
    """Raises ValueError where the replicas can't share a batch evenly.

    Args:
        batch_size: images a step, over all replicas.
        replicas: their number.
    """
    check_whole("batch_size", batch_size)
    if batch_size % replicas:
        below, above = batch_size // replicas * replicas, (batch_size // replicas + 1) * replicas
        nearest = f"{below} or {above}" if below else f"{above}"
        raise ValueError(
            f"batch_size {batch_size} can't be shared evenly by {replicas} replicas: use {nearest}"
        )


def _share_callbacks(
    model: keras.Model,
    selection: Selection,
    called: list[keras.callbacks.Callback],
    verbose: str | int,
    batch_size: int,
) -> "_SharedCallbacks":
    if selection not in called:
        called.insert(0, selection)
    if verbose and not any(isinstance(c, keras.callbacks.ProgbarLogger) for c in called):
        # first, so that it ends its line before the selection prints one
        called.insert(0, keras.callbacks.ProgbarLogger())
    called.sort(key=lambda c: isinstance(c, Checkpoint))  # it saves the others' states
    for callback in called:
        if isinstance(callback, Checkpoint):
            callback.others, callback.batch_size = called, batch_size
    return _SharedCallbacks(called, add_history=True, model=model)


def _rehearse(
    selection: Selection,
    augment: augmentation.Augments | None,
    batch_size: int,
    epochs: int,
    fresh: bool,
    class_weight: Any,
) -> None:
    """Raises, or warns of, problems that would otherwise appear rounds later, or never."""
    pool = selection.pool
    least = len(pool.index)
    if selection.rule is not None:  # a round may add no image to D
        least = min(least, int(pool.labeled.sum()))
    if batch_size > least:
        raise ValueError(TOO_FEW.format(least))
    if selection.rule is not None and epochs < selection.every:
        warnings.warn(
            f"epochs is {epochs} and every is {selection.every}, so nothing is selected: train"
            " longer, or select more often",
            stacklevel=3,
        )
    if fresh:
        _check_schedule(selection, batch_size, epochs)
    place = find_not_finite(pool.images) if pool.images.nbytes <= MOST_BYTES else None
    if place is not None:
        warnings.warn(NOT_FINITE.format(place), stacklevel=3)
    if augment is not None:
        augmentation.check_augment(augment, pool.images[pool.index[: min(batch_size, 32)]])
    if selection.rule is None and not any(
        loss in OF_PROBABILITIES for loss in _identify_losses(selection.model.loss)
    ):
        return  # nothing is scored, and a user's own loss may take any output
    weighted = selection.rehearse(rule=fresh)
    if weighted and class_weight is not None:
        raise ValueError(
            "class_weight is given beside sample weights, and Keras takes one of them: multiply it"
            " into Pool(sample_weight=)"
        )
    if weighted and fresh and pool.weights is None:
        # a train_step that takes no weights fails now, not after a round
        pool.weights = np.ones(len(pool.index), np.float32)


def _check_schedule(selection: Selection, batch_size: int, epochs: int) -> None:
    """Warns where a learning-rate schedule of steps, sized on D, ends before the run may.

    A schedule ends where its rate stays within a hundredth of its range from the last one.
    """
    optimizer = selection.model.optimizer
    schedule = getattr(getattr(optimizer, "inner_optimizer", optimizer), "_learning_rate", None)
    if not isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
        return
    pool = selection.pool
    known, all_images = int(pool.labeled.sum()), len(pool.index)
    if selection.rule is not None:
        all_images = max(all_images, len(pool.images))
    fewest, most = (n // batch_size * epochs for n in (known, all_images))
    steps = np.linspace(0, most, 101, dtype=np.int64)
    rates = np.zeros(len(steps))
    at = keras.Variable(0, trainable=False, dtype="int")  # as the optimizer's iterations are
    for i, step in enumerate(steps):
        at.assign(step)
        rates[i] = float(schedule(at))
    moving = np.flatnonzero(abs(rates - rates[-1]) > np.ptp(rates) / 100)
    end = steps[moving[-1] + 1] if len(moving) else 0
    # plus an epoch's last, partial batch
    if rates[-1] < rates.max() and 0 < end <= fewest + epochs and end < 0.9 * most:
        warnings.warn(
            f"the learning-rate schedule ends at step {end}: the run has {fewest} steps if it"
            f" trains on the labeled images alone, and up to {most} with added ones. Schedule it by"
            " epoch: keras.callbacks.LearningRateScheduler(lambda epoch: ...)",
            stacklevel=4,
        )


def _check_arguments(
    model: keras.Model, selection: Selection, batch_size: int, fit_arguments: dict[str, Any]
) -> None:
    check_backend()
    if not isinstance(model, keras.Model):
        kind = f"{type(model).__module__}.{type(model).__name__}"
        if isinstance(model, type):
            kind = f"class {model.__name__}"
        cure = "import keras, not tf_keras, and leave TF_USE_LEGACY_KERAS unset"
        raise ValueError(f"the model is a {kind}, but has to be a keras.Model of Keras 3: {cure}")
    if not isinstance(selection, Selection):
        raise ValueError(
            f"selection is a {type(selection).__name__}, but has to be a Selection, as in"
            " sn.Selection(pool, sn.Context())"
        )
    if not model.compiled:
        raise ValueError(
            "the model is not compiled: call model.compile(optimizer, loss) before fit"
        )
    if tf.distribute.has_strategy():
        raise ValueError(
            "call fit outside strategy.scope(): only building and compiling the model belong inside"
        )
    unknown = sorted(set(fit_arguments) - set(FIT_ARGUMENTS))
    if unknown:
        raise ValueError(
            f"fit takes no {unknown[0]}: data and steps are the pool's; leave it out (of Keras's"
            f" arguments, fit takes {', '.join(FIT_ARGUMENTS)})"
        )
    check_batch(batch_size, count_replicas(model))
    counted = find_counted_losses(model)
    for loss in counted:
        check_callable("the loss", loss, "sn.PriorCrossentropy()")
    if keras.config.backend() == "jax" and counted:
        raise ValueError(
            "on JAX, a compiled train_step would keep PriorCrossentropy's first counts: set"
            " KERAS_BACKEND=tensorflow"
        )
    check_input(model, selection.pool.images)
    for layer in model._flatten_layers():
        if getattr(layer, "stateful", False):
            warnings.warn(
                f"layer {layer.name} is stateful, so it carries its state from each batch to the"
                " next one, of other images: build it with stateful=False",
                stacklevel=3,
            )
    _check_loss(model, selection.pool)
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)  # of mixed_float16
    if getattr(optimizer, "use_ema", False):
        raise ValueError(
            "an optimizer with use_ema overwrites the weights at the end of every round: leave it"
            " out"
        )


def _check_callbacks(
    called: list[keras.callbacks.Callback], epoch: int, batch: int, batch_size: int
) -> None:
    fresh = not epoch and not batch
    for callback in called:
        if not isinstance(callback, keras.callbacks.Callback):
            raise ValueError(
                f"{callback!r} is no callback of Keras: make one of a class, as in"
                " keras.callbacks.CSVLogger('log.csv')"
            )
        if isinstance(callback, Checkpoint):
            _check_position(callback, epoch, batch, batch_size)
        if isinstance(callback, keras.callbacks.BackupAndRestore):
            raise ValueError(
                "BackupAndRestore would send every round back to its epoch: use Checkpoint, which"
                " resumes exactly"
            )
        overwrites = isinstance(callback, keras.callbacks.CSVLogger) and not callback.append
        if overwrites and not fresh and os.path.exists(callback.filename):
            raise ValueError(
                f"CSVLogger would overwrite the earlier epochs in {callback.filename}: give it"
                " append=True"
            )


def _check_position(checkpoint: Checkpoint, epoch: int, batch: int, batch_size: int) -> None:
    """Raises ValueError where fit would not continue from the checkpoint's restored state."""
    path, size = checkpoint.path, checkpoint.batch_size
    if batch and size not in (0, batch_size):
        raise ValueError(
            f"{path} is of a half epoch of batches of {size}: use batch_size={size}, at least to"
            " the end of the epoch"
        )
    if checkpoint.position not in (None, (epoch, batch)):
        there = "initial_epoch={}, initial_batch={}".format(*checkpoint.position)
        raise ValueError(
            f"{path} continues elsewhere than fit would begin: give fit {there}, as restore(model)"
            " returns them"
        )


def _check_loss(model: keras.Model, pool: Pool) -> None:
    """Raises ValueError where one of Keras's losses takes other labels than the pool's."""
    one_hot, losses = pool.one_hot, _identify_losses(model.loss)
    outputs = getattr(model, "outputs", None)
    units = outputs[0].shape[-1] if outputs else None
    if units is None and any(name in OF_ONE_UNIT for name, _ in losses):
        output = model.predict_on_batch(pool.images[:32])
        units = keras.tree.flatten(output)[0].shape[-1]
    for name, package in losses:
        if units == 1 and (name, package) in OF_PROBABILITIES:
            raise ValueError(
                f"{name} wants an output for each class, and the model has one in all: use"
                " binary_crossentropy behind a sigmoid, or Dense(2, activation='softmax')"
            )
        if units == 1 and one_hot and package == "keras":
            raise ValueError(
                "the pool's labels are one-hot, and the model has one output: give the Pool classes"
                " 0 and 1"
            )
        if package != "keras" or units == 1:
            continue
        if one_hot and name in OF_CLASSES:
            raise ValueError(
                f"the pool's labels are one-hot, and {name} wants integer classes: give these to"
                " the Pool, or use another loss"
            )
        if not one_hot and name not in OF_CLASSES:  # mean_squared_error would train on the number
            cure = "give one-hot labels to the Pool"
            if name == "categorical_crossentropy":
                cure = f"use sparse_{name}"
            raise ValueError(
                f"the pool's labels are integer classes, and {name} wants one-hot ones: {cure}"
            )


def _identify_losses(loss: Any) -> list[tuple[str, str]]:
    """Returns (name of function or class, package) of each loss in the argument of `compile`."""
    found = []
    for one in keras.tree.flatten(loss):
        if str(one).lower() in ("crossentropy", "ce"):
            continue  # Keras chooses the one that fits the labels
        known = keras.losses.get(one) if isinstance(one, (str, type)) else one
        function = getattr(known, "fn", known)
        kind = function if hasattr(function, "__name__") else type(function)
        found.append((kind.__name__, str(kind.__module__).split(".")[0]))
    return found


def _synchronize(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    """Makes every BatchNormalization share its statistics over replicas; returns the changed."""
    layers = model._flatten_layers()  # also inside custom layers; Keras has no public name for it
    norms = [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]
    changed = [layer for layer in norms if not layer.synchronized]
    for layer in changed:
        layer.synchronized = True
    return changed


class _SharedCallbacks(keras.callbacks.CallbackList):
    """A CallbackList whose train hooks fire once for the run, not once for each `fit`."""

    _begun = False
    _last_logs: dict[str, Any] | None = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        if not self._begun:
            self._begun = True
            super().on_train_begin(logs)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        self._last_logs = logs

    def finish(self) -> None:
        if self._begun:
            super().on_train_end(self._last_logs)

    def end_again(self) -> None:
        """Gives a finished run an empty History, and its best weights where it ended with these."""
        if self._begun:
            return
        for callback in self.callbacks:
            history = isinstance(callback, keras.callbacks.History)
            if history or getattr(callback, "restore_best_weights", False):
                callback.on_train_begin()
                for checkpoint in (c for c in self.callbacks if isinstance(c, Checkpoint)):
                    checkpoint.remind(callback)
                callback.on_train_end()
