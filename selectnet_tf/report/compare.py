"""Compares runs on the same test images: two groups by seed, or one and its baselines.

No TensorFlow.
"""

import contextlib
import fnmatch
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from selectnet_tf._console import align_columns
from selectnet_tf._csv_files import read_csv, read_numbers, write_csv
from selectnet_tf._files import DAMAGE
from selectnet_tf._locks import lock
from selectnet_tf.report import paper
from selectnet_tf.runs import store

if TYPE_CHECKING:
    from selectnet_tf.runs.baselines import Baseline

DRAWS = 2000
TABLE = "baselines.csv"
PARTS = ("all", "minor")  # of the test set, that a baseline is judged by
NUMBERS = {  # of each of PARTS, and their formats
    "images": "d",
    "accuracy": ".4f",
    "difference": "+.4f",
    "low": "+.4f",
    "high": "+.4f",
    "p": ".2g",
}
COLUMNS = ("name", "verdict", *(f"{part}_{n}" for part in PARTS for n in NUMBERS), "model", "why")


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

    @property
    def parts(self) -> dict[str, np.ndarray]:
        """Masks of PARTS over the test images: [n] bool each."""
        return {"all": self.truth >= 0, "minor": self.minor[self.truth]}


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
    folders = [store.find_folder(results, run.name) for run in (a, b)]
    (truth, right_a), (other, right_b) = map(_predictions, folders)
    images, others = map(_list_images, folders)
    same = np.array_equal(truth, other) and (images == others or not (images and others))
    if _tested_on(a.row) != _tested_on(b.row) or not same:
        cure = "compare runs of one data set, with the same images, --minor and --validation"
        raise ValueError(f"{a.name} and {b.name} have different test sets: {cure}")
    kept = min(len(right_a), len(right_b))
    right = np.stack([right_a[-kept:], right_b[-kept:]])
    return Pair(a.seed, (a.name, b.name), truth, right, *_classes(results, a.name, truth))


