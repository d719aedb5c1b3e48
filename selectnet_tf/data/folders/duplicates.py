"""Duplicates and near duplicates among images, such as resaved and resized ones."""

from typing import Protocol

import numpy as np

FARTHEST = 4  # largest difference of two near duplicates' perceptual hashes, in bits of 64
# largest mean difference of two near duplicates' thumbnails, of 255: plain images of any colour
# have the same hash
UNLIKE = 4.0
THUMB = 8
CHUNK = 4096


class Indexed(Protocol):
    """[n, H, W, C] images, in memory or on disk, read by an index [k]."""

    def __getitem__(self, places: np.ndarray, /) -> np.ndarray: ...


def find_near_duplicates(looks: list[str], images: Indexed, first: int) -> np.ndarray:
    """Returns pairs of near duplicates, equal images included.

    Args:
        looks: n perceptual hashes.
        images: [n, size, size, 3] uint8.
        first: pairs begin with one of the first `first` images.

    Returns:
        [k, 2] positions, the smaller first.
    """
    hashes = np.array([int(look, 16) for look in looks], np.uint64)
    found = [np.zeros((0, 2), np.int64)]
    for i in range(min(first, len(hashes))):
        close = i + 1 + np.flatnonzero(np.bitwise_count(hashes[i + 1 :] ^ hashes[i]) <= FARTHEST)
        found.append(np.stack([np.full(len(close), i), close], 1))
    pairs = np.concatenate(found)
    used, places = np.unique(pairs, return_inverse=True)
    parts = [
        thumbnails(images[used[start : start + CHUNK]]) for start in range(0, len(used), CHUNK)
    ]
    thumbs = np.concatenate(parts) if parts else np.zeros((0, THUMB, THUMB, 3), np.float32)
    places = places.reshape(-1, 2)
    unlike = [
        _differences(thumbs, places[start : start + CHUNK])
        for start in range(0, len(places), CHUNK)
    ]
    return pairs[np.concatenate(unlike) <= UNLIKE] if unlike else pairs


def pairs_of_equal(same: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Returns pairs [k, 2] that chain the `places` [n] with equal values in `same`, an integer per
    image.
    """
    order = places[np.argsort(same[places], kind="stable")]
    pairs = np.stack([order[:-1], order[1:]], 1)
    return pairs[same[pairs[:, 0]] == same[pairs[:, 1]]]


def _differences(thumbs: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    return np.abs(thumbs[pairs[:, 0]] - thumbs[pairs[:, 1]]).mean((1, 2, 3))


def thumbnails(images: np.ndarray) -> np.ndarray:
    """Returns means over an 8 x 8 grid, [n, 8, 8, C] float32, of images [n, H, W, C]."""
    for axis in (1, 2):
        edges = np.arange(THUMB) * images.shape[axis] // THUMB
        widths = np.diff([*edges, images.shape[axis]]).reshape(
            [-1 if a == axis else 1 for a in range(4)]
        )
        images = np.add.reduceat(images, edges, axis, dtype=np.float32) / np.maximum(widths, 1)
    return images


def group_pairs(count: int, pairs: np.ndarray) -> np.ndarray:
    """Returns group numbers [count], equal where pairs [k, 2] link two positions."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    links = coo_array((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), (count, count))
    return connected_components(links, directed=False)[1]
