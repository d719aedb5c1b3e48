"""The class-balanced focal loss of Cui et al. 2019, Table 3's other row."""

import keras
import numpy as np
import tensorflow as tf


def class_weights(counts, beta):
    """(1 - beta) / (1 - beta ** n) for each class, scaled to sum to the number of classes. [m] float32.

    counts: [m] labeled images of each class; beta in [0, 1).
    """
    weights = (1 - beta) / (1 - np.power(float(beta), np.asarray(counts, np.float64)))
    return (weights / weights.sum() * len(weights)).astype(np.float32)


class ClassBalancedFocal(keras.losses.Loss):
    """Sigmoid focal loss, each sample weighted by its class, an image's classes summed.

    Takes classes [B] and logits [B, m]; gives [B], nats. Normalized by the number of positives (one an image), as in
    the authors' code.
    """

    def __init__(self, counts, beta=0.9999, gamma=1.0, name="class_balanced_focal"):
        super().__init__(name=name)
        self.weights = class_weights(counts, beta)
        self.gamma = gamma

    def call(self, y_true, y_pred):
        y_true = tf.cast(tf.reshape(y_true, [-1]), tf.int32)
        truth = tf.one_hot(y_true, y_pred.shape[-1])
        nll = tf.nn.sigmoid_cross_entropy_with_logits(truth, y_pred)
        wrong = tf.sigmoid(y_pred * (1 - 2 * truth))  # 1 - p of the right answer, for each class
        focal = tf.pow(wrong, self.gamma) if self.gamma else tf.ones_like(wrong)
        return tf.gather(self.weights, y_true) * tf.reduce_sum(focal * nll, axis=-1)
