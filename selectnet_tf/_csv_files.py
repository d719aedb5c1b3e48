"""Atomic writing and strict reading of CSV files. Standard library only."""

import csv
import math
import pathlib
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from selectnet_tf._files import Path, replacing

if TYPE_CHECKING:
    import pandas as pd

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # a spreadsheet may compute cells that begin so
ESCAPED = re.compile("'+[=+@\t\r\n-]")


class _Lines:
    """A text file that ends lines with LF for a csv.writer that quotes CR and LF."""

    def __init__(self, file: TextIO) -> None:
        self.file = file

    def write(self, line: str) -> int:
        return self.file.write(line.removesuffix("\r\n") + "\n")


class Writer:
    """A csv.writer that quotes cells with a quote, a comma, CR or LF, and escapes formulas."""

    def __init__(self, file: TextIO) -> None:
        self._writer = csv.writer(_Lines(file), lineterminator="\r\n")

    def writerow(self, row: Iterable[Any]) -> None:
        self._writer.writerow([escape_formula(cell) for cell in row])

    def writerows(self, rows: Iterable[Iterable[Any]]) -> None:
        for row in rows:
            self.writerow(row)


def write_csv(path: Path, lines: Iterable[Sequence[Any]]) -> None:
    """Writes rows of values, replacing the file as a whole; paths in cells may be no UTF-8."""
    with replacing(path) as beside, _open(beside) as file:
        Writer(file).writerows(lines)


def write_frame(path: Path, frame: "pd.DataFrame") -> None:
    """Writes a frame without its index; None and NaN become empty cells."""
    columns = [frame.iloc[:, column].to_numpy() for column in range(frame.shape[1])]
    filled = (
        ["" if cell is None or cell != cell else cell for cell in column] for column in columns
    )
    write_csv(path, [list(frame.columns), *zip(*filled, strict=True)])


def as_cell(path: str) -> str:
    """Returns an equivalent path that is no formula."""
    return f"./{path}" if path.startswith(FORMULA) else path


def escape_formula(cell: Any) -> Any:
    """Returns a cell with a quote before a formula; `unescape_formula` inverts it."""
    if not isinstance(cell, str):
        return cell
    formula = cell.startswith(FORMULA) and not is_number(cell)
    return f"'{cell}" if formula or ESCAPED.match(cell) else cell


def unescape_formula(cell: str) -> str:
    """Returns a cell without the quote of `escape_formula`."""
    return cell[1:] if ESCAPED.match(cell) else cell


def read_csv(path: pathlib.Path) -> list[dict[str, str]]:
    """Returns [{column: text}] of a run's file; empty without a file.

    Raises:
        ValueError: a line does not fit the header; names the file and the line.
    """
    header, rows = read_lines(path)
    return [dict(zip(header, values, strict=True)) for values in rows]


def read_lines(path: pathlib.Path) -> tuple[list[str], list[list[str]]]:
    """Returns (header, rows), unescaped; empty without a file. Raises as read_csv."""
    if not path.exists():
        return [], []
    with _open(path, "r") as file:
        reader = csv.reader(file, strict=True)
        try:
            header, rows = list(map(unescape_formula, next(reader, []))), []
            for values in (list(map(unescape_formula, row)) for row in reader if row):
                if len(values) != len(header):
                    raise ValueError(f"{len(values)} values for {len(header)} columns")
                rows.append(values)
        except (ValueError, csv.Error) as error:
            raise ValueError(f"{path}:{reader.line_num}: {error}") from None
    return header, rows


def read_numbers(
    path: pathlib.Path,
    needed: Sequence[str],
    texts: Sequence[str],
    whole: Sequence[str] = (),
    filled: Sequence[str] = (),
    empty: bool = False,
) -> list[dict[str, str]]:
    """Returns [{column: text}] of a file of numbers; empty without a file.

    Args:
        path: the file.
        needed: columns that it must have.
        texts: columns that may hold anything.
        whole: columns of whole numbers.
        filled: columns without empty cells.
        empty: whether a header alone is valid.

    Raises:
        ValueError: a lacking column, a torn line or a bad cell; names the file and the line.
    """
    header, lines = read_lines(path)
    if path.exists() and not (lines or (header and empty)):
        raise ValueError(f"{path}: the file has no line")
    missing = [column for column in needed if column not in header]
    if header and missing:
        raise ValueError(f"{path}:1: no column {', '.join(missing)}")
    rows = [dict(zip(header, values, strict=True)) for values in lines]
    for i, row in enumerate(rows, 2):
        for column, value in row.items():
            fits = re.fullmatch("-?[0-9]{1,9}", value) if column in whole else is_number(value)
            if column in filled and not value:
                raise ValueError(f"{path}:{i}: {column} is empty")
            if column not in texts and value and not fits:
                kind = "whole number" if column in whole else "number"
                said = f"{column} is {value[:40]!r}, but has to be a {kind}"
                raise ValueError(f"{path}:{i}: {said}")
    return rows


def is_number(text: str, most: float = math.nan) -> bool:
    """Returns whether a cell holds a number; with `most`, a finite one from 0 to `most`."""
    try:
        value = float(text)
    except ValueError:
        return False
    if math.isnan(most):
        return True
    return math.isfinite(value) and 0 <= value <= most + 1e-9  # a mean of ones may exceed 1


def _open(path: pathlib.Path, mode: str = "w") -> Any:
    return open(path, mode, newline="", encoding="utf-8", errors="surrogateescape")
