"""results/runs.csv, one row a finished run: reading it, damage and all, writing it, and what its rows are runs of.

Standard library only: `make diff` and a sweep's plan answer at once.
"""

import csv
import dataclasses
import math
from typing import NamedTuple

from selectnet_tf import recipes
from selectnet_tf.experiment import grids
from selectnet_tf.files import lock, replacing

SHARES = ("accuracy", "minor_accuracy", "major_accuracy", "macro_f1", "balanced_accuracy", "g_mean", "best_accuracy", "last10_accuracy")
SHARES += ("minor_average_precision", "minor_roc_auc")
AMOUNTS = ("seconds", "selection_seconds", "images")
COLUMNS = ("name", *(f.name for f in dataclasses.fields(recipes.Recipe)), *SHARES, *AMOUNTS)
COLUMNS += ("python", "tensorflow", "keras", "device", "commit")
NEEDED = ("name", "dataset", "arch", "method", "preset", "seed", "epochs", "accuracy")


class Run(NamedTuple):
    """A finished run. row: its line of runs.csv, {column: text}; changes: ((field, value), ...) that differ from its preset."""

    name: str
    dataset: str
    arch: str  # as the paper's tables name it, see grids.table_arch
    method: str
    preset: str
    seed: int
    epochs: int
    changes: tuple
    row: dict

    def number(self, column):
        """A column's value, NaN where the row has none."""
        return float(self.row.get(column) or "nan")


def text(value):
    """A value as runs.csv holds it; what there is none of is empty."""
    return "" if value is None or value != value else " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def read(results):
    """([Run], problems) of results/runs.csv.

    A line that is torn, foreign, a duplicate or not a number where one belongs is left out and named, with its number.
    """
    path = results / "runs.csv"
    header, lines = _lines(path)
    missing = [c for c in NEEDED if c not in header]
    if missing and (header or lines):
        return [], [f"{path}:1: no column {', '.join(missing)}"]
    problems = [f"{path}:1: unknown column {c!r}" for c in header if c not in COLUMNS]
    found, seen = [], {}
    for number, line in lines:
        row = dict(zip(header, line, strict=False))
        problem = _problem(header, line, row, seen)
        if not problem:
            try:
                found.append(_run(row))
                seen[row["name"]] = number
            except ValueError as error:
                problem = str(error)
        if problem:
            problems.append(f"{path}:{number}: {problem}; left out")
    return found, problems


def _lines(path):
    """(header, [(line number, values)]); blank lines are none."""
    if not path.exists():
        return [], []
    with open(path, newline="", encoding="utf-8", errors="replace") as file:
        reader = csv.reader(file)
        lines = [(reader.line_num, line) for line in reader if line]
    return (lines[0][1], lines[1:]) if lines else ([], [])


def _problem(header, line, row, seen):
    if len(line) != len(header):
        return f"{len(line)} values for {len(header)} columns (torn, or of another version)"
    if row["name"] in seen:
        return f"{row['name']} stands already in line {seen[row['name']]}"
    for column in (*SHARES, *AMOUNTS):
        if not row.get(column) and column != "accuracy":
            continue  # of a version that did not record it
        if not _is_number(row[column], 1 if column in SHARES else math.inf):
            return f"{column} is {row[column]!r}, which is no {'share' if column in SHARES else 'amount'}"
    if not (row["seed"].isdigit() and row["epochs"].isdigit()):
        return f"seed and epochs are {row['seed']!r} and {row['epochs']!r}, which are no whole numbers"
    return None


def _is_number(text, most):
    try:
        return math.isfinite(float(text)) and 0 <= float(text) <= most
    except ValueError:
        return False


def _run(row):
    places = [k for k in recipes.OWN_FIELDS.get(row["dataset"], ()) if k not in ("image_size", "fit") and row.get(k)]
    base = recipes.make(**{k: row.get(k) for k in ("dataset", "arch", "method", "preset", *places)})
    same = ("dataset", "arch", "method", "preset", "seed", "epochs")
    plain = {f.name: text(getattr(base, f.name)) for f in dataclasses.fields(base) if f.name not in same}
    changes = tuple((k, row[k]) for k, v in plain.items() if row.get(k) and row[k] != v)  # an older version's row lacks columns
    arch = grids.table_arch(row["arch"], row["preset"])
    dataset = " ".join([row["dataset"], *(row[k] for k in places[:1])])
    return Run(row["name"], dataset, arch, row["method"], row["preset"], int(row["seed"]), int(row["epochs"]), changes, row)


def names(results):
    """The names of the finished runs."""
    header, lines = _lines(results / "runs.csv")
    place = header.index("name") if "name" in header else 0
    return {line[place] for _, line in lines if len(line) == len(header)}


def row_of(results, name):
    """A finished run's row, {column: text}, or None."""
    header, lines = _lines(results / "runs.csv")
    rows = (dict(zip(header, line, strict=True)) for _, line in lines if len(line) == len(header))
    return next((row for row in rows if row.get("name") == name), None)


def write_row(results, name, row=None):
    """Puts a run's row into runs.csv in place of an earlier one of that name; only takes that out where row is None.

    Every other line stays to the letter, damaged ones too; new columns go to the end.
    """
    with lock(results / ".runs.lock", wait=True):
        header, lines = _lines(results / "runs.csv")
        if not header and row is None:
            return
        columns = header + [c for c in row or {} if c not in header]
        place = columns.index("name")
        kept = [line for _, line in lines if len(line) != len(header) or line[place] != name]
        kept = [line + [""] * (len(columns) - len(header)) if len(line) == len(header) else line for line in kept]
        if row is not None:
            kept.append([text(row.get(c)) for c in columns])
        write_csv(results / "runs.csv", [columns, *kept])


def write_csv(path, lines):
    """Rows of values -> a file, whole or not at all."""
    with replacing(path) as beside, open(beside, "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        csv.writer(file, lineterminator="\n").writerows(lines)


def read_csv(path):
    """[{column: text}] of a file of a run; empty where there is none."""
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.DictReader(file))
