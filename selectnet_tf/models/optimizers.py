"""Loss and optimizer of the classifier: the released code's SGD, or Adam as in its comment, Keras's
two CIFAR-10 examples, or Cui et al.'s (Table 3).
"""

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from selectnet_tf.models.losses import ClassBalancedFocal, PriorCrossentropy
from selectnet_tf.pool import Pool
from selectnet_tf.recipes import TrainingRecipe

# Keras 2 divides by sqrt(v) + 1e-7, Keras 3 by sqrt(v + epsilon); by default that is 3,000 times as
# much
RMSPROP_EPSILON = 1e-14
# (epoch, factor of the learning rate after it)
KERAS_STEPS = ((180, 0.5e-3), (160, 1e-3), (120, 1e-2), (80, 1e-1))
CUI_L2 = 1e-4  # 2e-4 times half the square


def compile_model(
    model: keras.Model,
    training: TrainingRecipe,
    labels: np.ndarray,
    classes: int,
    class_balanced: bool = False,
) -> None:
    """Compiles a classifier in place.

    Args:
        model: ends in a layer of logits if `class_balanced`, of probabilities otherwise.
        training: loss and optimizer.
        labels: [n_D] classes of D.
        classes: number of classes.
        class_balanced: use the class-balanced focal loss of D.
    """
    last_bias = model.layers[-1].bias
    loss: keras.losses.Loss | str = "sparse_categorical_crossentropy"
    if training.prior_loss:
        loss = PriorCrossentropy(training.prior_loss)
    if class_balanced:
        counts = np.bincount(labels, minlength=classes)
        loss = ClassBalancedFocal(counts, training.cb_beta, training.focal_gamma)
        last_bias.assign(np.full(classes, -np.log(classes - 1), np.float32))
    if training.training == "cui":
        for variable in model.trainable_variables:
            free = class_balanced and variable is last_bias
            variable.regularizer = None if free else keras.regularizers.L2(CUI_L2)
    elif training.weight_decay:
        model.layers[-1].kernel.regularizer = keras.regularizers.L2(training.weight_decay / 2)
    small = training.freeze and training.training != "cui"  # WarmUp sets the rate at each step
    model.compile(
        make_optimizer(training),
        loss,
        metrics=["accuracy"],
        jit_compile=training.jit,
        steps_per_execution=32 if small else 1,
    )


def make_optimizer(training: TrainingRecipe) -> keras.optimizers.Optimizer:
    """Returns the optimizer; `callbacks` change its learning rate by the epoch."""
    if training.training in ("adam", "keras"):
        return keras.optimizers.Adam(training.lr)
    if training.training == "cui":
        return keras.optimizers.SGD(training.lr, training.momentum)
    rate: Any = training.lr
    if training.lr_schedule == "constant":  # lr / (1 + decay * step)
        rate = keras.optimizers.schedules.InverseTimeDecay(training.lr, 1, training.decay)
    if training.training == "keras_cnn":
        return keras.optimizers.RMSprop(rate, epsilon=RMSPROP_EPSILON)
    return keras.optimizers.SGD(rate, training.momentum)


def callbacks(training: TrainingRecipe, pool: Pool) -> list[keras.callbacks.Callback]:
    """Returns the learning rate's schedule, a function of the epoch and the batch alone, so that a
    resumed run follows it.
    """
    if training.training == "keras":
        return [_schedule(training.lr, keras_share)]
    if training.lr_schedule == "cosine":
        turn = math.pi / training.epochs
        return [_schedule(training.lr, lambda epoch: (1 + math.cos(turn * epoch)) / 2)]
    if training.training == "cui":
        return [WarmUp(training.lr, pool, training.batch_size)]
    return []


def _schedule(lr: float, share: Callable[[int], float]) -> keras.callbacks.Callback:
    return keras.callbacks.LearningRateScheduler(lambda epoch: lr * share(epoch))


def keras_share(epoch: int) -> float:
    """Returns the factor of the learning rate in an epoch (from 0) of Keras's cifar10_resnet."""
    return next((share for last, share in KERAS_STEPS if epoch > last), 1.0)


class WarmUp(keras.callbacks.Callback):
    """Schedule of Cui et al. (2019): linear from 0 over the first 5 epochs, step by step; a
    hundredth from epoch 160, and again from 180.
    """

    EPOCHS = 5

    def __init__(self, lr: float, pool: Pool, batch_size: int) -> None:
        super().__init__()
        self.lr, self.pool, self.batch_size = lr, pool, batch_size
        self._epoch = 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._epoch = epoch
        share = 1e-4 if epoch >= 180 else 1e-2 if epoch >= 160 else 1.0
        self.model.optimizer.learning_rate.assign(self.lr * share)

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if self._epoch < self.EPOCHS:
            steps = len(self.pool.index) // self.batch_size
            resumed_at = steps - self.params["steps"]  # a resumed epoch has fewer steps
            done = self._epoch + (resumed_at + batch + 1) / steps
            self.model.optimizer.learning_rate.assign(self.lr * done / self.EPOCHS)
