"""Losses with the classes' counts: PriorCrossentropy and Table 3's class-balanced focal loss."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

# smallest probability whose logarithm has a finite gradient in float32, with a loss scale too
SMALLEST = 1e-30


@keras.saving.register_keras_serializable("selectnet_tf")
class PriorCrossentropy(keras.losses.Loss):
    """Cross-entropy for classes of different sizes, by logit adjustment (Menon et al. 2021).

    It adds tau times the logarithm of a class's share of the training set to the class's logit. The
    model's output is free of this prior: use it for scores and predictions as it is. `fit` sets the
    counts before each epoch, also inside another loss; without counts, in the validation of `fit`
    and after `fit`, this is the plain cross-entropy. A class without images counts as one image.
    Keras's `loss` contains the prior, and `val_loss` and `model.evaluate` do not.

    Takes classes [B], or one-hot or soft labels [B, m], and probabilities or logits [B, m]; returns
    [B], nats.

    Args:
        tau: weight of the prior; 0 is the plain cross-entropy, 1 aims at the mean error over the
            classes.
        from_logits: the model returns logits.
        name: of the loss.
        options: of keras.losses.Loss.
    """

    def __init__(
        self,
        tau: float = 1.0,
        from_logits: bool = False,
        name: str = "prior_crossentropy",
        **options: Any,
    ) -> None:
        super().__init__(name=name, **options)
        if not 0 <= tau < float("inf"):
            raise ValueError(f"tau is {tau}, but has to be a finite number of at least 0")
        self.tau, self.from_logits = float(tau), from_logits
        # log counts, since a constant cancels; a variable, so that a swap compiles nothing again
        self._log_counts = tf.Variable(
            np.zeros(0, np.float32),
            shape=[None],
            trainable=False,
            dtype=tf.float32,
            name="log_counts",
        )

    def set_counts(self, counts: np.ndarray) -> None:
        """Sets the numbers of training images. counts: [k], k <= m; further classes have 0."""
        self._log_counts.assign(np.log(np.maximum(counts, 1)).astype(np.float32))

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        classes = y_pred.shape[-1]
        logits = y_pred if self.from_logits else tf.math.log(tf.maximum(y_pred, SMALLEST))
        log_counts = tf.cast(self._log_counts, logits.dtype)
        prior = tf.ensure_shape(
            tf.pad(log_counts, [[0, classes - tf.shape(log_counts)[0]]]), [classes]
        )
        logits += self.tau * prior  # [B, m]
        if y_true.shape.rank == 2 and y_true.shape[-1] == classes:
            return tf.nn.softmax_cross_entropy_with_logits(y_true, logits)
        return tf.nn.sparse_softmax_cross_entropy_with_logits(
            tf.cast(tf.reshape(y_true, [-1]), tf.int32), logits
        )

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "tau": self.tau, "from_logits": self.from_logits}


def class_weights(counts: Sequence[int] | np.ndarray, beta: float) -> np.ndarray:
    """Returns (1 - beta) / (1 - beta ** n) of each class, scaled to sum to m: [m] float32.

    Args:
        counts: [m] labeled images of each class.
        beta: in [0, 1).
    """
    weights = (1 - beta) / (1 - np.power(float(beta), np.asarray(counts, np.float64)))
    return (weights / weights.sum() * len(weights)).astype(np.float32)


class ClassBalancedFocal(keras.losses.Loss):
    """Sigmoid focal loss, weighted by class and summed over classes (Cui et al. 2019).

    Takes classes [B] and logits [B, m]; returns [B], nats. As in the authors' code, it is
    normalized by the number of positives, one an image.
    """

    def __init__(
        self, counts: Sequence[int] | np.ndarray, beta: float = 0.9999, gamma: float = 1.0
    ) -> None:
        super().__init__(name="class_balanced_focal")
        self.weights = class_weights(counts, beta)
        self.gamma = gamma

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        y_true = tf.cast(tf.reshape(y_true, [-1]), tf.int32)
        truth = tf.one_hot(y_true, y_pred.shape[-1])
        nll = tf.nn.sigmoid_cross_entropy_with_logits(truth, y_pred)
        wrong = tf.sigmoid(y_pred * (1 - 2 * truth))  # 1 - p of the right answer, for each class
        focal = tf.pow(wrong, self.gamma) if self.gamma else tf.ones_like(wrong)
        return tf.gather(self.weights, y_true) * tf.reduce_sum(focal * nll, axis=-1)
