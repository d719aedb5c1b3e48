"""Writes a run's files (recipe.json, split.npz, predictions.npz, model.keras) and its tables."""

import json
import pathlib
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import pandas as pd
from sklearn.metrics import confusion_matrix

from selectnet_tf._backend import scope
from selectnet_tf._console import align_columns
from selectnet_tf._files import replacing, write_json, write_npz
from selectnet_tf.data.task import Task
from selectnet_tf.pool import Pool
from selectnet_tf.recipes import Recipe
from selectnet_tf.runs import evaluation
from selectnet_tf.runs.resume import VERSIONS, Fingerprint


def write_recipe(
    folder: pathlib.Path,
    recipe: Recipe,
    task: Task,
    pool: Pool,
    fingerprint: Fingerprint,
    replicas: int,
) -> None:
    """Writes recipe.json, with this process's environment and the run's first, and split.npz."""
    now = fingerprint.environment
    content = {
        "recipe": recipe.flat(),
        "classes": task.names,
        "versions": {name: now[name] for name in VERSIONS},
        **{name: text for name, text in now.items() if name not in VERSIONS},
        "replicas": replicas,
        "first": fingerprint.first,
        **({"levels": task.levels} if task.fit else {}),
    }
    write_json(folder / "recipe.json", content)
    write_npz(
        folder / "split.npz",
        labeled=task.index[pool.labeled],
        unlabeled=task.index[~pool.labeled],
        minor=task.minor,
    )


def write_predictions(
    folder: pathlib.Path, truth: np.ndarray, predicted: Sequence[np.ndarray]
) -> None:
    """Writes predictions.npz, by which `report compare` compares two runs image by image.

    Args:
        folder: the run's folder.
        truth: true classes of the test set, [n].
        predicted: predicted classes after each of the last k <= 10 epochs, [n] each.
    """
    classes = np.array(predicted)
    write_npz(folder / "predictions.npz", truth=truth.astype(classes.dtype), predicted=classes)


def write_model(path: pathlib.Path, model: keras.Model, task: Task) -> None:
    """Writes a .keras file that Keras loads without this package, with classes.json in it."""
    if isinstance(model.loss, keras.losses.Loss):  # may be one of this package
        plain = keras.losses.SparseCategoricalCrossentropy(getattr(model.loss, "from_logits", True))
        with scope(model):
            model.compile(model.optimizer, plain, metrics=["accuracy"], jit_compile=False)
    with replacing(path) as beside:
        model.save(beside)
        with zipfile.ZipFile(beside, "a") as file:
            file.writestr("classes.json", json.dumps(list(task.names)))
            if task.fit:
                settings: dict[str, Any] = {"fit": task.fit, "levels": task.levels}
                settings |= {"boxes": True} if task.boxes else {}
                file.writestr("pictures.json", json.dumps(settings))


def make_class_table(truth: np.ndarray, probs: np.ndarray, task: Task) -> pd.DataFrame:
    """Returns classes.csv: size, scores and ranking of each class, and its row of the confusion.

    Args:
        truth: true classes of the test set, [n].
        probs: probabilities, [n, m].
        task: the run's Task.
    """
    predicted = probs.argmax(1)
    m = len(task.names)
    counts = confusion_matrix(truth, predicted, labels=range(m))  # true classes in rows
    return pd.DataFrame(
        {
            "class": range(m),
            "name": task.names,
            "minor": np.isin(range(m), task.minor).astype(int),
            "labeled": np.bincount(task.y_labeled, minlength=m),
            **evaluation.score_by_class(truth, predicted, m),
            **evaluation.rank_by_class(truth, probs),
            **{f"as_{c}": counts[:, c] for c in range(m)},
        }
    )


def format_results(row: Mapping[str, Any]) -> str:
    """Returns a table for the screen: accuracies and macro F1 of a finished run."""
    columns = ("accuracy", "minor_accuracy", "major_accuracy", "macro_f1")
    values = (float("nan" if row[c] in ("", None) else row[c]) for c in columns)
    header = ("", *(column.replace("_", " ") for column in columns))
    return align_columns([header, (row["method"], *(f"{value:.4f}" for value in values))])
