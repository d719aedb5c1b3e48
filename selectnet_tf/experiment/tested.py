"""How the test set was classified, for people: test_predictions.csv, confusion.csv, thresholds.csv, accuracies with their intervals."""

import pathlib

import numpy as np
import pandas as pd

from selectnet_tf.data.tasks import Task
from selectnet_tf.experiment import metrics
from selectnet_tf.files import as_cell, write_frame

THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
MOST_CLASSES = 200  # for confusion.csv, which is a square, and thresholds.csv


def write(folder: pathlib.Path, task: Task, probs: np.ndarray) -> None:
    """Writes the three files into a run's folder. probs: [n, m] of the test set."""
    predicted = probs.argmax(1)
    names = list(task.names)
    if task.listing:
        files = [as_cell(line[0]) for line in task.listing[1:] if line[2] == "test"]
        frame = pd.DataFrame({"file": files, "truth": [names[c] for c in task.y_test], "predicted": [names[c] for c in predicted]})
        columns = pd.DataFrame(probs.round(4), columns=[f"p({name})" for name in task.names])
        write_frame(folder / "test_predictions.csv", pd.concat([frame, columns], axis=1))
    if len(names) <= MOST_CLASSES:
        counts = pd.DataFrame(metrics.confusion(task.y_test, predicted, len(names)), columns=names)
        counts.insert(0, "truth", names)
        write_frame(folder / "confusion.csv", counts)
        write_frame(folder / "thresholds.csv", pd.DataFrame(_thresholds(task, probs)))


def _thresholds(task: Task, probs: np.ndarray) -> list[dict]:
    """For each class and threshold: how many test samples reach it, and the precision and recall of taking these for the class."""
    lines = []
    for c, name in enumerate(task.names):
        truth = task.y_test == c
        for threshold in THRESHOLDS:
            taken = probs[:, c] >= threshold
            right, some = int((taken & truth).sum()), int(taken.sum())
            shares = {"precision": right / some if some else np.nan, "recall": right / truth.sum() if truth.any() else np.nan}
            lines.append({"class": name, "threshold": threshold, "taken": some, "right": right, **shares})
    return lines


def lines(truth: np.ndarray, probs: np.ndarray, minor: tuple[int, ...]) -> list[str]:
    """Accuracy of all, minor and major classes: right of how many, and the 95% interval (Wilson's)."""
    right, is_minor = probs.argmax(1) == truth, np.isin(truth, minor)
    return [f"{name:<8} {_interval(right[where])}" for name, where in (("all", is_minor | True), ("minor", is_minor), ("major", ~is_minor))]


def _interval(right: np.ndarray) -> str:
    from scipy.stats import binomtest

    if not len(right):
        return "no test samples"
    low, high = binomtest(int(right.sum()), len(right)).proportion_ci(method="wilson")
    return f"{right.mean():.3f}  {right.sum():,} of {len(right):,} right, 95% interval {low:.2f} to {high:.2f}"
