"""A recipe's data: what it trains on, selects from, is tested on and audited with."""

import pathlib
from typing import NamedTuple

import numpy as np

from selectnet_tf.data import cifar, folders, frames, splits
from selectnet_tf.images import Images, Subset

TEST_SHARE = 0.2  # of labeled_dir, where there is no test_dir
AUTO = "auto"


class Task(NamedTuple):
    """The images and classes behind a run, D first and then U.

    x_labeled, x_unlabeled, x_test: [.., H, W, C] uint8. y_labeled, y_test: int32 classes. names: the m classes' names.
    minor: the minor classes. truth: [n_D + n_U] true classes, -1 where nobody knows; only the audit may read it.
    index: [n_D + n_U] places in the original training set, or in `files` where the images are files.
    says: lines for the screen. files: where each came from, by `index`. encode: for tables, what makes rows into inputs.
    """

    x_labeled: Subset
    y_labeled: np.ndarray
    x_unlabeled: Subset
    x_test: np.ndarray
    y_test: np.ndarray
    names: tuple
    minor: tuple
    truth: np.ndarray
    index: np.ndarray
    says: list
    files: list | None = None
    encode: frames.Encoder | None = None

    @property
    def by_index(self):
        """The images as an array that is indexed by what stands in `index`."""
        return _ByIndex(Images(self.x_labeled, self.x_unlabeled), self.index)


class _ByIndex:
    def __init__(self, images, places):
        self.images, self.places = images, places

    def __getitem__(self, indices):
        order = np.argsort(self.places)
        return self.images[order[np.searchsorted(self.places, indices, sorter=order)]]


def make(recipe, data_dir=None, cache_dir=None):
    """The Task of a recipe. data_dir: see cifar.load; cache_dir: where decoded pictures go.

    Raises:
        ValueError, OSError: in one line, what is wrong and what to do.
    """
    if recipe.dataset == "folder":
        return _folder(recipe, cache_dir)
    return _table(recipe) if recipe.dataset == "csv" else _benchmark(recipe, data_dir)


def _benchmark(recipe, data_dir):
    """Section 4.1's and 4.4's sets: the labels of all but `split.labeled` are hidden. The oracle alone gets all labels."""
    found = cifar.load(recipe.dataset, data_dir)
    kept, held = splits.hold_out(found.y, recipe.validation, recipe.seed)
    split = splits.of(recipe, found.y[kept])
    labeled, unlabeled, says = kept[split.labeled], kept[split.unlabeled], [splits.describe(split, found.y[kept])]
    if recipe.validation:
        found = found._replace(x_test=found.x[held], y_test=found.y[held])
        says.append(f"  tested on {len(held):,} images that were held out of the training set, not on the test set")
    if recipe.method == "oracle":
        labeled, unlabeled = kept, unlabeled[:0]
        says.append(f"  the oracle trains on all {len(labeled):,} images with their true classes")
    index = np.concatenate([labeled, unlabeled])
    names = cifar.class_names(recipe.dataset, found.classes)
    return Task(
        Subset(found.x, labeled), found.y[labeled], Subset(found.x, unlabeled), found.x_test, found.y_test, names, recipe.minor,
        found.y[index], index, says,
    )  # fmt: skip


def _folder(recipe, cache_dir):
    """labeled_dir with a folder for each class, unlabeled_dir of any shape, test_dir as labeled_dir or a part held out."""
    (labeled, paths), (pool, pool_paths), (test, _) = (
        _pictures(roots, recipe.image_size, cache_dir) for roots in (recipe.labeled_dir, recipe.unlabeled_dir, recipe.test_dir)
    )
    names, y = labeled.classes(recipe.labeled_dir)
    if test.files:
        kept, (x_test, y_test) = np.arange(len(y)), (test.images, test.classes(recipe.test_dir, names)[1])
    else:
        kept, held = _hold_out(y, names, recipe.seed)
        x_test, y_test = Subset(labeled.images, held), y[held]
    known = {*labeled.digests, *test.digests}
    places = np.array([i for i, digest in enumerate(pool.digests) if digest not in known], int)
    minor = _minor(recipe.minor, names, np.bincount(y[kept], minlength=len(names)))
    held_out = "" if test.files else f", {len(y_test):,} of them held out for the test"
    says = [f"{len(y):,} labeled pictures of {len(names)} classes{held_out}; {len(places):,} unlabeled ones"]
    says.append("  minor classes: " + ", ".join(f"{names[c]} ({(y[kept] == c).sum():,} labeled)" for c in minor))
    if len(places) < len(pool.files):
        says.append(f"  {len(pool.files) - len(places):,} unlabeled pictures stand among the labeled or test ones too: left out")
    says += [f"  skipped {file}: {why}" for found in (labeled, pool, test) for file, why in found.skipped[:20]]
    says += [f"  and {len(found.skipped) - 20:,} more" for found in (labeled, pool, test) if len(found.skipped) > 20]
    index = np.concatenate([kept, len(y) + places])
    truth = np.concatenate([y[kept], np.full(len(places), -1)]).astype(np.int32)
    x_unlabeled = Subset(pool.images if pool.files else labeled.images, places)
    return Task(Subset(labeled.images, kept), y[kept], x_unlabeled, x_test, y_test, names, minor, truth, index, says, paths + pool_paths)


