"""What keeps every minor class in the loop: the loss is told what it trains on, probabilities are
aligned, fading classes named.

Left to itself, the loop can lose a class: the fewer of its images are picked, the fewer the
classifier sees, and the fewer it finds next time (docs/results/lost-class.md).
"""

from collections.abc import Callable, Sequence

import keras
import numpy as np

from selectnet_tf.pool import Pool
from selectnet_tf.rules import read_only

Adjust = Callable[[np.ndarray, Pool], np.ndarray]


class AlignMinors:
    """Raises what the classifier says too rarely of the pool, and lowers what it says too often,
    among the minor classes.

    Each minor class's column of the probabilities is multiplied by (wanted / found) ** root, where
    found is a moving mean over the rounds of the pool's mean prediction of that class, and wanted
    the mean of found over the minors; then each row sums to 1 again. So it aligns the minors with
    each other, and leaves the majors' shares to the classifier.

    It is wrong where the pool's minor classes do differ in size, and worst where the pool really
    lacks one of them: then it goes on calling other images by that name. Give `pool_prior` where
    you know the sizes, or leave the alignment out.

    Args:
        root: how much of it; 0 leaves the probabilities as they are, 1 corrects in full.
        momentum: the share of the earlier rounds in the moving mean.
        clip: a column is multiplied by no more than this, and by no less than its inverse.
        pool_prior: [m] the share of each class in the pool, where it is known: what is wanted
            of each minor class.
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
        self.pool_prior = None if pool_prior is None else np.asarray(pool_prior, np.float64)
        if self.pool_prior is not None and not (
            (self.pool_prior >= 0).all() and abs(self.pool_prior.sum() - 1) <= 0.01
        ):
            raise ValueError(
                f"pool_prior has to hold shares from 0 that sum to 1, but is {pool_prior}: divide"
                " counts by their sum"
            )
        self._mean: np.ndarray | None = None  # [minors] of the pool, moving

    def __call__(self, probs: np.ndarray, pool: Pool) -> np.ndarray:
        """probs: [n, m] of D and U -> [n, m] float32."""
        if pool.labeled.all():
            return probs
        found = probs[~pool.labeled][:, pool.minor].mean(0, dtype=np.float64)  # [minors]
        self._mean = (
            found
            if self._mean is None
            else self.momentum * self._mean + (1 - self.momentum) * found
        )
        wanted = (
            self._mean.mean()
            if self.pool_prior is None
            else self._known(probs.shape[1])[pool.minor]
        )
        factors = (wanted / np.maximum(self._mean, 1e-12)) ** self.root
        aligned: np.ndarray = probs.astype(np.float64)
        aligned[:, pool.minor] *= np.clip(factors, 1 / self.clip, self.clip)
        aligned /= aligned.sum(1, keepdims=True)
        return aligned.astype(np.float32)

    def _known(self, classes: int) -> np.ndarray:
        if self.pool_prior is None or self.pool_prior.shape != (classes,):
            raise ValueError(
                f"pool_prior has to hold the share of each of the {classes} classes: give one"
                " number a class"
            )
        return self.pool_prior

    def reset(self) -> None:
        """Forgets the earlier rounds, for a new run."""
        self._mean = None

    def get_state(self) -> dict[str, np.ndarray]:
        return {} if self._mean is None else {"mean": self._mean}

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        self._mean = state.get("mean")


def set_class_counts(loss: object, counts: np.ndarray) -> None:
    """Hands counts [k] to every loss that asks for them by a method `set_counts`, such as
    PriorCrossentropy.

    loss: what `compile` was given: one loss, or a list or dict of them.
    """
    for one in keras.tree.flatten(loss):
        if hasattr(one, "set_counts"):
            one.set_counts(counts)


def apply_adjust(adjust: Adjust | None, probs: np.ndarray, pool: Pool) -> np.ndarray:
    """What `adjust` makes of the probabilities:

    [n, m] float32, checked. It is handed a view that it can't write to.
    """
    if adjust is None:
        return probs
    found = np.asarray(adjust(read_only(probs), pool), np.float32)
    if found.shape != probs.shape or not (found >= 0).all() or abs(found.sum(1) - 1).max() > 0.02:
        what = (
            f"{list(found.shape)}"
            if found.shape != probs.shape
            else f"rows that sum to {found.sum(1).min():.3g} at the least"
        )
        raise ValueError(
            f"adjust has to return probabilities, {list(probs.shape)} in rows that sum to 1, but"
            f" returned {what}"
        )
    return found


def find_fading(
    pool: Pool, rounds: Sequence[tuple[np.ndarray, np.ndarray]]
) -> tuple[np.ndarray, np.ndarray]:
    """(minor classes that nothing unlabeled was picked as in the last round, others that too few
    were picked as).

    Too few are under half of the class's best round, or under a twentieth of the largest minor
    class's.

    rounds: (index [k], target [k]) of each round's picks so far.
    """
    counts = np.array(
        [(target[~pool.labeled[index], None] == pool.minor).sum(0) for index, target in rounds]
    )  # [rounds, minors]
    now = counts[-1]
    few = (now < counts.max(0) / 2) | (now < now.max() / 20)
    return pool.minor[now == 0], pool.minor[(now > 0) & few]


def describe_fading(unpicked: Sequence[object], few: Sequence[object]) -> str:
    """The warning of a round, of classes or of their names; '' where there is none."""
    parts = [("nothing unlabeled was picked as", unpicked), ("too few are picked as", few)]
    return "; ".join(f"{what} {_shorten(names)}" for what, names in parts if len(names))


def _shorten(names: Sequence[object]) -> str:
    words = [str(name) for name in names]
    return ", ".join(words if len(words) < 7 else [*words[:5], f"{len(words) - 5} more"])
