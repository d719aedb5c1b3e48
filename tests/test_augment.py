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
        channels = [ndimage.shift(image[..., c].astype(float), (down[i], right[i]), order=1, mode="nearest") for c in range(3)]
        expected = np.stack(channels, -1)
        np.testing.assert_allclose(found[i], expected[:, ::-1] if mirror[i] else expected, atol=0.501)
    assert 0 < mirror.sum() < 16


def test_crop_flip_is_a_window_of_the_padded_image():
    found = augment.crop_flip(2)(tf.constant(IMAGES), SEED).numpy()
    padded = np.pad(IMAGES, ((0, 0), (2, 2), (2, 2), (0, 0)))
    for i in range(16):
        windows = [padded[i, r : r + 10, c : c + 12] for r in range(5) for c in range(5)]
        assert any(np.array_equal(found[i], w) or np.array_equal(found[i], w[:, ::-1]) for w in windows)
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
