"""Lists a run's folders and checks them before any image is decoded."""

import collections
import itertools
import pathlib
import shutil
import time
from typing import Any, NamedTuple

import numpy as np

from selectnet_tf._files import expand, printable, split_paths
from selectnet_tf.data import splits
from selectnet_tf.data.folders import decisions, decoding, listing
from selectnet_tf.data.folders.boxes import Box, find_boxes
from selectnet_tf.recipes import FolderData, TrainingRecipe
from selectnet_tf.recipes.architectures import APPLICATIONS

MOST_CLASSES = 20  # shown on screen
SAMPLE = 12  # images decoded to estimate the time of all
# smallest images of keras.applications; 32 for the other networks
SMALLEST = {"Xception": 71, "InceptionV3": 75}
FEW = 100  # labeled images of a class, too few to train a network from scratch
SUGGESTED = ("image_size", "arch", "epochs")
LARGEST = 64  # --image_size where it is not given, at most
LOOKED_AT = 200  # images whose sizes it follows
SEEN = 250_000  # images that --epochs where it is not given trains on, about


class Survey(NamedTuple):
    """Folders of a run before decoding.

    Attributes:
        names: the class names.
        minor: the minor classes.
        labeled: {folder: Listing} of the labeled set.
        test: {folder: Listing} of the test set.
        unlabeled: {folder: Listing} of the pool.
        decisions: from review pages.
        boxes: {image: its box} by --boxes.
        says: lines for the screen.
    """

    names: tuple[str, ...]
    minor: tuple[int, ...]
    labeled: dict[pathlib.Path, listing.Listing]
    test: dict[pathlib.Path, listing.Listing]
    unlabeled: dict[pathlib.Path, listing.Listing]
    decisions: decisions.Decisions
    boxes: dict[pathlib.Path, Box]
    says: list[str]

    @property
    def listings(self) -> dict[pathlib.Path, listing.Listing]:
        """{folder: Listing} of all folders."""
        return {**self.labeled, **self.test, **self.unlabeled}

    @property
    def paths(self) -> list[pathlib.Path]:
        """The images of all folders."""
        return [root / file for root, each in self.listings.items() for file in each.files]

    @property
    def aside(self) -> list[tuple[str, str]]:
        """[(file, reason)] of the files that aren't images."""
        every = self.listings.items()
        return [(str(root / file), why) for root, each in every for file, why in each.aside]


def survey_folders(data: FolderData, training: TrainingRecipe) -> Survey:
    """Returns a Survey of a recipe's folders, without decoding images.

    Raises ValueError, OSError in one line for what doesn't fit the recipe.
    """
    roots = {
        flag: [pathlib.Path(root) for root in split_paths(getattr(data, flag) or "")]
        for flag in ("labeled_dir", "test_dir", "unlabeled_dir")
    }
    _check_places(roots, data.copies)
    labeled, test, unlabeled = (
        {root: listing.list_images(root) for root in some} for some in roots.values()
    )
    names = listing.class_names(*next(iter(labeled.items())))
    for root in (*labeled, *test):
        listing.check_classes(root, (labeled | test)[root].files, names)
    counts, tests = count_images(labeled, names), count_images(test, names)
    minor = splits.minor_classes(data.minor, names, counts)
    _check_counts(data, names, minor, counts, tests)
    if data.group not in (None, "folder"):
        decisions.read_rows(expand(data.group), "group", ("file", "group"))
    _check_network(training, data.image_size)
    decided = decisions.read_decisions(data.decisions or "", names)
    found = Survey(names, minor, labeled, test, unlabeled, decided, {}, [])
    files = {root: each.files for root, each in found.listings.items()}
    boxes, cropped = find_boxes(data.boxes, files)
    pool = sum(len(each.files) for each in unlabeled.values())
    held = f"{tests.sum():,} test images" if test else "about a fifth of them held out as test set"
    sizes = f"{counts.sum():,} labeled images of {len(names)} classes, {held}; {pool:,} unlabeled"
    lines = _describe(found, training, counts, tests)
    return found._replace(boxes=boxes, says=[sizes, *lines, *cropped])


def count_images(
    listings: dict[pathlib.Path, listing.Listing], names: tuple[str, ...]
) -> np.ndarray:
    """Returns the number of images per class, [m]."""
    found: collections.Counter = collections.Counter()
    for each in listings.values():
        found.update(each.counts())
    return np.array([found[name] for name in names])


