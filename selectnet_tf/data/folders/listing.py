"""Folders of pictures -> an array, each picture decoded once.

Neither broken nor huge files stop it, and each is named.
"""

import collections
import os
import pathlib
import stat
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from selectnet_tf._files import printable
from selectnet_tf.data.folders import cache as caches

if TYPE_CHECKING:
    from selectnet_tf.images import Subset

SUFFIXES = (
    ".jpg",
    ".jpeg",
    ".jfif",
    ".jpe",
    ".png",
    ".webp",
    ".bmp",
    ".gif",
    ".tif",
    ".tiff",
    ".avif",
)
FOREIGN = (
    ".heic",
    ".heif",
    ".cr2",
    ".cr3",
    ".nef",
    ".arw",
    ".dng",
    ".orf",
    ".raf",
    ".rw2",
    ".psd",
    ".svg",
    ".jp2",
    ".jxl",
    ".mp4",
    ".mov",
    ".avi",
)
PARTS = {
    "train",
    "training",
    "val",
    "valid",
    "validation",
    "test",
    "testing",
}  # folders of a split, which are no classes


class Listing(NamedTuple):
    """What lies below a folder, before anything is read.

    files: pictures by their suffix, sorted paths relative to the folder, with "/". aside: [(path,
    why)] of what is not read.
    folders: the names of the folders directly in it.
    """

    files: list[str]
    aside: list[tuple[str, str]]
    folders: list[str]

    def counts(self) -> dict[str, int]:
        """{folder directly in it: its pictures}, empty ones with 0."""
        found = collections.Counter(file.split("/")[0] for file in self.files if "/" in file)
        return {name: found[name] for name in self.folders}


class Folder(NamedTuple):
    """The pictures below a folder, sorted by path.

    images: [n, size, size, 3] uint8, read from the cache's file. files: n paths relative to the
    folder, with "/".
    digests: n strings, equal where the pictures' pixels are. skipped: [(path, why)] of what could
    not be read.
    marks: n digests of the files' bytes. looks: n perceptual hashes.
    """

    images: "Subset"
    files: list[str]
    digests: list[str]
    skipped: list[tuple[str, str]]
    marks: list[str]
    looks: list[str]

    def paths(self, root: str | os.PathLike) -> list[str]:
        """[n] paths of the files, with the folder's own."""
        return [str(pathlib.Path(root, file)) for file in self.files]

    def classes(
        self, root: str | os.PathLike, names: tuple[str, ...] | None = None
    ) -> tuple[tuple[str, ...], np.ndarray]:
        """(class names, [n] int32 class of each picture): the first folder on its way below root is
        its class.

        Raises:
            ValueError: a picture outside of any class's folder; a folder that is none of
                `names`; fewer than two classes.
        """
        names = names or class_names(
            root, Listing(self.files, [], sorted({file.split("/")[0] for file in self.files}))
        )
        numbers = {name: c for c, name in enumerate(names)}
        check_classes(root, self.files, names)
        return names, np.array([numbers[file.split("/")[0]] for file in self.files], np.int32)


def read_folder(
    root: str | os.PathLike, size: int, cache: str | os.PathLike, fit: str = "stretch"
) -> Folder:
    """Decodes every picture below `root` to size x size RGB.

    Args:
        root: any tree; links to folders are followed once.
        size: side in pixels.
        cache: folder for the decoded images; a picture that was decoded once is read from there
            the next time.
        fit: "stretch" (as Keras's image_dataset_from_directory does), "pad" with black or
            "crop" to the middle.

    Raises:
        FileNotFoundError: no such folder. ValueError: it holds no readable picture.
    """
    root = pathlib.Path(root).expanduser()
    listing = list_images(root)
    images, found, whys = caches.read_images(
        [root / file for file in listing.files], size, fit, pathlib.Path(cache)
    )
    skipped = [(file, why) for file, why in zip(listing.files, whys, strict=True) if why]
    if not len(images):
        first = f", e.g. {skipped[0][0]} ({skipped[0][1]})" if skipped else ""
        raise ValueError(
            f"{root} holds no readable picture, only {len(listing.files)} files of"
            f" {', '.join(SUFFIXES)}{first}"
        )
    good = [(file, one) for file, one in zip(listing.files, found, strict=True) if one]
    files, marks = [file for file, _ in good], [one.mark for _, one in good]
    return Folder(
        images,
        files,
        [one.pixels for _, one in good],
        skipped,
        marks,
        [one.look for _, one in good],
    )


