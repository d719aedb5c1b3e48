"""Splits of labels into a labeled set (D), a pool (U) and minor classes."""

import numbers
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from selectnet_tf.recipes import BenchmarkData

TEST_SHARE = 0.2  # of one's own labeled data, where there is no test set
AUTO = "auto"


class Split(NamedTuple):
    """labeled, unlabeled:

    [n_D], [n_U] int32, sorted positions, disjoint and together complete. minor: the classes.
    """

    labeled: np.ndarray
    unlabeled: np.ndarray
    minor: tuple[int, ...]


def make_split(data: BenchmarkData, labels: np.ndarray, seed: int) -> Split:
    """Returns the Split of a benchmark.

    Args:
        data: imbalance and minor classes.
        labels: [n] int classes of the whole training set.
        seed: of --split=random.
    """
    minor = [int(c) for c in data.minor]
    if data.imb_factor is not None:
        return long_tailed_split(labels, data.imb_factor, minor, data.split, seed)
    return step_split(
        labels, minor, data.minor_ratio or 1.0, data.major_ratio or 1.0, data.split, seed
    )


def step_split(
    labels: np.ndarray,
    minor: Sequence[int],
    minor_ratio: float,
    major_ratio: float,
    how: str = "random",
    seed: int = 0,
) -> Split:
    """Labels `minor_ratio` of each minor class and `major_ratio` of each other one (Section 4.1).

    Args:
        labels: [n] int classes.
        how: "random" from the seed, or "first" of each class in order (the released code).
    """
    counts = np.bincount(labels)
    keep = [
        int(n * (minor_ratio if c in minor else major_ratio) + 1e-9) for c, n in enumerate(counts)
    ]
    return _split(labels, keep, minor, how, seed)


def long_tailed_split(
    labels: np.ndarray, imb_factor: float, minor: Sequence[int], how: str = "random", seed: int = 0
) -> Split:
    """Labels int(largest * imb_factor ** (i / (m - 1))) of class i (Cui et al.

    2019); all others are the pool.
    """
    counts = np.bincount(labels)
    keep = [int(counts.max() * imb_factor ** (i / (len(counts) - 1.0))) for i in range(len(counts))]
    return _split(labels, np.minimum(keep, counts), minor, how, seed)


