"""Cache of decoded images by their files' digests, so that each is decoded once."""

import concurrent.futures
import contextlib
import errno
import os
import pathlib
import sqlite3
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

import filelock
import numpy as np

from selectnet_tf._files import digest, digest_file
from selectnet_tf._locks import NO_FLOCK
from selectnet_tf.data.folders.boxes import Box, as_text
from selectnet_tf.data.folders.decoding import Levels, decode_and_look, describe_failure

if TYPE_CHECKING:
    from selectnet_tf.images import Subset

VERSION = 3
CHUNK = 256  # images between two commits: an interruption loses no more
TABLES = """
CREATE TABLE IF NOT EXISTS pictures (mark TEXT PRIMARY KEY, place INTEGER, pixels TEXT, look TEXT);
CREATE TABLE IF NOT EXISTS seen (path BLOB PRIMARY KEY, size INTEGER, ctime INTEGER, mark TEXT);
"""


class Found(NamedTuple):
    """An image in the cache.

    Attributes:
        mark: digest of the file.
        place: position in the cache.
        pixels: digest of the pixels.
        look: perceptual hash.
    """

    mark: str
    place: int
    pixels: str
    look: str


class _Read(NamedTuple):
    """A file as a thread read it.

    Attributes:
        size: of the file, in bytes.
        ctime: time of the last change of the file or its name, in ns.
        key: digest of the file, and its box; "" for an unreadable image.
        decoded: (pixels, perceptual hash); None for a cached or unreadable image.
        why: reason of a failure.
    """

    size: int = 0
    ctime: int = 0
    key: str = ""
    decoded: tuple[np.ndarray, str] | None = None
    why: str = ""


def read_images(
    paths: list[pathlib.Path],
    size: int,
    fit: str,
    folder: pathlib.Path,
    levels: Levels | None = None,
    boxes: Mapping[pathlib.Path, Box] | None = None,
) -> tuple["Subset", list[Found | None], list[str]]:
    """Returns images through the cache, decoding the missing ones on all cores.

    Shows a progress bar on a terminal.

    Args:
        paths: the files.
        size: see decoding.decode.
        fit: see decoding.decode.
        folder: of the cache.
        levels: see decoding.decode.
        boxes: {path: part of the image to decode}; the others are decoded whole.

    Returns:
        ([k, size, size, 3] uint8 of the readable images, a Found or None per path, the reason of
        each failure or "").
    """
    from selectnet_tf.images import Subset  # imports TensorFlow, which listing doesn't need

    of_levels = f"-{levels[0]:.9g}to{levels[1]:.9g}" if levels else ""
    place = folder / f"{size}px-{fit}-{VERSION}{of_levels}"
    place.mkdir(parents=True, exist_ok=True)
    with _locked(place), _index(place, size) as index:
        known = {
            row[0]: Found(row[0].split()[0], *row[1:])
            for row in index.execute("SELECT mark, place, pixels, look FROM pictures")
        }
        seen = {
            path: (size, ctime, mark)
            for path, size, ctime, mark in index.execute("SELECT * FROM seen")
        }
        keys, whys = _decode_all(
            paths, size, fit, levels, boxes or {}, place / "pictures", index, known, seen
        )
    found = [known.get(key) for key in keys]
    images = np.zeros((0, size, size, 3), np.uint8)
    if known:
        shape = (len(known), size, size, 3)
        images = np.memmap(place / "pictures", np.uint8, "r", shape=shape)
    return Subset(images, [one.place for one in found if one]), found, whys


@contextlib.contextmanager
def _locked(place: pathlib.Path) -> Iterator[None]:
    try:
        with filelock.FileLock(place / ".lock", fallback_to_soft=False):
            yield
    except OSError as error:
        if error.errno not in NO_FLOCK:
            raise
        raise OSError(
            f"{place} is on storage without file locks: give --cache_dir a folder on a local disk"
        ) from None


@contextlib.contextmanager
def _index(place: pathlib.Path, size: int) -> Iterator[sqlite3.Connection]:
    """Opens the cache's index. Replaces one that is damaged or longer than the images.

    Raises OSError where it can't be read or written.
    """
    try:
        with contextlib.closing(_open_index(place, size)) as index:
            yield index
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
        raise OSError(
            f"{place} can't be read or written ({error}): give --cache_dir another folder"
        ) from error


def _open_index(place: pathlib.Path, size: int) -> sqlite3.Connection:
    index = sqlite3.connect(place / "index.sqlite")
    try:
        index.executescript(TABLES)
        count = index.execute("SELECT COUNT(*) FROM pictures").fetchone()[0]
        images = place / "pictures"
        whole = not count or (images.exists() and images.stat().st_size >= count * size * size * 3)
    except sqlite3.OperationalError:  # a full disk, or one that can't be written: no damage
        index.close()
        raise
    except sqlite3.DatabaseError:
        whole = False
    if not whole:
        index.close()
        for path in place.glob("index.sqlite*"):
            path.unlink()
        index = sqlite3.connect(place / "index.sqlite")
        index.executescript(TABLES)
    return index


def _decode_all(
    paths: list[pathlib.Path],
    size: int,
    fit: str,
    levels: Levels | None,
    boxes: Mapping[pathlib.Path, Box],
    images: pathlib.Path,
    index: sqlite3.Connection,
    known: dict[str, Found],
    seen: dict[bytes, tuple[int, int, str]],
) -> tuple[list[str], list[str]]:
    """Adds the missing images to `known`. Returns each path's key and reason of a failure."""
    from rich.progress import track

    def attempt(path: pathlib.Path) -> _Read:
        box = boxes.get(path)
        of_box = f" {as_text(box)}" if box else ""
        try:
            facts = path.stat()
            stamp = (facts.st_size, facts.st_ctime_ns)
            before = seen.get(os.fsencode(path.absolute()))
            if before and before[:2] == stamp and before[2] + of_box in known:
                return _Read(*stamp, before[2] + of_box)
            key = digest_file(path) + of_box
            new = None if key in known else decode_and_look(path, size, fit, levels, box)
            return _Read(*stamp, key, new)
        except Exception as error:  # Pillow's plugins raise whatever a damaged file makes them
            return _Read(why=describe_failure(error))

    keys, whys = [], []
    images.touch()
    with open(images, "r+b") as out, concurrent.futures.ThreadPoolExecutor() as pool:
        hidden = not sys.stdout.isatty() or len(paths) < CHUNK
        starts = range(0, len(paths), CHUNK)
        for start in track(starts, "reading images", transient=True, disable=hidden):
            some = paths[start : start + CHUNK]
            for path, read in zip(some, pool.map(attempt, some), strict=True):
                keys.append(read.key)
                whys.append(read.why)
                mark = read.key.split(" ")[0]
                if read.decoded and read.key not in known:
                    pixels, look = read.decoded
                    known[read.key] = found = Found(
                        mark, len(known), digest(pixels.tobytes()), look
                    )
                    out.seek(found.place * pixels.nbytes)
                    out.write(pixels.tobytes())
                    index.execute(
                        "INSERT INTO pictures VALUES (?, ?, ?, ?)", (read.key, *found[1:])
                    )
                if not read.why:
                    row = (os.fsencode(path.absolute()), read.size, read.ctime, mark)
                    index.execute("INSERT OR REPLACE INTO seen VALUES (?, ?, ?, ?)", row)
            out.flush()
            os.fsync(out.fileno())
            index.commit()
    return keys, whys
