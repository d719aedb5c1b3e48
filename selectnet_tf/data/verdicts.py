"""selected.csv with people's verdicts in its column `right`: what is right is labeled, what is wrong is never picked again."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from selectnet_tf.data import frames
from selectnet_tf.data.cells import label

OWN = ("file", "pseudo_label", "score", "loss", "first_chosen", "last_chosen", "rounds", "right")  # a run's own columns
COLUMNS = ("pseudo_label", "right")
YES, NO = ("yes", "y", "1", "true", "x", "right"), ("no", "n", "0", "false", "wrong")
CLASS = "class "  # before a class's name, where that is such a word


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
        ValueError: a verdict that is neither yes, no nor one of the classes `names`, or is two of them; a column is missing.
    """
    missing = [of_row(column) for column in columns if of_row(column) not in table.frame]
    if missing:
        raise ValueError(frames.lacks(table.name, table.frame, missing[:1], "which the labeled table has"))
    labels = np.full(len(table.frame), "", object)
    wrong = np.zeros(len(labels), bool)
    for i, (pseudo, word) in enumerate(zip(*(table.frame[column].map(label) for column in COLUMNS), strict=True)):
        found = _meanings(word, pseudo, names)
        if word and len(found) != 1:
            unclear = f"which can mean two things here: write {_clear(word, pseudo, names)}"
            unknown = f"but has to be {'yes, ' if pseudo else ''}no, empty or a class: {', '.join(sorted(names))}"
            raise ValueError(f"{table.name}:{table.lines[i]}: right is {word!r}, {unclear if found else unknown}")
        labels[i] = next(iter(found), "")
        wrong[i] = found == {""}
    kept = table.renamed({of_row(column): column for column in columns})
    return kept.take(labels != "", labels), kept.take(wrong)


def _meanings(word: str, pseudo: str, names: set[str]) -> set[str]:
    """The classes that a verdict on a row taken for `pseudo` may mean; "" for none of them."""
    folded = word.casefold()
    found = {pseudo} if pseudo and folded in YES else {""} if folded in NO else set()
    alike = {name for name in names if name == word or (found and name.casefold() == folded)}
    return found | alike or {name for name in names if word == CLASS + name}


def _clear(word: str, pseudo: str, names: set[str]) -> str:
    """What can be written in place of a word of two meanings: one for yes, one for no, and one for the class that is called so."""
    yes, no = (next((w for w in reversed(words) if len(_meanings(w, pseudo, names)) == 1), "") for words in (YES, NO))
    same = next((name for name in names if name.casefold() == word.casefold()), "")
    return " or ".join(filter(None, dict.fromkeys((yes or CLASS + pseudo, no, CLASS + same))))
