"""Metrics of a classifier and of a round's picks (Figure 2), and the test-set reports."""

import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from imblearn.metrics import geometric_mean_score
from scipy.special import softmax
from scipy.stats import binomtest
from sklearn.metrics import (
    average_precision_score,
    confusion_matrix,
    precision_recall_curve,
    precision_recall_fscore_support,
    roc_auc_score,
)

from selectnet_tf._csv_files import as_cell, read_csv, write_csv, write_frame

if TYPE_CHECKING:
    from selectnet_tf.data.task import Task

TABLE = "thresholds.csv"
THRESHOLDS = (0.02, *(step / 20 for step in range(1, 20)), 0.98, 0.99)
MOST_CLASSES = 200  # of a confusion matrix and of the tables by class


def to_probabilities(output: np.ndarray) -> np.ndarray:
    """Returns a classifier's output as probabilities, [n, m]: applies softmax to logits."""
    if np.allclose(output.sum(1), 1, atol=1e-3) and (output >= 0).all():
        return output / output.sum(1, keepdims=True)
    return softmax(output, axis=1)


def summarize(
    truth: np.ndarray, predicted: np.ndarray, minor: Sequence[int], classes: int
) -> dict[str, float]:
    """Returns a run's test metrics, each in [0, 1].

    A mean over classes leaves out those without a test image, as scikit-learn's means do; macro F1
    leaves them out only where they are never predicted.

    Args:
        truth: true classes, [n].
        predicted: predicted classes, [n].
        minor: the minor classes.
        classes: the number of classes, m.
    """
    per_class = score_by_class(truth, predicted, classes)
    is_minor = np.isin(truth, minor)
    right = truth == predicted
    tested = np.flatnonzero(per_class["count"])
    g_mean = geometric_mean_score(truth, predicted, labels=tested, average="multiclass")
    return {
        "accuracy": float(right.mean()),
        "minor_accuracy": float(right[is_minor].mean()),
        "major_accuracy": float(right[~is_minor].mean()),
        "macro_f1": float(np.mean(per_class["f1"][np.union1d(tested, predicted)])),
        "balanced_accuracy": float(per_class["recall"][tested].mean()),
        "g_mean": float(g_mean),
    }


def score_by_class(truth: np.ndarray, predicted: np.ndarray, classes: int) -> dict[str, np.ndarray]:
    """Returns {precision, recall, f1, count}, [m] each; 0 for a class that is never predicted."""
    labels = np.arange(classes)
    precision, recall, f1, count = precision_recall_fscore_support(
        truth, predicted, labels=labels, zero_division=0
    )
    return {"precision": precision, "recall": recall, "f1": f1, "count": count}


def rank_by_class(truth: np.ndarray, probs: np.ndarray) -> dict[str, np.ndarray]:
    """Returns ranking metrics of each class: {average_precision, roc_auc, recall_at_90}, [m] each.

    recall_at_90 is the largest recall at a precision of at least 0.9; 0 where none reaches it. All
    three are NaN for a class without a test image.

    Args:
        truth: true classes, [n].
        probs: probabilities, [n, m].
    """
    columns = [_rank(truth == c, probs[:, c]) for c in range(probs.shape[1])]
    names = ("average_precision", "roc_auc", "recall_at_90")
    return dict(zip(names, np.array(columns, np.float64).reshape(-1, 3).T, strict=True))


