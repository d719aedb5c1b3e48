"""f_s, the small network that SelectNet learns to pick with (Section 3.3).

Apart from the rules, which need no TensorFlow.
"""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf


class Selector:
    """The 8-4-1 network. All its weights lie in one vector, so that an Adam step is a handful of
    operations, and a whole round's training is one call of one compiled function. It stays on the
    CPU: it is far too small for a GPU."""

    def __init__(self, inputs: int, init: str, learning_rate: float, seed: int) -> None:
        self.shapes = [(inputs, 8), (8, 4), (4, 1)]
        with tf.device("/cpu:0"):
            self.theta = tf.Variable(self._initial(init, seed))
            self.optimizer = keras.optimizers.Adam(learning_rate)
            self.optimizer.build([self.theta])
        self.variables = [self.theta, *self.optimizer.variables]
        whole = tf.TensorSpec([], tf.int32)
        signature = [
            tf.TensorSpec([None, inputs]),
            tf.TensorSpec([None]),
            whole,
            whole,
            tf.TensorSpec([2], tf.int32),
        ]
        self._fit = tf.function(self._fit_steps, input_signature=signature, jit_compile=False)

    def _initial(self, init: str, seed: int) -> np.ndarray:
        parts = []
        for i, (rows, columns) in enumerate(self.shapes):
            layer_seed = seed + 7919 * i
            glorot = keras.initializers.GlorotUniform(layer_seed)
            kernel = (
                glorot
                if init == "glorot"
                else keras.initializers.RandomNormal(stddev=0.05, seed=layer_seed)
            )
            parts += [np.ravel(kernel((rows, columns))), np.zeros(columns)]
        return np.concatenate(parts).astype(np.float32)

    def _forward(self, z: tf.Tensor) -> tf.Tensor:
        start = 0
        for i, (rows, columns) in enumerate(self.shapes):
            kernel = tf.reshape(self.theta[start : start + rows * columns], [rows, columns])
            start += rows * columns
            z = z @ kernel + self.theta[start : start + columns]
            start += columns
            z = tf.nn.relu(z) if i < 2 else tf.sigmoid(z)
        return z[:, 0]

    def _fit_steps(
        self, z: tf.Tensor, weight: tf.Tensor, epochs: tf.Tensor, batch: tf.Tensor, seed: tf.Tensor
    ) -> None:
        n = tf.shape(z)[0]
        for epoch in tf.range(epochs):
            noise = tf.random.stateless_uniform([n], tf.random.fold_in(seed, epoch))
            order = tf.argsort(noise, stable=True)
            for start in tf.range(0, n, batch):
                rows = order[start : start + batch]
                with tf.GradientTape() as tape:
                    loss = tf.reduce_mean(
                        self._forward(tf.gather(z, rows)) * tf.gather(weight, rows)
                    )  # eq. (5)
                self.optimizer.apply([tape.gradient(loss, self.theta)], [self.theta])

    def fit(
        self, z: np.ndarray, weight: np.ndarray, epochs: int, batch_size: int, seed: Sequence[int]
    ) -> None:
        with tf.device("/cpu:0"):
            self._fit(
                tf.constant(z),
                tf.constant(weight),
                tf.constant(epochs),
                tf.constant(batch_size),
                tf.constant(seed),
            )

    def predict(self, z: np.ndarray) -> np.ndarray:
        with tf.device("/cpu:0"):
            return np.asarray(self._forward(tf.constant(z)))
