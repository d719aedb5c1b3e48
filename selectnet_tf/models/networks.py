"""The paper's classifiers and those of keras.applications, uncompiled, for uint8 images."""

import functools
import os
from collections.abc import Sequence

import keras
import numpy as np
from keras import KerasTensor, layers

from selectnet_tf.models.layers import BatchNormalization
from selectnet_tf.recipes.architectures import APPLICATIONS, check_arch

# of batch normalization: Keras's 0.99 and 0.999 need hundreds of steps to follow the weights
MOMENTUM = 0.85
FRESH = 0.9  # of keras.applications with fresh weights, where `momentum` is None
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
    momentum: float | None = MOMENTUM,
) -> keras.Model:
    """Returns an uncompiled classifier: images [B, H, W, C] to outputs [B, m].

    Args:
        arch: "simple", "resnet20" (v1, depth 6n+2), "resnet20v2" (v2, depth 9n+2), or the name of a
            network of keras.applications.
        input_shape: [H, W, C].
        num_classes: m.
        activation: of the output.
        scale: pixels become x * scale + offset; None: 1/255 for integers, 1 for floats. A network
            of keras.applications has its own scaling, for pixels from 0 to 255.
        offset: added to the scaled pixels.
        weights: for a network of keras.applications: a file of weights without the top, or
            "imagenet", which Keras downloads.
        dtype: of the images, such as "uint8" or "float32".
        momentum: of the statistics of batch normalization: 0.85 suits a few dozen steps an epoch;
            None: Keras's 0.99, as in the paper's code.

    Raises:
        ValueError: an unknown arch, images without channels, of any size or under 12 x 12, or
            weights of another network.
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
    if len(input_shape) != 3 or None in input_shape:
        raise ValueError(
            f"input_shape is {list(input_shape)}, but has to be [height, width, channels]: resize"
            " images to one size, and give grayscale ones a channel, as in images[..., None]"
        )
    if min(input_shape[:2]) < 12:
        raise ValueError(
            f"images are {input_shape[0]} x {input_shape[1]}, but the networks need at least 12"
            " x 12"
        )
    images = keras.Input(input_shape, dtype=dtype, name="images")
    if scale is None:
        scale = 1.0 if np.issubdtype(np.dtype(dtype), np.floating) else 1 / 255
    if arch in APPLICATIONS:
        x = _application(images, arch, weights)
    else:
        x = layers.Rescaling(scale, offset, name="pixels", dtype=_wide(dtype))(images)
        if resnet:
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
    model = keras.Model(images, output, name=arch)
    for layer in model._flatten_layers() if momentum is not None else ():
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = momentum
    return model


def _wide(dtype: str) -> str | None:
    """Returns float32 for integers above 8 bits, which 16-bit arithmetic would round; else None."""
    return "float32" if np.dtype(dtype).kind in "iu" and np.dtype(dtype).itemsize > 1 else None


def _application(images: keras.KerasTensor, arch: str, weights: str | None) -> keras.KerasTensor:
    """Returns the global average [B, d] of a network of keras.applications."""
    options = {"include_top": False, "input_shape": images.shape[1:], "pooling": "avg"}
    make = functools.partial(getattr(keras.applications, arch), **options)
    if weights == "imagenet":
        try:
            return make(weights=weights)(_pixels(images, arch))
        except Exception as error:  # whatever the network does, the cure is the same
            what = f"ImageNet's weights of {arch} could not be downloaded ({type(error).__name__})"
            raise ValueError(
                f"{what}: give --weights a file that Keras saved elsewhere (~/.keras/models)"
            ) from None
    base = make(weights=None)
    pixels = _pixels(images, arch)
    if not weights:
        for layer in base.layers:
            if isinstance(layer, layers.BatchNormalization):
                layer.momentum = FRESH
        return base(pixels)
    try:
        base.load_weights(os.path.expanduser(weights))
    except (ValueError, OSError, KeyError) as error:
        raise ValueError(
            f"{weights} does not hold weights of {arch} without its top:"
            f" {str(error).splitlines()[0]}"
        ) from None
    return base(_rescale_imagenet(pixels, base) if arch.startswith("EfficientNetB") else pixels)


def _pixels(images: keras.KerasTensor, arch: str) -> keras.KerasTensor:
    """Returns images [B, H, W, 3] of 0 to 255 scaled as by the network's preprocess_input."""
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


def _rescale_imagenet(images: keras.KerasTensor, base: keras.Model) -> keras.KerasTensor:
    """Returns images with the second scaling of Keras's EfficientNetB under weights="imagenet".

    Keras divides (x / 255 - mean) / std by the roots of 0.229, 0.224 and 0.225 once more, but only
    where it downloads the weights itself. Weights that were trained from scratch have a
    normalization without effect, and need no such scaling.
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
    """Returns the features of Keras's cifar10_cnn, which has 1,250,858 parameters on CIFAR-10."""
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
    """Returns the features of ResNet v1 (He et al. 2015), as in Keras's cifar10_resnet.

    A block has two 3x3 convolutions, each followed by a normalization.
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
    """Returns the features of ResNet v2 (He et al. 2016), as in Keras's cifar10_resnet.

    A block is a bottleneck of three convolutions, each preceded by a normalization.
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
