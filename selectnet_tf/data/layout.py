"""A CSV file's text: archives unpacked, encoding and separator found, each line as wide as the header."""

import array
import bz2
import contextlib
import csv
import gzip
import io
import lzma
import pathlib
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO, Any, NamedTuple

import numpy as np

SEPARATORS = (",", ";", "\t", "|")
SUFFIXES = (".csv", ".tsv", ".parquet", ".gz", ".bz2", ".xz", ".zip")  # of the tables in a folder
SAMPLE = 1 << 16  # characters that separator and encoding are judged by
DAMAGED = (EOFError, gzip.BadGzipFile, zlib.error, zipfile.BadZipFile, lzma.LZMAError, OSError)


class Layout(NamedTuple):
    """encoding, separator; above: lines before the header; header: the columns' names; lines: [n] where each row begins, counted from 1."""

    encoding: str
    separator: str
    above: int
    header: list[str]
    lines: np.ndarray


def find(path: pathlib.Path) -> Layout:
    """Reads a file once. Raises ValueError: no text, an empty file, or a line of another width than the header, by its number."""
    with _binary(path) as file:
        start = file.read(SAMPLE)
    if start[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in start:
        raise ValueError(f"{path} is UTF-16 or no text at all: save it as CSV in UTF-8")
    for encoding in ("utf-8-sig", "cp1252", "latin-1"):
        try:
            with opened(path, encoding) as stream:
                separator = _separator(stream.read(SAMPLE))
            with opened(path, encoding) as stream:
                return Layout(encoding, separator, *_widths(path, stream, separator))
        except UnicodeDecodeError:
            continue
    raise AssertionError("latin-1 reads anything")


def _separator(sample: str) -> str:
    """The one that cuts the most lines into as many cells as the header; where several do, the one that cuts into more."""

    def agree(separator: str) -> tuple[float, int]:
        rows = [len(row) for row in csv.reader(io.StringIO(sample), delimiter=separator) if row][:100]
        rows = rows[:-1] if len(rows) > 2 else rows  # the sample may end within a line
        return (float(np.mean([width == rows[0] for width in rows])), rows[0]) if rows and rows[0] > 1 else (0.0, 0)

    csv.field_size_limit(2**31 - 1)
    return max(SEPARATORS, key=agree)


def _widths(path: pathlib.Path, stream: IO[str], separator: str) -> tuple[int, list[str], np.ndarray]:
    reader, above = csv.reader(stream, delimiter=separator), 0
    for header in reader:
        if any(cell.strip() for cell in header):
            break
        above = reader.line_num
    else:
        raise ValueError(f"{path} is no CSV table: it is empty")
    lines, before, width = array.array("q"), reader.line_num, len(header)
    for row in reader:
        if len(row) == width:
            lines.append(before + 1)
        elif any(cell.strip() for cell in row) or len(row) > 1:
            raise ValueError(
                f"{path}:{before + 1}: {len(row)} cells, but the header has {width}, separated by {separator!r}: "
                "correct that line (a separator too many, a text without quotes?)"
            )
        before = reader.line_num
    return above, header, np.asarray(lines, np.int64)


@contextlib.contextmanager
def table(path: pathlib.Path, found: Layout) -> Iterator[IO[str]]:
    """The file's text from the header on."""
    with opened(path, found.encoding) as stream:
        for _ in range(found.above):
            stream.readline()
        yield stream


@contextlib.contextmanager
def opened(path: pathlib.Path, encoding: str) -> Iterator[IO[str]]:
    """The file's text, unpacked."""
    with _binary(path) as file, io.TextIOWrapper(file, encoding, newline="") as stream:
        yield stream


@contextlib.contextmanager
def _binary(path: pathlib.Path) -> Iterator[IO[bytes]]:
    """What a file holds, unpacked."""
    with open(path, "rb") as file:
        start = file.read(6)
    openers: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\0": lzma.open}
    opener = next((opener for magic, opener in openers.items() if start.startswith(magic)), None)
    if start.startswith(b"PK\x03\x04"):
        with zipfile.ZipFile(path) as archive:
            inside = [name for name in archive.namelist() if not name.endswith("/") and not name.startswith("__MACOSX/")]
            if "[Content_Types].xml" in inside:
                raise ValueError(f"{path} is an Excel file: save it as CSV in UTF-8")
            if len(inside) != 1:
                raise ValueError(f"{path} holds {len(inside)} files: give an archive of one CSV file")
            with archive.open(inside[0]) as file:
                yield file
        return
    with opener(path, "rb") if opener else open(path, "rb") as file:
        yield file
