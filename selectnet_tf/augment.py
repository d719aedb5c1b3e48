"""Random shifts and flips of a whole batch at once, as pure functions of a seed.

An augmentation is a callable (images [B, H, W, C], seed int32 [2]) -> images of the same shape,
dtype and range. The same (seed, epoch, step) gives the same pixels, whatever ran before.
"""

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from selectnet_tf.images import name_inputs

Augment = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
Augments = Augment | Mapping[Any, Augment]


def shift_flip(shift: float = 0.2, flip: bool = True) -> Augment:
    """Returns an augmentation that shifts each image and mirrors half of them.

    It is the released code's ImageDataGenerator(width_shift_range=shift,
    height_shift_range=shift, horizontal_flip=flip): independent continuous uniform offsets, fill
    "nearest", the flip after the shift. A bilinear translation is separable, so each axis costs one
    gather of side + 1 lines and one linear interpolation. Integers are rounded.

    Args:
        shift: the largest offset, as a share of the side.
        flip: whether to mirror.
    """

    def augment(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        b, h, w = _sides(images)
        seeds = tf.unstack(tf.random.split(seed, 3))
        down = tf.random.stateless_uniform([b, 1], seeds[0], -shift * h, shift * h)
        right = tf.random.stateless_uniform([b, 1], seeds[1], -shift * w, shift * w)
        mirror = tf.random.stateless_uniform([b, 1], seeds[2]) < (0.5 if flip else 0.0)
        x = _slide(images, down, tf.zeros_like(mirror), axis=1)
        x = _slide(x, right, mirror, axis=2)
        return tf.cast(tf.round(x) if images.dtype.is_integer else x, images.dtype)

    return augment


def crop_flip(pad: int = 4) -> Augment:
    """Returns an augmentation that pads, crops to the old size, and mirrors half of the images.

    It is that of Cui et al. (2019).

    Args:
        pad: black pixels on each side.
    """

    def augment(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        b, h, w = _sides(images)
        seeds = tf.unstack(tf.random.split(seed, 2))
        offset = tf.random.stateless_uniform([b, 2], seeds[0], 0, 2 * pad + 1, tf.int32)
        mirror = tf.random.stateless_uniform([b, 1], seeds[1]) < 0.5
        rows = offset[:, :1] + tf.range(h)[None]  # [B, H]
        steps = tf.where(mirror, tf.range(w - 1, -1, -1)[None], tf.range(w)[None])
        columns = offset[:, 1:] + steps  # [B, W]
        padded = tf.pad(images, [[0, 0], [pad, pad], [pad, pad], [0, 0]])
        x = tf.gather(padded, rows, axis=1, batch_dims=1)
        return tf.ensure_shape(tf.gather(x, columns, axis=2, batch_dims=1), images.shape)

    return augment


def apply_augment(augment: Any, images: Any, seed: tf.Tensor) -> Any:
    """Returns augment(images, seed), checked: [B, ...] of the same shape and dtype.

    Of several inputs, those that a dict `augment` names are augmented, by one seed.
    """
    if named := _name_inputs(augment, images):
        for key, one in augment.items():
            named[key] = apply_augment(one, named[key], seed)
        return named if isinstance(images, dict) else tuple(named.values())
    found = augment(images, seed)
    if not tf.is_tensor(found):
        raise ValueError(
            f"augment returned a {type(found).__name__}, but has to return a tensor: did you mean"
            " augment=sn.shift_flip()?"
        )
    if found.dtype != images.dtype or not images.shape.is_compatible_with(found.shape):
        kinds = [
            f"{x.dtype.name} {x.shape.as_list() if x.shape.rank is not None else ''}".strip()
            for x in (images, found)
        ]
        raise ValueError(
            f"augment was given {kinds[0]} images and returned {kinds[1]}: both have to be the same"
        )
    return tf.ensure_shape(found, images.shape)


def check_augment(augment: Any, images: Any) -> None:
    """Raises ValueError where an augmentation ignores its seed, or changes shape, dtype or range.

    D and U are scored without it, so the model would be trained on scaled images and asked about
    others.

    Args:
        augment: the augmentation; it is called twice.
        images: [b, ...], a few images of the pool; or a dict or tuple of several inputs.
    """
    if named := _name_inputs(augment, images):
        for key, one in augment.items():
            check_augment(one, named[key])
        return
    if isinstance(augment, keras.layers.Layer):
        raise ValueError(
            "augment is a Keras layer, whose randomness no seed decides: put it into the model,"
            " behind its input"
        )
    first, again = (
        np.asarray(apply_augment(augment, tf.constant(images), tf.constant([0, 0])))
        for _ in range(2)
    )
    if not np.array_equal(first, again, equal_nan=first.dtype.kind == "f"):
        raise ValueError(
            "augment returned other images for the same seed: draw by tf.random.stateless_uniform"
            "(shape, seed), or put Keras layers into the model, behind its input"
        )
    if images.dtype.kind not in "uif":
        return
    low, high = float(np.min(images)), float(np.max(images))
    span = high - low
    if not np.isfinite(span) or not span:
        return
    found = first.astype(np.float64)
    inside = low - span <= found.min() and found.max() <= high + span
    if not (inside and found.max() - found.min() >= span / 8):  # also where it is NaN
        ends = f"{low:.3g} to {high:.3g} into {found.min():.3g} to {found.max():.3g}"
        raise ValueError(
            f"augment turned values from {ends}: it has to keep the range; scale inside the model"
        )


def _name_inputs(augment: Any, images: Any) -> dict[Any, Any]:
    """Returns several inputs by name or place; {} of a lone array.

    Raises:
        ValueError: `augment` is not a dict from some of them, or is one for a lone array.
    """
    if not isinstance(images, (dict, tuple)):
        if isinstance(augment, Mapping):
            raise ValueError("augment is a dict, but the images are one input: give its value")
        return {}
    named = name_inputs(images)
    if not isinstance(augment, Mapping) or not augment.keys() <= named.keys():
        raise ValueError(
            f"augment has to say which of the inputs {list(named)} it is for, as in"
            f" augment={{{next(iter(named))!r}: sn.shift_flip()}}"
        )
    return named


def _sides(images: tf.Tensor) -> tuple[int, int, int]:
    """Returns (B, H, W) of images [B, H, W, C]."""
    shape = images.shape.as_list()
    cure = ""
    if len(shape) == 3:
        cure = "give them a channel, x[..., None]"
    elif len(shape) != 4:
        cure = "leave the augmentation out, or write your own"
    elif shape[1] in (1, 3, 4) and shape[2] == shape[3] > 4:
        cure = "give x.transpose(0, 2, 3, 1)"
    if cure:
        raise ValueError(
            f"images to shift and flip are {shape[1:]}, but have to be [h, w, channels]: {cure}"
        )
    return shape[0], shape[1], shape[2]


def _slide(x: tf.Tensor, offset: tf.Tensor, mirror: tf.Tensor, axis: int) -> tf.Tensor:
    """Returns x [B, H, W, C], moved along an axis and mirrored along it.

    Args:
        x: the images.
        offset: [B, 1] pixels.
        mirror: [B, 1] bool.
        axis: 1 or 2.
    """
    size = x.shape[axis]
    whole = tf.floor(-offset)  # out[j] = x[j - offset]
    share = -offset - whole  # of the next pixel, in [0, 1)
    steps = tf.range(size + 1)[None]
    places = tf.cast(whole, tf.int32) + tf.where(mirror, size - steps, steps)  # [B, size + 1]
    lines = tf.gather(x, tf.clip_by_value(places, 0, size - 1), axis=axis, batch_dims=1)
    lines = tf.cast(lines, tf.float32)
    share = tf.where(mirror, 1 - share, share)[:, :, None, None]
    if axis == 1:
        first, second = lines[:, :-1], lines[:, 1:]
    else:
        first, second = lines[:, :, :-1], lines[:, :, 1:]
    return tf.ensure_shape(first + share * (second - first), x.shape)
