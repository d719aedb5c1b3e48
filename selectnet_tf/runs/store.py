"""Rows and files of finished runs: runs/NAME/row.json, and runs.csv, the table of all rows.

runs.csv is built from the row.json files. It is read only for rows of versions before 0.2, which
have no row.json.
"""

import contextlib
import dataclasses
import json
import math
import pathlib
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from selectnet_tf import recipes
from selectnet_tf._csv_files import is_number, read_lines, read_numbers, write_csv
from selectnet_tf._files import DAMAGE, digest, printable, remove_leftovers, write_json
from selectnet_tf._locks import lock

HASH = "blake2b"
OLD = "old"  # in a run's folder: the finished run that a --force has not replaced yet
WRITTEN = (  # what else a run, its sweep and its baselines write there, as docs/runs.md has it
    "recipe.json", "row.json", "epochs.csv", "selection.csv", "selected.npz", "picks.csv",
    "classes.csv", "confusion.csv", "thresholds.csv", "calibration.csv", "predictions.npz",
    "split.npz", "model.keras", "tensorboard", "state.npz", "log.txt",
    "files.csv", "selected.csv", "suspects.csv", "review.html", "test_predictions.csv", "ask.csv",
    "baselines.csv", "logistic", "logistic_picks",
)  # fmt: skip
V2 = {"resnet20": "resnet20v2", "resnet56": "resnet56v2"}  # table's name: preset released's arch
SHARES = (  # columns of numbers from 0 to 1, and of numbers from 0
    "accuracy", "minor_accuracy", "major_accuracy", "macro_f1", "balanced_accuracy", "g_mean",
    "best_accuracy", "last10_accuracy", "minor_average_precision", "minor_roc_auc",
)  # fmt: skip
AMOUNTS = ("seconds", "selection_seconds", "images")
IDENTITY = ("dataset", "arch", "method", "preset", "seed", "epochs")
NEEDED = ("name", *IDENTITY, "accuracy", "last10_accuracy")
FILES = {  # that reports read: the columns that each must have
    "epochs.csv": ("epoch", "val_accuracy", "val_minor_accuracy"),
    "selection.csv": (
        "epoch", "labeled_right", "labeled_wrong_minor", "labeled_major",
        "unlabeled_right", "unlabeled_wrong_minor", "unlabeled_major",
    ),
    "classes.csv": ("class", "f1", "minor", "as_0"),
    "picks.csv": ("epoch", "label", "picked", "wrong", "score", "index", "truth"),
}  # fmt: skip
EXCERPT = 8  # most confident images of a class in picks.csv, and as many errors
TEXTS = ("name", "warning")  # columns that may hold any text
WHOLE = ("epoch", "label", "picked", "wrong", "index", "truth", "class")
FILLED = ("epoch", "label", "picked", "class")
Rows = dict[str, tuple[str, dict[str, str]]]  # {run: (FILE or FILE:LINE, {column: text})}
Known = tuple[Rows, dict[str, str]]  # of `read_rows`


class Run(NamedTuple):
    """A finished run.

    Attributes:
        name: the name of its folder.
        dataset: the data set; for a user's own data with its first path, "folder photos".
        arch: the arch as the paper's tables name it, see name_arch.
        method: the method.
        preset: the preset.
        seed: the seed.
        epochs: the epochs of the whole run.
        changes: ((field, value), ...) that differ from the preset.
        row: its row of runs.csv, {column: text}.
    """

    name: str
    dataset: str
    arch: str
    method: str
    preset: str
    seed: int
    epochs: int
    changes: tuple[tuple[str, str], ...]
    row: dict[str, str]

    def number(self, column: str) -> float:
        """Returns the number in a column, NaN where the row has none."""
        return float(self.row.get(column) or "nan")


def read_runs(results: pathlib.Path) -> tuple[list[Run], list[str]]:
    """Returns (finished runs, problems): a problem is a line with a bad row's file and fault."""
    rows, damaged = read_rows(results)
    found, problems = [], list(damaged.values())
    for place, row in rows.values():
        try:
            found.append(_make_run(row))
        except ValueError as error:
            problems.append(f"{place}: {error}; left out")
    return _drop_common_paths(found), problems


