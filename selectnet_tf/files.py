"""Files that are whole or not there, and locks that end with their process. Standard library only."""

import contextlib
import json
import os
import pathlib

TAKEN = "is training this run"  # what a process is told that finds a run's lock held


@contextlib.contextmanager
def replacing(path):
    """Yields a path beside `path` to write to; it takes the place of `path` at once, or not at all where writing fails."""
    path = pathlib.Path(path)
    beside = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")  # the suffix stays: Keras and NumPy look at it
    try:
        yield beside
        with open(beside, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


@contextlib.contextmanager
def lock(path, wait=False):
    """Holds `path` for this process alone; the system frees it however the process ends.

    Raises:
        BlockingIOError: another process holds it (and `wait` is false); says which.
    """
    import fcntl  # Windows has none, and the library needs no lock

    with open(path, "a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise BlockingIOError(f"{holder} {TAKEN} ({path.parent.name}): wait for it or stop it") from None
        file.truncate(0)
        file.write(f"process {os.getpid()} on {os.uname().nodename}\n")
        file.flush()
        yield


def write_json(path, content):
    with replacing(path) as beside:
        beside.write_text(json.dumps(content, indent=1) + "\n")


def write_npz(path, **arrays):
    import numpy as np

    with replacing(path) as beside:
        np.savez_compressed(beside, **arrays)


def write_frame(path, frame):
    """frame: a pandas.DataFrame."""
    with replacing(path) as beside:
        frame.to_csv(beside, index=False, lineterminator="\n")
