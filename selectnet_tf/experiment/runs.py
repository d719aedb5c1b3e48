"""Finished runs: their rows checked, what they are runs of, and under which name a recipe's run is kept.

Standard library only: `make diff` and a sweep's plan answer at once.
"""

import dataclasses
import json
import math
import pathlib
import re
import struct
import zipfile
from collections.abc import Mapping
from typing import Any, NamedTuple

from selectnet_tf import csvs, recipes
from selectnet_tf.csvs import read_csv, write_csv
from selectnet_tf.experiment import grids, rows
from selectnet_tf.experiment.rows import names, row_of, text
from selectnet_tf.experiment.rows import write as write_row

__all__ = ["COLUMNS", "Run", "damaged", "differences", "name_of", "names", "read", "read_csv", "recorded", "row_of", "text", "write_csv"]
__all__ += ["position", "write_row"]

SHARES: tuple[str, ...] = (
    "accuracy",
    "minor_accuracy",
    "major_accuracy",
    "macro_f1",
    "balanced_accuracy",
    "g_mean",
    "best_accuracy",
    "last10_accuracy",
)
SHARES += ("minor_average_precision", "minor_roc_auc")
AMOUNTS = ("seconds", "selection_seconds", "images")
COLUMNS: tuple[str, ...] = ("name", *(f.name for f in dataclasses.fields(recipes.Recipe)), *SHARES, *AMOUNTS)
COLUMNS += ("python", "tensorflow", "keras", "threads", "onednn", "device", "commit", "changed")
FILES = {  # what a run leaves for reports: columns that each file has to have; columns that may hold texts
    "epochs.csv": ("epoch", "val_accuracy", "val_minor_accuracy"),
    "selection.csv": ("epoch", *(f"{kind}_{what}" for kind in ("labeled", "unlabeled") for what in ("right", "wrong_minor", "major"))),
    "classes.csv": ("class", "f1", "minor", "as_0"),
    "picks.csv": ("epoch", "label", "picked", "wrong", "score", "index", "truth"),
}
TEXTS = ("name", "warning")
WHOLE = ("epoch", "label", "picked", "wrong", "index", "truth", "class")
FILLED = ("epoch", "label", "picked", "class")
NEEDED = ("name", "dataset", "arch", "method", "preset", "seed", "epochs", "accuracy", "last10_accuracy")


class Run(NamedTuple):
    """A finished run. row: its line of runs.csv, {column: text}; changes: ((field, value), ...) that differ from its preset."""

    name: str
    dataset: str
    arch: str  # as the paper's tables name it, see grids.table_arch
    method: str
    preset: str
    seed: int
    epochs: int
    changes: tuple[tuple[str, str], ...]
    row: dict[str, str]

    def number(self, column: str) -> float:
        """A column's value, NaN where the row has none."""
        return float(self.row.get(column) or "nan")


def read(results: pathlib.Path) -> tuple[list[Run], list[str]]:
    """Returns ([Run], problems) of all finished runs: a row that can't be one is left out, and named with its place."""
    rows_, damaged = rows.read(results)
    found, problems = [], list(damaged.values())
    for where, row in rows_.values():
        try:
            found.append(_run(row))
        except ValueError as error:
            problems.append(f"{where}: {error}; left out")
    return _told_apart(found), problems


def _told_apart(found: list[Run]) -> list[Run]:
    """Runs on data of one's own: of their files and columns, those alone are changes in which the runs of one data set differ."""
    known: dict[tuple[str, str], set[str]] = {}
    for run in found:
        for field in _places(run.row):
            if not field.startswith("unlabeled_") or run.method in recipes.SELECTING:  # a pool, or none, is nothing to other methods
                known.setdefault((run.dataset, field), set()).add(run.row.get(field, ""))

    def differ(run: Run, field: str) -> bool:
        return field not in _places(run.row) or len(known.get((run.dataset, field), ())) > 1

    return [run._replace(changes=tuple(c for c in run.changes if differ(run, c[0]))) for run in found]


def _places(row: Mapping[str, str]) -> list[str]:
    """The fields that say which data of one's own a run is on; none for a benchmark."""
    return [k for k in recipes.OWN_FIELDS.get(row["dataset"], ()) if recipes.Recipe.__dataclass_fields__[k].default is None]


