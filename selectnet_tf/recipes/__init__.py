"""Recipes: data, selection and training of a run, presets, checks. Standard library only."""

from selectnet_tf.recipes.presets import (
    DATASETS,
    METHODS,
    PAPER_METHODS,
    PRESETS,
    RELEASED,
    REPRODUCING,
    ROBUST,
    SELECTING,
    TRAINING,
    TRAININGS,
    WITH_SELECTOR,
)
from selectnet_tf.recipes.recipe import (
    FIELDS,
    PATHS,
    BenchmarkData,
    Data,
    FolderData,
    Recipe,
    SelectionRecipe,
    TrainingRecipe,
    default_training,
    preset_values,
)
from selectnet_tf.recipes.validation import make, with_method

__all__ = [
    "DATASETS",
    "FIELDS",
    "METHODS",
    "PAPER_METHODS",
    "PATHS",
    "PRESETS",
    "RELEASED",
    "REPRODUCING",
    "ROBUST",
    "SELECTING",
    "TRAINING",
    "TRAININGS",
    "WITH_SELECTOR",
    "BenchmarkData",
    "Data",
    "FolderData",
    "Recipe",
    "SelectionRecipe",
    "TrainingRecipe",
    "default_training",
    "make",
    "preset_values",
    "with_method",
]
