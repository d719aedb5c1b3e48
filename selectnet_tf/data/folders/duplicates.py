"""Duplicates and near duplicates among images, such as resaved and resized ones."""

from typing import Protocol

import numpy as np

FARTHEST = 4  # largest difference of two near duplicates' perceptual hashes, in bits of 64
# largest difference of two near duplicates anywhere in their thumbnails, of 255: one thing more or
# less in the scene of a fixed camera differs more
UNLIKE = 24
THUMB = 32
COARSE = 8  # divides THUMB
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
    thumbs = np.zeros((len(used), THUMB, THUMB, images[used[:0]].shape[-1]), np.uint8)
    for start in range(0, len(used), CHUNK):
        some = slice(start, start + CHUNK)
        thumbs[some] = np.rint(thumbnails(images[used[some]]))
    return pairs[_alike(thumbs, places.reshape(-1, 2))]


def _alike(thumbs: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Returns which pairs [k, 2] of thumbnails [n, THUMB, THUMB, C] nowhere differ by over UNLIKE.

    At an edge, whose sharpness depends on the file, a pixel may have any value of the 3 x 3 pixels
    around it in the other image.
    """
    from scipy.ndimage import maximum_filter, minimum_filter

    coarse = thumbnails(thumbs, COARSE).astype(np.int16)
    low, high = (each(thumbs, (1, 3, 3, 1)) for each in (minimum_filter, maximum_filter))
    near = np.zeros(len(pairs), bool)
    for start in range(0, len(pairs), CHUNK):
        some = pairs[start : start + CHUNK]
        a, b = some.T
        close = np.abs(coarse[a] - coarse[b]).max((1, 2, 3)) <= UNLIKE
        kept, outside = some[close], []
        for one, other in (kept.T, kept[:, ::-1].T):
            x = thumbs[one].astype(np.int16)
            outside.append(np.maximum(x - high[other], low[other] - x).max((1, 2, 3)))
        close[close] = np.maximum(*outside) <= UNLIKE
        near[start : start + CHUNK] = close
    return near


def pairs_of_equal(same: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Returns pairs [k, 2] that chain the `places` [n] with equal values in `same`, an integer per
    image.
    """
    order = places[np.argsort(same[places], kind="stable")]
    pairs = np.stack([order[:-1], order[1:]], 1)
    return pairs[same[pairs[:, 0]] == same[pairs[:, 1]]]


def thumbnails(images: np.ndarray, side: int = THUMB) -> np.ndarray:
    """Returns means over a grid of `side` x `side`, float32, of images [n, H, W, C]."""
    for axis in (1, 2):
        edges = np.arange(side) * images.shape[axis] // side
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