def list_images(root: str | os.PathLike) -> Listing:
    """Lists a folder and all below it

    Hidden files and folders are left out. Raises FileNotFoundError where there is none.
    """
    root = pathlib.Path(root)
    if not root.is_dir():
        raise FileNotFoundError(
            f"{root} is no folder: give one that holds pictures ({', '.join(SUFFIXES)})"
        )
    files: list[str] = []
    aside: list[tuple[str, str]] = []

    def unreadable(error: OSError) -> None:
        aside.append(
            (os.path.relpath(error.filename, root), f"the folder can't be read ({error.strerror})")
        )

    for folder, place, names in walk_folders(root, unreadable):
        for name in names:
            why = _reason_to_skip(folder, name)
            (
                aside.append(((place / name).as_posix(), why))
                if why
                else files.append((place / name).as_posix())
            )
    top = sorted(
        entry.name
        for entry in os.scandir(root)
        if entry.is_dir() and not entry.name.startswith(".")
    )
    return Listing(sorted(files), sorted(aside), top)


def walk_folders(
    root: pathlib.Path, unreadable: Callable[[OSError], None] | None = None
) -> Iterator[tuple[str, pathlib.Path, list[str]]]:
    """(folder, its place below root, the names of its files) of a folder and all below it, each
    once; hidden ones are left out.

    Links to folders are followed. unreadable: is told of a folder that can't be listed.
    """
    seen = set()
    for folder, below, names in os.walk(root, followlinks=True, onerror=unreadable):
        below[:] = sorted(name for name in below if not name.startswith("."))
        real = os.path.realpath(folder)
        if real in seen:
            below.clear()
            continue
        seen.add(real)
        yield (
            folder,
            pathlib.Path(folder).relative_to(root),
            [name for name in names if not name.startswith(".")],
        )


def _reason_to_skip(folder: str, name: str) -> str:
    """Why a file is not read; empty for one that is."""
    suffix = os.path.splitext(name)[1].lower()
    if suffix in FOREIGN:
        return f"{suffix} is not read: convert it to JPEG or PNG"
    if suffix not in SUFFIXES:
        return f"{suffix or 'a file without a suffix'} is no picture"
    try:
        return "" if stat.S_ISREG(os.stat(os.path.join(folder, name)).st_mode) else "not a file"
    except OSError:
        return (
            "a link to nothing"
            if os.path.islink(os.path.join(folder, name))
            else "it can't be read"
        )


def class_names(root: str | os.PathLike, listing: Listing) -> tuple[str, ...]:
    """The classes' names: those of the folders directly in root.

    Raises:
        ValueError: fewer than two; one without a picture; a folder that is split into train/
            and val/.
    """
    counts = listing.counts()
    check_classes(root, listing.files, tuple(counts))
    if counts and {name.lower() for name in counts} <= PARTS:
        given = ", ".join(f"{name}/" for name in counts)
        raise ValueError(
            f"{root} holds {given}, which are parts and no classes: give"
            f" --labeled_dir={root}/{next(iter(counts))} and --test_dir"
        )
    empty = [name for name, count in counts.items() if not count]
    if empty:
        raise ValueError(
            f"{root}: no picture that can be read in {printable(', '.join(empty[:10]))}: put some"
            " there, or take the folder away"
        )
    if len(counts) < 2:
        raise ValueError(
            f"{root} has one folder of pictures, {printable(''.join(counts))}: at least two classes"
            " are needed"
        )
    return tuple(counts)


def check_classes(root: str | os.PathLike, files: list[str], names: tuple[str, ...]) -> None:
    """Raises ValueError where a picture lies in none of the classes' folders."""
    for file in files:
        if "/" not in file:
            raise ValueError(
                f"{printable(pathlib.Path(root, file))} lies in no class's folder: {root} has to"
                " hold a folder for each class"
            )
    unknown = sorted({file.split("/")[0] for file in files} - set(names))
    if unknown:
        raise ValueError(
            f"{root}: {printable(', '.join(unknown))} are no classes of the labeled pictures"
            f" ({printable(', '.join(names))})"
        )
