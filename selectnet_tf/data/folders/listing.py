"""Lists and reads folders of images. Corrupt and oversized files are skipped and listed."""

import collections
import os
import pathlib
import stat
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from selectnet_tf._files import expand, printable
from selectnet_tf.data.folders import cache as caches
from selectnet_tf.data.folders.boxes import Box
from selectnet_tf.data.folders.decoding import Levels

if TYPE_CHECKING:
    from selectnet_tf.images import Subset

SUFFIXES = (
    ".jpg", ".jpeg", ".jfif", ".jpe", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif",
)  # fmt: skip
UNSUPPORTED = (
    ".heic", ".heif", ".cr2", ".cr3", ".nef", ".arw", ".dng", ".orf", ".raf", ".rw2", ".psd",
    ".svg", ".jp2", ".jxl", ".mp4", ".mov", ".avi",
)  # fmt: skip
SYSTEM = {  # folders that systems and network drives make; and hidden ones
    "__macosx", "@eadir", "#recycle", "@recycle", "#snapshot", ".@__thumb", "lost+found",
    "$recycle.bin", "system volume information",
}  # fmt: skip
# folders of a split, not of classes
PARTS = {"train", "training", "val", "valid", "validation", "test", "testing"}


class Listing(NamedTuple):
    """Files below a folder, by name.

    Attributes:
        files: images by suffix: sorted paths relative to the folder, with "/".
        aside: [(path, reason)] of other files.
        folders: names of the folders directly in it.
    """

    files: list[str]
    aside: list[tuple[str, str]]
    folders: list[str]

    def counts(self) -> dict[str, int]:
        """Returns {folder: number of images} of the folders directly in it."""
        found = collections.Counter(file.split("/")[0] for file in self.files if "/" in file)
        return {name: found[name] for name in self.folders}


class Folder(NamedTuple):
    """Images below a folder, sorted by path.

    Attributes:
        images: [n, size, size, 3] uint8, read from the cache.
        files: n paths relative to the folder, with "/".
        cached: n entries of the cache, with the digests and perceptual hashes.
        skipped: [(path, reason)] of unreadable files.
    """

    images: "Subset"
    files: list[str]
    cached: list[caches.Found]
    skipped: list[tuple[str, str]]

    def paths(self, root: str | os.PathLike) -> list[str]:
        """Returns the n paths of the files, including the folder's."""
        return [str(pathlib.Path(root, file)) for file in self.files]

    def classes(self, root: str | os.PathLike) -> tuple[tuple[str, ...], np.ndarray]:
        """Returns (class names, [n] int32 classes): the folder directly in root is the class.

        Raises:
            ValueError: an image in no class's folder, or fewer than two classes.
        """
        folders = [file.split("/")[0] for file in self.files]
        names = class_names(root, Listing(self.files, [], sorted(set(folders))))
        numbers = {name: c for c, name in enumerate(names)}
        return names, np.array([numbers[folder] for folder in folders], np.int32)


def read_folder(
    root: str | os.PathLike,
    size: int,
    cache: str | os.PathLike,
    fit: str = "stretch",
    listing: Listing | None = None,
    levels: Levels | None = None,
    boxes: Mapping[pathlib.Path, Box] | None = None,
) -> Folder:
    """Decodes every image below `root` to size x size RGB.

    Args:
        root: any tree; links to folders are followed once.
        size: side in pixels.
        cache: folder for the decoded images.
        fit: "stretch" (as Keras's image_dataset_from_directory does), "pad" with black, or
            "crop" to the middle.
        listing: the folder's; None: it is listed.
        levels: see decoding.decode.
        boxes: see cache.read_images.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: no readable image.
    """
    root = expand(root)
    listing = listing or list_images(root)
    images, found, whys = caches.read_images(
        [root / file for file in listing.files], size, fit, expand(cache), levels, boxes
    )
    skipped = [(file, why) for file, why in zip(listing.files, whys, strict=True) if why]
    if not len(images):
        first = f", e.g. {skipped[0][0]} ({skipped[0][1]})" if skipped else ""
        raise ValueError(
            f"expected a folder of images, {root} has {len(listing.files)} files of"
            f" {', '.join(SUFFIXES)} and none is readable{first}"
        )
    files = [file for file, one in zip(listing.files, found, strict=True) if one]
    return Folder(images, files, [one for one in found if one], skipped)


