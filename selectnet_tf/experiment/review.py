"""Folders of what a run picked, for a person to look through. The pictures themselves are only ever read."""

import contextlib
import errno
import os
import pathlib
import shutil
import stat
import uuid
from typing import BinaryIO

from selectnet_tf import recipes
from selectnet_tf.data.decisions import OFFERED
from selectnet_tf.experiment import runs
from selectnet_tf.files import FULL, digest, several, shown

LINKS = ("hard", "symbolic")
NOT_EMPTY = "is not an empty folder: give --review a new one"
LONGEST = 200  # bytes of a file's name: file systems allow 255


def check(target: str | None, links: str | None, recipe: recipes.Recipe) -> None:
    """Raises ValueError where a review can't work: better before the training than after it."""
    if not target:
        if links:
            raise ValueError("--review_links says how --review fills its folder: give --review too, or leave it out")
        return
    if recipe.dataset != "folder":
        raise ValueError("--review is for --dataset=folder: leave it out")
    if recipe.method not in recipes.SELECTING:
        raise ValueError(
            f"method {recipe.method} picks nothing to review: leave --review out, or use one of {', '.join(recipes.SELECTING)}"
        )
    place = pathlib.Path(target).expanduser().resolve()
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise ValueError(f"{target} {NOT_EMPTY}")
    for root in (root for roots in (recipe.labeled_dir, recipe.unlabeled_dir, recipe.test_dir) for root in several(roots or "")):
        if pathlib.Path(root).resolve() in (place, *place.parents):
            raise ValueError(f"{target} lies in {root}, where the next run would find every pick twice: give a folder elsewhere")


def review(folder: pathlib.Path, target: str | os.PathLike, links: str | None = None) -> tuple[int, list[str]]:
    """Copies the picks of a run's selected.csv into a folder for each pseudo-label.

    Delete the wrong ones there, move others to their class, and pass it as a second labeled_dir: a list in it, OFFERED, says
    what was offered, so that the next run knows what a person rejected and never tests on what a machine picked.

    Args:
        folder: the run's. target: a new folder, or an empty one; what is there at last is all or nothing.
        links: "hard" or "symbolic" links instead of copies: no space needed, but an edit there is an edit of the original.

    Returns:
        How many pictures are there, and a line for each that could not be put there.

    Raises:
        FileExistsError: target is not empty. OSError: no space.
    """
    target, lines, problems = pathlib.Path(target).resolve(), [("file", "digest", "label")], []
    made = not target.exists()
    target.mkdir(parents=True, exist_ok=True)
    if any(target.iterdir()):
        raise FileExistsError(f"{target} {NOT_EMPTY}")
    beside = target / f".{uuid.uuid4().hex[:8]}"
    try:
        beside.mkdir()
        for row in runs.read_csv(folder / "selected.csv"):
            source = pathlib.Path(row["file"])
            try:
                place = _put(source, beside / row["pseudo_label"], row["score"], links)
                lines.append((place.relative_to(beside).as_posix(), digest(place.read_bytes()), row["pseudo_label"]))
            except OSError as error:
                if error.errno in FULL:
                    raise
                problems.append(f"{shown(source)}: {error.strerror or error}")
        runs.write_csv(beside / OFFERED, lines)
        for path in sorted(beside.iterdir(), key=lambda path: path.name != OFFERED):  # that first: no picture is there without it
            path.rename(target / path.name)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
        with contextlib.suppress(OSError):
            if made:
                target.rmdir()  # where it is empty
    return len(lines) - 1, problems


def _put(source: pathlib.Path, folder: pathlib.Path, score: str, links: str | None) -> pathlib.Path:
    """Makes a new file or link for `source` in `folder`, under a name that no other has. Never opens an existing one."""
    if not stat.S_ISREG(source.stat().st_mode):
        raise OSError(errno.EINVAL, "not a file")
    folder.mkdir(parents=True, exist_ok=True)
    name = os.fsencode(f"{float(score):.4f}_{'_'.join(source.with_suffix('').parts[-3:])}".replace("/", "_"))
    stem, suffix = os.fsdecode(name[:LONGEST]), source.suffix[:16]
    for copy in range(1_000_000):
        place = folder / f"{stem}{f'~{copy + 1}' if copy else ''}{suffix}"
        try:
            if links == "hard":
                os.link(source.resolve(), place)
            elif links == "symbolic":
                os.symlink(source.resolve(), place)
            else:
                with open(source, "rb") as original, open(place, "xb") as new:
                    _copy(original, new, place)
            return place
        except FileExistsError:
            continue
    raise OSError(errno.EEXIST, "too many pictures of this name")


def _copy(original: BinaryIO, new: BinaryIO, place: pathlib.Path) -> None:
    try:
        shutil.copyfileobj(original, new)
    except OSError:
        place.unlink()
        raise
