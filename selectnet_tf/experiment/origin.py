"""What a run was begun on and under: kept in its state, so that a run that goes on on or under something else is noticed.

Other data would be a wrong result without a word, so it is refused. Another number of threads, another TensorFlow, Keras or
processor change the last bits only: that is said and recorded.
"""

import json
import os
import pathlib
import platform
import re
import subprocess
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from selectnet_tf.data.tasks import Task
from selectnet_tf.devices import cores
from selectnet_tf.images import digest

VERSIONS = ("python", "tensorflow", "keras")


class Origin:
    """A run's data, by digest, and the conditions of each process that has trained it. A part of its Checkpoint.

    Attributes:
        first, now: {name: text} of the conditions that the run was begun under, and of this process's.
        changed: one line of what has changed since, "" where nothing has: "threads 2 > 1".
        says: lines for the screen, after the state was put back.
    """

    def __init__(self, task: Task, replicas: int) -> None:
        self.data = {
            "labeled data": _together(task.x_labeled, task.y_labeled),
            "unlabeled data": _together(task.x_unlabeled),
            "test data": _together(task.x_test, task.y_test),
            "classes": json.dumps([list(map(str, task.names)), list(map(int, task.minor))]),
        }
        self.now = conditions(replicas)
        self.seen = [self.now]
        self.says: list[str] = []

    @property
    def first(self) -> dict[str, str]:
        return self.seen[0]

    @property
    def changed(self) -> str:
        values = {key: [c.get(key, "unknown") for c in self.seen] for key in self.now}
        values = {key: [v for i, v in enumerate(vs) if not i or v != vs[i - 1]] for key, vs in values.items()}
        return "; ".join(f"{key} {' > '.join(vs)}" for key, vs in values.items() if len(vs) > 1)

    def row(self) -> dict[str, str]:
        """Columns of the run's row."""
        return {**self.now, "changed": self.changed}

    def get_state(self) -> dict[str, np.ndarray]:
        return {"json": np.array(json.dumps({"data": self.data, "seen": self.seen}))}

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Raises ValueError, which names the part that is other data now."""
        if not state:
            self.says.append("  begun by an older version, which did not record its data: that they are the same can't be checked")
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
            new = ", ".join(f"{key} {before.get(key, 'unknown')} > {value}" for key, value in self.now.items() if before.get(key) != value)
            self.says.append(f"  going on under other conditions than before ({new}): the last bits can differ from an undisturbed run's")


def conditions(replicas: int = 1) -> dict[str, str]:
    """{name: text}: what the last bits of a training depend on besides its recipe and data."""
    threads = tf.config.threading.get_intra_op_parallelism_threads() or os.environ.get("TF_NUM_INTRAOP_THREADS") or cores()
    found = dict(zip(VERSIONS, (platform.python_version(), tf.__version__, keras.__version__), strict=True))
    found |= {"threads": str(threads), "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "default")}
    return {**found, "device": _device(replicas), "commit": commit()}


def _together(*arrays: Any) -> str:
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


def commit(house: pathlib.Path = pathlib.Path(__file__).parents[1]) -> str:
    """The commit of this package's repository; "unknown" where the package was installed, whatever repository surrounds it."""
    try:
        top = _git(house, "rev-parse", "--show-toplevel")
        if pathlib.Path(top).resolve() != house.resolve().parent or not _git(house, "ls-files", "__init__.py"):
            return "unknown"
        return _git(house, "rev-parse", "--short", "HEAD") or "unknown"
    except (OSError, subprocess.SubprocessError):  # no git here, or no repository
        return "unknown"


def _git(folder: pathlib.Path, *words: str) -> str:
    found = subprocess.run(["git", "-C", folder, *words], capture_output=True, text=True, check=True, timeout=20)
    return found.stdout.strip()
