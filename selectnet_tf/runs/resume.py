"""Decides whether a run may resume, is finished, or is replaced; keeps the fingerprint it needs.

Other data or another recipe would make a wrong result without a word, so a run refuses them.
Another number of threads, TensorFlow, Keras or processor changes the last bits only: the run says
so, and records it.
"""

import collections
import json
import os
import pathlib
import platform
import shutil
import subprocess
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from selectnet_tf._csv_files import as_cell, read_csv, write_csv
from selectnet_tf._devices import count_cores, name_cpu
from selectnet_tf.data.folders import decisions, listing, survey
from selectnet_tf.data.task import Task
from selectnet_tf.images import digest
from selectnet_tf.recipes import FolderData, Recipe
from selectnet_tf.runs import store

FILES = "files.csv"
PARTIAL = ".old"  # becomes store.OLD once all files are in it
VERSIONS = ("python", "tensorflow", "keras")


class Fingerprint:
    """Digests of a run's data and the environment of each process that trained it.

    A part of the run's Checkpoint.

    Attributes:
        environment: {name: text} of this process, see read_environment.
        notices: lines for the screen; set_state adds to them.

    Args:
        task: the run's Task.
        replicas: the number of replicas that train.
    """

    def __init__(self, task: Task, replicas: int) -> None:
        self.data = {
            "labeled data": _digest_all(task.x_labeled, task.y_labeled),
            "unlabeled data": _digest_all(task.x_unlabeled),
            "test data": _digest_all(task.x_test, task.y_test),
            "classes": json.dumps([list(map(str, task.names)), list(map(int, task.minor))]),
        }
        self.environment = read_environment(replicas)
        self.seen = [self.environment]
        self.notices: list[str] = []

    @property
    def first(self) -> dict[str, str]:
        """The environment in which the run started."""
        return self.seen[0]

    @property
    def changed(self) -> str:
        """Changes of the environment since the run started, "threads 2 > 1; ..."; "" if none."""
        changes = []
        for name in self.environment:
            values = [environment.get(name, "unknown") for environment in self.seen]
            values = [v for i, v in enumerate(values) if not i or v != values[i - 1]]
            if len(values) > 1:
                changes.append(f"{name} {' > '.join(values)}")
        return "; ".join(changes)

    def row(self) -> dict[str, str]:
        """Returns columns of the run's row: the environment and its changes."""
        return {**self.environment, "changed": self.changed}

    def get_state(self) -> dict[str, np.ndarray]:
        return {"json": np.array(json.dumps({"data": self.data, "seen": self.seen}))}

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Raises ValueError: the data has changed; names the part."""
        saved: dict[str, Any] = json.loads(str(state["json"]))
        other = [part for part, known in saved["data"].items() if self.data.get(part) != known]
        if other:
            raise ValueError(
                f"changed since this run started: {', '.join(other)}; restore the former data to"
                " resume, or pass --force to start over"
            )
        before, now = saved["seen"][-1], self.environment
        self.seen = saved["seen"]
        if before != now:
            self.seen = [*self.seen, now]
            changes = ", ".join(
                f"{name} {before.get(name, 'unknown')} > {value}"
                for name, value in now.items()
                if before.get(name) != value
            )
            self.notices.append(
                f"  resuming in another environment ({changes}): the last bits may differ from an"
                " uninterrupted run's"
            )


def check_same_recipe(recipe: Recipe, results: pathlib.Path, folder: pathlib.Path) -> None:
    """Raises ValueError: the run in the folder, finished or not, has another recipe."""
    known = store.read_recipe(results, folder.name)
    if known and (fields := store.find_differences(recipe, known)):
        field = fields[0]
        theirs = store.format_value(known.get(field)) or "none"
        ours = store.format_value(recipe.flat()[field]) or "none"
        raise ValueError(
            f"{folder} is a run of another recipe (its {field} is {theirs}, not {ours}): "
            "use another --results_dir, or pass --force to replace it"
        )


def check_same_images(folder: pathlib.Path, task: Task) -> None:
    """Writes files.csv when a run starts; compares the images with it when the run resumes.

    Raises:
        ValueError: images have changed since the run started; counts them by kind.
    """
    if task.listing is None:
        return
    now = list_images(task)
    if not (folder / "state.npz").exists() or not (folder / FILES).exists():
        write_csv(folder / FILES, [task.listing[0], *([*row.values()] for row in now)])
        return
    if found := describe_changes(read_csv(folder / FILES), now):
        raise ValueError(
            f"images have changed since this run started ({found}; {folder / FILES} lists the"
            " former ones): restore them to resume, or pass --force to start over"
        )


def list_images(task: Task) -> list[dict[str, Any]]:
    """Returns the rows of a task's files.csv."""
    header, *lines = task.listing or [()]
    return [dict(zip(header, line, strict=True)) | {"file": as_cell(line[0])} for line in lines]


