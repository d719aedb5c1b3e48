"""A table's file -> its cells and labels. How a file is laid out is in layout.py, what cells mean in cells.py."""

import csv
import pathlib
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from selectnet_tf.data import cells, layout


class Table(NamedTuple):
    """The rows of one file.

    name: the file. frame: [n, c] cells of all columns but the label's and the id's; numbers where a whole column is of numbers.
    labels: [n] classes as texts, or None. ids: [n] texts of the id's column, or None. lines: [n] where each row begins.
    left_out: columns that are no features. says: what was unusual, for the screen. reread: reads a column anew, as it stands there.
    """

    name: str
    frame: pd.DataFrame
    labels: Any  # [n] array, or None
    ids: Any
    lines: np.ndarray
    left_out: list[str]
    says: list[str]
    reread: Callable[[str], pd.Series] | None = None
    parts: tuple["Table", ...] = ()  # of several files

    def texts(self, column: str) -> pd.Series:
        """[n] texts of a column, None where there is no value: "007" stays what it is, also where all are numbers."""
        if self.parts:
            return pd.concat([part.texts(column) for part in self.parts], ignore_index=True)
        found = self.frame[column]
        return cells.texts(self.reread(column) if self.reread and cells.plain(found) else found)

    def renamed(self, names: dict[str, str]) -> "Table":
        """These columns alone, {a name: the name that it gets}."""
        before = {new: old for old, new in names.items()}
        reread = self.reread
        return self._replace(
            frame=self.frame[list(names)].rename(columns=names), reread=(lambda column: reread(before[column])) if reread else None
        )

    def take(self, chosen: np.ndarray, labels: np.ndarray | None = None) -> "Table":
        """The rows where `chosen` [n] is true, with these of `labels` [n]."""
        rows, whole = np.flatnonzero(chosen), self.reread

        def reread(column: str) -> pd.Series:
            assert whole is not None
            return whole(column).iloc[rows].reset_index(drop=True)

        return self._replace(
            frame=self.frame.iloc[rows].reset_index(drop=True), lines=self.lines[rows], labels=None if labels is None else labels[rows],
            ids=None if self.ids is None else self.ids[rows], reread=reread if whole else None,
        )  # fmt: skip

    def shown(self, places: np.ndarray, columns: Sequence[str], decimal: str) -> pd.DataFrame:
        """[k, c] texts: the cells at `places` [k] as people see them, and as they are read again with this decimal."""
        return pd.DataFrame({c: cells.shown(self.frame[c].iloc[places], decimal) for c in columns}, range(len(places)), dtype=object)

    def rows(self) -> Iterator[str]:
        """FILE:LINE of each row."""
        for part in self.parts or (self,):
            yield from (f"{part.name}:{line}" for line in part.lines)


class NoLabels(ValueError):
    """A labeled file lacks the column of the labels."""


def join(tables: list[Table]) -> Table:
    """The rows of several files as one Table. Raises ValueError where their columns are not the same."""
    first = tables[0]
    if len(tables) == 1:
        return first
    for table in tables[1:]:
        other = set(map(str, first.frame)) ^ set(map(str, table.frame))
        if other:
            raise ValueError(f"{first.name} and {table.name} differ in column {min(other)!r}: give them the same, or --ignore_columns")
    return Table(
        ",".join(table.name for table in tables),
        pd.concat([table.frame for table in tables], ignore_index=True),
        None if first.labels is None else np.concatenate([table.labels for table in tables]),
        None if any(table.ids is None for table in tables) else np.concatenate([table.ids for table in tables]),
        np.concatenate([table.lines for table in tables]),
        first.left_out, [line for table in tables for line in table.says], None, tuple(tables),
    )  # fmt: skip


def read(
    source: str | pathlib.Path | pd.DataFrame,
    label_column: str | None = None,
    *,
    labeled: bool = True,
    id_column: str | None = None,
    ignore: tuple[str, ...] = (),
    text: tuple[str, ...] = (),
    decimal: str = ".",
    thousands: str | None = None,
) -> Table:
    """A CSV file (plain, .gz, .bz2, .xz or .zip, separated by , ; tab or |), a parquet file or a DataFrame.

    Args:
        label_column: holds the classes; left out where not `labeled`.
        id_column: names the rows and is no feature. ignore: columns to leave out. text: columns whose numbers are names.
        decimal, thousands: as numbers are written in a CSV file.

    Raises:
        ValueError, FileNotFoundError: no such file or column, lines of another width than the header, an empty label, no row:
            one line that names the cure.
    """
    says: list[str] = []
    reread = None
    if isinstance(source, pd.DataFrame):
        name, frame, lines = "the table", source.copy(deep=False), np.arange(len(source))
    else:
        as_text = {c for c in (label_column if labeled else None, id_column, *text) if c}
        name = str(source)
        frame, lines, says, reread = _load(pathlib.Path(source), as_text, decimal, thousands)
    frame.columns = _names(name, [str(c) for c in frame.columns])
    if not len(frame):
        raise ValueError(f"{name} has no row")
    frame, counted = _without_index(frame)
    says += [f"{name}: the unnamed first column counts the rows: left out"] if counted else []
    if labeled and label_column not in frame:
        raise NoLabels(lacks(name, frame.columns, [str(label_column)], f"only {', '.join(frame.columns)}: give --label_column"))
    labels = _labels(name, frame[label_column], lines) if labeled else None
    ids = frame[id_column].map(cells.text, na_action="ignore").fillna("").to_numpy(object) if id_column in frame else None
    left_out = [str(c) for c in frame if c in (label_column, id_column, *ignore)]
    return Table(name, frame.drop(columns=left_out), labels, ids, lines, left_out, says, reread)


