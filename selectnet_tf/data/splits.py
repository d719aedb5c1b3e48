"""Labels -> which images are labeled (D), which are in the pool (U), and which classes are minor."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from selectnet_tf.recipes import Recipe


class Split(NamedTuple):
    """labeled, unlabeled: [n_D], [n_U] int32, sorted positions, disjoint and together complete. minor: the classes."""

    labeled: np.ndarray
    unlabeled: np.ndarray
    minor: tuple[int, ...]


def of(recipe: Recipe, labels: np.ndarray) -> Split:
    """The Split that a Recipe asks for. labels: [n] int classes of the whole training set."""
    minor = [int(c) for c in recipe.minor]
    if recipe.imb_factor is not None:
        return long_tailed(labels, recipe.imb_factor, minor, recipe.split, recipe.seed)
    return step(labels, minor, recipe.minor_ratio or 1.0, recipe.major_ratio or 1.0, recipe.split, recipe.seed)


def step(labels: np.ndarray, minor: Sequence[int], minor_ratio: float, major_ratio: float, how: str = "random", seed: int = 0) -> Split:
    """Labels `minor_ratio` of each minor class and `major_ratio` of each other one (Section 4.1).

    Args:
        labels: [n] int classes.
        how: "random" from the seed, or "first" of each class in order (the released code).
    """
    counts = np.bincount(labels)
    keep = [int(n * (minor_ratio if c in minor else major_ratio) + 1e-9) for c, n in enumerate(counts)]
    return _split(labels, keep, minor, how, seed)


def long_tailed(labels: np.ndarray, imb_factor: float, minor: Sequence[int], how: str = "random", seed: int = 0) -> Split:
    """Labels int(largest * imb_factor ** (i / (m - 1))) of class i (Cui et al. 2019); all others are the pool."""
    counts = np.bincount(labels)
    keep = [int(counts.max() * imb_factor ** (i / (len(counts) - 1.0))) for i in range(len(counts))]
    return _split(labels, np.minimum(keep, counts), minor, how, seed)


def make_imbalance(
    X: np.ndarray,
    y: np.ndarray,
    *,
    sampling_strategy: Mapping[int, int] | Callable[[np.ndarray], Mapping[int, int]],
    random_state: int | None = 0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
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


def _split(labels: np.ndarray, keep: Sequence[int] | np.ndarray, minor: Sequence[int], how: str, seed: int) -> Split:
    rng = np.random.default_rng([seed, 0])
    parts = []
    for c, k in enumerate(keep):
        places = np.flatnonzero(labels == c)
        if len(places) and not k:
            raise ValueError(f"class {c} keeps none of its {len(places)} images as labeled: use a larger ratio")
        parts.append(places[:k] if how == "first" else rng.permutation(places)[:k])
    labeled = np.sort(np.concatenate(parts)).astype(np.int32)
    unlabeled = np.setdiff1d(np.arange(len(labels), dtype=np.int32), labeled, assume_unique=True)
    return Split(labeled, unlabeled, tuple(minor))


def describe(split: Split, labels: np.ndarray) -> str:
    """One line: the real sizes and the real ratio."""
    counts = np.bincount(labels[split.labeled])
    minor = np.isin(labels, split.minor)
    d = f"D {len(split.labeled):,} ({minor[split.labeled].sum():,} minor)"
    u = f"U {len(split.unlabeled):,} ({minor[split.unlabeled].sum():,} minor)"
    return f"{d}, {u}, classes of {counts.min():,} to {counts.max():,}: ratio {counts.max() / counts.min():.4g}"
