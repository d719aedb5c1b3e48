"""Makes a Task of folders of images: labeled set, pool, and a test folder or a held-out fifth."""

import hashlib
import pathlib
from typing import NamedTuple

import numpy as np

from selectnet_tf._files import expand, printable
from selectnet_tf.data import splits
from selectnet_tf.data.folders import decisions, decoding, duplicates, listing
from selectnet_tf.data.folders.boxes import as_text
from selectnet_tf.data.folders.survey import Survey, describe_grays, survey_folders
from selectnet_tf.data.task import Task
from selectnet_tf.images import Images, Subset
from selectnet_tf.recipes import FolderData, TrainingRecipe

LABELED, TEST, UNLABELED, LEFT_OUT = "labeled", "test", "unlabeled", "left out"
COPY = "a duplicate within the pool"
DUPLICATE = "a duplicate of a labeled or test image"


class FolderImages(NamedTuple):
    """All readable images: labeled, test, pool.

    Attributes:
        images: [n, size, size, 3] uint8.
        files: n paths.
        inside: n paths below the folder that was given, with "/".
        marks: n digests of the files.
        pixels: n digests of the pixels.
        looks: n perceptual hashes.
        kind: [n] LABELED, TEST or UNLABELED, by folder.
        y: [n] classes, -1 in the pool.
        skipped: [(file, reason)] of unreadable files.
    """

    images: Images
    files: list[str]
    inside: list[str]
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
    some = list(filter(decoding.may_be_deep, seen.paths))
    levels, lines = describe_grays(decoding.read_headers(some), data)
    found = _read(data, seen, cache_dir, levels)
    names, minor = seen.names, seen.minor
    y, part, why = found.y.copy(), found.kind.copy(), np.full(len(found.files), "", object)
    _apply_decisions(seen, found, part, y, why)
    links = _find_links(found, part, why, data.copies)
    _drop_duplicates(found, part, y, why, links)
    bound: list[str] = []
    if not data.test_dir:
        groups, bound = _read_groups(data, found)
        usable = (part == LABELED) & (why == "") & (found.kind == LABELED)  # no accepted pick
        group = _bind(links, usable, y, groups)
        held = splits.hold_out_groups(
            y, names, _hash_fractions(found, seed, group, usable), group, usable
        )
        part[held] = TEST
        bound += _describe_leaks(links, part == TEST, part == LABELED)
        accepted = (part == LABELED) & (found.kind == UNLABELED)
        why[accepted & links.touch(held)] = "a near duplicate of a test image"
    bound += _correct_labels(seen, found, y, why)
    part[why != ""] = LEFT_OUT
    labeled, test, pool = (np.flatnonzero(part == kind) for kind in (LABELED, TEST, UNLABELED))
    counts = np.bincount(y[labeled], minlength=len(names))
    _check(names, minor, counts, np.bincount(y[test], minlength=len(names)))
    if selects and not len(pool):
        raise ValueError(
            f"no image of {data.unlabeled_dir} can be added: all are labeled by --decisions,"
            " duplicates of labeled ones, rejected or broken; give another --unlabeled_dir, or"
            " --method=logit_adjusted, which adds none"
        )
    said = [
        *_summarize(found, part, why, names, minor, counts, y),
        *_unmatched_decisions(data, seen, found),
        *bound,
        *lines,
    ]
    classes = [names[c] if c >= 0 else "" for c in y]
    boxes = [seen.boxes.get(pathlib.Path(file)) for file in found.files]
    table: list[tuple] = [("file", "digest", "part", "class", "why")]
    table += zip(found.files, found.marks, part, classes, why, strict=True)
    table += [(file, "", LEFT_OUT, "", why) for file, why in (*found.skipped, *seen.aside)]
    if data.boxes:
        cells = [as_text(box) for box in boxes]
        blank = [""] * (len(table) - 1 - len(cells))
        table = [(*row, cell) for row, cell in zip(table, ["box", *cells, *blank], strict=True)]
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
        levels=levels,
        boxes=boxes if data.boxes else None,
    )


def _read(
    data: FolderData, seen: Survey, cache_dir: pathlib.Path, levels: decoding.Levels | None
) -> FolderImages:
    images, files, inside, marks, pixels, looks = [], [], [], [], [], []
    kinds, y, skipped = [], [], []
    numbers = {name: c for c, name in enumerate(seen.names)}
    for kind, roots in ((LABELED, seen.labeled), (TEST, seen.test), (UNLABELED, seen.unlabeled)):
        for root, listed in roots.items():
            folder = listing.read_folder(
                root, data.image_size, cache_dir, data.fit, listed, levels, seen.boxes
            )
            images.append(folder.images)
            files += folder.paths(root)
            inside += folder.files
            marks += [one.mark for one in folder.cached]
            pixels += [one.pixels for one in folder.cached]
            looks += [one.look for one in folder.cached]
            kinds += [kind] * len(folder.files)
            folders = [file.split("/")[0] for file in folder.files]
            y += [-1 if kind == UNLABELED else numbers[name] for name in folders]
            skipped += [(str(root / file), why) for file, why in folder.skipped]
    return FolderImages(
        Images(*images),
        files,
        inside,
        np.array(marks),
        np.array(pixels),
        looks,
        np.array(kinds, object),
        np.array(y, np.int32),
        skipped,
    )