def _classes(results: pathlib.Path, name: str, truth: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Returns (whether each class is minor, the names of the classes) of a run."""
    classes = store.read_file(results, name, "classes.csv")
    if len(classes) <= truth.max():
        raise ValueError(f"{name} has no whole classes.csv: train it again with --force")
    minor = np.array([row["minor"] == "1" for row in classes])
    return minor, [row.get("name") or row["class"] for row in classes]


def _predictions(folder: pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
    """Returns (true classes [n], correct predictions [k, n]) of a run's folder."""
    path, name = folder / "predictions.npz", folder.name
    try:
        with np.load(path) as file:
            truth, predicted = file["truth"].astype(int), file["predicted"]
        if predicted.ndim != 2 or not predicted.size or predicted.shape[1:] != truth.shape:
            raise ValueError
    except FileNotFoundError:
        cure = "version 0.2 keeps them: train it again with --force"
        raise ValueError(f"{name} has no predictions.npz: {cure}") from None
    except DAMAGE:
        raise ValueError(f"{path} is damaged: train the run again with --force") from None
    return truth, predicted == truth


def _list_images(folder: pathlib.Path) -> list[str]:
    """Returns the digests of a run's test images in order, of images in files; else []."""
    return [row["digest"] for row in read_csv(folder / "files.csv") if row["part"] == "test"]


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
    The interval adds, as root of the sum of squares, what the images and the seeds leave open: a
    bootstrap over images, drawn within their classes, the same for all runs; and Student's t over
    the seeds' differences, where there are several.
    """
    rng = np.random.default_rng(0)
    first, count = pairs[0], len(pairs)
    sizes = np.bincount(first.truth, minlength=len(first.classes))
    recalls = np.full((DRAWS + 1, count, 2, len(sizes)), np.nan)  # first: of the images as they are
    for c in np.flatnonzero(sizes):
        right = [p.right[:, :, p.truth == c].mean(1) for p in pairs]
        shares = np.stack(right) / sizes[c]  # [seeds, 2, images]
        recalls[0, ..., c] = shares.sum(-1)
        for draw in range(1, DRAWS + 1):
            images = rng.integers(sizes[c], size=sizes[c])
            recalls[draw, ..., c] = shares @ np.bincount(images, minlength=sizes[c])
    found = {}
    for name, values in _parts(recalls, sizes, first.minor).items():
        gaps = values[1:, :, 0] - values[1:, :, 1]
        a, b = map(float, values[0].mean(0))
        ends = np.quantile(gaps.mean(1), (0.025, 0.975)) - (a - b)
        if count > 1:
            own = np.subtract(*values[0].T)
            ends = np.hypot(ends, paper.student_t(count - 1) * own.std(ddof=1) / count**0.5)
            ends[0] *= -1
        low, high = np.clip(a - b + ends, -1, 1)
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
        for part, where in (p.parts | {name: p.truth == worst}).items():
            only_a, only_b, value = mcnemar(*p.right[:, -1, where])
            table.append((str(p.seed), part, f"{only_a:,}", f"{only_b:,}", f"{value:.2g}"))
    return align_columns(table)


def write_baselines(
    results: pathlib.Path, name: str, method: str, found: "Sequence[Baseline]"
) -> list[dict[str, str]]:
    """Writes a run's baselines.csv. Returns its rows, the run's first.

    A model is compared as it was saved, after its last epoch. `difference` is a baseline's accuracy
    minus the run's; `low` and `high` are its paired 95% interval, `p` an exact McNemar test's.

    Args:
        results: folder of the results.
        name: the run's.
        method: the run's.
        found: the baselines.

    Raises:
        ValueError: a file is missing or damaged.
        BlockingIOError: another process trains the run.
    """
    with lock(results / "runs" / name / ".lock"):  # a --force would put the run aside meanwhile
        folder = store.find_folder(results, name)
        truth, right = _predictions(folder)
        minor, classes = _classes(results, name, truth)
        own = Pair(0, (name, name), truth, np.stack([right[-1:]] * 2), minor, classes)
        counts = {part: _count(right[-1, where]) for part, where in own.parts.items()}
        row = {"name": f"this run: {method}", "model": str(folder / "model.keras")}
        rows = [row | _format(counts)]
        for baseline in found:
            row = {"name": baseline.name, "why": baseline.why, "verdict": "not run"}
            if baseline.folder:
                both = np.stack([_predictions(baseline.folder)[1][-1:], right[-1:]])  # [2, 1, n]
                numbers = _measure(own._replace(names=(baseline.name, name), right=both))
                row |= {"model": str(baseline.folder / "model.keras"), "verdict": _judge(numbers)}
                row |= _format(numbers)
            rows.append(row)
        rows = [{column: row.get(column, "") for column in COLUMNS} for row in rows]
        write_csv(folder / TABLE, [COLUMNS, *([*row.values()] for row in rows)])
        return rows


def _count(right: np.ndarray) -> dict[str, float]:
    return {"images": len(right), "accuracy": right.mean()}


def _measure(pair: Pair) -> dict[str, dict[str, float]]:
    """Returns {part: NUMBERS of the first model beside the second}."""
    found, gaps, both = {}, differences([pair]), pair.right[:, -1]
    for part, where in pair.parts.items():
        a, b, low, high = gaps[part]
        p = mcnemar(*both[:, where])[2]
        numbers = {"difference": a - b, "low": low, "high": high, "p": p}
        found[part] = _count(both[0, where]) | numbers
    return found


def _format(found: dict[str, dict[str, float]]) -> dict[str, str]:
    """Returns the cells of {part: its NUMBERS}."""
    return {
        f"{part}_{name}": format(value, NUMBERS[name])
        for part, numbers in found.items()
        for name, value in numbers.items()
    }


def _judge(found: dict[str, dict[str, float]]) -> str:
    """Returns whether a baseline is better than the run, worse, mixed or level.

    A difference counts if its interval excludes 0 and the exact test agrees: an interval drawn from
    a few images is too narrow.
    """
    clear = [numbers for numbers in found.values() if numbers["p"] < 0.05]
    higher = any(numbers["low"] > 0 for numbers in clear)
    lower = any(numbers["high"] < 0 for numbers in clear)
    return {(1, 0): "better", (0, 1): "worse", (1, 1): "mixed", (0, 0): "level"}[higher, lower]


def layout_baselines(rows: Sequence[dict[str, str]]) -> list[tuple[str, ...]]:
    """Returns the cells of baselines.csv's rows for people, the header first."""
    table: list[tuple[str, ...]] = [
        ("", "accuracy", "difference", "minor classes", "difference", "")
    ]
    for row in rows:
        cells = [row["name"]]
        for part in PARTS:
            cells += [row[f"{part}_accuracy"] or "–", _describe_gap(row, part)]
        table.append((*cells, row["verdict"] if row["model"] else ""))
    return table


def _describe_gap(row: dict[str, str], part: str) -> str:
    if not row[f"{part}_difference"]:
        return ""
    difference, low, high = (float(row[f"{part}_{n}"]) for n in ("difference", "low", "high"))
    return f"{difference:+.3f} ({low:+.3f} to {high:+.3f})"


def advise(rows: Sequence[dict[str, str]]) -> list[str]:
    """Returns lines on the models of baselines.csv's rows: which to use, and what was not run."""
    others = rows[1:]
    better = [row for row in others if row["verdict"] == "better"]
    if better:
        best = max(better, key=lambda row: sum(float(row[f"{p}_difference"]) for p in PARTS))
        gaps = f"accuracy {_describe_gap(best, 'all')}, minor {_describe_gap(best, 'minor')}"
        said = [f"use {best['name']}: {gaps}: {best['model']}"]
    elif any(row["verdict"] != "not run" for row in others):
        level = [row["name"] for row in others if row["verdict"] == "level"]
        said = ["no baseline is better" + f"; level: {'; '.join(level)}" * bool(level)]
    else:
        said = []
    return said + [f"{row['name']}: {row['why']}" for row in others if row["why"]]


def describe_baselines(rows: Sequence[dict[str, str]]) -> list[str]:
    """Returns baselines.csv's rows as lines for the screen."""
    images = (f"{int(rows[0][f'{part}_images']):,}" for part in PARTS)
    return [
        "baselines on the same {} test images, {} of minor classes; differences with their paired"
        " 95% intervals".format(*images),
        align_columns(layout_baselines(rows)),
        *advise(rows),
    ]


def read_baselines(folder: pathlib.Path) -> list[dict[str, str]]:
    """Returns the rows of a run's baselines.csv; empty if it is missing or damaged."""
    with contextlib.suppress(ValueError, OSError):
        return read_numbers(folder / TABLE, COLUMNS, ("name", "verdict", "model", "why"))
    return []
