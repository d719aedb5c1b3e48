"""Losses that know how often each class occurs:

PriorCrossentropy, and Table 3's class-balanced focal loss (Cui et al. 2019).
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

# of a probability: its logarithm's gradient stays finite in float32, with a loss scale too
SMALLEST = 1e-30


@keras.saving.register_keras_serializable("selectnet_tf")
class PriorCrossentropy(keras.losses.Loss):
    """Cross-entropy for a training set whose classes differ in size: so many errors of a rare class
    count as of a frequent one.

    To each logit it adds tau times the logarithm of the class's share of what is trained on now
    (logit adjustment, Menon et al. 2021). The model's own output stays free of that prior, so use
    it for scores and predictions as it is. `fit` tells the loss the classes' counts before each
    epoch; until somebody does, it is the plain cross-entropy. A class without an image counts as
    one image. What Keras reports as `loss` and `val_loss` contains the prior: judge a model by its
    accuracy.

    Takes classes [B], or one-hot or soft labels [B, m], and probabilities or logits [B, m]; gives
    [B], nats.

    Args:
        tau: how much of the prior; 0 is the plain cross-entropy, 1 aims at the mean error over
            the classes.
        from_logits: whether the model gives logits.
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
            raise ValueError(f"tau is {tau}, but has to be at least 0")
        self.tau, self.from_logits = float(tau), from_logits
        # log counts, since what all classes have in common cancels; a variable, so that a swap
        # compiles nothing anew
        self._log_counts = tf.Variable(
            np.zeros(0, np.float32),
            shape=[None],
            trainable=False,
            dtype=tf.float32,
            name="log_counts",
        )

    def set_counts(self, counts: np.ndarray) -> None:
        """Says how many images of each class are trained on from now on.

        Counts: [k], k <= m; classes beyond have none.
        """
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
    """(1 - beta) / (1 - beta ** n) for each class, scaled to sum to the number of classes. [m]
    float32.

    counts: [m] labeled images of each class; beta in [0, 1).
    """
    weights = (1 - beta) / (1 - np.power(float(beta), np.asarray(counts, np.float64)))
    return (weights / weights.sum() * len(weights)).astype(np.float32)


class ClassBalancedFocal(keras.losses.Loss):
    """Sigmoid focal loss, each sample weighted by its class, an image's classes summed.

    Takes classes [B] and logits [B, m]; gives [B], nats. Normalized by the number of positives (one
    an image), as in the authors' code.
    """

    def __init__(
        self,
        counts: Sequence[int] | np.ndarray,
        beta: float = 0.9999,
        gamma: float = 1.0,
        name: str = "class_balanced_focal",
    ) -> None:
        super().__init__(name=name)
        self.weights = class_weights(counts, beta)
        self.gamma = gamma

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        y_true = tf.cast(tf.reshape(y_true, [-1]), tf.int32)
        truth = tf.one_hot(y_true, y_pred.shape[-1])
        nll = tf.nn.sigmoid_cross_entropy_with_logits(truth, y_pred)
        wrong = tf.sigmoid(y_pred * (1 - 2 * truth))  # 1 - p of the right answer, for each class
        focal = tf.pow(wrong, self.gamma) if self.gamma else tf.ones_like(wrong)
        return tf.gather(self.weights, y_true) * tf.reduce_sum(focal * nll, axis=-1)
