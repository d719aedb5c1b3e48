"""Preventing class collapse: aligned probabilities, class counts for the loss, fading classes.

Fewer pseudo-labels of a class let the classifier predict it less often, which leaves still fewer in
the next round (docs/results/lost-class.md).
"""

import contextlib
import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from selectnet_tf.pool import Pool
from selectnet_tf.rules import read_only

Adjust = Callable[[np.ndarray, Pool], np.ndarray]


class AlignMinors:
    """Aligns the minor classes' probabilities to each other, over the pool.

    Each minor class's column of the probabilities is multiplied by (wanted / found) ** root, where
    found is a moving mean over the rounds of the pool's mean prediction of that class, and wanted
    the mean of found over the minors. Then each row is scaled to sum to 1. The majors' shares among
    each other stay.

    It is wrong where the pool's minor classes differ in size, and worst where the pool lacks one:
    other images are then predicted as that class. Give `pool_prior` if you know the sizes, or leave
    the alignment out.

    Args:
        root: 0 leaves the probabilities as they are, 1 corrects in full.
        momentum: the share of the earlier rounds in the moving mean, in [0, 1).
        clip: the largest factor of a column; its inverse is the smallest.
        pool_prior: [m] the share of each class in the pool; None: the minors' shares are equal.
    """

    def __init__(
        self,
        root: float = 0.5,
        momentum: float = 0.5,
        clip: float = 10.0,
        pool_prior: Sequence[float] | None = None,
    ) -> None:
        if not 0 <= root <= 1 or not 0 <= momentum < 1 or not clip >= 1:
            raise ValueError(
                f"root has to be in [0, 1], momentum in [0, 1), clip at least 1; received {root},"
                f" {momentum}, {clip}"
            )
        self.root, self.momentum, self.clip = root, momentum, clip
        self.pool_prior: np.ndarray | None = None
        if pool_prior is not None:
            self.pool_prior = prior = np.asarray(pool_prior, np.float64)
            if not ((prior >= 0).all() and abs(prior.sum() - 1) <= 0.01):
                raise ValueError(
                    f"pool_prior has to hold shares from 0 that sum to 1, but is {pool_prior}:"
                    " divide counts by their sum"
                )
        self._mean: np.ndarray | None = None  # [minors] of the pool, moving

    def __call__(self, probs: np.ndarray, pool: Pool) -> np.ndarray:
        """Returns aligned probabilities, [n, m] float32.

        Args:
            probs: [n, m] of D and U.
            pool: the Pool.
        """
        if pool.labeled.all():
            return probs
        found = probs[~pool.labeled][:, pool.minor].mean(0, dtype=np.float64)  # [minors]
        if self._mean is not None:
            found = self.momentum * self._mean + (1 - self.momentum) * found
        self._mean = found
        wanted = found.mean()
        if self.pool_prior is not None:
            if self.pool_prior.shape != (probs.shape[1],):
                raise ValueError(
                    f"pool_prior is {list(self.pool_prior.shape)}, but has to hold the share of"
                    f" each of the {probs.shape[1]} classes: give one number a class"
                )
            wanted = self.pool_prior[pool.minor]
        factors = (wanted / np.maximum(self._mean, 1e-12)) ** self.root
        aligned: np.ndarray = probs.astype(np.float64)
        aligned[:, pool.minor] *= np.clip(factors, 1 / self.clip, self.clip)
        aligned /= aligned.sum(1, keepdims=True)
        return aligned.astype(np.float32)

    def reset(self) -> None:
        """Forgets the earlier rounds, for a new run."""
        self._mean = None

    def get_state(self) -> dict[str, np.ndarray]:
        return {} if self._mean is None else {"mean": self._mean}

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        self._mean = state.get("mean")


def find_counted_losses(model: keras.Model) -> list[Any]:
    """Returns the losses with a method `set_counts` in a model's loss, such as PriorCrossentropy.

    They may be attributes of another Loss, or variables that a function of the user's reads.

    Args:
        model: a compiled model.
    """
    found: list[Any] = []
    seen: dict[int, Any] = {}  # holds them, since an id is used again
    todo = [model.loss, *(v for v in vars(model).values() if isinstance(v, keras.losses.Loss))]
    while todo:
        one = inspect.unwrap(todo.pop())
        if id(one) in seen:
            continue
        seen[id(one)] = one
        library = str(getattr(one, "__module__", "")).split(".")[0] in ("keras", "tensorflow")
        if hasattr(one, "set_counts"):
            found.append(one)
        elif isinstance(one, (list, tuple, dict)):
            todo += keras.tree.flatten(one)
        elif isinstance(one, functools.partial):
            todo += [one.func, one.args, one.keywords]
        elif inspect.ismethod(one):
            todo += [one.__self__, one.__func__]
        elif inspect.isfunction(one) and not library:
            names = one.__code__.co_names
            values = [one.__globals__[n] for n in names if n in one.__globals__]
            for cell in one.__closure__ or ():
                with contextlib.suppress(ValueError):  # of a variable without a value yet
                    values.append(cell.cell_contents)
            modules = [value for value in values if inspect.ismodule(value)]
            todo += values + [getattr(m, name, None) for m in modules for name in names]
        elif isinstance(one, keras.losses.Loss):
            todo += [*vars(one).values(), type(one).call]
        elif callable(one) and hasattr(one, "__dict__") and not (library or isinstance(one, type)):
            todo += [*vars(one).values(), type(one).__call__]
    return found


def apply_adjust(adjust: Adjust | None, probs: np.ndarray, pool: Pool) -> np.ndarray:
    """Returns adjusted probabilities, checked: [n, m] float32.

    Args:
        adjust: the adjustment, which gets a read-only view; None: no change.
        probs: [n, m] of D and U.
        pool: the Pool.
    """
    if adjust is None:
        return probs
    found = np.asarray(adjust(read_only(probs), pool), np.float32)
    if found.shape != probs.shape or not (found >= 0).all() or abs(found.sum(1) - 1).max() > 0.02:
        wrong = f"{list(found.shape)}"
        if found.shape == probs.shape:
            wrong = f"rows that sum to {found.sum(1).min():.3g} or more"
        raise ValueError(
            f"adjust has to return probabilities, {list(probs.shape)} in rows that sum to 1, but"
            f" returned {wrong}"
        )
    return found


def find_fading(
    pool: Pool, rounds: Sequence[tuple[np.ndarray, np.ndarray]]
) -> tuple[np.ndarray, np.ndarray]:
    """Returns (minor classes without pseudo-labels in the last round, other ones with too few).

    Too few are under half of the class's best round, or under a twentieth of the largest minor
    class's.

    Args:
        pool: the Pool.
        rounds: (index [k], target [k]) of each round's picks so far.
    """
    counts = np.array(
        [(target[~pool.labeled[index], None] == pool.minor).sum(0) for index, target in rounds]
    )  # [rounds, minors]
    now = counts[-1]
    few = (now < counts.max(0) / 2) | (now < now.max() / 20)
    return pool.minor[now == 0], pool.minor[(now > 0) & few]


def describe_fading(unpicked: Sequence[object], few: Sequence[object]) -> str:
    """Returns a round's warning, of classes or of their names; '' where there is none."""
    parts = [("no pseudo-labels for", unpicked), ("too few pseudo-labels for", few)]
    return "; ".join(f"{text} {_shorten(names)}" for text, names in parts if len(names))


def _shorten(names: Sequence[object]) -> str:
    words = [str(name) for name in names]
    return ", ".join(words if len(words) < 7 else [*words[:5], f"{len(words) - 5} more"])
