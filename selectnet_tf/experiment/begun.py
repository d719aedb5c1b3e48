"""files.csv: the pictures that a run was begun on, so that it goes on with these and no others."""

import collections
import pathlib

from selectnet_tf.csvs import as_cell
from selectnet_tf.data import decisions, survey, tasks
from selectnet_tf.experiment import runs
from selectnet_tf.recipes import Recipe

FILES = "files.csv"


def check(folder: pathlib.Path, task: tasks.Task) -> None:
    """Writes files.csv where a run begins; where it goes on, compares.

    Raises:
        ValueError: the pictures are not those that the run was begun on; says how many, and what to do.
    """
    if task.listing is None:
        return
    header, *lines = task.listing
    now = [dict(zip(header, line, strict=True)) | {"file": as_cell(line[0])} for line in lines]
    if not (folder / "state.npz").exists() or not (folder / FILES).exists():
        runs.write_csv(folder / FILES, [header, *([*row.values()] for row in now)])
        return
    before, after = ({row["file"]: row for row in rows if row["digest"]} for rows in (runs.read_csv(folder / FILES), now))
    changed: collections.Counter[str] = collections.Counter()
    for file in before.keys() | after.keys():
        old, new = before.get(file), after.get(file)
        kind = "new" if not old else "gone" if not new else "changed" if old["digest"] != new["digest"] else "sorted otherwise"
        changed[kind] += old is None or new is None or any(old[c] != new[c] for c in ("digest", "part", "class"))
    found = ", ".join(f"{count:,} {kind}" for kind, count in sorted(changed.items()) if count)
    if found:
        raise ValueError(
            f"since this run was begun, pictures have changed ({found}; {folder / FILES} lists them as they were): "
            "put them back to go on, or pass --force to start it again"
        )


def news(folder: pathlib.Path, recipe: Recipe) -> str:
    """A line on the pictures and decisions that came after a finished run; empty where there are none.

    Of the pictures only the names are looked at.
    """
    known = {row["file"]: row for row in runs.read_csv(folder / FILES)}
    if not known:
        return ""
    found = survey.survey(recipe)
    every = {**found.labeled, **found.test, **found.unlabeled}
    count = sum(as_cell(str(root / file)) not in known for root, listing in every.items() for file in listing.files)
    pool = [as_cell(str(root / file)) for root, listing in found.unlabeled.items() for file in listing.files]
    decided = sum(_decided_anew(known[file], found.decisions) for file in pool if file in known)
    new = [f"{amount:,} {what}" for amount, what in ((count, "pictures"), (decided, "decisions")) if amount]
    return f"{' and '.join(new)} are new since" if new else ""


def _decided_anew(row: dict[str, str], now: decisions.Decisions) -> bool:
    """Whether a picture of the pool would be something else by these decisions than it was by those before."""
    accepted = now.accepted.get(row["digest"], "")
    if row["part"] == "labeled":
        return row["class"] != accepted
    if row["why"] == decisions.REJECTED:
        return bool(accepted)
    return row["part"] == "unlabeled" and (bool(accepted) or row["digest"] in now.rejected)
