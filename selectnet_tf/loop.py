"""One training run as rounds of `fit` under one CallbackList.

Keras reads a dataset's length once for each `fit`, so a training set that grows inside one `fit` is
cut short. Here every round is a `fit` of its own, while callbacks, history and progress bar see one
continuous run: train_step is traced once.
"""

import os
import warnings
from typing import Any

import keras
import tensorflow as tf

from selectnet_tf import augment as augmentation
from selectnet_tf._validate import check_whole
from selectnet_tf.checkpoint import Checkpoint
from selectnet_tf.images import MOST_BYTES
from selectnet_tf.scoring import check_input, describe_not_finite, preserving_seeds
from selectnet_tf.selection import Selection

FIT_ARGUMENTS = (
    "validation_data",
    "validation_batch_size",
    "validation_steps",
    "validation_freq",
    "class_weight",
)
OF_CLASSES = (
    "sparse_categorical_crossentropy",
    "categorical_generalized_cross_entropy",
)  # of Keras's losses, by their functions
OF_PROBABILITIES = [
    (name, "keras")
    for name in (*OF_CLASSES, "categorical_crossentropy", "categorical_focal_crossentropy")
]
OF_PROBABILITIES += [("PriorCrossentropy", "selectnet_tf")]


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
        """Where nothing was left to train:

        An empty History, not half a one, and the best weights, if the run ended with these.
        """
        ends = [
            c
            for c in self.callbacks
            if isinstance(c, keras.callbacks.History) or getattr(c, "restore_best_weights", False)
        ]
        for callback in ends if not self._begun else ():
            callback.on_train_begin()
            for checkpoint in (c for c in self.callbacks if isinstance(c, Checkpoint)):
                checkpoint.remind(callback)
            callback.on_train_end()


def fit(
    model: keras.Model,
    selection: Selection,
    *,
    epochs: int,
    batch_size: int = 32,
    augment: augmentation.Augment | None = None,
    callbacks: Any = (),
    initial_epoch: int = 0,
    initial_batch: int = 0,
    verbose: str | int = "auto",
    **fit_arguments: Any,
) -> keras.callbacks.History:
    """Trains a compiled model on the selection's pool, swapping the training set between rounds.

    Args:
        model: a compiled keras.Model of any kind with one input and one output, probabilities
            or logits; its loss is a sparse categorical one, or a categorical one where the pool's
            labels are one-hot.
        selection: the Selection. It acts before your callbacks, unless it stands among them.
        epochs: epochs of the whole run; a multiple of `selection.every` ends on a last scoring.
        batch_size: images a step, over all replicas.
        augment: a callable (images, seed) -> images, see augment.py.
        callbacks: Keras callbacks, as for one `fit`. A Checkpoint among them comes last.
        initial_epoch, initial_batch: where to go on, of a run whose state was restored
            (checkpoint.py).
        verbose: as in Keras.
        **fit_arguments: more of keras.Model.fit's: validation_data, validation_batch_size,
        validation_steps, validation_freq,
            class_weight.

    Returns:
        keras.callbacks.History over all rounds.

    Raises:
        ValueError: in one line, before the first epoch: a model that has no right output or
            would cut the images' values, a rule that gives no mask, an augmentation that changes
            shape, dtype or range, a batch that the replicas can't share evenly or D can't fill, an
            optimizer with use_ema, BackupAndRestore among the callbacks, a call inside
            strategy.scope().
    """
    called = keras.tree.flatten(callbacks) if callbacks else []
    fresh = not initial_epoch and not initial_batch
    _check(model, selection, batch_size, fit_arguments)
    _check_callbacks(called, initial_epoch, initial_batch, batch_size)
    replicas = model.distribute_strategy.num_replicas_in_sync
    shared = _shared(model, selection, called, verbose, batch_size)
    if fresh:
        selection.reset()
    with preserving_seeds(model):
        _rehearse(selection, augment, batch_size, epochs, fresh, fit_arguments.get("class_weight"))
    epoch, first_batch = initial_epoch, initial_batch
    model.stop_training = any(c.stopped for c in called if isinstance(c, Checkpoint))
    synchronized = _synchronize(model) if replicas > 1 else []
    selection.driven = True
    try:
        while epoch < epochs and not model.stop_training:
            end = epoch + 1 if first_batch else min(epochs, selection.round_end(epoch))
            selection.pool.begin_epoch(
                epoch
            )  # under a strategy, Keras takes a batch before any callback is called
            data = selection.pool.dataset(batch_size, augment, first_batch)
            steps = int(data.cardinality())
            if steps < 1:
                raise ValueError(
                    f"initial_batch is {first_batch}, but the epoch has"
                    f" {len(selection.pool.index) // batch_size} batches"
                )
            if first_batch and not all(
                c.fills_metrics for c in called if isinstance(c, Checkpoint)
            ):
                with preserving_seeds(model):
                    model.test_on_batch(
                        *next(iter(data))
                    )  # makes the metrics, which Checkpoint fills at the epoch's begin
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
    finally:
        shared.finish()
        selection.driven = False
        for layer in synchronized:
            layer.synchronized = False
    return model.history


