import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from selectnet_tf import augment

IMAGES = np.random.default_rng(0).integers(0, 256, (16, 10, 12, 3)).astype(np.uint8)
SEED = tf.constant([3, 4])


def test_shift_flip_is_a_bilinear_translation_with_nearest_fill():
    """Against SciPy's affine_transform, which Keras 2's ImageDataGenerator calls."""
    seeds = tf.unstack(tf.random.split(SEED, 3))
    down = tf.random.stateless_uniform([16, 1], seeds[0], -2.0, 2.0).numpy()[:, 0]
    right = tf.random.stateless_uniform([16, 1], seeds[1], -2.4, 2.4).numpy()[:, 0]
    mirror = tf.random.stateless_uniform([16, 1], seeds[2]).numpy()[:, 0] < 0.5
    found = augment.shift_flip(0.2)(tf.constant(IMAGES), SEED).numpy()
    for i, image in enumerate(IMAGES):
        channels = [
            ndimage.shift(image[..., c].astype(float), (down[i], right[i]), order=1, mode="nearest")
            for c in range(3)
        ]
        expected = np.stack(channels, -1)
        expected = expected[:, ::-1] if mirror[i] else expected
        np.testing.assert_allclose(found[i], expected, atol=0.501)
    assert 0 < mirror.sum() < 16


def test_crop_flip_is_a_window_of_the_padded_image():
    found = augment.crop_flip(2)(tf.constant(IMAGES), SEED).numpy()
    padded = np.pad(IMAGES, ((0, 0), (2, 2), (2, 2), (0, 0)))
    for i in range(16):
        windows = [padded[i, r : r + 10, c : c + 12] for r in range(5) for c in range(5)]
        assert any(np.array_equal(found[i], v) for w in windows for v in (w, w[:, ::-1]))
    assert not np.array_equal(found, IMAGES)


@pytest.mark.parametrize("change", [augment.shift_flip(0.2), augment.crop_flip(2)])
def test_same_seed_same_pixels_eagerly_and_in_a_pipeline(change):
    eager = change(tf.constant(IMAGES), SEED)
    piped = next(iter(tf.data.Dataset.from_tensors(IMAGES).map(lambda x: change(x, SEED))))
    other = change(tf.constant(IMAGES), tf.constant([3, 5]))
    assert eager.dtype == tf.uint8 and eager.shape == IMAGES.shape
    assert np.array_equal(eager, piped) and not np.array_equal(eager, other)


def test_without_flip_nothing_is_mirrored_and_without_shift_nothing_moves():
    assert np.array_equal(augment.shift_flip(0.0, flip=False)(tf.constant(IMAGES), SEED), IMAGES)
    found = augment.shift_flip(0.0)(tf.constant(IMAGES), SEED).numpy()
    mirrored = [np.array_equal(found[i], IMAGES[i, :, ::-1]) for i in range(16)]
    assert 0 < sum(mirrored) < 16
    assert all(m or np.array_equal(found[i], IMAGES[i]) for i, m in enumerate(mirrored))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_floats_are_not_rounded(dtype):
    """Of pixels in 0..1, rounding leaves 0 and 1; shifted floats are shifted bytes, up to the bytes' rounding."""
    floats = (IMAGES / 255).astype(dtype)
    found = augment.shift_flip(0.2)(tf.constant(floats), SEED).numpy()
    assert found.dtype == dtype and len(np.unique(found)) > 1000
    bytes_ = augment.shift_flip(0.2)(tf.constant(IMAGES), SEED).numpy()
    np.testing.assert_allclose(found * 255, bytes_, atol=0.51 if dtype != "float16" else 0.7)
    cropped = augment.crop_flip(2)(tf.constant(floats), SEED).numpy()
    assert np.isin(cropped, [*floats.ravel(), 0]).all()


@pytest.mark.parametrize("change", [augment.shift_flip(), augment.crop_flip()])
def test_images_without_a_channel_are_refused_with_the_cure(change):
    words = (
        r"are \[10, 12\], but have to be \[h, w, channels\]: give them a channel, x\[..., None\]"
    )
    with pytest.raises(ValueError, match=words):
        augment.check_augment(change, IMAGES[..., 0])
    augment.check_augment(change, IMAGES[..., 0][..., None])
    with pytest.raises(ValueError, match=r"are \[10\], .*: leave the augmentation out"):
        augment.check_augment(change, IMAGES[:, :, 0, 0])
    words = r"are \[3, 10, 10\], but have to be \[h, w, channels\]: give x.transpose\(0, 2, 3, 1\)"
    with pytest.raises(ValueError, match=words):
        augment.check_augment(change, np.repeat(IMAGES[:, :, :10, :1], 3, -1).transpose(0, 3, 1, 2))
    augment.check_augment(change, np.zeros((4, 3, 3, 200), np.uint8))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (augment.shift_flip, "returned a function, .* did you mean augment=sn.shift_flip\\(\\)"),
        (lambda x, seed: (x, seed), "returned a tuple"),
        (
            lambda x, seed: tf.cast(x, tf.float32) / 255,
            r"given uint8 \[16, 10, 12, 3\] images and returned float32 \[16, 10, 12, 3\]",
        ),
        (lambda x, seed: x[:, 1:], r"returned uint8 \[16, 9, 12, 3\]"),
        (lambda x, seed: tf.random.shuffle(x), "other images for the same seed"),
        (lambda x, seed: x // 255, "values from 0 to 255 into 0 to 1"),
        (keras.layers.RandomFlip(), "put it into the model"),
    ],
)
def test_what_an_augmentation_returns_is_checked(change, words):
    with pytest.raises(ValueError, match=words):
        augment.check_augment(change, IMAGES)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x, seed: x * 255, "values from 0 to 1 into 0 to 255: it has to keep the range"),
        (lambda x, seed: (x - 0.5) / 0.1, "into -5 to 5"),
        (lambda x, seed: x * np.nan, "into nan to nan"),
    ],
)
def test_a_range_that_is_not_kept_is_refused(change, words):
    with pytest.raises(ValueError, match=words):
        augment.check_augment(change, (IMAGES / 255).astype(np.float32))
    own = (lambda x, seed: x * 1.2 - 0.1, lambda x, seed: 1 - x)
    for good in (augment.shift_flip(), augment.crop_flip(), *own):
        augment.check_augment(good, (IMAGES / 255).astype(np.float32))
    nothing_to_compare = np.zeros((2, 4, 4, 1), np.uint8)
    augment.check_augment(augment.shift_flip(), nothing_to_compare)
    augment.check_augment(lambda x, seed: tf.strings.lower(x), np.array(["A b", "C"]))
