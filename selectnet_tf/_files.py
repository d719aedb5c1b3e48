"""Atomic writing of files, and paths as text. Standard library only."""

import contextlib
import errno
import hashlib
import json
import os
import pathlib
import re
import stat
import uuid
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any

DAMAGE = (ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)  # of NumPy's .npz
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # of `is_full`
Path = str | os.PathLike[str]


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[pathlib.Path]:
    """Yields a path to write to, which replaces `path` at once, or not at all on an error.

    A link stays a link, to a file with the new content, and a file keeps its mode. An error of the
    file beside names `path`.
    """
    given, path = os.fspath(path), pathlib.Path(os.path.realpath(path))
    # containers share process numbers; the suffix stays: Keras and NumPy go by it
    own = f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
    beside = path.with_name(f".{path.stem}.{own}{path.suffix}")
    try:
        yield beside
        with open(beside, "rb+") as file:
            os.fsync(file.fileno())
        with contextlib.suppress(FileNotFoundError):
            os.chmod(beside, stat.S_IMODE(path.stat().st_mode))
        os.replace(beside, path)
    except OSError as error:
        if error.filename == str(beside):
            error.filename = given
        raise
    finally:
        with contextlib.suppress(OSError):
            beside.unlink()


def remove_leftovers(folder: pathlib.Path, stem: str = "*") -> None:
    """Deletes the files of processes that were killed in `replacing`. Call it under a lock.

    Args:
        folder: the folder that they wrote to.
        stem: of the files' names.
    """
    for path in folder.glob(f".{stem}.*"):
        if re.fullmatch(r"\..+\.\d+-[0-9a-f]{8}(\.\w+)?", path.name) and path.is_file():
            path.unlink(missing_ok=True)


def is_full(error: Exception) -> bool:
    """Returns whether an error is that of a full disk, or of a quota or a limit on files."""
    return getattr(error, "errno", None) in FULL


def expand(path: Path) -> pathlib.Path:
    """Returns a path, ~ expanded. That of an unknown home stays, where Path.expanduser raises."""
    return pathlib.Path(os.path.expanduser(path))


def write_json(path: Path, content: Any) -> None:
    """Writes content as JSON, replacing the file as a whole."""
    with replacing(path) as beside:
        beside.write_text(json.dumps(content, indent=1) + "\n")


def write_npz(path: Path, **arrays: Any) -> None:
    """Writes arrays as compressed .npz, replacing the file as a whole."""
    import numpy as np

    with replacing(path) as beside:
        np.savez_compressed(beside, **arrays)


def digest(content: bytes | memoryview) -> str:
    """Returns 32 hex digits of a file's bytes."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def digest_file(path: Path) -> str:
    """Returns the `digest` of a file of any size, read piece by piece."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def printable(path: Path) -> str:
    """Returns a path for the screen, with escapes for control characters and invalid UTF-8."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def split_paths(paths: Path) -> list[str]:
    """Returns the paths in "A,B", ~ expanded; an existing path with commas is one."""
    whole = os.path.expanduser(paths)
    if os.path.exists(whole):
        return [whole]
    words = (path.strip() for path in os.fspath(paths).split(","))
    return [os.path.expanduser(path) for path in words if path]
