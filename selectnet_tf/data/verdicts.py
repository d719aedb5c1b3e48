"""selected.csv with people's verdicts in its column `right`: what is right is labeled, what is wrong is never picked again."""

import numpy as np

from selectnet_tf.data.cells import text
from selectnet_tf.data.frames import Table

COLUMNS = ("pseudo_label", "right")
YES, NO = ("yes", "y", "1", "true", "x"), ("no", "n", "0", "false")


def among(table: Table) -> bool:
    """Whether a table is such a file."""
    return all(column in table.frame for column in COLUMNS)


def read(table: Table, names: set[str], columns: list[str]) -> tuple[Table, Table]:
    """(rows with labels, rejected rows), both with `columns` alone; rows without a verdict are in neither.

    Raises:
        ValueError: a verdict that is neither yes, no nor one of the classes `names`; a column is missing.
    """
    missing = [column for column in columns if column not in table.frame]
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
    kept = table._replace(frame=table.frame[columns])
    return kept.take(right | named, np.where(named, word, labels)), kept.take(wrong & ~named)
