"""Recipes: data, selection and training of a run, presets, checks. Standard library only."""

from selectnet_tf.recipes.presets import (
    DATASETS,
    METHODS,
    PAPER_METHODS,
    PRESETS,
    RELEASED,
    REPRODUCING,
    SELECTING,
    TRAININGS,
    WITH_SELECTOR,
    WITH_THRESHOLD,
)
from selectnet_tf.recipes.recipe import (
    FIELDS,
    BenchmarkData,
    Data,
    FolderData,
    Recipe,
    SelectionRecipe,
    TrainingRecipe,
)
from selectnet_tf.recipes.validation import make, with_method

__all__ = [
    "DATASETS",
    "FIELDS",
    "METHODS",
    "PAPER_METHODS",
    "PRESETS",
    "RELEASED",
    "REPRODUCING",
    "SELECTING",
    "TRAININGS",
    "WITH_SELECTOR",
    "WITH_THRESHOLD",
    "BenchmarkData",
    "Data",
    "FolderData",
    "Recipe",
    "SelectionRecipe",
    "TrainingRecipe",
    "make",
    "with_method",
]
