"""Comparison with the paper: cells of Tables 1 to 4, verdicts, claims. No TensorFlow."""

import hashlib
import math
import pathlib
import re
import statistics
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from selectnet_tf import recipes
from selectnet_tf._csv_files import read_csv
from selectnet_tf.runs import plan, store
from selectnet_tf.runs.store import Run

FULL = 200  # epochs of the paper's runs
TABLES = ("table1", "table2", "table3", "table4")
Key = tuple[str, str, str, str]  # data set, arch, method, detail
PICKS = {  # Figure 2's series as columns of selection.csv: "minor" is any minor class
    "unlabeled_minor": ("unlabeled_right", "unlabeled_wrong_minor"),
    "unlabeled_confused": ("unlabeled_major",),
    "labeled_minor": ("labeled_right", "labeled_wrong_minor"),
    "labeled_confused": ("labeled_major",),
}
NUMBERS = pathlib.Path(__file__).parent / "numbers"


def numbers(table: str) -> list[dict[str, str]]:
    """Returns the paper's own numbers. table: table1 to table4, or figure2."""
    return read_csv(NUMBERS / f"{table}.csv")


class Cell(NamedTuple):
    """One number of the paper beside those of finished runs, one a seed.

    Args:
        paper: None where the paper has none.
        values: the mean of each run's last ten epochs; in Table 2, F1 after the last epoch.
        last: accuracy after each run's last epoch; () for F1.
        best: accuracy after each run's best epoch; () for F1.
    """

    table: str
    dataset: str
    arch: str
    method: str
    detail: str
    paper: float | None
    values: tuple[float, ...]
    last: tuple[float, ...] = ()
    best: tuple[float, ...] = ()

    @property
    def mean(self) -> float:
        return statistics.fmean(self.values) if self.values else math.nan

    @property
    def std(self) -> float:
        """Standard deviation of the sample; NaN for fewer than two runs."""
        return statistics.stdev(self.values) if len(self.values) > 1 else math.nan

    @property
    def delta(self) -> float:
        return math.nan if self.paper is None else self.mean - self.paper

    @property
    def interval(self) -> tuple[float, float]:
        """The 95% interval of delta by Student's t over the runs; NaN for fewer than two."""
        n = len(self.values)
        half = student_t(n - 1) * self.std / math.sqrt(n) if n > 1 else math.nan
        return self.delta - half, self.delta + half

    def verdict(self, tolerance: float) -> str:
        """Returns the verdict of the difference's 95% interval.

        "reproduced" where it lies within the tolerance, "off" where it lies beyond half of it, else
        "undecided"; "one run" or "not run" where there is no interval.
        """
        if len(self.values) < 2:
            return "one run" if self.values else "not run"
        low, high = self.interval
        if max(-low, high) <= tolerance + 1e-12:
            return "reproduced"
        return "off" if max(low, -high) > tolerance / 2 else "undecided"

    def above(self, other: "Cell") -> int:
        """Returns 1 where the mean is above another cell's, -1 where below, 0 where undecided.

        Decided by the 95% interval of the difference (Welch's t); by one run, nothing is.
        """
        if min(len(self.values), len(other.values)) < 2:
            return 0
        gap = self.mean - other.mean
        parts = [c.std**2 / len(c.values) for c in (self, other)]
        if total := sum(parts):
            squares = [
                v**2 / (len(c.values) - 1) for v, c in zip(parts, (self, other), strict=True)
            ]
            if abs(gap) <= student_t(total**2 / sum(squares)) * math.sqrt(total):
                return 0
        return (gap > 0) - (gap < 0)


def student_t(freedom: float) -> float:
    """Returns the 97.5% quantile of Student's t."""
    from scipy.special import stdtrit  # takes longer to import than all else that reports need

    return float(stdtrit(freedom, 0.975))


def slug(text: str) -> str:
    """Returns a text, such as a path, as a part of a file's name.

    A text that is long, or loses more than blanks and colons, ends in a digest.
    """
    plain = re.sub(r"[^\w.=,+-]", "-", text, flags=re.ASCII)  # others take up to four bytes
    if plain == re.sub("[: ]", "-", text) and len(plain) <= 80:
        return plain
    digest = hashlib.sha1(text.encode("utf-8", "surrogateescape")).hexdigest()
    return f"{plain[:80]}-{digest[:8]}"


