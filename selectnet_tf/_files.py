"""Files that are whole or not there. Standard library only."""

import contextlib
import errno
import hashlib
import json
import os
import pathlib
import re
import stat
from collections.abc import Iterator
from typing import Any

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # the disk, a quota, a limit on files
Path = str | os.PathLike[str]


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[pathlib.Path]:
    """Yields a path beside `path` to write to; it takes the place of `path` at once, or not at all
    where writing fails.

    A link stays a link, to a file with the new content, and a file keeps its mode.
    """
    path = pathlib.Path(os.path.realpath(path))
    beside = path.with_name(
        f".{path.stem}.{os.getpid()}{path.suffix}"
    )  # the suffix stays: Keras and NumPy look at it
    try:
        yield beside
        with open(beside, "rb+") as file:
            os.fsync(file.fileno())
        with contextlib.suppress(FileNotFoundError):
            os.chmod(beside, stat.S_IMODE(path.stat().st_mode))
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def remove_leftovers(folder: pathlib.Path, stem: str = "*") -> None:
    """Deletes what processes that were killed in `replacing` left in a folder.

    Call it under the lock that guards the folder.
    """
    for path in folder.glob(f".{stem}.*"):
        found = re.fullmatch(r"\..+\.(\d+)(\.\w+)?", path.name)
        if found and int(found[1]) != os.getpid() and path.is_file():
            path.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    with replacing(path) as beside:
        beside.write_text(json.dumps(content, indent=1) + "\n")


def write_npz(path: Path, **arrays: Any) -> None:
    import numpy as np

    with replacing(path) as beside:
        np.savez_compressed(beside, **arrays)


def digest(content: bytes) -> str:
    """Of a file's bytes: equal where these are."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def printable(path: Path) -> str:
    """A path for the screen:

    Control characters and bytes that are no UTF-8 as escapes, so that it can neither move the
    cursor nor fail.
    """
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def split_paths(paths: Path) -> list[str]:
    """The paths in "A,B", with ~ for the home folder

    What is there under a name with commas is one.
    """
    whole = os.path.expanduser(paths)
    return (
        [whole]
        if os.path.exists(whole)
        else [
            os.path.expanduser(path.strip()) for path in os.fspath(paths).split(",") if path.strip()
        ]
    )
