"""A person's decisions on a run's picks, as the review page saves them."""

import csv
import os
import pathlib
from typing import NamedTuple

from selectnet_tf import _csv_files
from selectnet_tf._files import split_paths

COLUMNS = ("digest", "decision", "label")
REJECTED = "rejected in a review"


class Decisions(NamedTuple):
    """Digests of files (files.digest):

    Those that are to be labeled, with their class, and those that are never to be picked.
    """

    accepted: dict[str, str]
    rejected: set[str]


def read_decisions(paths: str | os.PathLike, names: tuple[str, ...]) -> Decisions:
    """A decisions.csv, as the review page saves it, or several, A,B: what a later line decides
    counts.

    Its columns are digest, decision (right, corrected, wrong or nothing) and label.

    Raises:
        ValueError, OSError: no such file, no such columns, a class that there is none of: one line.
    """
    accepted: dict[str, str] = {}
    rejected = set()
    found = [
        (path, line, row)
        for path in split_paths(paths)
        for line, row in enumerate(_read_rows(pathlib.Path(path)), 2)
    ]
    for path, line, row in found:
        decision, label = row["decision"], _csv_files.unescape_formula(row["label"])
        if decision not in ("right", "corrected", "wrong", ""):
            raise ValueError(
                f"{path}:{line}: the decision is {decision!r}, but has to be right, corrected or"
                " wrong"
            )
        if decision in ("right", "corrected") and label not in names:
            raise ValueError(
                f"{path}:{line}: the label is {label!r}, which is none of {', '.join(names)}"
            )
        if decision:  # the last one counts
            accepted.pop(row["digest"], None)
            rejected.discard(row["digest"])
        if decision == "wrong":
            rejected.add(row["digest"])
        elif decision:
            accepted[row["digest"]] = label
    return Decisions(accepted, rejected)


def _read_rows(path: pathlib.Path) -> list[dict[str, str]]:
    if not path.is_file():
        raise FileNotFoundError(
            f"--decisions: expected a decisions.csv saved by the review page, received {path},"
            " which is no file"
        )
    with open(path, newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
        reader = csv.DictReader(file)
        missing, rows = (
            [column for column in COLUMNS if column not in (reader.fieldnames or ())],
            list(reader),
        )
    if missing:
        raise ValueError(
            f"{path} has no column {', '.join(missing)}: give the file as it was saved"
        )
    return rows