def read_rows(results: pathlib.Path) -> Known:
    """Returns (rows of finished runs, {run: message} of damaged row.json files).

    Raises:
        ValueError: runs.csv is damaged; names the line and the cure.
    """
    found, damaged = _read_table(results / "runs.csv"), {}
    places = []
    for name in (path.name for path in (results / "runs").glob("*")):
        path = find_folder(results, name) / "row.json"
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            places.append((path.stat().st_mtime_ns, name, path))
    for _, name, path in sorted(places):
        try:
            content = path.read_text(encoding="utf-8")
            row = json.loads(content)
            checksum = row.pop("checksum", None)
            old = checksum is None and HASH not in content  # of versions that wrote no checksum
            if row["name"] != name or not (old or checksum == _checksum(row)):
                raise ValueError
            found[name] = str(path), {str(k): format_value(v) for k, v in row.items()}
        except FileNotFoundError:  # put aside by a --force meanwhile
            continue
        except (ValueError, TypeError, KeyError, AttributeError, OSError):
            damaged[name] = f"{path} is damaged: delete it, or train the run again with --force"
    return found, damaged


def read_names(results: pathlib.Path) -> set[str]:
    """Returns the names of the finished runs."""
    return set(read_rows(results)[0])


def read_row(results: pathlib.Path, name: str, known: Known | None = None) -> dict[str, str] | None:
    """Returns a finished run's row, {column: text}, or None. known: as for find_name.

    Raises:
        ValueError: the row is damaged.
    """
    found, damaged = known or read_rows(results)
    if name in damaged:
        raise ValueError(damaged[name])
    return found[name][1] if name in found else None


def write_row(results: pathlib.Path, name: str, row: Mapping[str, Any]) -> None:
    """Writes a run's row.json, with a checksum of its other fields, then runs.csv."""
    folder = results / "runs" / name
    folder.mkdir(parents=True, exist_ok=True)
    kept = {k: None if v != v else v for k, v in row.items()}
    write_json(folder / "row.json", kept | {"checksum": _checksum(kept)})
    build_table(results)


def build_table(results: pathlib.Path) -> None:
    """Writes runs.csv: rows and columns keep their order; new ones go to the end."""
    with lock(results / ".runs.lock", wait=True):
        remove_leftovers(results, "runs")
        path = results / "runs.csv"
        rows = [row for _, row in read_rows(results)[0].values()]
        known = read_lines(path)[0]
        columns = dict.fromkeys([*known, *(column for row in rows for column in row)])
        write_csv(path, [[*columns], *([row.get(c, "") for c in columns] for row in rows)])


def find_folder(results: pathlib.Path, name: str) -> pathlib.Path:
    """Returns the folder of a finished run's files: runs/NAME, or runs/NAME/old under --force."""
    folder = results / "runs" / name
    replaced = (folder / OLD).is_dir() and not (folder / "row.json").exists()
    return folder / OLD if replaced else folder


def find_damaged(results: pathlib.Path, found: list[Run]) -> list[str]:
    """Returns a line for each damaged file of the runs; reports leave these files out."""
    damaged = []
    for run in found:
        for file in FILES:
            try:
                _read_file(results, run.name, file)
            except (ValueError, OSError) as error:
                damaged.append(str(error))
    return damaged


def read_file(results: pathlib.Path, name: str, file: str) -> list[dict[str, str]]:
    """Returns the rows of a run's file, one of FILES; empty if it is missing or damaged."""
    with contextlib.suppress(ValueError, OSError):
        return _read_file(results, name, file)
    return []


def read_progress(state: pathlib.Path) -> tuple[int, int] | None:
    """Returns (epochs, batches of the next epoch) trained in a state file; None if unreadable."""
    import numpy as np

    try:
        with np.load(state) as file:
            epoch, batch = file["position"].tolist()
        return epoch, batch
    except (OSError, *DAMAGE):
        return None


