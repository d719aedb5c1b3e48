"""The rows of finished runs: each run's own, runs/NAME/row.json, and the table of all of them,
runs.csv.

runs.csv is written from the row.json files. Only rows of runs without one, of versions before 0.2,
are read from it. Standard library only.
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

from selectnet_tf import _csv, recipes
from selectnet_tf._csv import read_csv
from selectnet_tf._files import remove_leftovers, write_json
from selectnet_tf._locks import lock

OLD = "old"  # in a run's folder: the finished run that --force has not replaced yet
Rows = dict[
    str, tuple[str, dict[str, str]]
]  # {name: (the row's file, or file:line, {column: text})}


def format_value(value: Any) -> str:
    """Returns a value as runs.csv holds it: None and NaN become empty cells."""
    if value is None or value != value:
        return ""
    return " ".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)


def find_folder(results: pathlib.Path, name: str) -> pathlib.Path:
    """Returns the folder with a finished run's files:

    Runs/NAME, or what --force has put aside there until the new run is finished.
    """
    folder = results / "runs" / name
    return (
        folder / OLD if (folder / OLD).is_dir() and not (folder / "row.json").exists() else folder
    )


def read_rows(results: pathlib.Path) -> tuple[Rows, dict[str, str]]:
    """Returns (rows, {name: message}): the rows of all finished runs, and what is wrong with
    row.json files that can't be read.

    Raises:
        ValueError: runs.csv can't be read; names the line and the cure.
    """
    found, damaged = _table(results / "runs.csv"), {}
    files = [find_folder(results, path.name) / "row.json" for path in (results / "runs").glob("*")]
    names = {path: path.relative_to(results / "runs").parts[0] for path in files if path.exists()}
    for path, name in sorted(names.items(), key=lambda item: (item[0].stat().st_mtime_ns, item[1])):
        try:
            row = json.loads(path.read_text(encoding="utf-8"))
            if row["name"] != name:
                raise ValueError
            found[name] = str(path), {str(k): format_value(v) for k, v in row.items()}
        except (ValueError, TypeError, KeyError, OSError):
            damaged[name] = f"{path} is damaged: delete it, or train the run again with --force"
    return found, damaged


def read_names(results: pathlib.Path) -> set[str]:
    """Returns the names of the finished runs."""
    return set(read_rows(results)[0])


def read_row(results: pathlib.Path, name: str) -> dict[str, str] | None:
    """Returns a finished run's row, {column: text}, or None.

    Raises:
        ValueError: the row can't be read.
    """
    found, damaged = read_rows(results)
    if name in damaged:
        raise ValueError(damaged[name])
    return found[name][1] if name in found else None


def write_row(results: pathlib.Path, name: str, row: Mapping[str, Any]) -> None:
    """Writes a run's row.json, then runs.csv."""
    folder = results / "runs" / name
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "row.json", {k: None if v != v else v for k, v in row.items()})
    build_table(results)


def build_table(results: pathlib.Path) -> None:
    """Writes runs.csv: its rows keep their order, new rows and new columns go to the end."""
    with lock(results / ".runs.lock", wait=True):
        remove_leftovers(results, "runs")
        path = results / "runs.csv"
        rows = [row for _, row in read_rows(results)[0].values()]
        columns = dict.fromkeys(
            [*_csv.read_lines(path)[0], *(column for row in rows for column in row)]
        )
        _csv.write_csv(
            path, [[*columns], *([row.get(column, "") for column in columns] for row in rows)]
        )


