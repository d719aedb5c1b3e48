"""What a run was begun on and under: kept in its state, so that a run that goes on on or under
something else is noticed.

Other data would be a wrong result without a word, so it is refused. Another number of threads,
another TensorFlow, Keras or processor change the last bits only: that is said and recorded.
"""

import collections
import json
import os
import pathlib
import platform
import re
import shutil
import subprocess
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from selectnet_tf._csv_files import as_cell, read_csv, write_csv
from selectnet_tf._devices import cores
from selectnet_tf.data.folders import decisions, survey
from selectnet_tf.data.task import Task
from selectnet_tf.images import digest
from selectnet_tf.recipes import Recipe
from selectnet_tf.runs import store

VERSIONS = ("python", "tensorflow", "keras")


class Fingerprint:
    """A run's data, by digest, and the conditions of each process that has trained it. A part of
    its Checkpoint.

    Attributes:
        first, now: {name: text} of the conditions that the run was begun under, and of this
            process's.
        changed: one line of what has changed since, "" where nothing has: "threads 2 > 1".
        says: lines for the screen, after the state was put back.
    """

    def __init__(self, task: Task, replicas: int) -> None:
        self.data = {
            "labeled data": _digest_all(task.x_labeled, task.y_labeled),
            "unlabeled data": _digest_all(task.x_unlabeled),
            "test data": _digest_all(task.x_test, task.y_test),
            "classes": json.dumps([list(map(str, task.names)), list(map(int, task.minor))]),
        }
        self.now = read_environment(replicas)
        self.seen = [self.now]
        self.says: list[str] = []

    @property
    def first(self) -> dict[str, str]:
        return self.seen[0]

    @property
    def changed(self) -> str:
        values = {key: [c.get(key, "unknown") for c in self.seen] for key in self.now}
        values = {
            key: [v for i, v in enumerate(vs) if not i or v != vs[i - 1]]
            for key, vs in values.items()
        }
        return "; ".join(f"{key} {' > '.join(vs)}" for key, vs in values.items() if len(vs) > 1)

    def row(self) -> dict[str, str]:
        """Columns of the run's row."""
        return {**self.now, "changed": self.changed}

    def get_state(self) -> dict[str, np.ndarray]:
        return {"json": np.array(json.dumps({"data": self.data, "seen": self.seen}))}

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Raises ValueError, which names the part that is other data now."""
        if not state:
            self.says.append(
                "  begun by an older version, which did not record its data: that they are the same"
                " can't be checked"
            )
            return
        then: dict[str, Any] = json.loads(str(state["json"]))
        other = [part for part, known in then["data"].items() if self.data.get(part) != known]
        if other:
            verb = "are" if other[0].endswith("s") or len(other) > 1 else "is"
            raise ValueError(
                f"the {', the '.join(other)} {verb} not what this run was begun on: "
                "bring that back to go on, or pass --force to start the run again"
            )
        before = then["seen"][-1]
        self.seen = [*then["seen"], self.now] if before != self.now else then["seen"]
        if before != self.now:
            new = ", ".join(
                f"{key} {before.get(key, 'unknown')} > {value}"
                for key, value in self.now.items()
                if before.get(key) != value
            )
            self.says.append(
                f"  going on under other conditions than before ({new}): the last bits can differ"
                " from an undisturbed run's"
            )


def read_environment(replicas: int = 1) -> dict[str, str]:
    """{name: text}: what the last bits of a training depend on besides its recipe and data."""
    threads = (
        tf.config.threading.get_intra_op_parallelism_threads()
        or os.environ.get("TF_NUM_INTRAOP_THREADS")
        or cores()
    )
    found = dict(
        zip(VERSIONS, (platform.python_version(), tf.__version__, keras.__version__), strict=True)
    )
    found |= {"threads": str(threads), "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "default")}
    return {**found, "device": _device(replicas), "commit": read_commit()}


def _digest_all(*arrays: Any) -> str:
    return " ".join(digest(array) for array in arrays)


def _cpu() -> str:
    """Its model where Linux tells it: a run's time, and its last bits, depend on it."""
    info = pathlib.Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.+)", info.read_text()) if info.exists() else None
    return found[1] if found else platform.processor() or platform.machine()


def _device(replicas: int) -> str:
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return f"CPU {_cpu()}"
    name = tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU")
    return f"{replicas} x {name}"


def read_commit(house: pathlib.Path = pathlib.Path(__file__).parents[1]) -> str:
    """The commit of this package's repository

    "unknown" where the package was installed, whatever repository surrounds it.
    """
    try:
        top = _git(house, "rev-parse", "--show-toplevel")
        if pathlib.Path(top).resolve() != house.resolve().parent or not _git(
            house, "ls-files", "__init__.py"
        ):
            return "unknown"
        return _git(house, "rev-parse", "--short", "HEAD") or "unknown"
    except (OSError, subprocess.SubprocessError):  # no git here, or no repository
        return "unknown"


def _git(folder: pathlib.Path, *words: str) -> str:
    found = subprocess.run(
        ["git", "-C", folder, *words], capture_output=True, text=True, check=True, timeout=20
    )
    return found.stdout.strip()


FILES = "files.csv"


