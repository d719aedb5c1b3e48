"""Loads a recipe's data."""

import os
import pathlib

import numpy as np

from selectnet_tf.data import cifar, splits
from selectnet_tf.data.folders.survey import Survey
from selectnet_tf.data.task import Task
from selectnet_tf.images import Subset
from selectnet_tf.recipes import SELECTING, BenchmarkData, Recipe


def make_task(
    recipe: Recipe,
    data_dir: str | os.PathLike[str] | None = None,
    cache_dir: pathlib.Path | None = None,
    survey: Survey | None = None,
) -> Task:
    """Returns the Task of a recipe.

    Args:
        recipe: its parts go to the loader of its kind of data.
        data_dir: see cifar.load.
        cache_dir: folder of decoded images.
        survey: of the recipe's folders; None: they are surveyed.

    Raises:
        ValueError, OSError: in one line, what is wrong and what to do.
    """
    from selectnet_tf.data.folders import task  # here, because it makes a Task

    method = recipe.selection.method
    if isinstance(recipe.data, BenchmarkData):
        return _load_benchmark(recipe.data, recipe.seed, method == "oracle", data_dir)
    return task.make_folder_task(
        recipe.data,
        recipe.training,
        recipe.seed,
        method in SELECTING,
        cache_dir or pathlib.Path(".cache"),
        survey,
    )


def _load_benchmark(
    data: BenchmarkData, seed: int, oracle: bool, data_dir: str | os.PathLike[str] | None
) -> Task:
    """Returns Section 4.1's and 4.4's sets with hidden labels in the pool; of the oracle all are
    labeled.
    """
    found = cifar.load(data.dataset, data_dir)
    kept, held = splits.hold_out(found.y, data.validation, seed)
    labeled, unlabeled = (kept[part] for part in splits.make_split(data, found.y[kept], seed))
    says = [splits.describe(found.y[labeled], len(unlabeled), data.minor), *found.says]
    if data.validation:
        found = found._replace(x_test=found.x[held], y_test=found.y[held])
        says.append(
            f"  tested on {len(held):,} images held out of the training set, not on the test set"
        )
    if oracle:
        labeled, unlabeled = kept, unlabeled[:0]
        says.append(f"  the oracle trains on all {len(labeled):,} images with their true classes")
    index = np.concatenate([labeled, unlabeled])
    names = cifar.class_names(data.dataset, found.classes)
    return Task(
        Subset(found.x, labeled),
        found.y[labeled],
        Subset(found.x, unlabeled),
        found.x_test,
        found.y_test,
        names,
        tuple(map(int, data.minor)),
        found.y[index],
        index,
        says,
    )