def describe_changes(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> str:
    """Returns the number of images that differ between two files.csv by kind, "" if none does."""
    old, new = ({row["file"]: row for row in rows if row["digest"]} for rows in (before, after))
    files = old.keys() | new.keys()
    changes = collections.Counter(_name_change(old.get(f), new.get(f)) for f in files)
    return ", ".join(f"{count:,} {change}" for change, count in sorted(changes.items()) if change)


def find_finished_row(
    recipe: Recipe, results: pathlib.Path, folder: pathlib.Path
) -> dict[str, Any] | None:
    """Returns a finished run's row, or None; says that it is finished, and deletes leftovers."""
    replaced = (folder / store.OLD).exists() and not (folder / "row.json").exists()
    row = None if replaced else store.read_row(results, folder.name)
    if not row:
        return None
    (folder / "state.npz").unlink(missing_ok=True)
    shutil.rmtree(folder / store.OLD, ignore_errors=True)
    store.build_table(results)
    if not (folder / "epochs.csv").exists():
        news = "its files are missing"
    else:
        try:
            news = describe_new_images(folder, recipe)
        except (OSError, ValueError) as error:  # moved images, a lost decisions.csv
            news = f"can't check for new images ({error})"
    print(f"{folder.name} is finished{news and f', but {news}'} (--force trains it again)")
    return row


def describe_new_images(folder: pathlib.Path, recipe: Recipe) -> str:
    """Returns text on images and decisions newer than a finished run, "" if there are none.

    An image is new by its name; its content is not read.
    """
    known = {row["file"]: row for row in read_csv(folder / FILES)}
    if not known or not isinstance(recipe.data, FolderData):
        return ""
    found = survey.survey_folders(recipe.data, recipe.training)
    labels = _list_files(found.labeled) | dict.fromkeys(_list_files(found.unlabeled), "")
    files = labels | _list_files(found.test)
    counts = {
        "image": sum(file not in known for file in files),
        "decision": sum(
            _is_decided(known[file], found.decisions, label)
            for file, label in labels.items()
            if file in known
        ),
    }
    news = [f"{n:,} new {word}{'s' * (n > 1)}" for word, n in counts.items() if n]
    return f"there are {' and '.join(news)}" if news else ""


def set_aside(folder: pathlib.Path) -> None:
    """Moves a finished run's files into its folder's `old` under --force; deletes a half run's.

    The run in `old` counts as the finished one until the new run is finished. Files that no run
    writes, such as decisions.csv, stay.
    """
    half = (folder / "state.npz").exists() or (folder / store.OLD).exists()  # `old`: by a --force
    finished = (folder / "row.json").exists() or ((folder / "epochs.csv").exists() and not half)
    files = [folder / name for name in store.WRITTEN if (folder / name).exists()]
    if finished:
        (folder / PARTIAL).mkdir()
        for path in files:
            path.rename(folder / PARTIAL / path.name)
        shutil.rmtree(folder / store.OLD, ignore_errors=True)
        (folder / PARTIAL).rename(folder / store.OLD)
        return
    for path in files:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def undo_set_aside(folder: pathlib.Path) -> None:
    """Moves the files back of a `set_aside` that was killed half-way."""
    for path in (folder / PARTIAL).glob("*"):
        path.rename(folder / path.name)
    if (folder / PARTIAL).exists():
        (folder / PARTIAL).rmdir()


def read_environment(replicas: int = 1) -> dict[str, str]:
    """Returns {name: text} of everything outside a recipe that may change a result's last bits."""
    threads = (
        tf.config.threading.get_intra_op_parallelism_threads()
        or os.environ.get("TF_NUM_INTRAOP_THREADS")
        or count_cores()
    )
    versions = (platform.python_version(), tf.__version__, keras.__version__)
    return {
        **dict(zip(VERSIONS, versions, strict=True)),
        "threads": str(threads),
        "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "default"),
        "device": _name_device(replicas),
        "commit": read_commit(),
    }


def read_commit(package: pathlib.Path = pathlib.Path(__file__).parents[1]) -> str:
    """Returns the commit of the package's own repository, "unknown" for an installed package.

    It ends in -dirty where files of the package differ from it.
    """
    try:
        top = _run_git(package, "rev-parse", "--show-toplevel")
        own = pathlib.Path(top).resolve() == package.resolve().parent
        if not own or not _run_git(package, "ls-files", "__init__.py"):
            return "unknown"
        commit = _run_git(package, "rev-parse", "--short", "HEAD") or "unknown"
        return commit + "-dirty" * bool(_run_git(package, "status", "--porcelain", "-uno", "."))
    except (OSError, subprocess.SubprocessError):  # no git, or no repository
        return "unknown"


def _run_git(folder: pathlib.Path, *words: str) -> str:
    command = ["git", "--no-optional-locks", "-C", str(folder), *words]
    found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    return found.stdout.strip()


def _name_device(replicas: int) -> str:
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        name = tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU")
        return f"{replicas} x {name}"
    return f"CPU {name_cpu()}"


def _digest_all(*arrays: Any) -> str:
    return " ".join(digest(array) for array in arrays)


def _name_change(old: dict[str, str] | None, new: dict[str, str] | None) -> str:
    """Returns the kind of change between two rows of files.csv, "" if there is none."""
    if old is None:
        return "new"
    if new is None:
        return "missing"
    if (old["digest"], old.get("box")) != (new["digest"], new.get("box")):
        return "with other content"
    same = (old["part"], old["class"]) == (new["part"], new["class"])
    return "" if same else "moved to another class or split"


def _list_files(folders: dict[pathlib.Path, listing.Listing]) -> dict[str, str]:
    """Returns {file, as in files.csv: name of its folder, directly in one of `folders`}."""
    return {
        as_cell(str(root / file)): file.split("/")[0]
        for root, each in folders.items()
        for file in each.files
    }


def _is_decided(row: dict[str, str], now: decisions.Decisions, label: str) -> bool:
    """Whether the decisions make something else of an image than files.csv says.

    Args:
        row: of files.csv.
        now: the decisions.
        label: the class of the image's folder, "" in the pool.
    """
    rejected = row["digest"] in now.rejected
    if row["why"]:
        return row["why"] == decisions.REJECTED and not rejected
    return rejected or row["class"] != now.accepted.get(row["digest"], label)
