"""Makes a Task of folders of images: labeled set, pool, and a test folder or a held-out fifth."""

import hashlib
import pathlib
from typing import NamedTuple

import numpy as np

from selectnet_tf._files import printable
from selectnet_tf.data import splits
from selectnet_tf.data.folders import decisions, duplicates, listing
from selectnet_tf.data.folders.survey import Survey, survey_folders
from selectnet_tf.data.task import Task
from selectnet_tf.images import Images, Subset
from selectnet_tf.recipes import FolderData, TrainingRecipe

LABELED, TEST, UNLABELED, LEFT_OUT = "labeled", "test", "unlabeled", "left out"
COPY = "a duplicate within the pool"


class FolderImages(NamedTuple):
    """All readable images: labeled, test, pool.

    Attributes:
        images: [n, size, size, 3] uint8.
        files: n paths.
        marks: n digests of the files.
        pixels: n digests of the pixels.
        looks: n perceptual hashes.
        kind: [n] LABELED, TEST or UNLABELED, by folder.
        y: [n] classes, -1 in the pool.
        skipped: [(file, reason)] of unreadable files.
    """

    images: Images
    files: list[str]
    marks: np.ndarray
    pixels: np.ndarray
    looks: list[str]
    kind: np.ndarray
    y: np.ndarray
    skipped: list[tuple[str, str]]


def make_folder_task(
    data: FolderData,
    training: TrainingRecipe,
    seed: int,
    selects: bool,
    cache_dir: pathlib.Path,
    seen: Survey | None = None,
) -> Task:
    """Returns the Task of a recipe's folders, without duplicates across its parts.

    seen: the folders' Survey; None: they are surveyed. Raises ValueError, OSError in one line.
    """
    seen = seen or survey_folders(data, training)
    found = _read(data, seen, cache_dir)
    names, minor = seen.names, seen.minor
    y, part, why = found.y.copy(), found.kind.copy(), np.full(len(found.files), "", object)
    _apply_decisions(seen, found, part, y, why)
    group = _drop_duplicates(found, part, y, why)
    if not data.test_dir:
        usable = (part == LABELED) & (why == "") & (found.kind == LABELED)  # no accepted pick
        held = splits.hold_out_groups(y, names, _hash_fractions(found, seed), group, usable)
        part[held] = TEST
        near = (part == LABELED) & np.isin(group, group[held])
        why[near & (why == "")] = "a near duplicate of a test image"
    part[why != ""] = LEFT_OUT
    labeled, test, pool = (np.flatnonzero(part == kind) for kind in (LABELED, TEST, UNLABELED))
    counts = np.bincount(y[labeled], minlength=len(names))
    _check(names, minor, counts, np.bincount(y[test], minlength=len(names)))
    if selects and not len(pool):
        raise ValueError(
            f"no image of {data.unlabeled_dir} can be added: all are duplicates of labeled ones,"
            " rejected or broken; give another --unlabeled_dir"
        )
    said = [
        *_summarize(found, part, why, names, minor, counts, y),
        *_unmatched_decisions(data, seen, found),
    ]
    table = [("file", "digest", "part", "class", "why")]
    rows = zip(
        found.files, found.marks, part, [names[c] if c >= 0 else "" for c in y], why, strict=True
    )
    table += [
        *rows,
        *((file, "", LEFT_OUT, "", reason) for file, reason in (*found.skipped, *seen.aside)),
    ]
    index = np.concatenate([labeled, pool])
    truth = np.concatenate([y[labeled], np.full(len(pool), -1)]).astype(np.int32)
    return Task(
        Subset(found.images, labeled),
        y[labeled],
        Subset(found.images, pool),
        Subset(found.images, test),
        y[test],
        names,
        minor,
        truth,
        index,
        said,
        found.files,
        listing=table,
        fit=data.fit,
    )


def _read(data: FolderData, seen: Survey, cache_dir: pathlib.Path) -> FolderImages:
    images, files, marks, pixels, looks, kinds, classes, skipped = [], [], [], [], [], [], [], []
    for kind, roots in ((LABELED, seen.labeled), (TEST, seen.test), (UNLABELED, seen.unlabeled)):
        for root, listed in roots.items():
            folder = listing.read_folder(root, data.image_size, cache_dir, data.fit, listed)
            images.append(folder.images)
            files += folder.paths(root)
            marks += folder.marks
            pixels += folder.digests
            looks += folder.looks
            kinds += [kind] * len(folder.files)
            classes.append(
                np.full(len(folder.files), -1)
                if kind == UNLABELED
                else folder.classes(root, seen.names)[1]
            )
            skipped += [(str(root / file), why) for file, why in folder.skipped]
    y = np.concatenate(classes).astype(np.int32)
    return FolderImages(
        Images(*images),
        files,
        np.array(marks),
        np.array(pixels),
        looks,
        np.array(kinds, object),
        y,
        skipped,
    )


def _apply_decisions(
    seen: Survey, found: FolderImages, part: np.ndarray, y: np.ndarray, why: np.ndarray
) -> None:
    """Leaves out rejected images of the pool and labels accepted ones. Changes the arrays."""
    accepted, rejected = seen.decisions
    taken: set[str] = set()
    for i in np.flatnonzero(found.kind == UNLABELED):
        mark = found.marks[i]
        if mark in taken:
            why[i] = COPY
        elif mark in accepted:
            taken.add(mark)
            part[i], y[i] = LABELED, seen.names.index(accepted[mark])
        elif mark in rejected:
            why[i] = decisions.REJECTED