def read_recipe(
    results: pathlib.Path, name: str, known: Known | None = None
) -> Mapping[str, Any] | None:
    """Returns the recorded recipe of a run, finished or not: recipe.json's, else its row's.

    known: as for find_name.
    """
    for folder in (results / "runs" / name, find_folder(results, name)):
        try:
            return dict(json.loads((folder / "recipe.json").read_text(encoding="utf-8"))["recipe"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
    try:
        return read_row(results, name, known)
    except ValueError:
        return None


def find_differences(recipe: recipes.Recipe, known: Mapping[str, Any]) -> list[str]:
    """Returns the fields that differ from a recorded recipe's; a missing field has its default."""
    values, base = recipe.flat(), recipe.preset_values()

    def differs(field: str) -> bool:
        before = format_value(known.get(field)) or format_value(base[field])
        return format_value(values[field]) != before

    return [field for field in values if differs(field)]


def find_name(results: pathlib.Path, recipe: recipes.Recipe, known: Known | None = None) -> str:
    """Returns the name of a recipe's run: its own, or that of a run of a version before 0.2.

    The older names end in six hex digits instead of twelve, and two recipes may share one.

    Args:
        results: folder of the results.
        recipe: the run's.
        known: the result of read_rows, for many recipes; None: it is called.
    """
    old = re.fullmatch(r"(.+_[0-9a-f]{6})[0-9a-f]{6}", recipe.name)
    kept = read_recipe(results, old[1], known) if old else None
    return old[1] if old and kept and not find_differences(recipe, kept) else recipe.name


def name_arch(arch: str, preset: str) -> str:
    """Returns the paper's name of an arch: "ResNet-20" is ResNet v2 under preset released."""
    if preset != "released":
        return arch
    names = {v2: name for name, v2 in V2.items()} | {name: f"{name} v1" for name in V2}
    return names.get(arch, arch)


def format_value(value: Any) -> str:
    """Returns the cell of a value in runs.csv: None and NaN become empty cells."""
    if value is None or value != value:
        return ""
    return " ".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)


def _checksum(row: Mapping[str, Any]) -> str:
    return f"{HASH} {digest(json.dumps(row).encode())}"


def _read_table(path: pathlib.Path) -> Rows:
    found: Rows = {}
    try:
        header, lines = read_lines(path)
        if header and "name" not in header:
            raise ValueError(f"{path}:1: no column name")
        for i, row in enumerate((dict(zip(header, line, strict=True)) for line in lines), 2):
            if row["name"] in found:
                raise ValueError(f"{path}:{i}: {row['name']} is the name of an earlier line, too")
            found[row["name"]] = f"{path}:{i}", row
    except ValueError as error:
        raise ValueError(
            f"{error}: restore the file, or move it away; runs/*/row.json hold its rows"
        ) from None
    return found


def _make_run(row: dict[str, str]) -> Run:
    """Raises ValueError: the row is not that of a finished run."""
    _check_row(row)
    paths = [field for field in _list_paths(row) if row.get(field)]
    base = recipes.make(**{k: row.get(k) for k in (*IDENTITY[:4], *paths)})
    training = dataclasses.replace(base.training, freeze=row.get("freeze") == "True")
    values = dataclasses.replace(base, training=training).preset_values() | vars(base.data)
    plain = {k: format_value(v) for k, v in values.items() if k not in IDENTITY}
    plain |= dict.fromkeys(paths[1:], "")  # the first is in the data set's name
    changes = tuple((k, printable(row[k])) for k, v in plain.items() if row.get(k) and row[k] != v)
    return Run(
        name=row["name"],
        dataset=" ".join([row["dataset"], *(printable(row[path]) for path in paths[:1])]),
        arch=name_arch(row["arch"], row["preset"]),
        method=row["method"],
        preset=row["preset"],
        seed=int(row["seed"]),
        epochs=int(row["epochs"]),
        changes=changes,
        row=row,
    )


def _check_row(row: Mapping[str, str]) -> None:
    """Raises ValueError: a column is empty or holds an impossible number."""
    missing = [column for column in NEEDED if not row.get(column)]
    if missing:
        raise ValueError(f"no {', '.join(missing)}")
    limits = dict.fromkeys(SHARES, 1.0) | dict.fromkeys(AMOUNTS, math.inf)
    for column, most in limits.items():  # older versions lack some of them
        if row.get(column) and not is_number(row[column], most):
            kind = "from 0 to 1" if most == 1 else "0 or more"
            raise ValueError(f"{column} is {row[column]!r}, but has to be {kind}")
    for column in ("seed", "epochs"):
        if not row[column].isdecimal():
            raise ValueError(f"{column} is {row[column]!r}, but has to be a whole number")


def _drop_common_paths(found: list[Run]) -> list[Run]:
    """Drops from the changes those paths that all runs on one data set share."""
    known: dict[tuple[str, str], set[str]] = {}
    for run in found:
        for field in _list_paths(run.row):
            if run.method in recipes.SELECTING or not field.startswith("unlabeled_"):
                known.setdefault((run.dataset, field), set()).add(run.row.get(field, ""))

    def differs(run: Run, field: str) -> bool:
        return field not in _list_paths(run.row) or len(known.get((run.dataset, field), ())) > 1

    return [
        run._replace(changes=tuple(change for change in run.changes if differs(run, change[0])))
        for run in found
    ]


def _list_paths(row: Mapping[str, str]) -> list[str]:
    """Returns the fields with the paths of a user's own data; none for a benchmark."""
    if row["dataset"] != recipes.FolderData.dataset:
        return []
    return [field.name for field in dataclasses.fields(recipes.FolderData) if field.default is None]


def _read_file(results: pathlib.Path, name: str, file: str) -> list[dict[str, str]]:
    path, empty = find_folder(results, name) / file, file == "picks.csv"  # of a run without picks
    return read_numbers(path, FILES[file], TEXTS, WHOLE, FILLED, empty)
