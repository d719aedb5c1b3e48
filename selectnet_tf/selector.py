"""f_s, the small network of SelectNet (Section 3.3); it needs TensorFlow, as no rule does."""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf


class Selector:
    """The 8-4-1 network, on the CPU: it is too small for a GPU.

    All weights are in one vector, so that an Adam step is a few operations, and a round's training
    is one call of one compiled function.

    Args:
        inputs: the width of z.
        init: "glorot" or "normal", as in SelectNet.
        learning_rate: Adam's.
        seed: of the initial weights.
    """

    def __init__(self, inputs: int, init: str, learning_rate: float, seed: int) -> None:
        self.shapes = [(inputs, 8), (8, 4), (4, 1)]
        with tf.device("/cpu:0"):
            self.theta = tf.Variable(self._initial(init, seed))
            self.optimizer = keras.optimizers.Adam(learning_rate)
            self.optimizer.build([self.theta])
        self.variables = [self.theta, *self.optimizer.variables]
        kinds = tf.float32, tf.float32, tf.int32, tf.int32, tf.int32
        signature = list(map(tf.TensorSpec, ([None, inputs], [None], [], [], [2]), kinds))
        self._fit = tf.function(self._fit_steps, input_signature=signature, jit_compile=False)

    def fit(
        self, z: np.ndarray, weight: np.ndarray, epochs: int, batch_size: int, seed: Sequence[int]
    ) -> None:
        """Minimizes mean(f_s(z) weight) by Adam (eq. 5).

        Args:
            z: [n, inputs] float32.
            weight: [n] float32, L - lambda in nats.
            epochs: passes over z.
            batch_size: rows a step.
            seed: two ints, of the order.
        """
        with tf.device("/cpu:0"):
            self._fit(*map(tf.constant, (z, weight, epochs, batch_size, seed)))

    def predict(self, z: np.ndarray) -> np.ndarray:
        """Returns f_s(z): [n] float32 in [0, 1]."""
        with tf.device("/cpu:0"):
            return np.asarray(self._forward(tf.constant(z)))

    def _initial(self, init: str, seed: int) -> np.ndarray:
        parts = []
        for i, (rows, columns) in enumerate(self.shapes):
            layer_seed = seed + 7919 * i
            glorot = keras.initializers.GlorotUniform(layer_seed)
            normal = keras.initializers.RandomNormal(stddev=0.05, seed=layer_seed)
            kernel = glorot if init == "glorot" else normal
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
                    output = self._forward(tf.gather(z, rows))
                    loss = tf.reduce_mean(output * tf.gather(weight, rows))  # eq. (5)
                self.optimizer.apply([tape.gradient(loss, self.theta)], [self.theta])
