"""How good a classifier is, and what was picked (Figure 2).

NumPy in, plain numbers out; the only readers of true labels.
"""

import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from imblearn.metrics import geometric_mean_score
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from selectnet_tf import _csv
from selectnet_tf._csv import as_cell, write_frame

KINDS = ("right", "wrong_minor", "major")


def summarize(
    truth: np.ndarray, predicted: np.ndarray, minor: Sequence[int], classes: int
) -> dict[str, float]:
    """One run's numbers, each in [0, 1]. truth, predicted: [n] classes; minor: the minor ones;
    classes: m.

    A class without a test sample has no recall, and no F1 unless something is taken for it: means
    are over the others, as scikit-learn's.
    """
    per_class = score_by_class(truth, predicted, classes)
    is_minor = np.isin(truth, minor)
    right = truth == predicted
    there = np.flatnonzero(per_class["count"])
    return {
        "accuracy": float(right.mean()),
        "minor_accuracy": float(right[is_minor].mean()),
        "major_accuracy": float(right[~is_minor].mean()),
        "macro_f1": float(np.mean(per_class["f1"][np.union1d(there, predicted)])),
        "balanced_accuracy": float(per_class["recall"][there].mean()),
        "g_mean": float(geometric_mean_score(truth, predicted, labels=there, average="multiclass")),
    }


def to_probabilities(output: np.ndarray) -> np.ndarray:
    """A classifier's output [n, m] as probabilities:

    Logits through softmax, what sums to 1 as it is.
    """
    if np.allclose(output.sum(1), 1, atol=1e-3) and (output >= 0).all():
        return output / output.sum(1, keepdims=True)
    output = np.exp(output - output.max(1, keepdims=True))
    return output / output.sum(1, keepdims=True)


def score_by_class(truth: np.ndarray, predicted: np.ndarray, classes: int) -> dict[str, np.ndarray]:
    """{precision, recall, f1, count:

    [m]}; a class that is never predicted has precision and F1 of 0.
    """
    labels = np.arange(classes)
    precision, recall, f1, count = precision_recall_fscore_support(
        truth, predicted, labels=labels, zero_division=0
    )
    return {"precision": precision, "recall": recall, "f1": f1, "count": count}


def rank_by_class(
    truth: np.ndarray, probs: np.ndarray, precision: float = 0.9
) -> dict[str, np.ndarray]:
    """How well each class's probability ranks its samples: {average_precision, roc_auc,
    recall_at_90: [m]}.

    recall_at_90: the largest recall that leaves a precision of at least 0.9, 0 where there is none.
    A class without a sample in truth [n] has NaN. probs: [n, m].
    """
    columns = [_ranking(truth == c, probs[:, c], precision) for c in range(probs.shape[1])]
    names = ("average_precision", "roc_auc", f"recall_at_{precision:.0%}".rstrip("%"))
    return dict(zip(names, np.array(columns, np.float64).reshape(-1, 3).T, strict=True))


def _ranking(
    of_class: np.ndarray, score: np.ndarray, precision: float
) -> tuple[float, float, float]:
    """One class's, by one sort: scikit-learn, which gives the same numbers, takes ten times as
    long.

    of_class: [n] bool. score: [n]; what is equal there is ranked together.
    """
    if not of_class.any() or of_class.all():
        return (np.nan, np.nan, np.nan)
    order = np.argsort(-score, kind="stable")
    last = np.flatnonzero(np.append(np.diff(score[order]), 1))  # of each group of equal scores
    hits, misses = (np.cumsum(which[order])[last] for which in (of_class, ~of_class))
    precisions, recalls = hits / (last + 1), hits / hits[-1]
    average = float((np.diff(recalls, prepend=0) * precisions)[::-1].sum())
    bends = (
        np.r_[True, (np.diff(hits, 2) != 0) | (np.diff(misses, 2) != 0), True]
        if len(last) > 2
        else slice(None)
    )
    right, wrong = (np.append(0, counts[bends] / counts[-1]) for counts in (hits, misses))
    return (
        average,
        float(np.trapezoid(right, wrong)),
        float(recalls[precisions >= precision].max(initial=0.0)),
    )


def calibrate_by_class(
    truth: np.ndarray, probs: np.ndarray, bins: int = 10
) -> dict[str, np.ndarray]:
    """How far each class's probability can be taken at its word: {share, mean_probability, brier,
    calibration_error: [m]}.

    share: of the class among truth [n]. brier: mean of (p - 1)^2 of the class's samples and p^2 of
    the others'. calibration_error: mean distance of probability and share over `bins` of equal
    width, each weighed by its samples. probs: [n, m].
    """
    found: dict[str, list[float]] = {
        "share": [],
        "mean_probability": [],
        "brier": [],
        "calibration_error": [],
    }
    for c in range(probs.shape[1]):
        of_class, p = (truth == c).astype(float), probs[:, c]
        place = np.minimum((p * bins).astype(int), bins - 1)
        gaps = np.bincount(
            place, p - of_class, minlength=bins
        )  # of each bin: its samples times the distance
        values = (
            of_class.mean(),
            p.mean(),
            ((p - of_class) ** 2).mean(),
            np.abs(gaps).sum() / len(p),
        )
        for column, value in zip(found.values(), values, strict=True):
            column.append(float(value))
    return {name: np.array(column) for name, column in found.items()}


