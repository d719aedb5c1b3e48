"""Tables -> [n, d] float32, learned from all tables of a run; it travels in model.keras as plain JSON that runs no code."""

import json
import os
import pathlib
import zipfile
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from selectnet_tf.data import cells
from selectnet_tf.data.frames import Table, lacks

MOST_CATEGORIES = 1000
MISSING = "(missing)"
LIMIT = 10.0  # deviations from the mean at which a number is clipped
FAR = 1000.0  # interquartile ranges from the median beyond which a number has no say in mean and deviation
FILE = "table.json"  # in a .keras file


class Column(NamedTuple):
    """How a column becomes inputs.

    kind: "number" or "date" (one input: normalized, clipped), "text" (one-hot), or "constant" or "empty" (no input).
    fill: the median, where a number is missing. mean, spread: of the numbers. categories: what a text may be.
    """

    name: str
    kind: str
    fill: float = 0.0
    mean: float = 0.0
    spread: float = 1.0
    categories: tuple[str, ...] = ()

    @property
    def inputs(self) -> int:
        return {"number": 1, "date": 1, "text": len(self.categories)}.get(self.kind, 0)


class Seen(NamedTuple):
    """What was found in a column of some tables: different values, cells without one, cells taken for such, and one of these."""

    column: Column
    distinct: int
    missing: int
    coerced: int
    example: str


