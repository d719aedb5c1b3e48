"""Duplicates and near duplicates among images, such as resaved and resized ones."""

from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np

FARTHEST = 4  # largest difference of two near duplicates' perceptual hashes, in bits of 64
# largest difference of two near duplicates anywhere in their thumbnails, of 255: one thing more or
# less in the scene of a fixed camera differs more
UNLIKE = 24
THUMB = 32
COARSE = 8  # divides THUMB
CHUNK = 4096
FEW = 256  # pairs compared at once: their thumbnails stay in the processor's cache
BLOCK = 1 << 20  # pairs in memory, about
MANY = 10_000_000  # pairs whose comparison is announced


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
    used, count = np.zeros(len(hashes), bool), 0
    for pairs in _pair_hashes(hashes, first):
        used[pairs] = True
        count += len(pairs)
    if count > MANY:
        print(
            f"  comparing {count:,} pairs of similar images takes minutes; --copies=equal skips it",
            flush=True,
        )
    places, number = np.flatnonzero(used), np.cumsum(used) - 1
    thumbs = np.zeros((len(places), THUMB, THUMB, images[places[:0]].shape[-1]), np.uint8)
    for start in range(0, len(places), CHUNK):
        some = slice(start, start + CHUNK)
        thumbs[some] = np.rint(thumbnails(images[places[some]]))
    alike = _compare(thumbs)
    near = [pairs[alike(number[pairs])] for pairs in _pair_hashes(hashes, first)]
    return np.concatenate([np.zeros((0, 2), np.int64), *near])


def _pair_hashes(hashes: np.ndarray, first: int) -> Iterator[np.ndarray]:
    """Yields the pairs [k, 2] with near hashes in order, about BLOCK at a time."""
    found, count = [], 0
    for i in range(min(first, len(hashes))):
        close = i + 1 + np.flatnonzero(np.bitwise_count(hashes[i + 1 :] ^ hashes[i]) <= FARTHEST)
        found.append(np.stack([np.full(len(close), i), close], 1))
        count += len(close)
        if count >= BLOCK:
            yield np.concatenate(found)
            found, count = [], 0
    if found:
        yield np.concatenate(found)


def _compare(thumbs: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Returns a function that tells which pairs [k, 2] of thumbnails nowhere differ by over UNLIKE.

    At an edge, whose sharpness depends on the file, a pixel may have any value of the 3 x 3 pixels
    around it in the other image. thumbs: [n, THUMB, THUMB, C].
    """
    from scipy.ndimage import maximum_filter, minimum_filter

    coarse = thumbnails(thumbs, COARSE).astype(np.int16)
    low, high = (each(thumbs, (1, 3, 3, 1)) for each in (minimum_filter, maximum_filter))
    low, high = np.maximum(low, UNLIKE) - UNLIKE, np.minimum(high, 255 - UNLIKE) + UNLIKE

    def alike(pairs: np.ndarray) -> np.ndarray:
        near = np.zeros(len(pairs), bool)
        for start in range(0, len(pairs), FEW):
            some = pairs[start : start + FEW]
            a, b = some.T
            close = np.abs(coarse[a] - coarse[b]).max((1, 2, 3)) <= UNLIKE
            for one, other in ((a, b), (b, a)):
                here = np.flatnonzero(close)
                x, of = thumbs[one[here]], other[here]
                close[here] = ((low[of] <= x) & (x <= high[of])).all((1, 2, 3))
            near[start : start + FEW] = close
        return near

    return alike


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
