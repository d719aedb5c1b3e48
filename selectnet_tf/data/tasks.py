"""A recipe's data: what it trains on, selects from, is tested on and audited with."""

import os
import pathlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from selectnet_tf.data import cifar, splits
from selectnet_tf.images import Images, Subset
from selectnet_tf.recipes import Recipe


class Task(NamedTuple):
    """The images and classes behind a run, D first and then U.

    x_labeled, x_unlabeled, x_test: [.., H, W, C] uint8. y_labeled, y_test: int32 classes. names: the m classes' names.
    minor: the minor classes. truth: [n_D + n_U] true classes, -1 where nobody knows; only the audit may read it.
    index: [n_D + n_U] places in the original training set, or in `files` where the images are files.
    says: lines for the screen. files: where each came from, by `index`.
    listing: for pictures, the lines of files.csv: what each file is to the run, and why it is left out.
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


def make(
    recipe: Recipe,
    data_dir: str | os.PathLike[str] | None = None,
    cache_dir: pathlib.Path | None = None,
    say: Callable[[str], object] = lambda line: None,
) -> Task:
    """The Task of a recipe. data_dir: see cifar.load; cache_dir: where decoded pictures go; say: is told early what was found.

    Raises:
        ValueError, OSError: in one line, what is wrong and what to do.
    """
    from selectnet_tf.data import pictures  # here, because it makes a Task

    if recipe.dataset == "folder":
        return pictures.make(recipe, cache_dir or pathlib.Path(".cache"), say)
    return _benchmark(recipe, data_dir)


def _benchmark(recipe: Recipe, data_dir: str | os.PathLike[str] | None) -> Task:
    """Section 4.1's and 4.4's sets: the labels of all but `split.labeled` are hidden. The oracle alone gets all labels."""
    found = cifar.load(recipe.dataset, data_dir)
    kept, held = splits.keep_apart(found.y, recipe.validation, recipe.seed)
    split = splits.of(recipe, found.y[kept])
    labeled, unlabeled, says = kept[split.labeled], kept[split.unlabeled], [splits.describe(split, found.y[kept]), *found.says]
    if recipe.validation:
        found = found._replace(x_test=found.x[held], y_test=found.y[held])
        says.append(f"  tested on {len(held):,} images that were held out of the training set, not on the test set")
    if recipe.method == "oracle":
        labeled, unlabeled = kept, unlabeled[:0]
        says.append(f"  the oracle trains on all {len(labeled):,} images with their true classes")
    index = np.concatenate([labeled, unlabeled])
    names = cifar.class_names(recipe.dataset, found.classes)
    return Task(
        Subset(found.x, labeled), found.y[labeled], Subset(found.x, unlabeled), found.x_test, found.y_test, names,
        tuple(map(int, recipe.minor)), found.y[index], index, says,
    )  # fmt: skip
