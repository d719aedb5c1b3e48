"""The data of a run."""

from typing import NamedTuple

import numpy as np

from selectnet_tf.images import Images, Subset


class Task(NamedTuple):
    """Images and classes of a run.

    Attributes:
        x_labeled: [n_D, H, W, C] uint8.
        y_labeled: [n_D] int32 classes.
        x_unlabeled: [n_U, H, W, C] uint8.
        x_test: [n_test, H, W, C] uint8.
        y_test: [n_test] int32 classes.
        names: the m class names.
        minor: the minor classes.
        truth: [n_D + n_U] true classes, -1 if unknown. Only the audit may read it.
        index: [n_D + n_U] positions in the original training set, or in `files`.
        says: lines for the screen.
        files: paths of the images in a folder.
        listing: rows of files.csv: file, digest, part, class, reason for leaving it out.
        fit: --fit of the images in a folder.
        levels: range of the grayscale images of more than 8 bits in a folder.
        boxes: part of each of `files` that its image shows, or None: all of it; None: of no
            recipe with --boxes.
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
    levels: tuple[float, float] | None = None
    boxes: list[tuple[float, float, float, float] | None] | None = None

    def at(self, indices: np.ndarray) -> Subset:
        """Returns the images at values [k] of `index`, read when they are asked for."""
        order = np.argsort(self.index)
        places = order[np.searchsorted(self.index, indices, sorter=order)]
        return Subset(Images(self.x_labeled, self.x_unlabeled), places)