def suggest(found: Survey, training: TrainingRecipe) -> dict[str, Any]:
    """Returns values of SUGGESTED for a command that does not give them.

    Images keep their median shorter side, up to 64 pixels. Fewer labeled images get a smaller
    network and more epochs. With --weights, only the epochs are suggested.
    """
    paths = [root / file for root, each in found.labeled.items() for file in each.files]
    epochs = {"epochs": 10 * round(min(max(SEEN / len(paths), 30), 200) / 10)}
    if training.weights:
        return epochs
    sides = decoding.read_headers(paths[:: -(-len(paths) // LOOKED_AT)]).sides
    side = int(np.median([min(side) for side in sides])) if sides else LARGEST
    least = max(16, _smallest(training.arch))
    arch = "resnet20" if len(paths) >= 1000 else "resnet8"
    return {"image_size": max(min(side, LARGEST), least), "arch": arch, **epochs}


def describe_files(
    found: Survey, data: FolderData, cache_dir: pathlib.Path
) -> tuple[list[str], list[str], float]:
    """Returns --dry_run's (lines, lines that a Task says, too, seconds of decoding).

    The latter lines are on bit depths, pages and unreadable files.
    """
    import imagehash  # noqa: F401  # by decoding, whose time is taken

    paths = found.paths
    headers = decoding.read_headers(paths)
    levels, known = describe_grays(headers, data)
    said = []
    if headers.sides:
        widths, heights = np.array(headers.sides).T
        middle = f"{int(np.median(widths)):,} x {int(np.median(heights)):,}"
        said.append(
            f"  sizes: {widths.min():,} x {heights.min():,} to {widths.max():,} x"
            f" {heights.max():,}, median {middle}"
        )
    some = paths[:: max(1, len(paths) // SAMPLE)]
    start = time.perf_counter()
    for path in some:
        try:
            box = found.boxes.get(path)
            decoding.decode_and_look(path, data.image_size, data.fit, levels, box)
        except Exception as error:  # Pillow's plugins raise whatever a damaged file makes them
            known.append(f"  unreadable: {printable(path)} ({decoding.describe_failure(error)})")
    seconds = (time.perf_counter() - start) / max(1, len(some)) * len(paths)
    need = len(paths) * data.image_size**2 * 3 / 1e6
    place = next(p for p in (cache_dir.absolute(), *cache_dir.absolute().parents) if p.exists())
    free = shutil.disk_usage(place).free / 1e6
    said.append(
        f"  decoding takes {need:,.0f} MB in {cache_dir} ({free:,.0f} MB free) and about"
        f" {seconds:,.0f} s on one core"
    )
    said += ["  warning: the disk is too small"] if need > free else []
    return said, known, seconds


def describe_grays(
    headers: decoding.Headers, data: FolderData
) -> tuple[decoding.Levels | None, list[str]]:
    """Returns (range of the grayscale images of more than 8 bits, lines on these and on pages)."""
    levels, said = None, []
    if headers.deep:
        levels = data.levels() or decoding.find_levels(headers.deep)
    if levels:
        given = "as --white says" if data.white else "--white sets another range"
        said.append(
            f"  {len(headers.deep):,} grayscale images of more than 8 bits:"
            f" {levels[0]:,.6g} becomes black, {levels[1]:,.6g} white in all; {given}"
        )
    elif data.white:
        said.append("  --white has no effect: no grayscale image has more than 8 bits")
    if headers.pages:
        said.append(
            f"  {len(headers.pages):,} files have several pages, the first is read:"
            f" {', '.join(path.name for path in headers.pages[:5])}"
        )
    return levels, said


def _check_places(roots: dict[str, list[pathlib.Path]], copies: str) -> None:
    """Raises FileNotFoundError, ValueError for folders that are missing or hold each other.

    Only the pool may hold other folders, unless its copies of labeled and test images are kept.
    """
    for flag, places in roots.items():
        for place in places:
            if not place.is_dir():
                raise FileNotFoundError(
                    f"--{flag}: expected a folder of images, received {place}, which is no folder"
                )
    for (flag, outer), (_, inner) in itertools.permutations(
        [(flag, place.resolve()) for flag, places in roots.items() for place in places], 2
    ):
        if inner == outer:
            every = ", ".join(f"--{flag}" for flag in roots)
            raise ValueError(f"{inner} is given twice: give different folders to {every}")
        if outer in inner.parents and (flag != "unlabeled_dir" or copies == "none"):
            raise ValueError(f"{inner} is in {outer}: give folders side by side")


def _check_counts(
    data: FolderData,
    names: tuple[str, ...],
    minor: tuple[int, ...],
    counts: np.ndarray,
    tests: np.ndarray,
) -> None:
    if not data.test_dir:
        single = [names[c] for c in np.flatnonzero(counts < 2)]
        if single:
            raise ValueError(
                f"expected two images or more per class, {single[0]} has one: add images, or give"
                " --test_dir"
            )
    elif any(not tests[c] for c in minor):
        missing = ", ".join(names[c] for c in minor if not tests[c])
        raise ValueError(
            f"{data.test_dir} has no image of the minor class {missing}: add some to --test_dir"
        )


def _smallest(arch: str) -> int:
    """Returns the smallest side of the images that a network takes."""
    return SMALLEST.get(arch, 32) if arch in APPLICATIONS else 12


def _check_network(training: TrainingRecipe, image_size: int) -> None:
    smallest, weights = _smallest(training.arch), training.weights
    if image_size < smallest:
        raise ValueError(
            f"{training.arch} needs images of at least {smallest} x {smallest}: give a larger"
            f" --image_size than {image_size}"
        )
    if weights and weights != "imagenet" and not expand(weights).is_file():
        raise ValueError(
            f"--weights: expected imagenet or a file, received {weights}, which is no file"
        )


def _describe(
    found: Survey, training: TrainingRecipe, counts: np.ndarray, tests: np.ndarray
) -> list[str]:
    order = sorted(range(len(counts)), key=lambda c: (counts[c], found.names[c]))[:MOST_CLASSES]
    sizes = [
        f"{found.names[c]} {counts[c]:,}"
        + f" + {tests[c]:,} test" * bool(found.test)
        + " (minor)" * (c in found.minor)
        for c in order
    ]
    more = f", and {len(counts) - len(order):,} larger classes" if len(counts) > len(order) else ""
    said = [f"  by class: {', '.join(sizes)}{more}"]
    untested = [found.names[c] for c in np.flatnonzero(tests == 0)] if found.test else []
    said += [f"  without a test image: {', '.join(untested[:MOST_CLASSES])}"] if untested else []
    reasons = collections.Counter(why for _, why in found.aside)
    said += [
        f"  not read: {count:,} files, {why}" for why, count in reasons.most_common(MOST_CLASSES)
    ]
    if not training.weights and counts.min() < FEW:
        said.append(
            f"  a class has under {FEW} images: also try a pretrained network, --arch=MobileNetV2"
            " --weights=imagenet --freeze"
        )
    return said
