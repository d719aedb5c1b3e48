"""f_s, the small network of SelectNet (Section 3.3), in NumPy."""

from collections.abc import Callable

import numpy as np
from scipy.special import expit

Layers = list[tuple[np.ndarray, np.ndarray]]


class Selector:
    """The 8-4-1 network and Adam, in float32.

    Args:
        inputs: the width of z.
        init: "glorot" or "normal", as in SelectNet.
        seed: of the initial weights and the order.

    Attributes:
        weights: [3, k] float32, the weights and Adam's two moments; replaced, never changed.
        steps: Adam's steps so far.
    """

    def __init__(self, inputs: int, init: str, seed: int) -> None:
        self.shapes, self.seed, self.steps = ((inputs, 8), (8, 4), (4, 1)), seed, 0
        self.weights = np.zeros((3, sum((a + 1) * b for a, b in self.shapes)), np.float32)
        rng = np.random.default_rng([seed, 6])
        for kernel, _ in self._layers(self.weights[0]):
            limit = (6 / sum(kernel.shape)) ** 0.5
            glorot = rng.uniform(-limit, limit, kernel.shape)
            kernel[:] = glorot if init == "glorot" else rng.normal(0, 0.05, kernel.shape)

    def fit(
        self,
        z: np.ndarray,
        weight: np.ndarray,
        epochs: int,
        batch_size: int,
        learning_rate: float | Callable[[int], float],
        round: int,
    ) -> None:
        """Minimizes mean(f_s(z) weight) by Adam (eq. 5).

        Args:
            z: [n, inputs] float32.
            weight: [n] float32, L - lambda in nats.
            epochs: passes over z.
            batch_size: rows a step.
            learning_rate: Adam's, or a callable from the steps so far to it.
            round: the order follows from the seed, the round and the epoch.
        """
        theta, mean, square = weights = self.weights.copy()
        gradient = np.empty_like(theta)
        layers, gradients = self._layers(theta), self._layers(gradient)
        steps = self.steps
        for epoch in range(epochs):
            order = np.random.default_rng([self.seed, 3, round, epoch]).permutation(len(z))
            for start in range(0, len(z), batch_size):
                rows = order[start : start + batch_size]
                outputs = _forward(layers, z[rows])
                f = outputs[-1]
                slope = f * (1 - f) * weight[rows, None] / len(rows)
                for i in (2, 1, 0):
                    np.matmul(outputs[i].T, slope, out=gradients[i][0])
                    slope.sum(0, out=gradients[i][1])
                    if i:
                        slope = (slope @ layers[i][0].T) * (outputs[i] > 0)
                rate = learning_rate(steps) if callable(learning_rate) else learning_rate
                steps += 1
                rate = float(rate) * (1 - 0.999**steps) ** 0.5 / (1 - 0.9**steps)
                mean += (gradient - mean) * 0.1
                square += (gradient * gradient - square) * 0.001
                theta -= rate * mean / (np.sqrt(square) + 1e-7)
        self.weights, self.steps = weights, steps

    def predict(self, z: np.ndarray) -> np.ndarray:
        """Returns f_s(z): [n] float32 in [0, 1]."""
        return _forward(self._layers(self.weights[0]), z)[-1][:, 0]

    def _layers(self, theta: np.ndarray) -> Layers:
        """Returns (kernel, bias) of each layer: views of theta [k]."""
        layers, start = [], 0
        for rows, columns in self.shapes:
            end = start + rows * columns
            layers.append((theta[start:end].reshape(rows, columns), theta[end : end + columns]))
            start = end + columns
        return layers


def _forward(layers: Layers, z: np.ndarray) -> list[np.ndarray]:
    """Returns z and the output of each layer."""
    outputs = [z]
    for kernel, bias in layers:
        x = outputs[-1] @ kernel + bias
        outputs.append(expit(x) if len(outputs) == len(layers) else np.maximum(x, 0))
    return outputs