def _unmatched_decisions(data: FolderData, seen: Survey, found: FolderImages) -> list[str]:
    """Returns a line on decisions without an image.

    Raises ValueError if no decision has an image, and some label one.
    """
    if not data.decisions:
        return []
    if not seen.unlabeled:
        return ["  decisions have no effect without their pool: give --unlabeled_dir"]
    decided = seen.decisions.accepted.keys() | seen.decisions.rejected
    strange = len(decided - set(found.marks))
    if not decided:
        return [f"  {data.decisions} has no decision"]
    if strange == len(decided) and seen.decisions.accepted:
        raise ValueError(
            f"none of the {strange:,} decisions is about an image of this pool, byte by byte: give"
            " --decisions of this pool's review page"
        )
    if not strange:
        return []
    return [f"  {strange:,} of {len(decided):,} decisions are about no image of this pool"]


def _drop_duplicates(
    found: FolderImages, part: np.ndarray, y: np.ndarray, why: np.ndarray
) -> np.ndarray:
    """Writes the reason for leaving out duplicates into `why`.

    Returns [n] groups of near duplicates among labeled and test images.
    """
    n, own, rejected = (
        len(part),
        np.flatnonzero(part != UNLABELED),
        np.flatnonzero(why == decisions.REJECTED),
    )
    order = np.concatenate(
        [own, rejected, np.flatnonzero((part == UNLABELED) & (why != decisions.REJECTED))]
    )
    pairs = duplicates.find_near_duplicates(
        [found.looks[i] for i in order], Subset(found.images, order), len(own) + len(rejected)
    )
    pairs = order[pairs]
    _, same = np.unique(found.pixels, return_inverse=True)
    labeled = np.flatnonzero(part == LABELED)
    twice, classes = np.unique(
        np.unique(np.stack([same[labeled], y[labeled]], 1), axis=0)[:, 0], return_counts=True
    )
    why[labeled[np.isin(same[labeled], twice[classes > 1])]] = "the same image is in two classes"
    inside = pairs[(part[pairs] != UNLABELED).all(1)]
    group = duplicates.group_pairs(
        n, np.concatenate([inside, duplicates.pairs_of_equal(same, own)])
    )
    tested = np.isin(group, group[part == TEST])
    why[(part == LABELED) & tested & (why == "")] = "a duplicate of a test image"
    of_own, of_rejected = (
        np.isin(np.arange(n), pairs[np.isin(pairs[:, 0], some)][:, 1]) for some in (own, rejected)
    )
    pool = (part == UNLABELED) & (why == "")
    why[pool & of_rejected] = "a near duplicate of a rejected image"
    why[pool & of_own] = "a near duplicate of a labeled or test image"
    why[pool & np.isin(same, same[own])] = "a duplicate of a labeled or test image"
    pool &= why == ""
    first = np.zeros(n, bool)
    first[np.flatnonzero(pool)[np.unique(same[pool], return_index=True)[1]]] = True
    why[pool & ~first] = COPY
    return group


def _hash_fractions(found: FolderImages, seed: int) -> np.ndarray:
    """Returns a number in [0, 1) per image [n] that depends on its bytes and the seed only."""
    hashes = [
        hashlib.blake2b(f"{seed} {mark}".encode(), digest_size=7).digest() for mark in found.marks
    ]
    return np.array([int.from_bytes(each, "big") for each in hashes]) / 2**56


def _check(names: tuple, minor: tuple, counts: np.ndarray, tested: np.ndarray) -> None:
    for what, found, classes in (("labeled", counts, range(len(names))), ("test", tested, minor)):
        missing = [names[c] for c in classes if not found[c]]
        if missing:
            raise ValueError(
                f"no {what} image of {', '.join(missing[:10])} can be used: add some or remove the"
                " class"
            )


def _summarize(
    found: FolderImages,
    part: np.ndarray,
    why: np.ndarray,
    names: tuple,
    minor: tuple,
    counts: np.ndarray,
    y: np.ndarray,
) -> list[str]:
    sizes = {kind: int((part == kind).sum()) for kind in (LABELED, TEST, UNLABELED)}
    said = [
        f"{sizes[LABELED]:,} labeled images, {sizes[TEST]:,} test images,"
        f" {sizes[UNLABELED]:,} unlabeled"
    ]
    tests = np.bincount(y[part == TEST], minlength=len(names))
    said.append(
        "  minor classes: "
        + ", ".join(f"{names[c]} ({counts[c]:,} labeled, {tests[c]:,} test)" for c in minor)
    )
    reasons, amounts = np.unique(why[why != ""].astype(str), return_counts=True)
    said += [
        f"  left out: {amount:,}, {reason}" for reason, amount in zip(reasons, amounts, strict=True)
    ]
    said += [f"  skipped {printable(file)}: {reason}" for file, reason in found.skipped[:20]]
    return said + ([f"  and {len(found.skipped) - 20:,} more"] if len(found.skipped) > 20 else [])
