"""Which pictures are the same, or nearly: re-saved, resized."""

from typing import Protocol

import numpy as np

FARTHEST = 4  # bits of 64 by which the perceptual hashes of near copies may differ
# mean difference of near copies at 8 x 8, of 255: a hash alone takes plain pictures of any colour
# for one
UNLIKE = 4.0
THUMB = 8
CHUNK = 4096


class Indexed(Protocol):
    """[n, H, W, C] images, in memory or not: those at places [k] are read by []."""

    def __getitem__(self, places: np.ndarray, /) -> np.ndarray: ...


def find_near_duplicates(looks: list[str], images: Indexed, first: int) -> np.ndarray:
    """Pairs of near copies, the equal ones among them.

    Args:
        looks: n perceptual hashes. images: [n, size, size, 3] uint8.
        first: only pairs of one of the first `first` pictures with a later one are looked for.

    Returns:
        [k, 2] places, the smaller first.
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
    """[k, 2] pairs that chain together the `places` [n] where `same`, a number for each picture, is
    the same.
    """
    order = places[np.argsort(same[places], kind="stable")]
    pairs = np.stack([order[:-1], order[1:]], 1)
    return pairs[same[pairs[:, 0]] == same[pairs[:, 1]]]


def _differences(thumbs: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    return np.abs(thumbs[pairs[:, 0]] - thumbs[pairs[:, 1]]).mean((1, 2, 3))


def thumbnails(images: np.ndarray) -> np.ndarray:
    """[n, H, W, C] -> [n, 8, 8, C] float32 means."""
    for axis in (1, 2):
        edges = np.arange(THUMB) * images.shape[axis] // THUMB
        widths = np.diff([*edges, images.shape[axis]]).reshape(
            [-1 if a == axis else 1 for a in range(4)]
        )
        images = np.add.reduceat(images, edges, axis, dtype=np.float32) / np.maximum(widths, 1)
    return images


def group_pairs(count: int, pairs: np.ndarray) -> np.ndarray:
    """[count] numbers, equal where pairs [k, 2] link two places, directly or through others."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    links = coo_array((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), (count, count))
    return connected_components(links, directed=False)[1]