def hold_out(labels: np.ndarray, each: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(kept, held) positions, int32 and sorted: `each` random images of every class apart, to
    choose settings on.

    labels: [n] int classes.
    """
    rng = np.random.default_rng([seed, 5])
    counts = np.bincount(labels)
    if each and each >= counts[counts > 0].min():
        raise ValueError(
            f"validation is {each}, but a class has only {counts[counts > 0].min()} images: hold"
            " out fewer"
        )
    held = np.concatenate(
        [rng.permutation(np.flatnonzero(labels == c))[:each] for c in range(len(counts))]
    )
    return np.setdiff1d(np.arange(len(labels)), held).astype(np.int32), np.sort(held).astype(
        np.int32
    )


def make_imbalance(
    X: Any,
    y: Any,
    *,
    sampling_strategy: Mapping[Any, int] | Callable[..., Mapping[Any, int]],
    random_state: Any = None,
    verbose: bool = False,
    **kwargs: Any,
) -> tuple[Any, Any, Any, Any]:
    """Imbalanced-learn's function of this name, but what it leaves out becomes the pool: for trying
    things out.

    Args:
        X: [n, ...] array, data frame, list or sparse matrix; y: [n] classes of any kind.
        sampling_strategy: {class: how many stay labeled}, the others keep all; or a callable
            from y and `kwargs` to that.
        random_state: int, RandomState or None. verbose: print how many of each class stay.

    Returns:
        (x_labeled, y_labeled, x_unlabeled, y_unlabeled): what Pool takes, and the pool's true
        classes for checking.
    """
    from sklearn.utils import _safe_indexing, check_random_state, indexable

    rows, labels = indexable(X, y)
    classes, codes, counts = np.unique(np.asarray(labels), return_inverse=True, return_counts=True)
    wanted = sampling_strategy(y, **kwargs) if callable(sampling_strategy) else sampling_strategy
    if not isinstance(wanted, Mapping):
        raise ValueError(
            f"sampling_strategy is {wanted!r}, but has to be a dict from class to how many stay"
            " labeled, or a callable to that"
        )
    keep = dict(zip(classes.tolist(), counts.tolist(), strict=True))
    for c, k in wanted.items():
        if not 0 < k <= keep.get(c, 0):
            raise ValueError(
                f"sampling_strategy asks for {k} of class {c}, which has {keep.get(c, 0)}"
            )
        if not isinstance(k, numbers.Integral):
            raise ValueError(
                f"sampling_strategy asks for {k!r} of class {c}, but how many stay labeled has to"
                " be a whole number"
            )
    keep |= wanted
    seed = (
        int(random_state)
        if isinstance(random_state, numbers.Integral)
        else int(check_random_state(random_state).randint(2**31 - 1))
    )
    split = _split(np.ravel(codes), list(keep.values()), (), "random", seed)
    if verbose:
        print(f"labeled of each class: {keep}")
    left, right = _safe_indexing(rows, split.labeled), _safe_indexing(rows, split.unlabeled)
    return (
        left,
        _safe_indexing(labels, split.labeled),
        right,
        _safe_indexing(labels, split.unlabeled),
    )


def _split(
    labels: np.ndarray, keep: Sequence[int] | np.ndarray, minor: Sequence[int], how: str, seed: int
) -> Split:
    rng = np.random.default_rng([seed, 0])
    parts = []
    for c, k in enumerate(keep):
        places = np.flatnonzero(labels == c)
        if len(places) and not k:
            raise ValueError(
                f"class {c} keeps none of its {len(places)} images as labeled: use a larger ratio"
            )
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
    return (
        f"{d}, {u}, classes of {counts.min():,} to {counts.max():,}: ratio"
        f" {counts.max() / counts.min():.4g}"
    )


def hold_out_groups(
    y: np.ndarray, names: tuple, chances: np.ndarray, groups: np.ndarray, usable: np.ndarray
) -> np.ndarray:
    """Places of about a fifth of each class, whole groups of copies, at least one on both sides of
    each class.

    A group is held out where its smallest chance is below a fifth, and where a class would have
    none, its nearest to that. So more pictures change nothing about those that were there, unless
    they are copies of these, or such a class's.

    Args:
        y: [n] classes. chances: [n] in [0, 1), each picture's own. groups: [n] numbers of
            groups. usable: [n] bool.
    """
    chance = np.ones(groups.max() + 1)
    np.minimum.at(chance, groups[usable], chances[usable])
    held = chance < TEST_SHARE
    shared = (
        np.bincount(
            np.unique(np.stack([groups[usable], y[usable]]), axis=1)[0], minlength=len(chance)
        )
        > 1
    )  # by several classes
    for c, name in enumerate(names):
        own = np.unique(groups[usable & (y == c)])
        if len(own) < 2:
            what = (
                "one picture"
                if (usable & (y == c)).sum() == 1
                else "no picture"
                if not len(own)
                else "only copies of one picture"
            )
            raise ValueError(
                f"class {name} has {what}: give it two or more, so that one can be held out, or a"
                " --test_dir"
            )
        if not held[own].any():
            held[own[np.lexsort((chance[own], shared[own]))[0]]] = True
        if held[own].all():
            held[own[np.lexsort((-chance[own], shared[own]))[0]]] = False
    for c, name in enumerate(names):
        own = held[groups[usable & (y == c)]]
        if own.all() or not own.any():
            raise ValueError(
                f"class {name} shares its pictures with another class, as near copies: sort these"
                " out, or give a --test_dir"
            )
    return np.flatnonzero(usable & held[groups])


def minor_classes(wanted: tuple, names: tuple, counts: np.ndarray) -> tuple:
    """Minor classes as numbers:

    From names, or numbers where no class is named like one, or those of less than half the median
    size.
    """
    if tuple(wanted) == (AUTO,):
        found = np.flatnonzero(counts < np.median(counts) / 2)
        if not len(found) or len(found) == len(names):
            sizes = ", ".join(f"{n}: {c}" for n, c in zip(names, counts, strict=True))
            raise ValueError(
                f"no class has less than half the median's pictures ({sizes}): name the minor ones"
                " with --minor"
            )
        return tuple(int(c) for c in found)
    places = {_class_code(str(word), names) for word in wanted}
    if len(places) == len(names):
        raise ValueError("every class is minor: at least one has to be major")
    return tuple(sorted(places))


def _class_code(word: str, names: tuple) -> int:
    """A class by its name; where no name is a number, also by its place."""
    if word in names:
        return names.index(word)
    numbers = [int(name) if name.isdecimal() else -1 for name in names]
    if word.isdecimal() and numbers.count(int(word)) == 1:
        return numbers.index(int(word))  # 7 is 007
    if word.isdecimal() and int(word) < len(names) and max(numbers) < 0:
        return int(word)
    raise ValueError(f"minor class {word!r} is none of {', '.join(names)}")