def _table(recipe):
    """CSV files: labeled_csv, unlabeled_csv with the same columns, test_csv or a part held out."""
    frame, labels = frames.read(recipe.labeled_csv, recipe.label_column)
    names = tuple(sorted(set(labels)))
    if len(names) < 2:
        raise ValueError(f"{recipe.labeled_csv} has one class, {names[0]}: at least two are needed")
    y = np.searchsorted(names, labels).astype(np.int32)
    pool = frames.read(recipe.unlabeled_csv, recipe.label_column, labeled=False)[0] if recipe.unlabeled_csv else frame.iloc[:0]
    try:
        encode = frames.Encoder([frame, pool[[c for c in frame if c in pool]]])
        x, x_unlabeled = encode(frame), encode(pool)
    except ValueError as error:
        raise ValueError(f"{recipe.labeled_csv}, {recipe.unlabeled_csv}: {error}") from None
    if recipe.test_csv:
        test, labels = frames.read(recipe.test_csv, recipe.label_column)
        unknown = sorted(set(labels) - set(names))
        if unknown:
            raise ValueError(f"{recipe.test_csv}: {', '.join(unknown)} are no classes of the labeled rows ({', '.join(names)})")
        kept, x_test, y_test = np.arange(len(y)), encode(test), np.searchsorted(names, labels).astype(np.int32)
    else:
        kept, held = _hold_out(y, names, recipe.seed)
        x_test, y_test = x[held], y[held]
    minor = _minor(recipe.minor, names, np.bincount(y[kept], minlength=len(names)))
    held_out = "" if recipe.test_csv else f", {len(y_test):,} of them held out for the test"
    says = [f"{len(y):,} labeled rows of {len(names)} classes{held_out}; {len(pool):,} unlabeled ones; {x.shape[1]} inputs"]
    says.append("  minor classes: " + ", ".join(f"{names[c]} ({(y[kept] == c).sum():,} labeled)" for c in minor))
    index = np.concatenate([kept, len(y) + np.arange(len(pool))])
    truth = np.concatenate([y[kept], np.full(len(pool), -1)]).astype(np.int32)
    lines = [f"{recipe.labeled_csv}:{i + 2}" for i in range(len(y))] + [f"{recipe.unlabeled_csv}:{i + 2}" for i in range(len(pool))]
    return Task(Subset(x, kept), y[kept], x_unlabeled, x_test, y_test, names, minor, truth, index, says, lines, encode)


def _pictures(roots, size, cache_dir):
    """(Folder of all pictures below "A" or "A,B" with paths for files, the classes' part of its paths); empty for None."""
    roots = [root.strip() for root in (roots or "").split(",") if root.strip()]
    found = [folders.read(root, size, cache_dir) for root in roots]
    images = Images(*(f.images for f in found)) if found else None
    return folders.Folder(
        images,
        [file for f in found for file in f.files],
        [digest for f in found for digest in f.digests],
        [(str(pathlib.Path(root, file)), why) for root, f in zip(roots, found, strict=True) for file, why in f.skipped],
    ), [path for root, f in zip(roots, found, strict=True) for path in f.paths(root)]


def _hold_out(y, names, seed):
    """(kept, held) places: about a fifth of each class, at least one picture of each on both sides."""
    rng = np.random.default_rng([seed, 3])
    held = []
    for c, name in enumerate(names):
        places = rng.permutation(np.flatnonzero(y == c))
        if len(places) < 2:
            raise ValueError(f"class {name} has one picture: give it two or more, so that one can be held out, or a --test_dir")
        held.append(places[: max(1, round(len(places) * TEST_SHARE))])
    held = np.sort(np.concatenate(held))
    return np.setdiff1d(np.arange(len(y)), held), held


def _minor(wanted, names, counts):
    """Minor classes as numbers: from names or numbers, or those of less than half the median size."""
    if tuple(wanted) == (AUTO,):
        found = np.flatnonzero(counts < np.median(counts) / 2)
        if not len(found) or len(found) == len(names):
            sizes = ", ".join(f"{n}: {c}" for n, c in zip(names, counts, strict=True))
            raise ValueError(f"no class has less than half the median's pictures ({sizes}): name the minor ones with --minor")
        return tuple(int(c) for c in found)
    places = []
    for word in map(str, wanted):
        if word in names:
            places.append(names.index(word))
        elif word.isdigit() and int(word) < len(names):
            places.append(int(word))
        else:
            raise ValueError(f"minor class {word!r} is none of {', '.join(names)}")
    if len(set(places)) == len(names):
        raise ValueError("every class is minor: at least one has to be major")
    return tuple(sorted(set(places)))
