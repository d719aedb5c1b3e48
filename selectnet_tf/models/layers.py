"""Faster forms of Keras's layers."""

import keras
import tensorflow as tf

FUSED_EPSILON = 1.001e-5  # TensorFlow's fused kernel silently raises a smaller one to this


class BatchNormalization(keras.layers.BatchNormalization):
    """keras.layers.BatchNormalization of images [B, H, W, C] by TensorFlow's fused kernel.

    Keras 3 computes the moments, the normalization and their gradients as about twenty operations.
    Outputs, gradients and moving statistics equal the stock layer's to rounding; arguments,
    weights and config are the same. A .keras file names the stock layer and needs none of our code.
    The stock layer takes over for another rank or axis, float64, weights of 16 bits, masks, renorm,
    statistics synchronized over replicas, and [B, C, H, W] on a CPU.
    """

    __module__ = "keras.layers"  # which Keras writes into a .keras file, so that any Keras reads it

    def call(
        self, inputs: tf.Tensor, training: bool | None = None, mask: tf.Tensor | None = None
    ) -> tf.Tensor:
        if mask is not None or not self._fits(inputs):
            return super().call(inputs, training=training, mask=mask)
        channels = (inputs.shape[self.axis],)
        scale = tf.convert_to_tensor(self.gamma) if self.scale else tf.ones(channels)
        offset = tf.convert_to_tensor(self.beta) if self.center else tf.zeros(channels)
        layout = "NHWC" if self.axis in (-1, 3) else "NCHW"
        fused = tf.compat.v1.nn.fused_batch_norm
        if not (training and self.trainable):
            mean, variance = (
                tf.convert_to_tensor(self.moving_mean),
                tf.convert_to_tensor(self.moving_variance),
            )
            return fused(
                inputs, scale, offset, mean, variance, self.epsilon, layout, is_training=False
            )[0]
        outputs, mean, variance = fused(
            inputs, scale, offset, epsilon=self.epsilon, data_format=layout
        )
        n = tf.cast(tf.size(inputs) // channels[0], variance.dtype)
        variance *= tf.maximum(n - 1, 1) / n  # the kernel's divides by n - 1, Keras's by n
        for moving, now in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + now * (1.0 - self.momentum))
        return outputs

    def _fits(self, inputs: tf.Tensor) -> bool:
        return (
            not self.synchronized
            and not getattr(self, "renorm", False)
            and self.epsilon >= FUSED_EPSILON
            and self.variable_dtype == "float32"
            and self.axis in ((-1, 1, 3) if tf.config.list_physical_devices("GPU") else (-1, 3))
            and len(inputs.shape) == 4
            and inputs.dtype in ("float32", "float16", "bfloat16")
        )