def damaged(results: pathlib.Path, found: list[Run]) -> list[str]:
    """A line for each file of the runs that no report can read; reports leave these files out."""
    checked = (_damage(rows.place(results, run.name) / file) for run in found for file in FILES)
    return [line for line in checked if line]


def _damage(path: pathlib.Path) -> str | None:
    return csvs.problem(path, FILES[path.name], TEXTS, WHOLE, FILLED, empty=path.name == "picks.csv")  # a run may pick nothing


def read_file(results: pathlib.Path, name: str, file: str) -> list[dict[str, str]]:
    """[{column: text}] of one of a finished run's FILES; empty where it is missing or damaged, see `damaged`."""
    path = rows.place(results, name) / file
    return [] if _damage(path) else read_csv(path)


def position(state: pathlib.Path) -> tuple[int, int] | None:
    """(epochs, batches of the next) that a state file holds; None where there is none that can be read. As np.load would, without NumPy."""
    try:
        with zipfile.ZipFile(state) as file:
            epoch, batch = struct.unpack("<2q", file.read("position.npy")[-16:])
        return int(epoch), int(batch)
    except (OSError, KeyError, ValueError, struct.error, zipfile.BadZipFile):
        return None


def recorded(results: pathlib.Path, name: str) -> dict[str, Any] | None:
    """The recipe of the run of that name, finished or not, as far as it is written down: its recipe.json's, or its row's fields."""
    for folder in (results / "runs" / name, rows.place(results, name)):
        try:
            return dict(json.loads((folder / "recipe.json").read_text(encoding="utf-8"))["recipe"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
    try:
        return row_of(results, name)  # type: ignore[return-value]
    except ValueError:
        return None


def differences(recipe: recipes.Recipe, known: Mapping[str, Any]) -> list[str]:
    """The fields in which a recipe is another than what is `recorded`; a field that an older version lacked had its default."""
    base = recipes.defaults(recipe.dataset, recipe.arch, recipe.method, recipe.preset, recipe.training)
    fields = [field.name for field in dataclasses.fields(recipe)]
    return [f for f in fields if text(getattr(recipe, f)) != (text(known.get(f)) or text(getattr(base, f)))]


def name_of(results: pathlib.Path, recipe: recipes.Recipe) -> str:
    """The name under which a recipe's run is kept: its own, or the shorter one of versions before 0.2 where there is that run.

    Six hex digits of the changed fields' hash, of which two recipes of a plain grid of 1,500 shared one, were too few.
    """
    old = re.fullmatch(r"(.+_[0-9a-f]{6})[0-9a-f]{6}", recipe.name)
    if old and (known := recorded(results, old[1])) and not differences(recipe, known):
        return old[1]
    return recipe.name


def _check(row: Mapping[str, str]) -> None:
    """Raises ValueError where a row holds no finished run's numbers."""
    missing = [column for column in NEEDED if not row.get(column)]
    if missing:
        raise ValueError(f"no {', '.join(missing)}")
    for column in (*SHARES, *AMOUNTS):  # older versions did not record all of them
        if row.get(column) and not csvs.is_number(row[column], 1 if column in SHARES else math.inf):
            raise ValueError(f"{column} is {row[column]!r}, which is no {'share' if column in SHARES else 'amount'}")
    if not (row["seed"].isdecimal() and row["epochs"].isdecimal()):
        raise ValueError(f"seed and epochs are {row['seed']!r} and {row['epochs']!r}, which are no whole numbers")


def _run(row: dict[str, str]) -> Run:
    _check(row)
    places = [k for k in _places(row) if row.get(k)]
    base = recipes.make(**{k: row.get(k) for k in ("dataset", "arch", "method", "preset", *places)})
    same = ("dataset", "arch", "method", "preset", "seed", "epochs")
    plain = {f.name: text(getattr(base, f.name)) for f in dataclasses.fields(base) if f.name not in same}
    plain |= dict.fromkeys(places[1:], "")  # the first is in the data set's name; see _told_apart
    changes = tuple((k, row[k]) for k, v in plain.items() if row.get(k) and row[k] != v)  # an older version's row lacks columns
    arch = grids.table_arch(row["arch"], row["preset"])
    dataset = " ".join([row["dataset"], *(row[k] for k in places[:1])])
    return Run(row["name"], dataset, arch, row["method"], row["preset"], int(row["seed"]), int(row["epochs"]), changes, row)
