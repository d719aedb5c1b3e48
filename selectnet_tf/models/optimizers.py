"""How the classifier is optimized:

The released code's SGD, Keras's two CIFAR-10 examples, or the recipe behind Table 3.
"""

from typing import Any

import keras
import numpy as np

from selectnet_tf.models.losses import ClassBalancedFocal, PriorCrossentropy
from selectnet_tf.pool import Pool
from selectnet_tf.recipes import Recipe

# Keras 2 divides by sqrt(v) + 1e-7, Keras 3 by sqrt(v + epsilon); by default that is 3,000 times as
# much
RMSPROP_EPSILON = 1e-14
KERAS_STEPS = (
    (180, 0.5e-3),
    (160, 1e-3),
    (120, 1e-2),
    (80, 1e-1),
)  # after these epochs, times the rate


def compile_model(model: keras.Model, recipe: Recipe, labels: np.ndarray, classes: int) -> None:
    """Compiles in place. labels: [n_D] classes of D, for the class-balanced loss."""
    loss: keras.losses.Loss | str = "sparse_categorical_crossentropy"
    if recipe.prior_loss:
        loss = PriorCrossentropy(recipe.prior_loss)
    if recipe.method == "class_balanced":
        loss = ClassBalancedFocal(
            np.bincount(labels, minlength=classes), recipe.cb_beta, recipe.focal_gamma
        )
        model.layers[-1].bias.assign(np.full(classes, -np.log(classes - 1), np.float32))
    if recipe.training == "cui":
        for variable in (
            model.trainable_variables
        ):  # 2e-4 times half the square, of everything but the last bias
            last_bias = recipe.method == "class_balanced" and variable is model.layers[-1].bias
            variable.regularizer = None if last_bias else keras.regularizers.L2(1e-4)
    model.compile(make_optimizer(recipe), loss, metrics=["accuracy"], jit_compile=recipe.jit)


def make_optimizer(recipe: Recipe) -> keras.optimizers.Optimizer:
    """The optimizer that `recipe.training` names

    What changes its rate by the epoch is in `callbacks`.
    """
    if recipe.training == "keras":
        return keras.optimizers.Adam(recipe.lr)
    if recipe.training == "cui":
        return keras.optimizers.SGD(recipe.lr, recipe.momentum)
    rate = keras.optimizers.schedules.InverseTimeDecay(
        recipe.lr, 1, recipe.decay
    )  # lr / (1 + decay * step)
    if recipe.training == "keras_cnn":
        return keras.optimizers.RMSprop(rate, epsilon=RMSPROP_EPSILON)
    return keras.optimizers.SGD(rate, recipe.momentum)


def callbacks(recipe: Recipe, pool: Pool) -> list[keras.callbacks.Callback]:
    """The learning rate's schedule, as a function of the epoch and batch alone, so that a resumed
    run follows it.
    """
    if recipe.training == "keras":
        return [keras.callbacks.LearningRateScheduler(lambda epoch: recipe.lr * keras_share(epoch))]
    return [WarmUp(recipe.lr, pool, recipe.batch_size)] if recipe.training == "cui" else []


def keras_share(epoch: int) -> float:
    """Keras's cifar10_resnet:

    The share of the first learning rate that is left in an epoch (from 0).
    """
    return next((share for last, share in KERAS_STEPS if epoch > last), 1.0)


class WarmUp(keras.callbacks.Callback):
    """Cui et al.

    2019: linear from 0 over the first 5 epochs, step by step; a hundredth from epoch 160, again
    from 180.
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
            done = (
                self._epoch + (steps - self.params["steps"] + batch + 1) / steps
            )  # a resumed epoch has fewer steps
            self.model.optimizer.learning_rate.assign(self.lr * done / self.EPOCHS)
