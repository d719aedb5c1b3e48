"""The paper's classifiers: functions that return an uncompiled keras.Model for uint8 images."""

import os
from collections.abc import Sequence

import keras
import numpy as np
from keras import KerasTensor, layers

from selectnet_tf.models.layers import BatchNormalization
from selectnet_tf.recipes.architectures import APPLICATIONS, check_arch

# of batch normalizations of keras.applications with fresh weights: Keras's 0.99 and 0.999 need
# thousands of steps
MOMENTUM = 0.9
L2 = 1e-4  # of the ResNets' convolution kernels, as in Keras's cifar10_resnet


def build(
    arch: str,
    input_shape: Sequence[int],
    num_classes: int,
    activation: str = "softmax",
    scale: float | None = None,
    offset: float = 0.0,
    weights: str | None = None,
    dtype: str = "uint8",
) -> keras.Model:
    """An uncompiled classifier.

    Args:
        arch: "simple", "resnet20" (v1, depth 6n+2), "resnet20v2" (v2, depth 9n+2), or one of
            keras.applications.
        input_shape: [H, W, C].
        num_classes: m.
        activation: of the output, [B, m].
        scale: pixels are x * scale + offset; None: 1/255 for integers, 1 for floats. A network of
            keras.applications has its own, for pixels from 0 to 255.
        offset: added to the scaled pixels.
        weights: for a network of keras.applications: a file of weights without the top, or
            "imagenet", which Keras downloads.
        dtype: of the images: "uint8", or e.g. "float32".

    Raises:
        ValueError: no such arch; names the nearest that there are. A weights file of another
            network.
    """
    resnet = check_arch(arch)
    if keras.config.image_data_format() != "channels_last":
        cure = (
            "call keras.config.set_image_data_format('channels_last'), or say so in"
            " ~/.keras/keras.json"
        )
        raise ValueError(
            f"Keras is set to channels_first, but these networks take [h, w, channels]: {cure}"
        )
    if min(input_shape[:2]) < 12:
        raise ValueError(
            f"images are {input_shape[0]} x {input_shape[1]}, but the networks need at least 12"
            " x 12"
        )
    images = keras.Input(input_shape, dtype=dtype, name="images")
    if scale is None:
        scale = 1.0 if np.issubdtype(np.dtype(dtype), np.floating) else 1 / 255
    x = (
        images
        if arch in APPLICATIONS
        else layers.Rescaling(scale, offset, name="pixels", dtype=_wide(dtype))(images)
    )
    if arch in APPLICATIONS:
        x = _application(x, arch, weights)
    elif resnet:
        depth, v2 = resnet
        x = _resnet_v2(x, depth) if v2 else _resnet_v1(x, depth)
    else:
        x = _simple(x)
    initializer = "he_normal" if resnet else "glorot_uniform"
    output = layers.Dense(
        num_classes,
        activation=activation,
        kernel_initializer=initializer,
        dtype="float32",
        name="classes",
    )(x)
    return keras.Model(images, output, name=arch)


def _wide(dtype: str) -> str | None:
    """float32, where the images are whole numbers that 16 bits of arithmetic may not reach

    None: the policy's.
    """
    return "float32" if np.dtype(dtype).kind in "iu" and np.dtype(dtype).itemsize > 1 else None


def _application(images: keras.KerasTensor, arch: str, weights: str | None) -> keras.KerasTensor:
    """A network of keras.applications down to its global average: [B, d]."""
    make = getattr(keras.applications, arch)
    if weights == "imagenet":
        try:
            return make(
                include_top=False, weights=weights, input_shape=images.shape[1:], pooling="avg"
            )(_pixels(images, arch))
        except Exception as error:  # whatever the network does, the cure is the same
            what = f"ImageNet's weights of {arch} could not be downloaded ({type(error).__name__})"
            raise ValueError(
                f"{what}: give --weights a file that Keras saved elsewhere (~/.keras/models)"
            ) from None
    base = make(include_top=False, weights=None, input_shape=images.shape[1:], pooling="avg")
    if not weights:
        for layer in base.layers:
            if isinstance(layer, layers.BatchNormalization):
                layer.momentum = MOMENTUM
        return base(_pixels(images, arch))
    try:
        base.load_weights(os.path.expanduser(weights))
    except (ValueError, OSError, KeyError) as error:
        raise ValueError(
            f"{weights} does not hold weights of {arch} without its top:"
            f" {str(error).splitlines()[0]}"
        ) from None
    return base(
        _rescaled(_pixels(images, arch), base)
        if arch.startswith("EfficientNetB")
        else _pixels(images, arch)
    )


