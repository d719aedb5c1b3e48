"""Loads the data that a recipe names."""

import os
import pathlib
from collections.abc import Callable

import numpy as np

from selectnet_tf.data import cifar, splits
from selectnet_tf.data.task import Task
from selectnet_tf.images import Subset
from selectnet_tf.recipes import Recipe


def make_task(
    recipe: Recipe,
    data_dir: str | os.PathLike[str] | None = None,
    cache_dir: pathlib.Path | None = None,
    say: Callable[[str], object] = lambda line: None,
) -> Task:
    """The Task of a recipe. data_dir: see cifar.load; cache_dir: where decoded pictures go; say: is
    told early what was found.

    Raises:
        ValueError, OSError: in one line, what is wrong and what to do.
    """
    from selectnet_tf.data.folders import task  # here, because it makes a Task

    if recipe.dataset == "folder":
        return task.make_folder_task(recipe, cache_dir or pathlib.Path(".cache"), say)
    return _load_benchmark(recipe, data_dir)


def _load_benchmark(recipe: Recipe, data_dir: str | os.PathLike[str] | None) -> Task:
    """Section 4.1's and 4.4's sets:

    The labels of all but `split.labeled` are hidden. The oracle alone gets all labels.
    """
    found = cifar.load(recipe.dataset, data_dir)
    kept, held = splits.hold_out(found.y, recipe.validation, recipe.seed)
    split = splits.make_split(recipe, found.y[kept])
    labeled, unlabeled, says = (
        kept[split.labeled],
        kept[split.unlabeled],
        [splits.describe(split, found.y[kept]), *found.says],
    )
    if recipe.validation:
        found = found._replace(x_test=found.x[held], y_test=found.y[held])
        says.append(
            f"  tested on {len(held):,} images that were held out of the training set, not on the"
            " test set"
        )
    if recipe.method == "oracle":
        labeled, unlabeled = kept, unlabeled[:0]
        says.append(f"  the oracle trains on all {len(labeled):,} images with their true classes")
    index = np.concatenate([labeled, unlabeled])
    names = cifar.class_names(recipe.dataset, found.classes)
    return Task(
        Subset(found.x, labeled),
        found.y[labeled],
        Subset(found.x, unlabeled),
        found.x_test,
        found.y_test,
        names,
        tuple(map(int, recipe.minor)),
        found.y[index],
        index,
        says,
    )