def _labels(name: str, column: pd.Series, lines: np.ndarray) -> np.ndarray:
    """[n] texts; a class may be called None, NA or null."""
    found = column.astype(object).map(cells.label)
    empty = np.flatnonzero(found == "")
    if len(empty):
        raise ValueError(f"{name}:{lines[empty[0]]}: no label in column {column.name!r}: move unlabeled rows to --unlabeled_csv")
    return found.to_numpy(object)


def _without_index(frame: pd.DataFrame) -> tuple[pd.DataFrame, bool]:
    """Leaves out an unnamed first column of whole numbers of which none comes twice, as DataFrame.to_csv writes it."""
    first = frame.columns[0]
    if not first.startswith("Unnamed: "):
        return frame, False
    values = cells.numbers(frame[first])
    counts = bool((values == np.floor(values)).all()) and len(np.unique(values)) == len(values)
    return (frame.iloc[:, 1:], True) if counts else (frame, False)


def _names(name: str, header: list[str]) -> list[str]:
    names = [unicodedata.normalize("NFC", word).strip() or f"Unnamed: {i}" for i, word in enumerate(header)]
    twice = [c for i, c in enumerate(names) if c in names[:i]]
    if twice:
        raise ValueError(_without_names(name, names) or f"{name} has two columns {twice[0]!r}: give each a name of its own")
    return names


def lacks(name: str, columns: Iterable[Any], missing: Sequence[str], cure: str) -> str:
    """What is wrong with a table of these columns that lacks others."""
    return _without_names(name, list(map(str, columns))) or f"{name} has no column {', '.join(map(repr, missing))}, {cure}"


def _without_names(name: str, header: Sequence[str]) -> str:
    """What to say where a line of numbers was taken for the columns' names, other than those of a data frame, 0, 1, ...; else empty."""
    counted = list(header) == [str(i) for i in range(len(header))]
    if len(header) < 2 or counted or not np.isfinite(cells.numbers(pd.Series(header, dtype=object))).all():
        return ""
    return f"{name} begins with a line of numbers, {', '.join(header[:4])}: put a line with the columns' names before it"


def _load(
    path: pathlib.Path, as_text: set[str], decimal: str, thousands: str | None
) -> tuple[pd.DataFrame, np.ndarray, list[str], Callable[[str], pd.Series] | None]:
    """(cells, where each row begins, what was unusual, what reads a column anew) of a file."""
    path = path.expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"{path} is no file: give a CSV file with a header line")
    with open(path, "rb") as file:
        start = file.read(4)
    if start == b"PAR1":
        try:
            frame = pd.read_parquet(path)
        except ImportError:
            raise ValueError(f"{path} is a parquet file, which takes pyarrow to read: pip install pyarrow") from None
        except Exception as error:  # pyarrow's errors are of many kinds
            raise ValueError(f"{path} is damaged: {str(error).splitlines()[0]}") from None
        return frame, np.arange(len(frame)), [], None
    try:
        found = layout.find(path)
        names = _names(str(path), found.header)
        says = [] if found.encoding.startswith("utf") else [f"{path} is not UTF-8: read as {found.encoding}"]

        def parse(columns: list[int] | None, dtype: dict | type) -> pd.DataFrame:
            missing = {c: list(cells.WORDS) for c in names if c not in as_text}
            with layout.table(path, found) as stream:
                return pd.read_csv(
                    stream, sep=found.separator, header=0, names=names, index_col=False, usecols=columns, dtype=dtype,
                    keep_default_na=False, na_values=missing, low_memory=False, decimal=decimal,
                )  # fmt: skip

        frame = parse(None, {c: str for c in names if c in as_text})
        texts = [c for c in names if c not in as_text and not cells.plain(frame[c])]
        for c in texts if thousands else []:  # which pandas would drop from 30.04.2021 as well
            values = cells.numbers(frame[c], decimal, thousands)
            if not np.isnan(values[cells.filled(frame[c])]).any():
                frame[c] = values
    except (pd.errors.ParserError, pd.errors.EmptyDataError, csv.Error) as error:
        raise ValueError(f"{path} is no CSV table: {str(error).strip().splitlines()[0]}") from None
    except layout.DAMAGED as error:
        raise ValueError(f"{path} is damaged: {error or type(error).__name__}") from None
    except RuntimeError as error:  # of zipfile: a password, a method that it lacks
        raise ValueError(f"{path} can't be unpacked: {error}: pack it anew, as .gz or as .zip without a password") from None
    if len(frame) != len(found.lines):
        raise ValueError(f"{path} is no CSV table: its quotes do not match")
    last = names[-1]
    if found.header[-1] == "" and len(names) > 1 and frame[last].isna().all():  # each line ends in a separator
        frame = frame.drop(columns=[last])
    return frame, found.lines, says, lambda column: parse([names.index(column)], str)[column]