def _apply_decisions(
    seen: Survey, found: FolderImages, part: np.ndarray, y: np.ndarray, why: np.ndarray
) -> None:
    """Leaves out rejected images of the pool and labels accepted ones. Changes the arrays.

    A decision about a labeled image labels no copy of it in the pool.
    """
    accepted, rejected = seen.decisions
    own = set(found.marks[found.kind != UNLABELED])
    taken: set[str] = set()
    for i in np.flatnonzero(found.kind == UNLABELED):
        mark = found.marks[i]
        if mark in taken:
            why[i] = COPY
        elif mark in accepted and mark in own:
            why[i] = DUPLICATE
        elif mark in accepted:
            taken.add(mark)
            part[i], y[i] = LABELED, seen.names.index(accepted[mark])
        elif mark in rejected:
            why[i] = decisions.REJECTED


def _correct_labels(seen: Survey, found: FolderImages, y: np.ndarray, why: np.ndarray) -> list[str]:
    """Applies decisions about labeled images, after the split, which so stays.

    Changes the arrays. Returns a line on their number.
    """
    accepted, rejected = seen.decisions
    before = y.copy()
    for i in np.flatnonzero(found.kind == LABELED):
        if found.marks[i] in accepted:
            y[i] = seen.names.index(accepted[found.marks[i]])
        elif found.marks[i] in rejected:
            why[i] = why[i] or decisions.REJECTED
    count = int(((y != before) & (why == "")).sum())
    return [f"  {count:,} labels corrected by --decisions"] if count else []


def _unmatched_decisions(data: FolderData, seen: Survey, found: FolderImages) -> list[str]:
    """Returns a line on decisions without an image.

    Raises ValueError if no decision has an image, and some label one.
    """
    if not data.decisions:
        return []
    decided = seen.decisions.accepted.keys() | seen.decisions.rejected
    strange = len(decided - set(found.marks))
    if not decided:
        return [f"  {data.decisions} has no decision"]
    if strange and not seen.unlabeled:
        return [
            f"  {strange:,} of {len(decided):,} decisions have no effect without their pool: give"
            " --unlabeled_dir"
        ]
    if strange == len(decided) and seen.decisions.accepted:
        raise ValueError(
            f"none of the {strange:,} decisions is about one of these images, byte by byte: give"
            " --decisions of a review page of these folders"
        )
    if not strange:
        return []
    return [f"  {strange:,} of {len(decided):,} decisions are about none of these images"]


class Links(NamedTuple):
    """Duplicates among all images.

    Attributes:
        near: [k, 2] pairs of near duplicates; the first of a pair is labeled, tested or rejected.
        same: [n] numbers, equal for equal pixels.
    """

    near: np.ndarray
    same: np.ndarray

    def touch(self, some: np.ndarray) -> np.ndarray:
        """Returns which of all images [n] are duplicates, equal or near, of `some` [k]."""
        linked = np.isin(self.near, some)
        found = np.isin(self.same, self.same[some])
        found[self.near[linked[:, 0], 1]] = found[self.near[linked[:, 1], 0]] = True
        return found


def _find_links(found: FolderImages, part: np.ndarray, why: np.ndarray, copies: str) -> Links:
    """Returns the duplicates that --copies asks for."""
    first = (part != UNLABELED) | (why == decisions.REJECTED)
    order = np.argsort(~first, kind="stable")
    none = np.zeros((0, 2), np.int64)
    if copies == "none":
        return Links(none, np.arange(len(part)))
    same = np.unique(found.pixels, return_inverse=True)[1]
    if copies == "equal":
        return Links(none, same)
    looks = [found.looks[i] for i in order]
    images = Subset(found.images, order)
    return Links(order[duplicates.find_near_duplicates(looks, images, int(first.sum()))], same)


