"""Compares two groups of runs, paired by seed, on the same test images. No TensorFlow."""

import fnmatch
import pathlib
import zipfile
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from selectnet_tf._console import align_columns
from selectnet_tf.runs import store

DRAWS = 2000


class Pair(NamedTuple):
    """Two runs of one seed.

    Args:
        seed: of both runs.
        names: of the runs.
        truth: class codes of the test images: [n].
        right: correct predictions of each run after each of its last k epochs: [2, k, n] bool.
        minor: minor classes: [m] bool.
        classes: names: [m].
    """

    seed: int
    names: tuple[str, str]
    truth: np.ndarray
    right: np.ndarray
    minor: np.ndarray
    classes: list[str]


def find(results: pathlib.Path, pattern: str) -> dict[int, store.Run]:
    """Returns {seed: Run} of the finished runs that match a name, or a pattern with * and ?.

    Raises:
        ValueError: there is none, or there are two of one seed.
    """
    found: dict[int, store.Run] = {}
    for run in store.read_runs(results)[0]:
        if fnmatch.fnmatchcase(run.name, pattern):
            if run.seed in found:
                both = f"{found[run.seed].name} and {run.name}"
                raise ValueError(
                    f"expected one run of seed {run.seed}, {pattern} matches {both}: narrow it"
                )
            found[run.seed] = run
    if not found:
        cure = "give a finished run's name, or a quoted pattern such as '*_random_paper_s?_*'"
        raise ValueError(f"no run in {results} is named {pattern}: {cure}")
    return found


def pair(results: pathlib.Path, a: str, b: str) -> list[Pair]:
    """Returns the pairs of two patterns' runs, by seed.

    Raises:
        ValueError: the seeds or the test sets differ, or a run has kept no predictions.
    """
    left, right = find(results, a), find(results, b)
    if left.keys() != right.keys():
        seeds = [", ".join(map(str, sorted(side))) for side in (left, right)]
        cure = "train the others, or narrow the pattern"
        raise ValueError(
            f"A has the seeds {seeds[0]} and B has {seeds[1]}, expected the same: {cure}"
        )
    pairs = [_pair(results, left[seed], right[seed]) for seed in sorted(left)]
    sizes = [np.bincount(p.truth, minlength=len(p.classes)).tolist() for p in pairs]
    if any(size != sizes[0] for size in sizes):
        raise ValueError("the seeds have test sets of different sizes: compare them one by one")
    kept = min(p.right.shape[1] for p in pairs)
    return [p._replace(right=p.right[:, -kept:]) for p in pairs]


def _pair(results: pathlib.Path, a: store.Run, b: store.Run) -> Pair:
    (truth, right_a), (other, right_b) = (_predictions(results, run.name) for run in (a, b))
    if _tested_on(a.row) != _tested_on(b.row) or not np.array_equal(truth, other):
        cure = "compare runs of one data set, with the same --minor and --validation"
        raise ValueError(f"{a.name} and {b.name} have different test sets: {cure}")
    classes = store.read_file(results, a.name, "classes.csv")
    if len(classes) <= truth.max():
        raise ValueError(f"{a.name} has no whole classes.csv: train it again with --force")
    kept = min(len(right_a), len(right_b))
    minor = np.array([row["minor"] == "1" for row in classes])
    called = [row.get("name") or row["class"] for row in classes]
    right = np.stack([right_a[-kept:], right_b[-kept:]])
    return Pair(a.seed, (a.name, b.name), truth, right, minor, called)


def _predictions(results: pathlib.Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    path = store.find_folder(results, name) / "predictions.npz"
    try:
        with np.load(path) as file:
            truth, predicted = file["truth"].astype(int), file["predicted"]
        if predicted.ndim != 2 or not predicted.size or predicted.shape[1:] != truth.shape:
            raise ValueError
    except FileNotFoundError:
        cure = "version 0.2 keeps them: train it again with --force"
        raise ValueError(f"{name} has no predictions.npz: {cure}") from None
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile):
        raise ValueError(f"{path} is damaged: train the run again with --force") from None
    return truth, predicted == truth


def _tested_on(row: dict[str, str]) -> list[str]:
    place = row.get("test_dir") or row.get("labeled_dir", "")
    return [row["dataset"], row.get("minor", ""), row.get("validation") or "0", place]


def mcnemar(a: np.ndarray, b: np.ndarray) -> tuple[int, int, float]:
    """Returns (images that only a has right, that only b has right, the exact two-sided p).

    a, b: [n] bool.
    """
    from scipy.stats import binomtest

    only = int((a & ~b).sum()), int((b & ~a).sum())
    return *only, float(binomtest(only[0], sum(only)).pvalue) if sum(only) else 1.0


