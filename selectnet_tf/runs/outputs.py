"""The files that a run leaves: recipe.json, predictions.npz, model.keras, and its tables."""

import dataclasses
import json
import pathlib
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import pandas as pd

from selectnet_tf._files import replacing, write_json, write_npz
from selectnet_tf.data.task import Task
from selectnet_tf.pool import Pool
from selectnet_tf.recipes import Recipe
from selectnet_tf.runs import evaluation
from selectnet_tf.runs.log import Evaluate
from selectnet_tf.runs.resume import VERSIONS, Fingerprint


def write_recipe(
    folder: pathlib.Path, recipe: Recipe, task: Task, pool: Pool, origin: Fingerprint, replicas: int
) -> None:
    """recipe.json, with the conditions that the run was begun under and this process's, and
    split.npz.
    """
    versions = {key: origin.now[key] for key in VERSIONS}
    now = {"versions": versions, **{k: v for k, v in origin.now.items() if k not in VERSIONS}}
    content = {
        "recipe": dataclasses.asdict(recipe),
        "classes": task.names,
        **now,
        "replicas": replicas,
        "first": origin.first,
    }
    write_json(folder / "recipe.json", content)
    write_npz(
        folder / "split.npz",
        labeled=task.index[pool.labeled],
        unlabeled=task.index[~pool.labeled],
        minor=task.minor,
    )


def write_predictions(folder: pathlib.Path, evaluate: Evaluate) -> None:
    """predictions.npz: `truth` [n] and `predicted` [k, n], class codes of the test set after the
    last k <= 10 epochs.

    Two runs are compared image by image with it: `report compare`.
    """
    predicted = np.array(evaluate.predicted)
    write_npz(
        folder / "predictions.npz",
        truth=evaluate.truth.astype(predicted.dtype),
        predicted=predicted,
    )


def make_class_table(truth: np.ndarray, probs: np.ndarray, task: Task) -> pd.DataFrame:
    """Per class:

    Precision, recall, F1, the ranking's quality, and how many of its test images were taken for
    each class (as_0, ...).
    """
    predicted = probs.argmax(1)
    m = len(task.names)
    labeled = np.bincount(task.y_labeled, minlength=m)
    table = {
        "class": range(m),
        "name": task.names,
        "minor": np.isin(range(m), task.minor).astype(int),
        "labeled": labeled,
    }
    counts = evaluation.count_confusion(truth, predicted, m)
    taken = {f"as_{c}": counts[:, c] for c in range(m)}
    return pd.DataFrame(
        table
        | evaluation.score_by_class(truth, predicted, m)
        | evaluation.rank_by_class(truth, probs)
        | taken
    )


def write_model(path: pathlib.Path, model: keras.Model, task: Task) -> None:
    """A .keras file as any Keras reads it; beside the model the classes' names, classes.json."""
    if isinstance(
        model.loss, keras.losses.Loss
    ):  # one of ours: whoever loads the model need not have this package
        plain = keras.losses.SparseCategoricalCrossentropy(getattr(model.loss, "from_logits", True))
        with model.distribute_strategy.scope():
            model.compile(model.optimizer, plain, metrics=["accuracy"], jit_compile=False)
    with replacing(path) as beside:
        model.save(beside)
        with zipfile.ZipFile(beside, "a") as file:
            file.writestr("classes.json", json.dumps(list(task.names)))
            if task.fit:
                file.writestr("pictures.json", json.dumps({"fit": task.fit}))


def format_results(rows: Sequence[Mapping[str, Any]]) -> str:
    """The closing table on screen:

    Accuracy, minor and major accuracy and macro F1 of finished runs, one a line.
    """
    columns = ["accuracy", "minor_accuracy", "major_accuracy", "macro_f1"]
    width = max(len(row["method"]) for row in rows)
    sizes = [max(16, len(c) + 2) for c in columns]
    lines = [
        " " * width
        + "".join(f"{c.replace('_', ' '):>{size}}" for c, size in zip(columns, sizes, strict=True))
    ]
    for row in rows:
        values = zip(columns, sizes, strict=True)
        lines.append(
            f"{row['method']:<{width}}"
            + "".join(
                f"{float('nan' if row[c] in ('', None) else row[c]):>{size}.4f}"
                for c, size in values
            )
        )
    return "\n".join(lines)
