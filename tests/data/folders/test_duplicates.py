import numpy as np
import pytest
from scipy.ndimage import maximum_filter, minimum_filter

from selectnet_tf.data.folders import duplicates


def test_near_copies_have_near_hashes_and_near_colours():
    images = np.zeros((5, 16, 16, 3), np.uint8)
    images[1] = 3  # nearly the same
    images[2] = 200  # a plain image of another colour: the same hash
    looks = [
        "8000000000000000",
        "8000000000000003",
        "8000000000000000",
        "ff00ff00ff00ff00",
        "8000000000000000",
    ]
    assert duplicates.find_near_duplicates(looks, images, 1).tolist() == [[0, 1], [0, 4]]
    assert duplicates.find_near_duplicates(looks, images, 5).tolist() == [[0, 1], [0, 4], [1, 4]]
    assert duplicates.find_near_duplicates([], images[:0], 0).shape == (0, 2)


def test_thumbnails_are_means():
    images = np.arange(12 * 12, dtype=np.uint8).reshape(1, 12, 12, 1)
    thumbs = duplicates.thumbnails(images, 8)
    assert thumbs.shape == (1, 8, 8, 1) and thumbs[0, 0, 1, 0] == images[0, :1, 1:3].mean()
    assert duplicates.thumbnails(np.full((2, 3, 3, 3), 7, np.uint8)).max() == 7


def test_a_small_thing_in_the_scene_makes_another_image():
    images = np.random.default_rng(0).integers(90, 110, (3, 64, 64, 3), np.uint8)
    images[1, 20:26, 30:36] += 60  # under one hundredth of the image
    same = ["8000000000000000"] * 3
    assert duplicates.find_near_duplicates(same, images, 3).tolist() == [[0, 2]]


def list_one_by_one(looks, images, first):
    """The pairs by the definition: near hashes, and thumbnails that nowhere differ much."""
    thumbs = np.rint(duplicates.thumbnails(images)).astype(int)
    coarse = duplicates.thumbnails(thumbs.astype(np.uint8), duplicates.COARSE).astype(int)
    low, high = (each(thumbs, (1, 3, 3, 1)) for each in (minimum_filter, maximum_filter))

    def alike(i, j):
        outside = [np.maximum(thumbs[a] - high[b], low[b] - thumbs[a]) for a, b in ((i, j), (j, i))]
        return np.max(outside) <= 24 and np.abs(coarse[i] - coarse[j]).max() <= 24

    return [
        [i, j]
        for i in range(first)
        for j in range(i + 1, len(looks))
        if (int(looks[i], 16) ^ int(looks[j], 16)).bit_count() <= 4 and alike(i, j)
    ]


@pytest.mark.parametrize("first", [0, 20, 60])
def test_pairs_are_compared_block_by_block(first, monkeypatch, capsys):
    rng = np.random.default_rng(first)
    scenes = rng.integers(0, 256, (3, 32, 32, 3))
    noise = rng.integers(-25, 26, (60, 32, 32, 3)) * rng.integers(0, 2, (60, 1, 1, 1))
    images = np.clip(scenes[np.arange(60) % 3] + noise, 0, 255).astype(np.uint8)
    bits = rng.integers(0, 64, (60, 3))
    looks = [
        f"{sum({1 << int(b) for b in row}) ^ (i % 3 * 0xFFFF):016x}" for i, row in enumerate(bits)
    ]
    whole = duplicates.find_near_duplicates(looks, images, first).tolist()
    assert whole == list_one_by_one(looks, images, first) and bool(whole) == bool(first)
    monkeypatch.setattr(duplicates, "BLOCK", 7)
    monkeypatch.setattr(duplicates, "FEW", 5)
    monkeypatch.setattr(duplicates, "MANY", 3)
    assert duplicates.find_near_duplicates(looks, images, first).tolist() == whole
    assert ("--copies=equal skips it" in capsys.readouterr().out) == bool(first)


def test_groups_and_equal_ones():
    assert duplicates.group_pairs(5, np.array([[0, 3], [3, 4]])).tolist() == [0, 1, 2, 0, 0]
    assert duplicates.pairs_of_equal(
        np.array([7, 8, 7, 7, 8]), np.array([0, 1, 2, 3])
    ).tolist() == [[0, 2], [2, 3]]