def _pixels(images: keras.KerasTensor, arch: str) -> keras.KerasTensor:
    """[B, H, W, 3] of 0 to 255 as the network's preprocess_input makes them."""
    wanted = APPLICATIONS[arch]
    if wanted == "tf":
        return layers.Rescaling(1 / 127.5, -1.0)(images)
    if wanted == "torch":
        mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
        return layers.Rescaling(
            [1 / (255 * s) for s in std], [-m / s for m, s in zip(mean, std, strict=True)]
        )(images)
    if wanted == "caffe":
        return layers.Rescaling(1.0, [-103.939, -116.779, -123.68])(images[..., ::-1])
    return images


def _rescaled(images: keras.KerasTensor, base: keras.Model) -> keras.KerasTensor:
    """What Keras puts behind EfficientNet's normalization under weights="imagenet" alone, put
    before it.

    There, (x / 255 - mean) / std is divided by the roots of 0.229, 0.224 and 0.225 once more.
    Weights of a network that was trained from scratch have a normalization that does nothing, and
    no such layer.
    """
    (norm,) = (layer for layer in base.layers if isinstance(layer, layers.Normalization))
    mean, variance = (
        keras.ops.convert_to_numpy(v).ravel() for v in (norm.adapt_mean, norm.adapt_variance)
    )
    if not mean.any() and (variance == 1).all():
        return images
    scale = np.array([0.229, 0.224, 0.225]) ** -0.5
    return layers.Rescaling(scale.tolist(), (255 * mean * (1 - scale)).tolist())(images)


def _simple(x: KerasTensor) -> KerasTensor:
    """Keras's cifar10_cnn: 1,250,858 parameters on CIFAR-10."""
    for filters in (32, 64):
        x = layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
        x = layers.Conv2D(filters, 3, activation="relu")(x)
        x = layers.MaxPooling2D()(x)
        x = layers.Dropout(0.25)(x)
    x = layers.Flatten()(x)
    x = layers.Dense(512, activation="relu")(x)
    return layers.Dropout(0.5)(x)


def _conv(x: KerasTensor, filters: int, size: int = 3, strides: int = 1) -> KerasTensor:
    regularizer = keras.regularizers.L2(L2)
    return layers.Conv2D(
        filters,
        size,
        strides,
        padding="same",
        kernel_initializer="he_normal",
        kernel_regularizer=regularizer,
    )(x)


def _norm_relu(x: KerasTensor) -> KerasTensor:
    return layers.ReLU()(BatchNormalization()(x))


def _resnet_v1(x: KerasTensor, depth: int) -> KerasTensor:
    """He et al.

    2015, as in Keras's cifar10_resnet: two 3x3 convolutions a block, normalized after each.
    """
    x = _norm_relu(_conv(x, 16))
    for stage, filters in enumerate((16, 32, 64)):
        for block in range((depth - 2) // 6):
            strides = 2 if stage and not block else 1
            y = _norm_relu(_conv(x, filters, strides=strides))
            y = BatchNormalization()(_conv(y, filters))
            if strides == 2:
                x = _conv(x, filters, 1, strides)
            x = layers.ReLU()(layers.Add()([x, y]))
    return layers.GlobalAveragePooling2D()(x)


def _resnet_v2(x: KerasTensor, depth: int) -> KerasTensor:
    """He et al.

    2016, as in Keras's cifar10_resnet: bottlenecks, normalized before each convolution.
    """
    x = _norm_relu(_conv(x, 16))
    filters_in, filters_out = 16, 64
    for stage in range(3):
        for block in range((depth - 2) // 9):
            strides = 2 if stage and not block else 1
            y = x if not stage and not block else _norm_relu(x)
            y = _conv(y, filters_in, 1, strides)
            y = _conv(_norm_relu(y), filters_in)
            y = _conv(_norm_relu(y), filters_out, 1)
            if not block:
                x = _conv(x, filters_out, 1, strides)
            x = layers.Add()([x, y])
        filters_in, filters_out = filters_out, filters_out * 2
    return layers.GlobalAveragePooling2D()(_norm_relu(x))
