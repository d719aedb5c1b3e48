"""What imbalanced-learn's `sampling_strategy` says here: which classes are minor, and how many of each there are to be."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from imblearn.utils import check_sampling_strategy

Strategy = str | float | Sequence[Any] | Mapping[Any, int] | Callable[..., Mapping[Any, int]]


def minor(strategy: Strategy, classes: np.ndarray, codes: np.ndarray) -> dict[int, int | None]:
    """From each minor class's code to how many of it there are to be at most, None without a limit."""
    if len(classes) < 2:
        raise ValueError(f"labeled samples are of {len(classes)} class, and two are needed; -1 means unlabeled")
    y, wanted = classes[codes], dict[Any, int | None]()
    if isinstance(strategy, str):
        wanted = dict.fromkeys(_of_size(strategy, classes, np.bincount(codes)))
    elif isinstance(strategy, (Mapping, float, int, np.number)) or callable(strategy):
        more = check_sampling_strategy(strategy, y, "over-sampling")
        wanted = {c: int(n) + int((y == c).sum()) for c, n in more.items()}
    else:
        wanted = dict.fromkeys(() if strategy is None else strategy)
    return dict(zip(codes_of(wanted, classes), wanted.values(), strict=True))


def codes_of(wanted: Iterable[Any], classes: np.ndarray) -> list[int]:
    """Places in classes [m]. Raises ValueError where one is none of them."""
    unknown = [c for c in wanted if c not in classes]
    if unknown:
        raise ValueError(f"minor class {unknown[0]!r} has no labeled sample: the classes are {', '.join(map(repr, classes.tolist()))}")
    return [int(np.flatnonzero(classes == c)[0]) for c in wanted]


def _of_size(word: str, classes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Those of the classes [m], of so many labeled samples each [m], that the word names: none but by "all" where all are of one size."""
    below, above = sizes < sizes.max(), sizes > sizes.min()
    named = {"auto": below, "not majority": below, "minority": below & ~above, "not minority": above, "all": sizes > 0}
    if word not in named:
        raise ValueError(f"sampling_strategy is {word!r}, but has to be {', '.join(map(repr, named))} or a list of the minor classes")
    return np.asarray(classes[named[word]])
