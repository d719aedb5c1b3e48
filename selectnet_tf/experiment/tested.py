"""How the test set was classified, for people: test_predictions.csv, confusion.csv, thresholds.csv, calibration.csv, and on screen."""

import pathlib
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from selectnet_tf import csvs
from selectnet_tf.csvs import as_cell, write_frame
from selectnet_tf.experiment import metrics

if TYPE_CHECKING:
    from selectnet_tf.data.tasks import Task

TABLE = "thresholds.csv"
THRESHOLDS = (0.02, *(step / 20 for step in range(1, 20)), 0.98, 0.99)
MOST_CLASSES = 200  # for confusion.csv, which is a square, and the others


def write(folder: pathlib.Path, task: "Task", probs: np.ndarray) -> None:
    """Writes the four files into a run's folder. probs: [n, m] of the test set."""
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
        write_frame(folder / TABLE, pd.DataFrame(_thresholds(task, probs)))
        write_frame(folder / "calibration.csv", pd.DataFrame({"class": names, **metrics.calibration(task.y_test, probs)}).round(4))


def threshold(folder: pathlib.Path, name: str, precision: float) -> tuple[float, str]:
    """(the least probability of class `name` that reaches a precision on a run's test set, a line that says on what that rests).

    Raises:
        ValueError: the run has no thresholds.csv, or none of its thresholds reaches that.
    """
    if not (folder / TABLE).exists():
        raise ValueError(f"--precision needs the run's {TABLE} beside its model, and {folder} has none: give --threshold instead")
    lines = [line for line in csvs.read_csv(folder / TABLE) if line["class"] == name and int(line["taken"])]
    good = [line for line in lines if float(line["precision"]) >= precision]
    if not good:
        best = max(lines, key=lambda line: float(line["precision"]), default=None)
        most = f" (at most {float(best['precision']):.2f}, from {best['threshold']} on)" if best else ""
        raise ValueError(f"no threshold reached a precision of {precision:g} for {name} on the run's test set{most}: ask for less")
    found = good[0]
    share = f"{found['right']} of {found['taken']} were right, {float(found['recall'] or 0):.0%} of all of the class"
    return float(found["threshold"]), f"{name} from a probability of {found['threshold']} on: on the run's test set, {share}"


def _thresholds(task: "Task", probs: np.ndarray) -> list[dict]:
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