class Group(NamedTuple):
    """Runs of one table: with one preset, one number of epochs and the same changed fields."""

    preset: str
    epochs: int
    changes: tuple[tuple[str, str], ...]

    @property
    def title(self) -> str:
        parts = [f"preset {self.preset}", f"{self.epochs} epoch{'s' * (self.epochs != 1)}"]
        return ", ".join(parts + [f"{k}={v}" for k, v in self.changes])

    @property
    def slug(self) -> str:
        """The group as a part of a file's name."""
        return slug(
            "_".join([self.preset, str(self.epochs), *(f"{k}-{v}" for k, v in self.changes)])
        )


def groups(found: Iterable[Run], by_schedule: bool = False) -> dict[Group, list[Run]]:
    """Returns {Group: [Run]}, the full-length and plain groups first.

    Args:
        found: Runs.
        by_schedule: a lambda schedule, a cell of Table 4, makes another group.
    """
    sorted_by: dict[Group, list[Run]] = {}
    for run in found:
        changes = tuple(c for c in run.changes if by_schedule or c[0] != "lambda_schedule")
        sorted_by.setdefault(Group(run.preset, run.epochs, changes), []).append(run)
    return dict(
        sorted(sorted_by.items(), key=lambda item: (-item[0].epochs, len(item[0].changes), item[0]))
    )


def comparisons(found: Iterable[Run]) -> list[tuple[Group, str, str, list[Run]]]:
    """Returns the groups with a table and figures of their own: [(Group, data set, arch, [Run])].

    These are full-length runs, runs on images of one's own, and others of two methods or more.
    """
    made = []
    for group, members in groups(found, by_schedule=True).items():
        for key in dict.fromkeys((run.dataset, run.arch) for run in members):
            chosen = [run for run in members if (run.dataset, run.arch) == key]
            own = chosen[0].row["dataset"] == recipes.FolderData.dataset
            if own or group.epochs == FULL or len({run.method for run in chosen}) > 1:
                made.append((group, *key, chosen))
    return made


def cells(results: pathlib.Path, found: Iterable[Run], extra: bool = False) -> list[Cell]:
    """Returns every number of the paper's tables as a Cell.

    Args:
        results: folder of the results.
        found: Runs of one group.
        extra: adds cells for methods that the paper does not give (oracle, ...), and to Table 1 for
            data sets and networks in no table, where there are runs.
    """
    by_key: dict[Key, list[Run]] = {}
    found = list(found)
    for run in found:
        schedule = dict(run.changes).get("lambda_schedule", "constant")
        by_key.setdefault((run.dataset, run.arch, run.method, schedule), []).append(run)
    made = []
    told = {table: numbers(table) for table in TABLES}
    known = {(line["dataset"], line["arch"]) for lines in told.values() for line in lines}
    others = dict.fromkeys(
        (run.dataset, run.arch) for run in found if run.row["dataset"] != recipes.FolderData.dataset
    )
    for table, lines in told.items():
        details = list(dict.fromkeys(_detail(table, line) for line in lines))
        keys: list[Key] = [
            (line["dataset"], line["arch"], line["method"], _detail(table, line)) for line in lines
        ]
        paper = dict(zip(keys, (float(line["value"]) for line in lines), strict=True))
        if extra and table != "table4":
            columns = dict.fromkeys(key[:2] for key in keys)
            if table == "table1":
                columns |= {column: None for column in others if column not in known}
            keys += [
                (*c, m, d)
                for c in columns
                for m in recipes.METHODS
                if (*c, m, "constant") in by_key
                for d in details
            ]
        made += [_cell(results, table, key, paper.get(key), by_key) for key in dict.fromkeys(keys)]
    return made


def full(results: pathlib.Path, found: Iterable[Run], preset: str) -> list[Cell]:
    """Returns the cells of a plain preset's full-length runs among all Runs `found`."""
    return cells(results, groups(found).get(Group(preset, FULL, ()), []))


def _detail(table: str, line: dict[str, str]) -> str:
    if table == "table2":
        return f"F1 of class {line['class']}"
    return line["lambda_schedule"] if table == "table4" else "accuracy"


def _cell(
    results: pathlib.Path, table: str, key: Key, paper: float | None, by_key: dict[Key, list[Run]]
) -> Cell:
    chosen = by_key.get((*key[:3], key[3] if table == "table4" else "constant"), [])
    if table == "table2":
        found = [f1(results, run.name).get(key[3].split()[-1]) for run in chosen]
        return Cell(table, *key, paper, tuple(v for v in found if v is not None and v == v))
    columns = ("last10_accuracy", "accuracy", "best_accuracy")
    return Cell(table, *key, paper, *(tuple(run.number(c) for run in chosen) for c in columns))


def f1(results: pathlib.Path, name: str) -> dict[str, float]:
    """Returns {class: F1} of one run's classes.csv; {} where there is none."""
    return {
        row["class"]: float(row["f1"] or "nan")
        for row in store.read_file(results, name, "classes.csv")
    }