def check_same_images(folder: pathlib.Path, task: Task) -> None:
    """Writes files.csv where a run begins; where it goes on, compares.

    Raises:
        ValueError: the pictures are not those that the run was begun on; says how many, and
            what to do.
    """
    if task.listing is None:
        return
    header, *lines = task.listing
    now = [dict(zip(header, line, strict=True)) | {"file": as_cell(line[0])} for line in lines]
    if not (folder / "state.npz").exists() or not (folder / FILES).exists():
        write_csv(folder / FILES, [header, *([*row.values()] for row in now)])
        return
    before, after = (
        {row["file"]: row for row in rows if row["digest"]}
        for rows in (read_csv(folder / FILES), now)
    )
    changed: collections.Counter[str] = collections.Counter()
    for file in before.keys() | after.keys():
        old, new = before.get(file), after.get(file)
        kind = (
            "new"
            if not old
            else (
                "gone"
                if not new
                else "changed"
                if old["digest"] != new["digest"]
                else "sorted otherwise"
            )
        )
        changed[kind] += (
            old is None or new is None or any(old[c] != new[c] for c in ("digest", "part", "class"))
        )
    found = ", ".join(f"{count:,} {kind}" for kind, count in sorted(changed.items()) if count)
    if found:
        raise ValueError(
            f"since this run was begun, pictures have changed ({found}; {folder / FILES} lists them"
            " as they were): put them back to go on, or pass --force to start it again"
        )


def describe_new_images(folder: pathlib.Path, recipe: Recipe) -> str:
    """A line on the pictures and decisions that came after a finished run; empty where there are
    none.

    Of the pictures only the names are looked at.
    """
    known = {row["file"]: row for row in read_csv(folder / FILES)}
    if not known:
        return ""
    found = survey.survey_folders(recipe)
    every = {**found.labeled, **found.test, **found.unlabeled}
    count = sum(
        as_cell(str(root / file)) not in known
        for root, listing in every.items()
        for file in listing.files
    )
    pool = [
        as_cell(str(root / file))
        for root, listing in found.unlabeled.items()
        for file in listing.files
    ]
    decided = sum(_decision_changed(known[file], found.decisions) for file in pool if file in known)
    new = [
        f"{amount:,} {what}"
        for amount, what in ((count, "pictures"), (decided, "decisions"))
        if amount
    ]
    return f"{' and '.join(new)} are new since" if new else ""


def _decision_changed(row: dict[str, str], now: decisions.Decisions) -> bool:
    """Whether a picture of the pool would be something else by these decisions than it was by those
    before.
    """
    accepted = now.accepted.get(row["digest"], "")
    if row["part"] == "labeled":
        return row["class"] != accepted
    if row["why"] == decisions.REJECTED:
        return bool(accepted)
    return row["part"] == "unlabeled" and (bool(accepted) or row["digest"] in now.rejected)


PART = ".old"  # what becomes rows.OLD once all files are in it


def check_same_recipe(recipe: Recipe, results: pathlib.Path, folder: pathlib.Path) -> None:
    """Raises ValueError where the folder's run, finished or not, is of another recipe."""
    known = store.read_recipe(results, folder.name)
    if known and (other := store.find_differences(recipe, known)):
        theirs, ours = (
            store.format_value(v) or "none"
            for v in (known.get(other[0]), getattr(recipe, other[0]))
        )
        raise ValueError(
            f"{folder} is a run of another recipe (its {other[0]} is {theirs}, not {ours}): "
            "use another --results_dir, or pass --force to replace it"
        )


def find_finished_row(
    recipe: Recipe, results: pathlib.Path, folder: pathlib.Path
) -> dict[str, Any] | None:
    """The row of a run that is finished, which is said

    What a kill at its very end left is cleared.
    """
    done = (
        None
        if (folder / store.OLD).exists() and not (folder / "row.json").exists()
        else store.read_row(results, folder.name)
    )
    if not done:
        return None
    (folder / "state.npz").unlink(missing_ok=True)
    shutil.rmtree(folder / store.OLD, ignore_errors=True)
    store.build_table(results)
    try:
        new = (
            "its files are gone"
            if not (folder / "epochs.csv").exists()
            else describe_new_images(folder, recipe)
        )
    except (OSError, ValueError) as error:  # moved pictures, a lost decisions.csv
        new = f"what came since can't be told ({error})"
    print(f"{folder.name} is finished{new and f', but {new}'} (--force trains it again)")
    return done


def set_aside(folder: pathlib.Path) -> None:
    """Under --force:

    The finished run's files go into its folder's `old`, where they count until the new run is
    finished.
    """
    half = (folder / "state.npz").exists() or (
        folder / store.OLD
    ).exists()  # by a --force before this one, where there is an `old`
    finished = (folder / "row.json").exists() or ((folder / "epochs.csv").exists() and not half)
    left = [
        path
        for path in folder.iterdir()
        if path.name != store.OLD and not path.name.startswith(".lock")
    ]  # the lock stays
    if finished:
        (folder / PART).mkdir()
    for path in left:
        if finished:
            path.rename(folder / PART / path.name)
        else:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    if finished:
        shutil.rmtree(folder / store.OLD, ignore_errors=True)
        (folder / PART).rename(folder / store.OLD)


def undo_set_aside(folder: pathlib.Path) -> None:
    """Undoes a `set_aside` that was killed half-way."""
    for path in (folder / PART).glob("*"):
        path.rename(folder / path.name)
    if (folder / PART).exists():
        (folder / PART).rmdir()