def _drop_duplicates(
    found: FolderImages, part: np.ndarray, y: np.ndarray, why: np.ndarray, links: Links
) -> None:
    """Writes the reason for leaving out duplicates into `why`."""
    same, labeled = links.same, np.flatnonzero(part == LABELED)
    twice, classes = np.unique(
        np.unique(np.stack([same[labeled], y[labeled]], 1), axis=0)[:, 0], return_counts=True
    )
    why[labeled[np.isin(same[labeled], twice[classes > 1])]] = "the same image is in two classes"
    tested = links.touch(np.flatnonzero(part == TEST))
    why[(part == LABELED) & tested & (why == "")] = "a duplicate of a test image"
    own = np.flatnonzero(part != UNLABELED)
    pool = (part == UNLABELED) & (why == "")
    rejected = links.touch(np.flatnonzero(why == decisions.REJECTED))
    why[pool & rejected] = "a near duplicate of a rejected image"
    why[pool & links.touch(own)] = "a near duplicate of a labeled or test image"
    why[pool & np.isin(same, same[own])] = DUPLICATE
    pool &= why == ""
    first = np.zeros(len(part), bool)
    first[np.flatnonzero(pool)[np.unique(same[pool], return_index=True)[1]]] = True
    why[pool & ~first] = COPY


def _bind(links: Links, usable: np.ndarray, y: np.ndarray, groups: list[str]) -> np.ndarray:
    """Returns [n] numbers of groups to hold out together.

    Equal images and those of one of `groups` ("": none) are always bound. Near duplicates are bound
    while all that are linked are at most two, or a third, of each of their classes: a fixed
    camera's are not.
    """
    n, places = len(y), np.flatnonzero(usable)
    near = links.near[usable[links.near].all(1)]
    number = duplicates.group_pairs(n, near)
    parts, amounts = np.unique(np.stack([number[places], y[places]], 1), axis=0, return_counts=True)
    sizes = np.bincount(y[places])[parts[:, 1]]
    large = (amounts > np.maximum(2, sizes / 3)) | ((amounts == sizes) & (amounts > 1))
    near = near[~np.isin(number[near[:, 0]], parts[large, 0])]
    codes = np.unique(groups, return_inverse=True)[1]
    named = places[np.array(groups)[places] != ""]
    equal = [duplicates.pairs_of_equal(links.same, places), duplicates.pairs_of_equal(codes, named)]
    return duplicates.group_pairs(n, np.concatenate([near, *equal]))


def _read_groups(data: FolderData, found: FolderImages) -> tuple[list[str], list[str]]:
    """Returns ([n] names of --group's groups, "" for an image without, lines for the screen).

    Raises ValueError, OSError for a file that names no image.
    """
    if not data.group:
        return [""] * len(found.files), []
    if data.group == "folder":  # one name below several classes is one group
        groups = ["/".join(file.split("/")[1:-1]) for file in found.inside]
    else:
        path = expand(data.group)
        rows = decisions.read_rows(path, "group", ("file", "group"))
        named: dict[str, str] = {}
        for row in rows:
            if (other := named.setdefault(row["file"], row["group"])) != row["group"]:
                raise ValueError(
                    f"--group: {path} has {printable(row['file'])} in {other!r} and in"
                    f" {row['group']!r}: give each file one group"
                )
        named |= {str((path.parent / file).absolute()): name for file, name in named.items()}
        pairs = zip(found.inside, found.files, strict=True)
        groups = [
            named.get(inside)
            or named.get(file)
            or named.get(str(pathlib.Path(file).absolute()))
            or ""
            for inside, file in pairs
        ]
    of_labeled = [name for name, kind in zip(groups, found.kind, strict=True) if kind == LABELED]
    alone = of_labeled.count("")
    if alone == len(of_labeled):
        raise ValueError(
            f"--group={data.group} names no labeled image's group: expected folders below the"
            " classes' folders, or a file column such as lynx/a.jpg"
        )
    said = f"  {len(set(of_labeled) - {''}):,} groups of labeled images"
    return groups, [said + (f"; {alone:,} images are in none" if alone else "")]


def _describe_leaks(links: Links, test: np.ndarray, labeled: np.ndarray) -> list[str]:
    count = int((test & links.touch(np.flatnonzero(labeled))).sum())
    if not count:
        return []
    return [
        f"  {count:,} test images have near duplicates that are trained on: too many of a class to"
        " hold out together; --group keeps them on one side"
    ]


def _hash_fractions(
    found: FolderImages, seed: int, group: np.ndarray, usable: np.ndarray
) -> np.ndarray:
    """Returns a number in [0, 1) per image [n]: a hash of the seed and its group's first digest."""
    first: dict[int, str] = {}
    for i in np.flatnonzero(usable):
        first[group[i]] = min(found.marks[i], first.get(group[i], found.marks[i]))
    hashes = [
        hashlib.blake2b(f"{seed} {first.get(g, '')}".encode(), digest_size=7).digest()
        for g in group
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
