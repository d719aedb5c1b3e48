"""The rows of finished runs: each run's own, runs/NAME/row.json, and the table of all of them, runs.csv, built from these.

runs.csv may hold rows of runs that have no row.json: of versions before 0.2, or of another machine. Whatever happens to it,
a run that has its row.json is finished. Standard library only.
"""

import csv
import json
import pathlib
import re
import shutil
from collections.abc import Mapping
from typing import Any, NamedTuple

from selectnet_tf.experiment import csvs
from selectnet_tf.experiment.claims import claim
from selectnet_tf.files import clear, replacing, write_json

OLD = "old"  # in a run's folder: the finished run that --force has not replaced yet


class Table(NamedTuple):
    """header: runs.csv's columns, [] where it has no header line. lines: the others of it. own: {name: (file, row)} of row.json's.

    damaged: a line for each row.json that can't be read.
    """

    header: list[str]
    lines: list[csvs.Line]
    own: dict[str, tuple[pathlib.Path, dict[str, str]]]
    damaged: list[str]

    def row(self, line: csvs.Line) -> dict[str, str] | None:
        """A line's row, or None where the line does not fit the header."""
        return dict(zip(self.header, line.values, strict=True)) if len(line.values) == len(self.header) else None


def text(value: Any) -> str:
    """A value as runs.csv holds it; what there is none of is empty."""
    return "" if value is None or value != value else " ".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)


def place(results: pathlib.Path, name: str) -> pathlib.Path:
    """The folder with a finished run's files: runs/NAME, or what --force has put aside in it until the new run is finished."""
    folder = results / "runs" / name
    return folder / OLD if (folder / OLD).is_dir() and not (folder / "row.json").exists() else folder


def read(results: pathlib.Path) -> Table:
    """All that is known of finished runs."""
    header, lines = csvs.read_lines(results / "runs.csv", lambda columns: "name" in columns)
    own, damaged = {}, []
    for folder in sorted(path for path in (results / "runs").glob("*") if path.is_dir()):
        path = place(results, folder.name) / "row.json"
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["name"] != folder.name:
                raise ValueError
            own[folder.name] = path, {str(k): text(v) for k, v in content.items()}
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (ValueError, TypeError, KeyError, OSError):
            damaged.append(f"{path} is damaged: delete it, or train the run again with --force")
    return Table(header, lines, own, damaged)


def names(results: pathlib.Path) -> set[str]:
    """The names of the finished runs."""
    found = read(results)
    return {*found.own, *(row["name"] for line in found.lines if (row := found.row(line)))}


def row_of(results: pathlib.Path, name: str) -> dict[str, str] | None:
    """A finished run's row, {column: text}, or None.

    Raises:
        ValueError: the run has a row, but only one that can't be read.
    """
    found = read(results)
    if name in found.own:
        return found.own[name][1]
    for line in found.lines:
        row = found.row(line)
        if row and row["name"] == name:
            return row
    for line in found.lines:
        if found.row(line) is None and re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", line.raw):
            where = f"{results / 'runs.csv'}:{line.number}"
            raise ValueError(f"{where} holds {name}, but is damaged: put it right, or train the run again with --force")
    return None


def write(results: pathlib.Path, name: str, row: Mapping[str, Any] | None = None) -> None:
    """Writes a run's own row and builds runs.csv anew; takes a run out of both where row is None.

    Every other line of runs.csv stays to the letter, damaged ones too; new columns go to the end.
    """
    with claim(results / ".runs.lock", wait=True):
        clear(results, "runs")
        folder = results / "runs" / name
        if row is None:
            (folder / "row.json").unlink(missing_ok=True)
            shutil.rmtree(folder / OLD, ignore_errors=True)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            write_json(folder / "row.json", {k: _plain(v) for k, v in row.items()})
        _build(results, name)


def build(results: pathlib.Path) -> None:
    """Builds runs.csv from the runs' own rows and what else it holds."""
    with claim(results / ".runs.lock", wait=True):
        clear(results, "runs")
        _build(results)


def _plain(value: Any) -> Any:
    return None if value != value else list(value) if isinstance(value, tuple) else value


def _build(results: pathlib.Path, without: str | None = None) -> None:
    """without: a run whose line goes, unless it has a row of its own."""
    found = read(results)
    if not found.header and not found.own and not found.lines:
        return
    newest = sorted(found.own.items(), key=lambda item: (item[1][0].stat().st_mtime_ns, item[0]))
    columns = list(dict.fromkeys([*found.header, *(column for _, (_, row) in newest for column in row)])) or ["name"]
    new = {name: [row.get(column, "") for column in columns] for name, (_, row) in newest}
    made: list[list[str] | str] = [columns]
    for line in found.lines:
        row = found.row(line)
        name = row["name"] if row else line.raw.split(",")[0]
        if name in new and row and name != without:
            made.append(new.pop(name))
        elif name not in found.own and name != without:
            made.append([row.get(column, "") for column in columns] if row else line.raw)
    _write(results / "runs.csv", [*made, *new.values()])


def _write(path: pathlib.Path, lines: list[list[str] | str]) -> None:
    """lines: rows, and texts that are no rows."""
    with replacing(path) as beside, open(beside, "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file, lineterminator="\n")
        for line in lines:
            if isinstance(line, str):
                file.write(line + "\n")
            else:
                writer.writerow(line)
