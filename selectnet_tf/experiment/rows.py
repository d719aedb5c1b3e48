"""The rows of finished runs: each run's own, runs/NAME/row.json, and the table of all of them, runs.csv.

runs.csv is written from the row.json files. Only rows of runs without one, of versions before 0.2, are read from it.
Standard library only.
"""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

from selectnet_tf import csvs
from selectnet_tf.files import clear, write_json
from selectnet_tf.locks import lock

OLD = "old"  # in a run's folder: the finished run that --force has not replaced yet
Rows = dict[str, tuple[str, dict[str, str]]]  # {name: (the row's file, or file:line, {column: text})}


def text(value: Any) -> str:
    """Returns a value as runs.csv holds it: None and NaN become empty cells."""
    if value is None or value != value:
        return ""
    return " ".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)


def place(results: pathlib.Path, name: str) -> pathlib.Path:
    """Returns the folder with a finished run's files: runs/NAME, or what --force has put aside there until the new run is finished."""
    folder = results / "runs" / name
    return folder / OLD if (folder / OLD).is_dir() and not (folder / "row.json").exists() else folder


def read(results: pathlib.Path) -> tuple[Rows, dict[str, str]]:
    """Returns (rows, {name: message}): the rows of all finished runs, and what is wrong with row.json files that can't be read.

    Raises:
        ValueError: runs.csv can't be read; names the line and the cure.
    """
    found, damaged = _table(results / "runs.csv"), {}
    files = [place(results, path.name) / "row.json" for path in (results / "runs").glob("*")]
    names = {path: path.relative_to(results / "runs").parts[0] for path in files if path.exists()}
    for path, name in sorted(names.items(), key=lambda item: (item[0].stat().st_mtime_ns, item[1])):
        try:
            row = json.loads(path.read_text(encoding="utf-8"))
            if row["name"] != name:
                raise ValueError
            found[name] = str(path), {str(k): text(v) for k, v in row.items()}
        except (ValueError, TypeError, KeyError, OSError):
            damaged[name] = f"{path} is damaged: delete it, or train the run again with --force"
    return found, damaged


def names(results: pathlib.Path) -> set[str]:
    """Returns the names of the finished runs."""
    return set(read(results)[0])


def row_of(results: pathlib.Path, name: str) -> dict[str, str] | None:
    """Returns a finished run's row, {column: text}, or None.

    Raises:
        ValueError: the row can't be read.
    """
    found, damaged = read(results)
    if name in damaged:
        raise ValueError(damaged[name])
    return found[name][1] if name in found else None


def write(results: pathlib.Path, name: str, row: Mapping[str, Any]) -> None:
    """Writes a run's row.json, then runs.csv."""
    folder = results / "runs" / name
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "row.json", {k: None if v != v else v for k, v in row.items()})
    build(results)


def build(results: pathlib.Path) -> None:
    """Writes runs.csv: its rows keep their order, new rows and new columns go to the end."""
    with lock(results / ".runs.lock", wait=True):
        clear(results, "runs")
        path = results / "runs.csv"
        rows = [row for _, row in read(results)[0].values()]
        columns = dict.fromkeys([*csvs.read_lines(path)[0], *(column for row in rows for column in row)])
        csvs.write_csv(path, [[*columns], *([row.get(column, "") for column in columns] for row in rows)])


def _table(path: pathlib.Path) -> Rows:
    found: Rows = {}
    try:
        header, lines = csvs.read_lines(path)
        if header and "name" not in header:
            raise ValueError(f"{path}:1: no column name")
        for i, row in enumerate((dict(zip(header, line, strict=True)) for line in lines), 2):
            if row["name"] in found:
                raise ValueError(f"{path}:{i}: {row['name']} is the name of an earlier line, too")
            found[row["name"]] = f"{path}:{i}", row
    except ValueError as error:
        raise ValueError(f"{error}: put the file back as it was, or move it away; runs/*/row.json hold its rows") from None
    return found