def calibrate_by_class(truth: np.ndarray, probs: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the calibration of each class: {share, mean_probability, brier, calibration_error}.

    Each is [m]. brier is the mean squared distance of probability and truth (0 or 1);
    calibration_error, the mean absolute distance of probability and share over ten bins of equal
    width, weighted by their images.

    Args:
        truth: true classes, [n].
        probs: probabilities, [n, m].
    """
    rows = []
    for c in range(probs.shape[1]):
        of_class, p = (truth == c).astype(float), probs[:, c]
        place = np.minimum((p * 10).astype(int), 9)
        gaps = np.bincount(place, p - of_class, minlength=10)  # times the images of each bin
        error = np.abs(gaps).sum() / len(p)
        rows.append((of_class.mean(), p.mean(), ((p - of_class) ** 2).mean(), error))
    names = ("share", "mean_probability", "brier", "calibration_error")
    return dict(zip(names, np.array(rows, np.float64).reshape(-1, 4).T, strict=True))


def count_picks(
    truth: np.ndarray, predicted: np.ndarray, labeled: np.ndarray, minor: np.ndarray
) -> dict[str, float]:
    """Returns a round's picks by kind, and the precision of its pseudo-labels (Figure 2).

    A pick is `right` if its true class is the predicted one, `wrong_minor` if it is another minor
    class, `major` if it is a major class. The counts are labeled_right, unlabeled_right and so on.
    precision is the share of right ones among the unlabeled picks, NaN without any.

    Args:
        truth: true classes, [k]; with a -1 (unknown), kinds of unlabeled picks are NaN.
        predicted: predicted classes, [k].
        labeled: whether each pick is of the labeled set, bool [k].
        minor: the minor classes.
    """
    if (truth < 0).any():
        known = count_picks(truth[labeled], predicted[labeled], labeled[labeled], minor)
        return {k: v if k.startswith("labeled") else float("nan") for k, v in known.items()}
    right = truth == predicted
    is_minor = np.isin(truth, minor)
    kinds = {"right": right, "wrong_minor": ~right & is_minor, "major": ~right & ~is_minor}
    parts = {"labeled": labeled, "unlabeled": ~labeled}
    counts = {
        f"{part}_{kind}": int((in_part & of_kind).sum())
        for part, in_part in parts.items()
        for kind, of_kind in kinds.items()
    }
    unlabeled = int((~labeled).sum())
    precision = counts["unlabeled_right"] / unlabeled if unlabeled else float("nan")
    return counts | {"precision": precision}


def describe_accuracy(truth: np.ndarray, probs: np.ndarray, minor: tuple[int, ...]) -> list[str]:
    """Returns lines with the accuracy of all, minor and major classes, and its 95% interval.

    Args:
        truth: true classes, [n].
        probs: probabilities, [n, m].
        minor: the minor classes.
    """
    right, is_minor = probs.argmax(1) == truth, np.isin(truth, minor)
    groups = {"all": right, "minor": right[is_minor], "major": right[~is_minor]}
    return [f"{name:<8} {_describe_share(group)}" for name, group in groups.items()]


def write_test_reports(folder: pathlib.Path, task: "Task", probs: np.ndarray) -> None:
    """Writes the test-set reports.

    These are test_predictions.csv for images in files, and confusion.csv, thresholds.csv and
    calibration.csv for at most MOST_CLASSES classes.

    Args:
        folder: the run's folder.
        task: the run's Task.
        probs: probabilities of the test set, [n, m].
    """
    predicted = probs.argmax(1)
    names = list(task.names)
    if task.listing:
        files = [as_cell(line[0]) for line in task.listing[1:] if line[2] == "test"]
        head = ["file", "truth", "predicted", *(f"p({name})" for name in names)]
        rows = zip(files, task.y_test, predicted, probs.round(4), strict=True)
        lines = [(file, names[c], names[other], *row) for file, c, other, row in rows]
        write_csv(folder / "test_predictions.csv", [head, *lines])
    if len(names) <= MOST_CLASSES:
        matrix = confusion_matrix(task.y_test, predicted, labels=range(len(names)))
        counts = pd.DataFrame(matrix, columns=names)
        counts.insert(0, "truth", names, allow_duplicates=True)  # of a class named truth
        write_frame(folder / "confusion.csv", counts)
        write_frame(folder / TABLE, pd.DataFrame(_sweep_thresholds(task, probs)))
        calibration = pd.DataFrame({"class": names, **calibrate_by_class(task.y_test, probs)})
        write_frame(folder / "calibration.csv", calibration.round(4))


def find_threshold(folder: pathlib.Path, name: str, precision: float) -> tuple[float, str]:
    """Returns (threshold, a line with its evidence) for a class and a precision.

    The threshold is the smallest probability that reached the precision on the run's test set.

    Args:
        folder: the run's folder.
        name: the class.
        precision: the precision to reach, in [0, 1].

    Raises:
        ValueError: thresholds.csv is missing, or no threshold reached the precision.
    """
    if not (folder / TABLE).exists():
        raise ValueError(
            f"--precision needs the run's {TABLE} beside its model, but {folder} has none: pass"
            " --threshold instead"
        )
    lines = [
        line for line in read_csv(folder / TABLE) if line["class"] == name and int(line["taken"])
    ]
    for line in lines:
        if float(line["precision"]) >= precision:
            evidence = f"{line['right']} of {line['taken']} are correct"
            said = f"on the test set, {evidence}, recall {float(line['recall'] or 0):.0%}"
            return float(line["threshold"]), f"{name} from probability {line['threshold']}: {said}"
    most = ""
    if lines:
        best = max(lines, key=lambda line: float(line["precision"]))
        most = f" (at most {float(best['precision']):.2f}, from {best['threshold']})"
    raise ValueError(
        f"no threshold reached precision {precision:g} for {name} on the run's test set{most}:"
        " pass a lower --precision"
    )


def _rank(of_class: np.ndarray, score: np.ndarray) -> tuple[float, float, float]:
    """Returns (average precision, AUC, recall at a precision of 0.9) of one class.

    Args:
        of_class: whether each image is of the class, bool [n].
        score: [n].
    """
    if not of_class.any() or of_class.all():
        return (np.nan, np.nan, np.nan)
    precisions, recalls, _ = precision_recall_curve(of_class, score)
    average, area = average_precision_score(of_class, score), roc_auc_score(of_class, score)
    return average, area, recalls[precisions >= 0.9].max()


def _sweep_thresholds(task: "Task", probs: np.ndarray) -> list[dict]:
    """Returns rows with the precision and recall of each class at each threshold."""
    lines = []
    for c, name in enumerate(task.names):
        truth = task.y_test == c
        for threshold in THRESHOLDS:
            taken = probs[:, c] >= threshold
            right, some = int((taken & truth).sum()), int(taken.sum())
            line = {"class": name, "threshold": threshold, "taken": some, "right": right}
            line["precision"] = right / some if some else np.nan
            line["recall"] = right / truth.sum() if truth.any() else np.nan
            lines.append(line)
    return lines


def _describe_share(right: np.ndarray) -> str:
    """Returns a line with a share and its 95% interval (Wilson's). right: bool [n]."""
    if not len(right):
        return "no test images"
    low, high = binomtest(int(right.sum()), len(right)).proportion_ci(method="wilson")
    count = f"{right.sum():,} of {len(right):,} correct"
    return f"{right.mean():.3f}  {count}, 95% interval {low:.2f} to {high:.2f}"