def check_backend() -> None:
    """Raises ImportError where Keras runs on JAX or PyTorch."""
    if keras.config.backend() != "tensorflow":
        raise ImportError(
            "selectnet_tf needs Keras on TensorFlow, and this one runs on"
            f" {keras.config.backend()}: set KERAS_BACKEND=tensorflow"
        )


def _shared(
    model: keras.Model,
    selection: Selection,
    called: list[keras.callbacks.Callback],
    verbose: str | int,
    batch_size: int,
) -> _SharedCallbacks:
    if selection not in called:
        called.insert(0, selection)
    if verbose and not any(isinstance(c, keras.callbacks.ProgbarLogger) for c in called):
        called.insert(
            0, keras.callbacks.ProgbarLogger()
        )  # ends its line before the selection prints one
    called.sort(key=lambda c: isinstance(c, Checkpoint))  # it saves what the others have done
    for callback in called:
        if isinstance(callback, Checkpoint):
            callback.others, callback.batch_size = called, batch_size
    return _SharedCallbacks(called, add_history=True, model=model)


def _rehearse(
    selection: Selection,
    augment: augmentation.Augment | None,
    batch_size: int,
    epochs: int,
    fresh: bool,
    class_weight: Any,
) -> None:
    """Raises, or warns of, what would else be found rounds later, or never."""
    pool = selection.pool
    least = (
        len(pool.index) if selection.rule is None else min(len(pool.index), int(pool.labeled.sum()))
    )  # nothing may be picked
    if batch_size > least:
        raise ValueError(
            f"{least} training images don't fill one batch: use batch_size={least} or less"
        )
    if selection.rule is not None and epochs < selection.every:
        warnings.warn(
            f"epochs is {epochs} and every is {selection.every}, so nothing is selected in"
            " this run",
            stacklevel=3,
        )
    place = describe_not_finite(pool.images) if pool.images.nbytes <= MOST_BYTES else None
    if place is not None:
        warnings.warn(
            f"image {place} of the pool, which counts D first, holds NaN or infinity", stacklevel=3
        )
    if augment is not None:
        augmentation.check_augment(augment, pool.images[pool.index[: min(batch_size, 32)]])
    if selection.rule is None and not any(
        loss in OF_PROBABILITIES for loss in _functions(selection.model.loss)
    ):
        return  # nothing is scored, and a loss of one's own may take any output
    if selection.rehearse(rule=fresh) and class_weight is not None:
        raise ValueError(
            "class_weight would meet weights of single samples, and Keras takes no two: multiply it"
            " into Pool(sample_weight=)"
        )


def _check(
    model: keras.Model, selection: Selection, batch_size: int, fit_arguments: dict[str, Any]
) -> None:
    check_backend()
    if not isinstance(model, keras.Model):
        kind = (
            f"{type(model).__module__}.{type(model).__name__}"
            if not isinstance(model, type)
            else f"class {model.__name__}"
        )
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
            f"fit takes no {unknown[0]}: data and steps are the pool's; of Keras's, it takes"
            f" {', '.join(FIT_ARGUMENTS)}"
        )
    check_batch(batch_size, model.distribute_strategy.num_replicas_in_sync)
    check_input(model, selection.pool.images.dtype)
    outputs = getattr(model, "outputs", None)
    if (
        not outputs or outputs[0].shape[-1] != 1
    ):  # with one, integers are right, and what selects refuses it
        _check_loss(model.loss, selection.pool.one_hot)
    optimizer = getattr(
        model.optimizer, "inner_optimizer", model.optimizer
    )  # mixed_float16 wraps it
    if getattr(optimizer, "use_ema", False):
        raise ValueError(
            "an optimizer with use_ema overwrites the weights at the end of every round: turn"
            " it off"
        )