def list_images(root: str | os.PathLike) -> Listing:
    """Lists a folder and all below it, except hidden files and folders.

    Raises FileNotFoundError for a missing folder.
    """
    root = pathlib.Path(root)
    if not root.is_dir():
        raise FileNotFoundError(f"expected a folder of images, received {root}, which is no folder")
    files: list[str] = []
    aside: list[tuple[str, str]] = []

    def skip(folder: str, why: str) -> None:
        aside.append((pathlib.Path(folder).relative_to(root).as_posix(), why))

    for folder, place, names in walk_folders(root, skip):
        for name in names:
            file, why = (place / name).as_posix(), _reason_to_skip(folder, name)
            if why:
                aside.append((file, why))
            else:
                files.append(file)
    top = [path.name for path in root.iterdir() if path.is_dir() and not _is_passed_over(path.name)]
    return Listing(sorted(files), sorted(aside), sorted(top))


def walk_folders(
    root: pathlib.Path, skip: Callable[[str, str], None] = lambda folder, why: None
) -> Iterator[tuple[str, pathlib.Path, list[str]]]:
    """Yields (folder, path below root, names of its files) of a folder and all below it.

    Follows links to folders, lists each folder once, and leaves out hidden files and folders, and
    those of SYSTEM.

    Args:
        root: the folder.
        skip: called with (folder, reason) of one that can't be listed or is one of SYSTEM.
    """
    seen = set()

    def unreadable(error: OSError) -> None:
        skip(str(error.filename), f"the folder can't be read ({error.strerror})")

    for folder, below, names in os.walk(root, followlinks=True, onerror=unreadable):
        real = os.path.realpath(folder)
        if real in seen:
            below.clear()
            continue
        seen.add(real)
        for name in below:
            if name.lower() in SYSTEM:
                skip(os.path.join(folder, name), f"{name} is a folder that a system makes")
        below[:] = sorted(name for name in below if not _is_passed_over(name))
        yield (
            folder,
            pathlib.Path(folder).relative_to(root),
            [name for name in names if not name.startswith(".")],
        )


def _is_passed_over(folder: str) -> bool:
    return folder.startswith(".") or folder.lower() in SYSTEM


def _reason_to_skip(folder: str, name: str) -> str:
    """Returns the reason to skip a file; "" for an image."""
    suffix = os.path.splitext(name)[1].lower()
    if suffix in UNSUPPORTED:
        return f"{suffix} is not supported: convert it to JPEG or PNG"
    if suffix not in SUFFIXES:
        return f"{suffix or 'a file without a suffix'} is no image format"
    path = os.path.join(folder, name)
    try:
        return "" if stat.S_ISREG(os.stat(path).st_mode) else "not a file"
    except OSError:
        return "a link to nothing" if os.path.islink(path) else "it can't be read"


def class_names(root: str | os.PathLike, listing: Listing) -> tuple[str, ...]:
    """Returns the names of the folders directly in root: the classes.

    Raises:
        ValueError: fewer than two, one without images or with a name that is not UTF-8, or folders
            of a split such as train/ and val/.
    """
    counts = listing.counts()
    check_classes(root, listing.files, tuple(counts))
    if counts and {name.lower() for name in counts} <= PARTS:
        given = ", ".join(f"{name}/" for name in counts)
        raise ValueError(
            f"expected a folder per class, {root} holds {given}: give"
            f" --labeled_dir={root}/{max(counts, key=lambda name: 'train' in name.lower())} and"
            " --test_dir"
        )
    empty = [name for name, count in counts.items() if not count]
    if empty:
        raise ValueError(
            f"{root} has no image in {printable(', '.join(empty[:10]))}: add some or remove the"
            " folder"
        )
    if strange := [name for name in counts if any("\ud800" <= c <= "\udfff" for c in name)]:
        raise ValueError(
            f"{root} holds {printable(strange[0])}, a name that is not UTF-8: rename the folder"
        )
    if len(counts) < 2:
        raise ValueError(
            f"expected the folders of two classes or more, {root} holds"
            f" {printable(''.join(counts)) or 'none'}: add images of another class"
        )
    return tuple(counts)


def check_classes(root: str | os.PathLike, files: list[str], names: tuple[str, ...]) -> None:
    """Raises ValueError for an image outside of the classes' folders."""
    for file in files:
        if "/" not in file:
            raise ValueError(
                f"{printable(pathlib.Path(root, file))} is in no class's folder: put it into one of"
                f" {root}"
            )
    unknown = sorted({file.split("/")[0] for file in files} - set(names))
    if unknown:
        raise ValueError(
            f"{root}: expected folders of the labeled classes, {printable(', '.join(names))},"
            f" received {printable(', '.join(unknown))}: rename or remove them"
        )
