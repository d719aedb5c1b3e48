"""Capped: a rule around another one, that lets no minor class take over the training set."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from selectnet_tf.rules import Rule, Scores, picks


class Capped(BaseEstimator):
    """Of what another rule picks from the pool, each minor class keeps its surest ones only.

    A class with n unlabeled picks keeps n (n_low / n) ** alpha of them, where n_low is the fewest that any minor class has, but not under
    `least`; a class with no more than n_low keeps all. Labeled picks stay, for their classes are known.

    Args:
        rule: what picks, any callable from Scores to a mask.
        alpha: 0 caps nothing, 1 leaves each class as many as the smallest has.
        least: n_low where a class has fewer picks, or none.
        most: no class keeps more unlabeled picks than this; None: no such limit.
        minor: the minor classes; None: those that something is predicted as in the round.

    Attributes:
        rule: the rule inside. What else is asked of a Capped (threshold, output, get_state, ...) is the inner rule's,
            but for what Python or scikit-learn ask of an object to copy it (`__name__`s, parameters).
    """

    def __init__(
        self, rule: Rule, alpha: float = 1 / 3, least: int = 10, most: int | None = None, minor: Sequence[int] | None = None
    ) -> None:
        if not 0 <= alpha <= 1 or least < 1 or (most is not None and most < 1):
            raise ValueError(f"alpha has to be in [0, 1], least and most at least 1; received {alpha}, {least}, {most}")
        self.rule: Any = rule
        self.alpha, self.least, self.most = alpha, least, most
        self.minor = minor if minor is None or (np.iterable(minor) and not isinstance(minor, str)) else [minor]

    def __call__(self, scores: Scores) -> np.ndarray:
        mask = np.array(self.rule(scores))
        picks(mask, scores)  # a mask or weights
        predicted = scores.probs.argmax(1)
        open_to = scores.candidate & ~scores.labeled & (mask > 0)  # what may be dropped
        classes = np.unique(predicted[scores.candidate]) if self.minor is None else sorted(set(self.minor))
        found = [np.flatnonzero(open_to & (predicted == c)) for c in classes]
        low = max(self.least, min((len(places) for places in found), default=0))
        for places in found:
            surest = places[np.argsort(-scores.probs[places].max(1), kind="stable")]
            mask[surest[self.kept(len(places), low) :]] = 0
        return mask

    def kept(self, n: int, low: int) -> int:
        """How many of a class's n picks stay."""
        kept = n if n <= low else int(n * (low / n) ** self.alpha + 1e-9)
        return kept if self.most is None else min(kept, self.most)

    def __getattr__(self, name: str) -> Any:
        if name == "rule" or name.startswith("__"):  # `rule` is not set yet while Python copies or unpickles it
            raise AttributeError(name)
        return getattr(self.rule, name)
