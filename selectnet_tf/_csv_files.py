"""CSV files:

Written whole or not at all, with quotes where a cell needs them. Standard library only.
"""

import csv
import math
import os
import pathlib
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from selectnet_tf._files import replacing

if TYPE_CHECKING:
    import pandas as pd

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # how a cell begins that a spreadsheet may compute
DISARMED = re.compile("'+[=+@\t\r\n-]")


class _Lines:
    """A text file whose lines end with LF, written by a csv.writer that ends them with CR LF and so
    quotes both.
    """

    def __init__(self, file: TextIO) -> None:
        self.file = file

    def write(self, line: str) -> int:
        return self.file.write(line.removesuffix("\r\n") + "\n")


class Writer:
    """A csv.writer that quotes cells with a quote, a comma, CR or LF, and disarms formulas."""

    def __init__(self, file: TextIO) -> None:
        self._writer = csv.writer(_Lines(file), lineterminator="\r\n")

    def writerow(self, row: Iterable[Any]) -> None:
        self._writer.writerow([disarmed(cell) for cell in row])

    def writerows(self, rows: Iterable[Iterable[Any]]) -> None:
        for row in rows:
            self.writerow(row)


def write_csv(path: str | os.PathLike[str], lines: Iterable[Sequence[Any]]) -> None:
    """Writes rows of values into a file; a file's name may hold bytes that are no UTF-8."""
    with replacing(path) as beside, _open(beside) as file:
        Writer(file).writerows(lines)


def write_frame(path: str | os.PathLike[str], frame: "pd.DataFrame") -> None:
    """Writes a frame without its index; None and NaN become empty cells."""
    columns = [frame.iloc[:, column].to_numpy() for column in range(frame.shape[1])]
    filled = (
        ["" if cell is None or cell != cell else cell for cell in column] for column in columns
    )
    write_csv(path, [list(frame.columns), *zip(*filled, strict=True)])


def as_cell(path: str) -> str:
    """Returns the same path as a cell that is no formula."""
    return f"./{path}" if path.startswith(FORMULA) else path


def disarmed(cell: Any) -> Any:
    """Returns a text that a spreadsheet would compute behind a quote, as `plain` takes it back."""
    formula = isinstance(cell, str) and cell.startswith(FORMULA) and not is_number(cell)
    return f"'{cell}" if formula or (isinstance(cell, str) and DISARMED.match(cell)) else cell


def plain(cell: str) -> str:
    """Returns the text behind a `disarmed` cell."""
    return cell[1:] if DISARMED.match(cell) else cell


def read_csv(path: pathlib.Path) -> list[dict[str, str]]:
    """Returns [{column: text}] of a file of a run; empty where there is none.

    Raises:
        ValueError: a line does not fit the header; names the file and the line.
    """
    header, rows = read_lines(path)
    return [dict(zip(header, values, strict=True)) for values in rows]


def read_lines(path: pathlib.Path) -> tuple[list[str], list[list[str]]]:
    """Returns (header, rows of as many values), as read_csv reads them: `plain`."""
    if not path.exists():
        return [], []
    with _open(path, "r") as file:
        reader = csv.reader(file, strict=True)
        try:
            header, rows = list(map(plain, next(reader, []))), []
            for values in ([plain(cell) for cell in row] for row in reader if row):
                if len(values) != len(header):
                    raise ValueError(f"{len(values)} values for {len(header)} columns")
                rows.append(values)
        except (ValueError, csv.Error) as error:
            raise ValueError(f"{path}:{reader.line_num}: {error}") from None
    return header, rows


def problem(
    path: pathlib.Path,
    needed: Sequence[str],
    texts: Sequence[str],
    whole: Sequence[str] = (),
    filled: Sequence[str] = (),
    empty: bool = False,
) -> str | None:
    """Returns what is wrong with a file of numbers, in one line: a lacking column, a torn line, a
    cell that is no number.

    needed: columns that it has to have. texts: columns that may hold anything. whole: columns of
    whole numbers. filled: columns without an empty cell, which elsewhere is a value that there is
    not. empty: whether a header alone will do.
    """
    if not path.exists():
        return None
    try:
        header, rows = read_lines(path)
    except (ValueError, OSError) as error:
        return str(error)
    if not header or not (rows or empty):
        return f"{path}: there is no line in it"
    missing = [column for column in needed if column not in header]
    if missing:
        return f"{path}:1: no column {', '.join(missing)}"
    for i, values in enumerate(rows, 2):
        for column, value in zip(header, values, strict=True):
            fits = re.fullmatch("-?[0-9]{1,9}", value) if column in whole else is_number(value)
            if column in filled and not value:
                return f"{path}:{i}: {column} is empty"
            if column not in texts and value and not fits:
                return (
                    f"{path}:{i}: {column} is {value[:40]!r}, which is no"
                    f" {'whole ' * (column in whole)}number"
                )
    return None


def is_number(text: str, most: float = math.nan) -> bool:
    """Whether a cell holds a number; with `most`, a finite one from 0 to it."""
    try:
        value = float(text)
    except ValueError:
        return False
    return math.isnan(most) or (
        math.isfinite(value) and 0 <= value <= most + 1e-9
    )  # a mean of ones can be 1.0000000000000002


def _open(path: pathlib.Path, mode: str = "w") -> Any:
    return open(path, mode, newline="", encoding="utf-8", errors="surrogateescape")
