"""The images and classes behind a run."""

from typing import NamedTuple

import numpy as np

from selectnet_tf.images import Images, Subset


class Task(NamedTuple):
    """The images and classes behind a run, D first and then U.

    x_labeled, x_unlabeled, x_test: [.., H, W, C] uint8. y_labeled, y_test: int32 classes. names:
    the m classes' names.
    minor: the minor classes. truth: [n_D + n_U] true classes, -1 where nobody knows; only the audit
    may read it.
    index: [n_D + n_U] places in the original training set, or in `files` where the images are
    files.
    says: lines for the screen. files: where each came from, by `index`.
    listing: for pictures, the lines of files.csv: what each file is to the run, and why it is left
    out.
    fit: for pictures, how they became squares.
    """

    x_labeled: Subset | np.ndarray
    y_labeled: np.ndarray
    x_unlabeled: Subset | np.ndarray
    x_test: Subset | np.ndarray
    y_test: np.ndarray
    names: tuple[str, ...]
    minor: tuple[int, ...]
    truth: np.ndarray
    index: np.ndarray  # type: ignore[assignment]  # hides tuple.index
    says: list[str]
    files: list[str] | None = None
    listing: list[tuple] | None = None
    fit: str | None = None

    @property
    def by_index(self) -> "_ByIndex":
        """The images as an array that is indexed by what stands in `index`."""
        return _ByIndex(Images(self.x_labeled, self.x_unlabeled), self.index)


class _ByIndex:
    def __init__(self, images: Images, places: np.ndarray) -> None:
        self.images, self.places = images, places

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        order = np.argsort(self.places)
        return self.images[order[np.searchsorted(self.places, indices, sorter=order)]]