def _check_callbacks(
    called: list[keras.callbacks.Callback], epoch: int, batch: int, batch_size: int
) -> None:
    fresh = not epoch and not batch
    for callback in called:
        if (
            batch
            and isinstance(callback, Checkpoint)
            and callback.batch_size not in (0, batch_size)
        ):
            half = f"{callback.file.path} is of a half epoch of batches of {callback.batch_size}"
            raise ValueError(
                f"{half}: use batch_size={callback.batch_size}, at least to the end of the epoch"
            )
        if isinstance(callback, Checkpoint) and callback.position not in (None, (epoch, batch)):
            there = "initial_epoch={}, initial_batch={}".format(*callback.position)
            raise ValueError(
                f"{callback.file.path} goes on elsewhere than fit would begin: give fit {there}, as"
                " restore(model) returns them"
            )
        if not isinstance(callback, keras.callbacks.Callback):
            raise ValueError(
                f"{callback!r} is no callback of Keras: make one of a class, as in"
                " keras.callbacks.CSVLogger('log.csv')"
            )
        if isinstance(callback, keras.callbacks.BackupAndRestore):
            raise ValueError(
                "BackupAndRestore would send every round back to its epoch: use Checkpoint, which"
                " resumes exactly"
            )
        if (
            isinstance(callback, keras.callbacks.CSVLogger)
            and not (fresh or callback.append)
            and os.path.exists(callback.filename)
        ):
            raise ValueError(
                f"CSVLogger would begin {callback.filename} anew, and the epochs so far would be"
                " lost: give it append=True"
            )


def _check_loss(loss: Any, one_hot: int) -> None:
    """Raises ValueError where one of Keras's losses, given as a name, a function or an object,
    wants other labels than the pool's.
    """
    for name, home in _functions(loss):
        if home != "keras":
            continue
        if one_hot and name in OF_CLASSES:
            raise ValueError(
                f"the pool's labels are one-hot, and {name} wants integer classes: give these to"
                " the Pool, or use another loss"
            )
        if (
            not one_hot and name not in OF_CLASSES
        ):  # mean_squared_error and its like would train on the number
            cure = (
                f"use sparse_{name}"
                if name == "categorical_crossentropy"
                else "give one-hot labels to the Pool"
            )
            raise ValueError(
                f"the pool's labels are integer classes, and {name} wants one-hot ones: {cure}"
            )


def _functions(loss: Any) -> list[tuple[str, str]]:
    """For each loss that `compile` was given:

    The name of its function, or of its class, and the package that it comes from.
    """
    found = [
        keras.losses.get(one) if isinstance(one, str) else one for one in keras.tree.flatten(loss)
    ]
    kinds = [
        one if hasattr(one, "__name__") else type(one)
        for one in (getattr(one, "fn", one) for one in found)
    ]
    return [(kind.__name__, str(kind.__module__).split(".")[0]) for kind in kinds]


def check_batch(batch_size: int, replicas: int) -> None:
    """Raises ValueError with the nearest sizes that divide, where the replicas can't share a batch
    evenly.
    """
    check_whole("batch_size", batch_size)
    if batch_size % replicas:
        below, above = batch_size // replicas * replicas, (batch_size // replicas + 1) * replicas
        nearest = f"{below} or {above}" if below else f"{above}"
        raise ValueError(
            f"batch_size {batch_size} can't be shared evenly by {replicas} replicas: use {nearest}"
        )


def _synchronize(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    """Makes every BatchNormalization share its batch statistics over the replicas.

    Returns those that did not.
    """
    layers = (
        model._flatten_layers()
    )  # those inside custom layers too; Keras has no public name for it
    changed = [
        layer
        for layer in layers
        if isinstance(layer, keras.layers.BatchNormalization) and not layer.synchronized
    ]
    for layer in changed:
        layer.synchronized = True
    return changed