class Encoder:
    """Rows -> [n, d] float32: numbers normalized, with the median where one is missing; texts as one-hot, unseen ones as zeros.

    Args:
        tables: of the same columns; what is normal is learned from all of them, and which categories there are.
        decimal, thousands: as numbers are written. text: columns whose numbers are names. id_column: of the rows' names.
        ignore: columns that are left out.

    Attributes:
        columns: [Column]. seen: [Seen], what was found in them.

    Raises:
        ValueError: a table lacks a column, a column looks like an identifier, no column has more than one value.
    """

    def __init__(
        self, tables: Sequence[Table], *, decimal: str = ".", thousands: str | None = None, text: tuple[str, ...] = (),
        id_column: str | None = None, ignore: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        self.reading: dict[str, Any] = {"decimal": decimal, "thousands": thousands, "id_column": id_column, "ignore": ignore, "text": text}
        for table in tables[1:]:
            _check(table, list(map(str, tables[0].frame)))
        self.seen = [self._learn(str(name), tables) for name in tables[0].frame]
        self.columns = [seen.column for seen in self.seen]
        if not any(column.inputs for column in self.columns):
            raise ValueError("the tables have no column besides the label that holds more than one value")

    @property
    def width(self) -> int:
        """d."""
        return sum(column.inputs for column in self.columns)

    def _learn(self, name: str, tables: Sequence[Table]) -> Seen:
        parts = [table.frame[name] for table in tables]
        kind = "text" if name in self.reading["text"] else cells.kind(name, parts, self.reading["decimal"], self.reading["thousands"])
        if kind == "text":
            return _learn_texts(name, [table.texts(name) for table in tables])
        values = [self._numbers(kind, part) for part in parts]
        missing, coerced, example = _lost(parts, values)
        held = np.concatenate(values)
        held = held[np.isfinite(held)]
        distinct = len(np.unique(held))
        if distinct < 2:
            return Seen(Column(name, "constant" if distinct else "empty"), distinct, missing, coerced, example)
        return Seen(Column(name, kind, float(np.median(held)), *_moments(held)), distinct, missing, coerced, example)

    def _numbers(self, kind: str, part: pd.Series) -> np.ndarray:
        if kind == "date":
            return cells.days(part)
        return cells.numbers(part, self.reading["decimal"], self.reading["thousands"])

    def __call__(self, table: Table) -> np.ndarray:
        """[n, d] float32. Raises ValueError where a column is missing."""
        _check(table, [column.name for column in self.columns])
        x, place = np.zeros((len(table.frame), self.width), np.float32), 0
        for column in self.columns:
            if column.kind in ("number", "date"):
                values = self._numbers(column.kind, table.frame[column.name])
                with np.errstate(over="ignore"):  # what is infinite is clipped
                    values = (np.where(np.isnan(values), column.fill, values) - column.mean) / column.spread
                x[:, place] = np.clip(values, -LIMIT, LIMIT)
            elif column.kind == "text":
                known = pd.Index(column.categories).get_indexer(pd.Index(_with_missing(table.texts(column.name))))
                rows = np.flatnonzero(known >= 0)
                x[rows, place + known[rows]] = 1.0
            place += column.inputs
        return x

    def named(self, table: Table) -> Table:
        """The table with texts in its columns of texts, so that people see "007" where this one does."""
        frame = table.frame.copy(deep=False)
        for column in self.columns:
            if column.kind == "text" and column.name in frame:
                frame[column.name] = table.texts(column.name)
        return table._replace(frame=frame)

    def doubts(self, table: Table) -> list[str]:
        """One line for each column of another table that holds what this one never saw or can't take for a number."""
        found = []
        for column in self.columns:
            if column.kind in ("number", "date"):
                part = table.frame[column.name]
                _, coerced, example = _lost([part], [self._numbers(column.kind, part)])
                if coerced:
                    found.append(f"{table.name}: {coerced:,} cells of {column.name!r} are no {column.kind}, such as {example!r}: missing")
            elif column.kind == "text":
                texts = _with_missing(table.texts(column.name))
                known = pd.Index(column.categories).get_indexer(pd.Index(texts)) >= 0
                if not known.all():
                    found.append(f"{table.name}: {(~known).sum():,} cells of {column.name!r} are new, such as {texts[~known][0]!r}")
        return found

    def save_into(self, path: pathlib.Path) -> None:
        """Puts it into a .keras file, so that the model can be given tables."""
        with zipfile.ZipFile(path, "a") as file:
            file.writestr(FILE, json.dumps({"reading": self.reading, "columns": [column._asdict() for column in self.columns]}))

    @classmethod
    def of(cls, path: str | os.PathLike[str]) -> "Encoder | None":
        """The Encoder in a .keras file, or None. Raises ValueError where a version before 0.2 wrote it."""
        with zipfile.ZipFile(path) as file:
            if "columns.json" in file.namelist():
                raise ValueError(f"{path} was written by version 0.1, whose tables this version does not read: train it again")
            if FILE not in file.namelist():
                return None
            state = json.loads(file.read(FILE))
        made = cls.__new__(cls)
        made.reading = state["reading"] | {k: tuple(state["reading"][k]) for k in ("ignore", "text")}
        made.columns = [Column(**column | {"categories": tuple(column["categories"])}) for column in state["columns"]]
        made.seen = []
        return made


def _lost(parts: Sequence[pd.Series], values: Sequence[np.ndarray]) -> tuple[int, int, str]:
    """(cells without a value, cells whose value is none of the numbers in `values`, one of these)."""
    missing, coerced, example = 0, 0, ""
    for part, numbers in zip(parts, values, strict=True):
        filled = cells.filled(part)
        lost = filled & np.isnan(numbers)
        missing, coerced = missing + int((~filled).sum()), coerced + int(lost.sum())
        example = example or (str(part[lost].iloc[0]) if lost.any() else "")
    return missing, coerced, example


def _check(table: Table, columns: Sequence[str]) -> None:
    missing = [c for c in columns if c not in table.frame]
    if missing:
        raise ValueError(lacks(table.name, table.frame, missing, "which the labeled table has"))


def _with_missing(texts: pd.Series) -> np.ndarray:
    return texts.where(texts.notna(), MISSING).to_numpy(object)


def _learn_texts(name: str, parts: Sequence[pd.Series]) -> Seen:
    texts = pd.concat(parts, ignore_index=True)
    missing, found = int(texts.isna().sum()), sorted(texts.dropna().unique())
    if len(found) > MOST_CATEGORIES:
        raise ValueError(
            f"column {name!r} has more than {MOST_CATEGORIES} different texts, such as {found[0][:40]!r}: an identifier? "
            f"Give --id_column={name} or --ignore_columns={name}"
        )
    categories = (*found, *([MISSING] if missing else []))
    kind = "text" if len(categories) > 1 else "constant"
    return Seen(Column(name, kind, categories=categories if kind == "text" else ()), len(found), missing, 0, "")


def _moments(values: np.ndarray) -> tuple[float, float]:
    """(mean, deviation) of finite numbers of any size, without those that lie absurdly far from the others."""
    scale = np.abs(values).max() or 1.0
    values = values / scale  # from -1 to 1, so that no square and no difference overflows
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
    if high > low:
        values = values[np.abs(values - middle) <= FAR * (high - low)]
    mean, spread = float(values.mean()), float(values.std())
    return (mean * scale, spread * scale) if spread * scale else (float(middle * scale), 1.0)
