"""How good a classifier is, and what was picked (Figure 2). NumPy in, plain numbers out; the only readers of true labels."""

from collections.abc import Sequence

import numpy as np
from imblearn.metrics import geometric_mean_score
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

KINDS = ("right", "wrong_minor", "major")


def summary(truth: np.ndarray, predicted: np.ndarray, minor: Sequence[int], classes: int) -> dict[str, float]:
    """One run's numbers, each in [0, 1]. truth, predicted: [n] classes; minor: the minor ones; classes: m.

    A class without a test sample has no recall, and no F1 unless something is taken for it: means are over the others, as scikit-learn's.
    """
    per_class = by_class(truth, predicted, classes)
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


def probabilities(output: np.ndarray) -> np.ndarray:
    """A classifier's output [n, m] as probabilities: logits through softmax, what sums to 1 as it is."""
    if np.allclose(output.sum(1), 1, atol=1e-3) and (output >= 0).all():
        return output / output.sum(1, keepdims=True)
    output = np.exp(output - output.max(1, keepdims=True))
    return output / output.sum(1, keepdims=True)


def by_class(truth: np.ndarray, predicted: np.ndarray, classes: int) -> dict[str, np.ndarray]:
    """{precision, recall, f1, count: [m]}; a class that is never predicted has precision and F1 of 0."""
    labels = np.arange(classes)
    precision, recall, f1, count = precision_recall_fscore_support(truth, predicted, labels=labels, zero_division=0)
    return {"precision": precision, "recall": recall, "f1": f1, "count": count}


def ranking(truth: np.ndarray, probs: np.ndarray, precision: float = 0.9) -> dict[str, np.ndarray]:
    """How well each class's probability ranks its samples: {average_precision, roc_auc, recall_at_90: [m]}.

    recall_at_90: the largest recall that leaves a precision of at least 0.9, 0 where there is none. A class without a
    sample in truth [n] has NaN. probs: [n, m].
    """
    columns = [_ranking(truth == c, probs[:, c], precision) for c in range(probs.shape[1])]
    names = ("average_precision", "roc_auc", f"recall_at_{precision:.0%}".rstrip("%"))
    return dict(zip(names, np.array(columns, np.float64).reshape(-1, 3).T, strict=True))


def _ranking(of_class: np.ndarray, score: np.ndarray, precision: float) -> tuple[float, float, float]:
    """One class's, by one sort: scikit-learn, which gives the same numbers, takes ten times as long.

    of_class: [n] bool. score: [n]; what is equal there is ranked together.
    """
    if not of_class.any() or of_class.all():
        return (np.nan, np.nan, np.nan)
    order = np.argsort(-score, kind="stable")
    last = np.flatnonzero(np.append(np.diff(score[order]), 1))  # of each group of equal scores
    hits, misses = (np.cumsum(which[order])[last] for which in (of_class, ~of_class))
    precisions, recalls = hits / (last + 1), hits / hits[-1]
    average = float((np.diff(recalls, prepend=0) * precisions)[::-1].sum())
    bends = np.r_[True, (np.diff(hits, 2) != 0) | (np.diff(misses, 2) != 0), True] if len(last) > 2 else slice(None)
    right, wrong = (np.append(0, counts[bends] / counts[-1]) for counts in (hits, misses))
    return average, float(np.trapezoid(right, wrong)), float(recalls[precisions >= precision].max(initial=0.0))


def calibration(truth: np.ndarray, probs: np.ndarray, bins: int = 10) -> dict[str, np.ndarray]:
    """How far each class's probability can be taken at its word: {share, mean_probability, brier, calibration_error: [m]}.

    share: of the class among truth [n]. brier: mean of (p - 1)^2 of the class's samples and p^2 of the others'. calibration_error:
    mean distance of probability and share over `bins` of equal width, each weighed by its samples. probs: [n, m].
    """
    found: dict[str, list[float]] = {"share": [], "mean_probability": [], "brier": [], "calibration_error": []}
    for c in range(probs.shape[1]):
        of_class, p = (truth == c).astype(float), probs[:, c]
        place = np.minimum((p * bins).astype(int), bins - 1)
        gaps = np.bincount(place, p - of_class, minlength=bins)  # of each bin: its samples times the distance
        values = (of_class.mean(), p.mean(), ((p - of_class) ** 2).mean(), np.abs(gaps).sum() / len(p))
        for column, value in zip(found.values(), values, strict=True):
            column.append(float(value))
    return {name: np.array(column) for name, column in found.items()}


def confusion(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """[m, m] counts, true classes in rows."""
    return confusion_matrix(truth, predicted, labels=np.arange(classes))


def picks(truth: np.ndarray, predicted: np.ndarray, labeled: np.ndarray, minor: np.ndarray) -> dict[str, float]:
    """Counts of one round's picks by kind, for labeled and unlabeled ones (Figure 2), and the pseudo-labels' precision.

    truth, predicted: [k] classes of the picks; labeled: [k] bool. right: the predicted class is the true one; wrong_minor:
    another minor class is; major: a major class is. precision: right share of the unlabeled picks, NaN without any.
    truth is -1 where nobody knows; then the unlabeled picks' kinds and precision are NaN.
    """
    if (truth < 0).any():
        known = picks(truth[labeled], predicted[labeled], labeled[labeled], minor)
        return {k: v if k.startswith("labeled") else float("nan") for k, v in known.items()}
    right = truth == predicted
    kinds = {"right": right, "wrong_minor": ~right & np.isin(truth, minor), "major": ~right & ~np.isin(truth, minor)}
    counts = {f"{s}_{k}": int((m & where).sum()) for s, where in (("labeled", labeled), ("unlabeled", ~labeled)) for k, m in kinds.items()}
    unlabeled = int((~labeled).sum())
    return counts | {"precision": counts["unlabeled_right"] / unlabeled if unlabeled else float("nan")}