def _table(path: pathlib.Path) -> Rows:
    found: Rows = {}
    try:
        header, lines = _csv.read_lines(path)
        if header and "name" not in header:
            raise ValueError(f"{path}:1: no column name")
        for i, row in enumerate((dict(zip(header, line, strict=True)) for line in lines), 2):
            if row["name"] in found:
                raise ValueError(f"{path}:{i}: {row['name']} is the name of an earlier line, too")
            found[row["name"]] = f"{path}:{i}", row
    except ValueError as error:
        raise ValueError(
            f"{error}: put the file back as it was, or move it away; runs/*/row.json hold its rows"
        ) from None
    return found


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
COLUMNS: tuple[str, ...] = (
    "name",
    *(f.name for f in dataclasses.fields(recipes.Recipe)),
    *SHARES,
    *AMOUNTS,
)
COLUMNS += ("python", "tensorflow", "keras", "threads", "onednn", "device", "commit", "changed")
# what a run leaves for reports: columns that each file has to have; columns that may hold texts
FILES = {
    "epochs.csv": ("epoch", "val_accuracy", "val_minor_accuracy"),
    "selection.csv": (
        "epoch",
        *(
            f"{kind}_{what}"
            for kind in ("labeled", "unlabeled")
            for what in ("right", "wrong_minor", "major")
        ),
    ),
    "classes.csv": ("class", "f1", "minor", "as_0"),
    "picks.csv": ("epoch", "label", "picked", "wrong", "score", "index", "truth"),
}
TEXTS = ("name", "warning")
WHOLE = ("epoch", "label", "picked", "wrong", "index", "truth", "class")
FILLED = ("epoch", "label", "picked", "class")
NEEDED = (
    "name",
    "dataset",
    "arch",
    "method",
    "preset",
    "seed",
    "epochs",
    "accuracy",
    "last10_accuracy",
)


class Run(NamedTuple):
    """A finished run.

    Row: its line of runs.csv, {column: text}; changes: ((field, value), ...) that differ from its
    preset.
    """

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


def read_runs(results: pathlib.Path) -> tuple[list[Run], list[str]]:
    """Returns ([Run], problems) of all finished runs:

    A row that can't be one is left out, and named with its place.
    """
    rows_, damaged = read_rows(results)
    found, problems = [], list(damaged.values())
    for where, row in rows_.values():
        try:
            found.append(_run(row))
        except ValueError as error:
            problems.append(f"{where}: {error}; left out")
    return _told_apart(found), problems


def _told_apart(found: list[Run]) -> list[Run]:
    """Runs on data of one's own:

    Of their files and columns, those alone are changes in which the runs of one data set differ.
    """
    known: dict[tuple[str, str], set[str]] = {}
    for run in found:
        for field in _places(run.row):
            if (
                not field.startswith("unlabeled_") or run.method in recipes.SELECTING
            ):  # a pool, or none, is nothing to other methods
                known.setdefault((run.dataset, field), set()).add(run.row.get(field, ""))

    def differ(run: Run, field: str) -> bool:
        return field not in _places(run.row) or len(known.get((run.dataset, field), ())) > 1

    return [
        run._replace(changes=tuple(c for c in run.changes if differ(run, c[0]))) for run in found
    ]


def _places(row: Mapping[str, str]) -> list[str]:
    """The fields that say which data of one's own a run is on; none for a benchmark."""
    return [
        k
        for k in recipes.OWN_FIELDS.get(row["dataset"], ())
        if recipes.Recipe.__dataclass_fields__[k].default is None
    ]


def find_damaged(results: pathlib.Path, found: list[Run]) -> list[str]:
    """A line for each file of the runs that no report can read; reports leave these files out."""
    checked = (_damage(find_folder(results, run.name) / file) for run in found for file in FILES)
    return [line for line in checked if line]


def _damage(path: pathlib.Path) -> str | None:
    return _csv.problem(
        path, FILES[path.name], TEXTS, WHOLE, FILLED, empty=path.name == "picks.csv"
    )  # a run may pick nothing


def read_file(results: pathlib.Path, name: str, file: str) -> list[dict[str, str]]:
    """[{column:

    Text}] of one of a finished run's FILES; empty where it is missing or damaged, see `damaged`.
    """
    path = find_folder(results, name) / file
    return [] if _damage(path) else read_csv(path)


def read_progress(state: pathlib.Path) -> tuple[int, int] | None:
    """(epochs, batches of the next) that a state file holds

    None where there is none that can be read. As np.load would, without NumPy.
    """
    try:
        with zipfile.ZipFile(state) as file:
            epoch, batch = struct.unpack("<2q", file.read("position.npy")[-16:])
        return int(epoch), int(batch)
    except (OSError, KeyError, ValueError, struct.error, zipfile.BadZipFile):
        return None