def claims(found: list[Cell]) -> list[tuple[str, str]]:
    """Returns the paper's claims as (name, "holds" | "fails" | "undecided"), by `Cell.above`.

    found: cells of one group.
    """
    given = [c for c in found if c.paper is not None]
    one = {(c.dataset, c.arch, c.method): c for c in given if c.table == "table1"}
    columns, methods = plan.COLUMNS, plan.TABLES["table1"][1]

    def in_columns(better: str, worse: str) -> str:
        return _all([one[(*column, better)].above(one[(*column, worse)]) for column in columns])

    others = [m for m in methods if m != "selectnet"]
    best = [min(one[(*c, "selectnet")].above(one[(*c, m)]) for m in others) for c in columns]
    in_most = "holds" if best.count(1) >= 5 else "fails" if best.count(-1) > 1 else "undecided"
    two = {(c.method, c.detail): c for c in given if c.table == "table2"}
    minors = [f"F1 of class {c}" for c in recipes.DATASETS["cifar10-4minor"]["minor"]]
    minor_f1 = [two[("selectnet", d)].above(two[("oversampling", d)]) for d in minors]
    three = {(c.dataset, c.method): c for c in given if c.table == "table3"}
    sets = ("cifar10-lt", "cifar100-lt")
    lt = [three[(d, "selectnet")].above(three[(d, "class_balanced")]) for d in sets]
    every = {
        "SelectNet is at least as good as Context": ("selectnet", "context"),
        "Context is better than oversampling": ("context", "oversampling"),
        "Oversampling is better than imbalanced training": ("oversampling", "imbalanced"),
    }
    return [
        ("SelectNet is best in at least 5 of Table 1's 6 columns", in_most),
        *((f"{name} in every column", in_columns(*pair)) for name, pair in every.items()),
        ("SelectNet's F1 of each minor class is above oversampling's", _all(minor_f1)),
        ("SelectNet is better than class-balanced loss on both long-tailed sets", _all(lt)),
    ]


def _all(above: Sequence[int]) -> str:
    """Returns "fails" by one counterexample, and "holds" where every pair is decided."""
    if -1 in above:
        return "fails"
    return "undecided" if 0 in above else "holds"


def agreements(found: list[Cell]) -> list[tuple[str, float, tuple[float, float]]]:
    """Returns [(method, Table 1's accuracy, (lowest, highest) that Table 2's F1 allow)].

    found: cells.
    """
    one = {
        (c.dataset, c.arch, c.method): c.paper
        for c in found
        if c.table == "table1" and c.paper is not None
    }
    two: dict[tuple[str, ...], list[float]] = {}
    for c in found:
        if c.table == "table2" and c.paper is not None:
            two.setdefault((c.dataset, c.arch, c.method), []).append(c.paper)
    return [(key[-1], one[key], accuracy_range(f1s)) for key, f1s in two.items() if key in one]


def accuracy_range(f1s: Sequence[float], rounding: float = 0.005) -> tuple[float, float]:
    """Returns the lowest and the highest accuracy of any confusion matrix with these F1.

    Let r be a class's recall and p the count of its predictions, as a share of its size. Then F1 =
    2 r / (1 + p): a linear program.

    Args:
        f1s: F1 of each class, on a test set with classes of one size: [m].
        rounding: greatest error of each F1.

    Raises:
        ValueError: no confusion matrix has these F1.
    """
    from scipy.optimize import linprog  # takes longer to import than all else that reports need

    m = len(f1s)
    one, zeros, ones = np.eye(m), np.zeros(m), np.ones(m)
    low, high = np.clip(np.subtract(f1s, rounding), 0, 1), np.clip(np.add(f1s, rounding), 0, 1)
    limits = [  # on [r, p]
        ([2 * one, -np.diag(high)], high),
        ([-2 * one, np.diag(low)], -low),
        ([one, -one], zeros),
        # the images that a class misses are predicted as others, beside those that are right
        ([1 - 2 * one, one], (m - 1) * ones),
    ]
    left = np.block([sides for sides, _ in limits])
    right = np.concatenate([limit for _, limit in limits])
    total = {"A_eq": [[*zeros, *ones]], "b_eq": [m], "bounds": [(0, 1)] * m + [(0, m)] * m}
    found = [
        linprog(sign * np.concatenate([ones, zeros]) / m, left, right, **total) for sign in (1, -1)
    ]
    if not all(f.success for f in found):
        raise ValueError(f"no confusion matrix has the F1 {f1s}")
    return float(found[0].fun), -float(found[1].fun)
