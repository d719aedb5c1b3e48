"""selected.csv with people's verdicts in its column `right`: what is right is labeled, what is wrong is never picked again."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from selectnet_tf.data import frames
from selectnet_tf.data.cells import label, text

OWN = ("file", "pseudo_label", "score", "loss", "first_chosen", "last_chosen", "rounds", "right")  # a run's own columns
COLUMNS = ("pseudo_label", "right")
YES, NO = ("yes", "y", "1", "true", "x"), ("no", "n", "0", "false")


def of_row(column: str) -> str:
    """What a column of a table is called in selected.csv, where the run's own names are taken. No two get one name."""
    return f"{column} of the row" if re.fullmatch(rf"({'|'.join(OWN)})( of the row)*", column) else column


def table(path: str, reading: dict[str, Any]) -> frames.Table | None:
    """A file as selected.csv, read as its table is; None where it is no such file."""
    as_text = (*map(of_row, reading["text"]), *COLUMNS)
    found = frames.read(path, labeled=False, text=as_text, decimal=reading["decimal"], thousands=reading["thousands"])
    return found if all(column in found.frame for column in COLUMNS) else None


def read(table: frames.Table, names: set[str], columns: Sequence[str]) -> tuple[frames.Table, frames.Table]:
    """(rows with labels, rejected rows), both with the table's `columns` alone; rows without a verdict are in neither.

    Raises:
        ValueError: a verdict that is neither yes, no nor one of the classes `names`; a column is missing.
    """
    missing = [of_row(column) for column in columns if of_row(column) not in table.frame]
    if missing:
        raise ValueError(f"{table.name} has no column {missing[0]!r}, which the labeled table has")
    labels, verdict = table.frame["pseudo_label"].map(text).to_numpy(object), table.texts("right")
    word = verdict.map(lambda word: word if word in names else word.casefold(), na_action="ignore").to_numpy(object)
    right = np.array([each in YES for each in word], bool)
    wrong = np.array([each in NO for each in word], bool)
    named = np.array([each in names for each in word], bool)
    unclear = np.flatnonzero(~right & ~wrong & ~named & verdict.notna().to_numpy())
    if len(unclear):
        place = unclear[0]
        said, classes = verdict.iloc[place], ", ".join(sorted(names))
        raise ValueError(f"{table.name}:{table.lines[place]}: right is {said!r}, but has to be yes, no, empty or a class: {classes}")
    kept = table.renamed({of_row(column): column for column in columns})
    return kept.take(right | named, np.where(named, word, labels)), kept.take(wrong & ~named)