def read_recipe(results: pathlib.Path, name: str) -> dict[str, Any] | None:
    """The recipe of the run of that name, finished or not, as far as it is written down:

    Its recipe.json's, or its row's fields.
    """
    for folder in (results / "runs" / name, find_folder(results, name)):
        try:
            return dict(json.loads((folder / "recipe.json").read_text(encoding="utf-8"))["recipe"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
    try:
        return read_row(results, name)  # type: ignore[return-value]
    except ValueError:
        return None


def find_differences(recipe: recipes.Recipe, known: Mapping[str, Any]) -> list[str]:
    """The fields in which a recipe is another than what is `recorded`

    A field that an older version lacked had its default.
    """
    base = recipes.defaults(
        recipe.dataset, recipe.arch, recipe.method, recipe.preset, recipe.training
    )
    fields = [field.name for field in dataclasses.fields(recipe)]
    return [
        f
        for f in fields
        if format_value(getattr(recipe, f))
        != (format_value(known.get(f)) or format_value(getattr(base, f)))
    ]


def find_name(results: pathlib.Path, recipe: recipes.Recipe) -> str:
    """The name under which a recipe's run is kept: its own, or the shorter one of versions before
    0.2 where there is that run.

    Six hex digits of the changed fields' hash, of which two recipes of a plain grid of 1,500 shared
    one, were too few.
    """
    old = re.fullmatch(r"(.+_[0-9a-f]{6})[0-9a-f]{6}", recipe.name)
    if old and (known := read_recipe(results, old[1])) and not find_differences(recipe, known):
        return old[1]
    return recipe.name


def _check(row: Mapping[str, str]) -> None:
    """Raises ValueError where a row holds no finished run's numbers."""
    missing = [column for column in NEEDED if not row.get(column)]
    if missing:
        raise ValueError(f"no {', '.join(missing)}")
    for column in (*SHARES, *AMOUNTS):  # older versions did not record all of them
        if row.get(column) and not _csv.is_number(row[column], 1 if column in SHARES else math.inf):
            raise ValueError(
                f"{column} is {row[column]!r}, which is no"
                f" {'share' if column in SHARES else 'amount'}"
            )
    if not (row["seed"].isdecimal() and row["epochs"].isdecimal()):
        raise ValueError(
            f"seed and epochs are {row['seed']!r} and {row['epochs']!r}, which are no whole numbers"
        )


def _run(row: dict[str, str]) -> Run:
    _check(row)
    places = [k for k in _places(row) if row.get(k)]
    base = recipes.make(**{k: row.get(k) for k in ("dataset", "arch", "method", "preset", *places)})
    same = ("dataset", "arch", "method", "preset", "seed", "epochs")
    plain = {
        f.name: format_value(getattr(base, f.name))
        for f in dataclasses.fields(base)
        if f.name not in same
    }
    plain |= dict.fromkeys(places[1:], "")  # the first is in the data set's name; see _told_apart
    changes = tuple(
        (k, row[k]) for k, v in plain.items() if row.get(k) and row[k] != v
    )  # an older version's row lacks columns
    arch = name_arch(row["arch"], row["preset"])
    dataset = " ".join([row["dataset"], *(row[k] for k in places[:1])])
    return Run(
        row["name"],
        dataset,
        arch,
        row["method"],
        row["preset"],
        int(row["seed"]),
        int(row["epochs"]),
        changes,
        row,
    )


V2 = {
    "resnet20": "resnet20v2",
    "resnet56": "resnet56v2",
}  # what the tables call ResNet-20 and 56, in the released code


def name_arch(arch: str, preset: str) -> str:
    """What the paper's tables call a run's arch:

    Under preset released, ResNet-20 and 56 are those of v2.
    """
    if preset == "released":
        return next(
            (name for name, v2 in V2.items() if v2 == arch), f"{arch} v1" if arch in V2 else arch
        )
    return arch
