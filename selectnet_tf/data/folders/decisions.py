"""Decisions of a person on a run's pseudo-labels, saved by the review page."""

import csv
import os
import pathlib
from typing import NamedTuple

from selectnet_tf import _csv_files
from selectnet_tf._files import split_paths

COLUMNS = ("digest", "decision", "label")
REJECTED = "rejected in a review"


class Decisions(NamedTuple):
    """Decisions by the digests of files.

    Attributes:
        accepted: {digest: class} of images to label.
        rejected: digests of images to leave out of the pool.
    """

    accepted: dict[str, str]
    rejected: set[str]


def read_decisions(paths: str | os.PathLike, names: tuple[str, ...]) -> Decisions:
    """Returns the decisions in one or several files; a later line replaces an earlier one.

    Args:
        paths: A or A,B: CSV files with columns digest, decision (right, corrected, wrong or empty)
            and label.
        names: the class names.

    Raises:
        ValueError, OSError: a missing file or column, or an unknown decision or class.
    """
    accepted: dict[str, str] = {}
    rejected = set()
    found = [
        (path, line, row)
        for path in split_paths(paths)
        for line, row in enumerate(read_rows(pathlib.Path(path), "decisions", COLUMNS), 2)
    ]
    for path, line, row in found:
        decision, label = row["decision"], _csv_files.unescape_formula(row["label"])
        if decision not in ("right", "corrected", "wrong", ""):
            raise ValueError(
                f"{path}:{line}: expected the decision right, corrected or wrong, received"
                f" {decision!r}"
            )
        if decision in ("right", "corrected") and label not in names:
            raise ValueError(
                f"{path}:{line}: expected a label of {', '.join(names)}, received {label!r}"
            )
        if decision:  # the last one counts
            accepted.pop(row["digest"], None)
            rejected.discard(row["digest"])
        if decision == "wrong":
            rejected.add(row["digest"])
        elif decision:
            accepted[row["digest"]] = label
    return Decisions(accepted, rejected)


def read_rows(path: pathlib.Path, flag: str, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """Returns the rows of a CSV file that a flag names, as a spreadsheet may have saved it.

    Raises FileNotFoundError, ValueError for a missing file or column, or an open quote.
    """
    wanted = f"a CSV file with columns {', '.join(columns)}"
    if not path.is_file():
        raise FileNotFoundError(f"--{flag}: expected {wanted}, received {path}, which is no file")
    with open(path, newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
        reader = csv.DictReader(file, restval="", strict=True)  # a short line has empty cells
        try:
            missing = [column for column in columns if column not in (reader.fieldnames or ())]
            rows = list(reader)
        except csv.Error as error:
            raise ValueError(f"{path}:{reader.reader.line_num}: {error}") from None
    if missing:
        raise ValueError(f"--{flag}: expected {wanted}, {path} has no {', '.join(missing)}")
    return rows
