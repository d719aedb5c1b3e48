"""Labels -> which images are labeled (D), which are in the pool (U), and which classes are minor."""

from typing import NamedTuple

import numpy as np


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


def hold_out(labels: np.ndarray, each: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(kept, held) positions, int32 and sorted: `each` random images of every class apart, to choose settings on.

    labels: [n] int classes.
    """
    rng = np.random.default_rng([seed, 5])
    counts = np.bincount(labels)
    if each and each >= counts[counts > 0].min():
        raise ValueError(f"validation is {each}, but a class has only {counts[counts > 0].min()} images: hold out fewer")
    held = np.concatenate([rng.permutation(np.flatnonzero(labels == c))[:each] for c in range(len(counts))])
    return np.setdiff1d(np.arange(len(labels)), held).astype(np.int32), np.sort(held).astype(np.int32)


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
