"""Splits of labels into a labeled set (D), a pool (U) and minor classes."""

import numbers
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from selectnet_tf.recipes import BenchmarkData

TEST_SHARE = 0.2  # of the labeled images, without a test set
AUTO = "auto"


def make_split(data: BenchmarkData, labels: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the (labeled, unlabeled) positions of a benchmark: [n_D] and [n_U] int32, sorted.

    Labeled are `minor_ratio` of each minor class and `major_ratio` of each major class (Section
    4.1), or int(largest * imb_factor ** (i / (m - 1))) images of class i (Cui et al. 2019).

    Args:
        data: imbalance, minor classes, and split: "random", or "first" of each class in order (the
            released code).
        labels: [n] int classes of the whole training set.
        seed: of "random".
    """
    counts = np.bincount(labels)
    if data.imb_factor is None:
        minor, major = data.minor_ratio or 1.0, data.major_ratio or 1.0
        shares = [minor if c in data.minor else major for c in range(len(counts))]
        keep = [int(n * share + 1e-9) for n, share in zip(counts, shares, strict=True)]
    else:
        powers = [i / (len(counts) - 1.0) for i in range(len(counts))]
        keep = np.minimum([int(counts.max() * data.imb_factor**p) for p in powers], counts).tolist()
    return _split(labels, keep, data.split, seed)


def hold_out(labels: np.ndarray, each: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Returns (kept, held) positions, int32 and sorted.

    Args:
        labels: [n] int classes.
        each: random images to hold out of each class.
        seed: of the choice.

    Raises:
        ValueError: a class has no more than `each` images.
    """
    rng = np.random.default_rng([seed, 5])
    counts = np.bincount(labels)
    if each and each >= counts[counts > 0].min():
        raise ValueError(
            f"--validation={each} needs more than the {counts[counts > 0].min()} images of a class:"
            " hold out fewer"
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
    """Makes a labeled set and a pool like imbalanced-learn's make_imbalance, for experiments.

    Args:
        X: [n, ...] array, data frame, list or sparse matrix.
        y: [n] classes of any type.
        sampling_strategy: {class: number of labeled rows}, other classes keep all; or a callable
            from y and `kwargs` to that.
        random_state: int, RandomState or None.
        verbose: print the number of labeled rows per class.
        kwargs: for a callable sampling_strategy.

    Returns:
        (x_labeled, y_labeled, x_unlabeled, y_unlabeled): arguments of Pool, and the pool's true
        classes.

    Raises:
        ValueError: a number that a class does not have.
    """
    from sklearn.utils import _safe_indexing, check_random_state, indexable

    rows, labels = indexable(X, y)
    classes, codes, counts = np.unique(np.asarray(labels), return_inverse=True, return_counts=True)
    wanted = sampling_strategy(y, **kwargs) if callable(sampling_strategy) else sampling_strategy
    if not isinstance(wanted, Mapping):
        raise ValueError(
            "sampling_strategy: expected {class: number of labeled rows}, or a callable that"
            f" returns it, received {wanted!r}"
        )
    keep = dict(zip(classes.tolist(), counts.tolist(), strict=True))
    for c, k in wanted.items():
        if not 0 < k <= keep.get(c, 0):
            raise ValueError(
                f"sampling_strategy asks for {k} of class {c}, which has {keep.get(c, 0)}"
            )
        if not isinstance(k, numbers.Integral):
            raise ValueError(
                f"sampling_strategy: expected a whole number of rows, received {k!r} for class {c}"
            )
    keep |= wanted
    seed = (
        int(random_state)
        if isinstance(random_state, numbers.Integral)
        else int(check_random_state(random_state).randint(2**31 - 1))
    )
    parts = _split(np.ravel(codes), list(keep.values()), "random", seed)
    if verbose:
        print(f"labeled of each class: {keep}")
    left, right = ([_safe_indexing(each, part) for each in (rows, labels)] for part in parts)
    return (*left, *right)


def _split(
    labels: np.ndarray, keep: Sequence[int], how: str, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns (labeled, unlabeled) positions. keep: the labeled images of each class."""
    rng = np.random.default_rng([seed, 0])
    parts = []
    for c, k in enumerate(keep):
        places = np.flatnonzero(labels == c)
        if len(places) and not k:
            raise ValueError(
                f"class {c} keeps none of its {len(places)} images as labeled: give a larger ratio"
            )
        parts.append(places[:k] if how == "first" else rng.permutation(places)[:k])
    labeled = np.sort(np.concatenate(parts)).astype(np.int32)
    unlabeled = np.setdiff1d(np.arange(len(labels), dtype=np.int32), labeled, assume_unique=True)
    return labeled, unlabeled


def describe(labels: np.ndarray, unlabeled: int, minor: Sequence[int | str]) -> str:
    """Returns a line with the sizes of a split. labels: [n_D] classes of D."""
    counts, minors = np.bincount(labels), np.isin(labels, minor).sum()
    return (
        f"{len(labels):,} labeled images ({minors:,} of minor classes), {unlabeled:,} unlabeled;"
        f" class sizes {counts.min():,} to {counts.max():,}"
    )


def hold_out_groups(
    y: np.ndarray, names: tuple, chances: np.ndarray, groups: np.ndarray, usable: np.ndarray
) -> np.ndarray:
    """Returns the positions of about a fifth of each class, in whole groups.

    A group is held out if its chance is below a fifth. Where a class is then more than one image
    and 2% away from its fifth, or on one side as a whole, the groups whose chances are nearest to a
    fifth move. So added images move few of the others.

    Args:
        y: [n] classes.
        names: the class names.
        chances: [n] in [0, 1), a constant of each image; a group's is its first usable image's.
        groups: [n] group numbers.
        usable: [n] bool, images that may be held out.

    Raises:
        ValueError: a class has too few groups.
    """
    places = np.flatnonzero(usable)
    _, first, group = np.unique(groups[places], return_index=True, return_inverse=True)
    chance, classes = chances[places][first], y[places]
    m = len(names)
    pairs, amounts = np.unique(group * m + classes, return_counts=True)
    members: list[list[tuple[int, int]]] = [[] for _ in chance]  # (class, images) of each group
    for pair, amount in zip(pairs.tolist(), amounts.tolist(), strict=True):
        members[pair // m].append((pair % m, amount))
    sizes = np.bincount(classes, minlength=m)
    slack = np.maximum(1, sizes / 50)
    least = np.maximum(1, sizes * TEST_SHARE - slack)
    most = np.maximum(1, np.minimum(sizes - 1, sizes * TEST_SHARE + slack))
    for c, name in enumerate(names):
        if (pairs % m == c).sum() < 2:
            found = ("no image", "one image", "only duplicates of one image, or one group")
            raise ValueError(
                f"expected two images or more of class {name}, to hold one out, received"
                f" {found[min(sizes[c], 2)]}: add images, or give --test_dir"
            )

    def miss(c: int, count: float) -> float:
        """Returns a class's distance from its fifth, as a share; above 1 if it is on one side."""
        one_sided = count in (0, sizes[c])
        return float(max(0.0, least[c] - count, count - most[c]) / sizes[c] + one_sided)

    held = chance < TEST_SHARE
    counts = np.bincount(classes[held[group]], minlength=m)
    order = np.argsort(np.abs(chance - TEST_SHARE), kind="stable")
    of_class = [order[np.isin(order, pairs[pairs % m == c] // m)] for c in range(m)]
    for c in sorted(range(m), key=lambda c: -sizes[c]):  # the rarest has the last word
        for g in sorted(of_class[c], key=lambda g: len(members[g]) > 1):  # own groups first
            if not miss(c, counts[c]):
                break
            step = -1 if held[g] else 1
            gain = sum(miss(k, counts[k]) - miss(k, counts[k] + step * n) for k, n in members[g])
            if gain > 0:
                held[g] = not held[g]
                for k, n in members[g]:
                    counts[k] += step * n
    for c, name in enumerate(names):
        if counts[c] in (0, sizes[c]):
            raise ValueError(
                f"no group of class {name} can be held out without another class's last one:"
                " give --test_dir, or smaller groups by --copies or --group"
            )
    return places[held[group]]


def minor_classes(wanted: tuple, names: tuple, counts: np.ndarray) -> tuple:
    """Returns the minor classes as numbers.

    Args:
        wanted: names, or numbers if no class name is one, or ("auto",): the classes below half the
            median size.
        names: the class names.
        counts: [m] labeled images per class.

    Raises:
        ValueError: no, every or an unknown class is minor.
    """
    if tuple(wanted) == (AUTO,):
        found = np.flatnonzero(counts < np.median(counts) / 2)
        if not len(found) or len(found) == len(names):
            sizes = ", ".join(f"{n}: {c}" for n, c in zip(names, counts, strict=True))
            raise ValueError(
                f"no class is below half the median size ({sizes}): name the minor classes by"
                " --minor"
            )
        return tuple(int(c) for c in found)
    codes = {str(word): _class_code(str(word), names) for word in wanted}
    unknown = [repr(word) for word, code in codes.items() if code is None]
    if unknown:
        raise ValueError(
            f"--minor: expected names among {', '.join(names)}, received {', '.join(unknown)}"
        )
    places = sorted({code for code in codes.values() if code is not None})
    if len(places) == len(names):
        raise ValueError("--minor names every class: leave at least one out")
    return tuple(places)


def _class_code(word: str, names: tuple) -> int | None:
    """Returns a class by its name, or by its position if no name is a number; or None."""
    if word in names:
        return int(names.index(word))
    numbers = [int(name) if name.isdecimal() else -1 for name in names]
    if word.isdecimal() and numbers.count(int(word)) == 1:
        return numbers.index(int(word))  # 7 is 007
    if word.isdecimal() and int(word) < len(names) and max(numbers) < 0:
        return int(word)
    return None
