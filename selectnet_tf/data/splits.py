"""Labels -> which images are labeled (D), which are in the pool (U), and which classes are minor."""

from typing import NamedTuple

import numpy as np

TEST_SHARE = 0.2  # of one's own labeled data, where there is no test set
AUTO = "auto"


class Split(NamedTuple):
    """labeled, unlabeled: [n_D], [n_U] int32, sorted positions, disjoint and together complete. minor: the classes."""

    labeled: np.ndarray
    unlabeled: np.ndarray
    minor: tuple


def of(recipe, labels):
    """The Split that a Recipe asks for. labels: [n] int classes of the whole training set."""
    if recipe.imb_factor is not None:
        return long_tailed(labels, recipe.imb_factor, recipe.minor, recipe.split, recipe.seed)
    return step(labels, recipe.minor, recipe.minor_ratio, recipe.major_ratio, recipe.split, recipe.seed)


def step(labels, minor, minor_ratio, major_ratio, how="random", seed=0):
    """Labels `minor_ratio` of each minor class and `major_ratio` of each other one (Section 4.1).

    Args:
        labels: [n] int classes.
        how: "random" from the seed, or "first" of each class in order (the released code).
    """
    counts = np.bincount(labels)
    keep = [int(n * (minor_ratio if c in minor else major_ratio) + 1e-9) for c, n in enumerate(counts)]
    return _split(labels, keep, minor, how, seed)


def long_tailed(labels, imb_factor, minor, how="random", seed=0):
    """Labels int(largest * imb_factor ** (i / (m - 1))) of class i (Cui et al. 2019); all others are the pool."""
    counts = np.bincount(labels)
    keep = [int(counts.max() * imb_factor ** (i / (len(counts) - 1.0))) for i in range(len(counts))]
    return _split(labels, np.minimum(keep, counts), minor, how, seed)


def make_imbalance(X, y, *, sampling_strategy, random_state=0):
    """Imbalanced-learn's function of this name, but what it leaves out becomes the pool: for trying things out.

    Args:
        X: [n, ...] array; y: [n] int classes from 0.
        sampling_strategy: {class: how many stay labeled}, the others keep all; or a callable from y to that.
        random_state: int, the seed.

    Returns:
        (x_labeled, y_labeled, x_unlabeled, y_unlabeled): what Pool takes, and the pool's true classes for checking.
    """
    X, y = np.asarray(X), np.asarray(y)
    wanted = sampling_strategy(y) if callable(sampling_strategy) else sampling_strategy
    keep = np.bincount(y)
    for c, k in wanted.items():
        if not 0 <= c < len(keep) or not 0 < k <= keep[c]:
            raise ValueError(f"sampling_strategy asks for {k} of class {c}, which has {keep[c] if 0 <= c < len(keep) else 0}")
        keep[c] = k
    split = _split(y, keep, tuple(wanted), "random", random_state or 0)
    return X[split.labeled], y[split.labeled], X[split.unlabeled], y[split.unlabeled]


def _split(labels, keep, minor, how, seed):
    rng = np.random.default_rng([seed, 0])
    labeled = []
    for c, k in enumerate(keep):
        places = np.flatnonzero(labels == c)
        if len(places) and not k:
            raise ValueError(f"class {c} keeps none of its {len(places)} images as labeled: use a larger ratio")
        labeled.append(places[:k] if how == "first" else rng.permutation(places)[:k])
    labeled = np.sort(np.concatenate(labeled)).astype(np.int32)
    unlabeled = np.setdiff1d(np.arange(len(labels), dtype=np.int32), labeled, assume_unique=True)
    return Split(labeled, unlabeled, tuple(minor))


def describe(split, labels):
    """One line: the real sizes and the real ratio."""
    counts = np.bincount(labels[split.labeled])
    minor = np.isin(labels, split.minor)
    d = f"D {len(split.labeled):,} ({minor[split.labeled].sum():,} minor)"
    u = f"U {len(split.unlabeled):,} ({minor[split.unlabeled].sum():,} minor)"
    return f"{d}, {u}, classes of {counts.min():,} to {counts.max():,}: ratio {counts.max() / counts.min():.4g}"


def hold_out(y, names, seed):
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


def minor_classes(wanted, names, counts):
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