def count_confusion(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """[m, m] counts, true classes in rows."""
    return confusion_matrix(truth, predicted, labels=np.arange(classes))


def count_picks(
    truth: np.ndarray, predicted: np.ndarray, labeled: np.ndarray, minor: np.ndarray
) -> dict[str, float]:
    """Counts of one round's picks by kind, for labeled and unlabeled ones (Figure 2), and the
    pseudo-labels' precision.

    truth, predicted: [k] classes of the picks; labeled: [k] bool. right: the predicted class is the
    true one; wrong_minor: another minor class is; major: a major class is. precision: right share
    of the unlabeled picks, NaN without any. truth is -1 where nobody knows; then the unlabeled
    picks' kinds and precision are NaN.
    """
    if (truth < 0).any():
        known = count_picks(truth[labeled], predicted[labeled], labeled[labeled], minor)
        return {k: v if k.startswith("labeled") else float("nan") for k, v in known.items()}
    right = truth == predicted
    kinds = {
        "right": right,
        "wrong_minor": ~right & np.isin(truth, minor),
        "major": ~right & ~np.isin(truth, minor),
    }
    counts = {
        f"{s}_{k}": int((m & where).sum())
        for s, where in (("labeled", labeled), ("unlabeled", ~labeled))
        for k, m in kinds.items()
    }
    unlabeled = int((~labeled).sum())
    return counts | {
        "precision": counts["unlabeled_right"] / unlabeled if unlabeled else float("nan")
    }


if TYPE_CHECKING:
    from selectnet_tf.data.task import Task

TABLE = "thresholds.csv"
THRESHOLDS = (0.02, *(step / 20 for step in range(1, 20)), 0.98, 0.99)
MOST_CLASSES = 200  # for confusion.csv, which is a square, and the others


def write_test_reports(folder: pathlib.Path, task: "Task", probs: np.ndarray) -> None:
    """Writes the four files into a run's folder. probs: [n, m] of the test set."""
    predicted = probs.argmax(1)
    names = list(task.names)
    if task.listing:
        files = [as_cell(line[0]) for line in task.listing[1:] if line[2] == "test"]
        frame = pd.DataFrame(
            {
                "file": files,
                "truth": [names[c] for c in task.y_test],
                "predicted": [names[c] for c in predicted],
            }
        )
        columns = pd.DataFrame(probs.round(4), columns=[f"p({name})" for name in task.names])
        write_frame(folder / "test_predictions.csv", pd.concat([frame, columns], axis=1))
    if len(names) <= MOST_CLASSES:
        counts = pd.DataFrame(count_confusion(task.y_test, predicted, len(names)), columns=names)
        counts.insert(0, "truth", names)
        write_frame(folder / "confusion.csv", counts)
        write_frame(folder / TABLE, pd.DataFrame(_thresholds(task, probs)))
        write_frame(
            folder / "calibration.csv",
            pd.DataFrame({"class": names, **calibrate_by_class(task.y_test, probs)}).round(4),
        )


def find_threshold(folder: pathlib.Path, name: str, precision: float) -> tuple[float, str]:
    """(the least probability of class `name` that reaches a precision on a run's test set, a line
    that says on what that rests).

    Raises:
        ValueError: the run has no thresholds.csv, or none of its thresholds reaches that.
    """
    if not (folder / TABLE).exists():
        raise ValueError(
            f"--precision needs the run's {TABLE} beside its model, and {folder} has none: give"
            " --threshold instead"
        )
    lines = [
        line
        for line in _csv.read_csv(folder / TABLE)
        if line["class"] == name and int(line["taken"])
    ]
    good = [line for line in lines if float(line["precision"]) >= precision]
    if not good:
        best = max(lines, key=lambda line: float(line["precision"]), default=None)
        most = (
            f" (at most {float(best['precision']):.2f}, from {best['threshold']} on)"
            if best
            else ""
        )
        raise ValueError(
            f"no threshold reached a precision of {precision:g} for {name} on the run's test"
            f" set{most}: ask for less"
        )
    found = good[0]
    share = (
        f"{found['right']} of {found['taken']} were right, {float(found['recall'] or 0):.0%} of all"
        " of the class"
    )
    return (
        float(found["threshold"]),
        f"{name} from a probability of {found['threshold']} on: on the run's test set, {share}",
    )


def _thresholds(task: "Task", probs: np.ndarray) -> list[dict]:
    """For each class and threshold:

    How many test samples reach it, and the precision and recall of taking these for the class.
    """
    lines = []
    for c, name in enumerate(task.names):
        truth = task.y_test == c
        for threshold in THRESHOLDS:
            taken = probs[:, c] >= threshold
            right, some = int((taken & truth).sum()), int(taken.sum())
            shares = {
                "precision": right / some if some else np.nan,
                "recall": right / truth.sum() if truth.any() else np.nan,
            }
            lines.append(
                {"class": name, "threshold": threshold, "taken": some, "right": right, **shares}
            )
    return lines


def describe_accuracy(truth: np.ndarray, probs: np.ndarray, minor: tuple[int, ...]) -> list[str]:
    """Accuracy of all, minor and major classes:

    Right of how many, and the 95% interval (Wilson's).
    """
    right, is_minor = probs.argmax(1) == truth, np.isin(truth, minor)
    return [
        f"{name:<8} {_interval(right[where])}"
        for name, where in (("all", is_minor | True), ("minor", is_minor), ("major", ~is_minor))
    ]


def _interval(right: np.ndarray) -> str:
    from scipy.stats import binomtest

    if not len(right):
        return "no test samples"
    low, high = binomtest(int(right.sum()), len(right)).proportion_ci(method="wilson")
    return (
        f"{right.mean():.3f}  {right.sum():,} of {len(right):,} right, 95% interval {low:.2f} to"
        f" {high:.2f}"
    )
