"""CSV files, whoever had them in hands: written whole, read line by line, so that a damaged line costs no other one.

Standard library only.
"""

import csv
import io
import math
import os
import pathlib
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from selectnet_tf.files import replacing

MOST = 131_072  # characters of a cell: a longer one is a lost quote. The limit is the whole process's, so it is set before each reading


class Line(NamedTuple):
    """One line of a file. number: counted from 1; values: its cells, [] where it can't be read; raw: the text itself."""

    number: int
    values: list[str]
    raw: str


def write_csv(path: str | os.PathLike[str], lines: Iterable[Sequence[Any]]) -> None:
    """Rows of values -> a file, whole or not at all."""
    with replacing(path) as beside, open(beside, "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        csv.writer(file, lineterminator="\n").writerows(lines)


def read_csv(path: pathlib.Path) -> list[dict[str, str]]:
    """[{column: text}] of a file of a run; empty where there is none.

    Raises:
        ValueError: a line does not fit the header; names the file and the line.
    """
    if not path.exists():
        return []
    csv.field_size_limit(MOST)
    reader = csv.reader(io.StringIO(_decode(path.read_bytes()), newline=""))
    rows: list[dict[str, str]] = []
    header: list[str] = []
    try:
        for values in reader:
            if not header:
                header = values
            elif values and len(values) != len(header):
                raise ValueError(f"{path}:{reader.line_num}: {len(values)} values for {len(header)} columns")
            elif values:
                rows.append(dict(zip(header, values, strict=True)))
    except csv.Error as error:
        raise ValueError(f"{path}:{reader.line_num}: {error}") from None
    return rows


def read_lines(path: pathlib.Path, is_header: Callable[[list[str]], bool]) -> tuple[list[str], list[Line]]:
    """(header, lines below it) of a file as spreadsheets too may have saved it: UTF-16, a BOM, semicolons or tabs.

    Without a line that `is_header` at its top the header is [], and every line is among the lines. Blank lines are none.
    """
    if not path.exists():
        return [], []
    raws = [(i, raw) for i, raw in enumerate(re.split("\r\n|\n|\r", _decode(path.read_bytes())), 1) if raw.strip()]
    for delimiter in ",;\t":
        header = _values(raws[0][1], delimiter) if raws else []
        if header and is_header(header):
            return header, [Line(i, _values(raw, delimiter), raw) for i, raw in raws[1:]]
    return [], [Line(i, _values(raw, ","), raw) for i, raw in raws]


def _decode(content: bytes) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", "replace")
    return content.decode("utf-8-sig", "surrogateescape")  # bytes of no text are written again as they were


def _values(raw: str, delimiter: str) -> list[str]:
    csv.field_size_limit(MOST)
    try:
        return next(csv.reader([raw], delimiter=delimiter), [])
    except csv.Error:  # such as a cell of more than 128 kB
        return []


def problem(
    path: pathlib.Path, needed: Sequence[str], texts: Sequence[str], whole: Sequence[str] = (), filled: Sequence[str] = (),
    empty: bool = False,
) -> str | None:  # fmt: skip
    """What is wrong with a file of numbers, in one line: a lacking column, a torn line, a cell that is no number.

    needed: columns that it has to have. texts: columns that may hold anything. whole: columns of whole numbers. filled: columns
    without an empty cell, which elsewhere is a value that there is not. empty: whether a header alone will do.
    """
    try:
        rows = read_csv(path)
    except (ValueError, OSError) as error:
        return str(error)
    if not path.exists():
        return None
    header = rows[0] if rows else next(csv.reader(io.StringIO(_decode(path.read_bytes()))), [])
    if not header or not (rows or empty):
        return f"{path}: there is no line in it"
    missing = [column for column in needed if column not in header]
    if missing:
        return f"{path}:1: no column {', '.join(missing)}"
    for i, row in enumerate(rows, 2):
        for column, value in row.items():
            fits = re.fullmatch("-?[0-9]{1,9}", value) if column in whole else is_number(value)
            if column in filled and not value:
                return f"{path}:{i}: {column} is empty"
            if column not in texts and value and not fits:
                return f"{path}:{i}: {column} is {value[:40]!r}, which is no {'whole ' * (column in whole)}number"
    return None


def is_number(text: str, most: float = math.nan) -> bool:
    """Whether a cell holds a number; with `most`, a finite one from 0 to it."""
    try:
        value = float(text)
    except ValueError:
        return False
    return math.isnan(most) or (math.isfinite(value) and 0 <= value <= most + 1e-9)  # a mean of ones can be 1.0000000000000002