def differences(pairs: Sequence[Pair]) -> dict[str, tuple[float, float, float, float]]:
    """Returns {classes: (accuracy of A, of B, lower and upper end of A - B's 95% interval)}.

    Accuracies are means over the epochs kept and the seeds; "worst" is each run's own worst class.
    The interval is a percentile bootstrap: images are drawn within their classes, the same for all
    runs, and of n seeds n - 1 are drawn, with which the variance between seeds is unbiased. With
    one seed, images alone are drawn.
    """
    rng = np.random.default_rng(0)
    first, count = pairs[0], len(pairs)
    sizes = np.bincount(first.truth, minlength=len(first.classes))
    recalls = np.full((DRAWS + 1, count, 2, len(sizes)), np.nan)  # first: of the images as they are
    for c in np.flatnonzero(sizes):
        shares = np.stack(
            [p.right[:, :, p.truth == c].mean(1) for p in pairs]
        )  # [seeds, 2, images]
        recalls[0, ..., c] = shares.mean(-1)
        for draw in range(1, DRAWS + 1):
            images = rng.integers(sizes[c], size=sizes[c])
            recalls[draw, ..., c] = shares[..., images].mean(-1)
    drawn = rng.integers(count, size=(DRAWS, max(1, count - 1)))
    found = {}
    for name, values in _parts(recalls, sizes, first.minor).items():
        gaps = values[1:, :, 0] - values[1:, :, 1]
        low, high = np.quantile(np.take_along_axis(gaps, drawn, 1).mean(1), (0.025, 0.975))
        a, b = map(float, values[0].mean(0))
        found[name] = (a, b, float(low), float(high))
    return found


def _parts(
    recalls: np.ndarray,
    sizes: np.ndarray,
    minor: np.ndarray,
) -> dict[str, np.ndarray]:
    """{classes: accuracy [...]} from each class's recall [..., m], NaN where its size [m] is 0."""
    weights = {"all": sizes, "minor": sizes * minor}
    there = np.nan_to_num(recalls)
    found = {name: there @ w / w.sum() for name, w in weights.items() if w.sum()}
    return found | {"worst": np.nanmin(recalls, -1)}


def lines(pairs: Sequence[Pair]) -> list[str]:
    """Returns the comparison as lines for the screen."""
    count, kept = len(pairs), pairs[0].right.shape[1]
    seeds = "1 seed: the interval is not for other seeds" if count == 1 else f"{count} seeds"
    seeds += ": few, so the interval is rather too narrow" if 1 < count < 5 else ""
    ours = f"mean of the last {kept} epochs" if kept > 1 else "last epoch"
    named = [
        f"seed {p.seed}  {side} {name}"
        for p in pairs
        for side, name in zip("AB", p.names, strict=True)
    ]
    return [
        *named,
        "",
        f"{ours}, {seeds}",
        _differences(pairs),
        "",
        "exact McNemar tests, last epoch",
        _tests(pairs),
    ]


def _differences(pairs: Sequence[Pair]) -> str:
    minor = pairs[0].minor[pairs[0].truth]
    images = {
        "all": f"{len(minor):,}",
        "minor": f"{minor.sum():,}",
        "worst": "each run's own class",
    }
    table = [("classes", "A", "B", "A - B", "95% interval", "test images")]
    for name, (a, b, low, high) in differences(pairs).items():
        interval = f"{low:+.4f} to {high:+.4f}"
        table.append((name, f"{a:.4f}", f"{b:.4f}", f"{a - b:+.4f}", interval, images[name]))
    return align_columns(table)


def _tests(pairs: Sequence[Pair]) -> str:
    def recall(c: int) -> float:
        return float(np.mean([p.right[..., p.truth == c].mean() for p in pairs]))

    worst = min(np.unique(pairs[0].truth), key=recall)
    table = [("seed", "classes", "only A right", "only B right", "p")]
    for p in pairs:
        name = f"{p.classes[worst]} (worst of A and B together)"
        parts = {"all": p.truth >= 0, "minor": p.minor[p.truth], name: p.truth == worst}
        for part, where in parts.items():
            only_a, only_b, value = mcnemar(*p.right[:, -1, where])
            table.append((str(p.seed), part, f"{only_a:,}", f"{only_b:,}", f"{value:.2g}"))
    return align_columns(table)
