"""Rules: which candidates are added to the training set.

A rule is any callable from Scores to a bool mask [n], or to float weights [n] from 0 to 1. Only
candidates (D': samples predicted as a minor class) are ever added, whatever a rule returns. No true
label of an unlabeled image can reach a rule.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import BaseEstimator

from selectnet_tf._validate import check_callable, check_whole
from selectnet_tf.selector import Selector

THRESHOLD = 0.6  # lambda of the paper, nats
Threshold = float | Callable[[int], float]


class Scores(NamedTuple):
    """The classifier's scores of D and U, n samples in all, in read-only arrays.

    Attributes:
        probs: [n, m] float32, f_c(x).
        loss: [n] float32, nats, L_c of eq. (3); Selection's `labeled_loss` defines it for labeled
            samples.
        labeled: [n] bool.
        candidate: [n] bool, D': the predicted class is a minor one (Algorithm 1, step 1).
        round: 0 for the first selection of a run.
        features: [n, d] float32, the input of the classifier's last layer; None unless the rule's
            `features` is true.
    """

    probs: np.ndarray
    loss: np.ndarray
    labeled: np.ndarray
    candidate: np.ndarray
    round: int = 0
    features: np.ndarray | None = None


Rule = Callable[[Scores], np.ndarray]


class SelfPaced(BaseEstimator):
    """Unlabeled candidates whose loss is under the threshold (eq. 2, Section 4.2).

    Args:
        threshold: lambda in nats, or a callable from the round to it.
    """

    def __init__(self, threshold: Threshold = THRESHOLD) -> None:
        self.threshold = threshold

    def __call__(self, scores: Scores) -> np.ndarray:
        return np.asarray(Context(self.threshold)(scores) & ~scores.labeled)


class Context(BaseEstimator):
    """Candidates, labeled or not, whose loss is under the threshold (eq. 4, Section 4.2).

    Args:
        threshold: lambda in nats, or a callable from the round to it.
    """

    def __init__(self, threshold: Threshold = THRESHOLD) -> None:
        self.threshold = threshold

    def __call__(self, scores: Scores) -> np.ndarray:
        return scores.candidate & (scores.loss < threshold_at(self.threshold, scores.round))


class Random(BaseEstimator):
    """As many candidates as Context adds, drawn at random: the control of a rule.

    Args:
        threshold: Context's, in nats, or a callable from the round to it.
        seed: of the draw, which also depends on the round.
    """

    def __init__(self, threshold: Threshold = THRESHOLD, seed: int = 0) -> None:
        self.threshold, self.seed = threshold, seed

    def __call__(self, scores: Scores) -> np.ndarray:
        count = int(Context(self.threshold)(scores).sum())
        rng = np.random.default_rng([self.seed, 4, scores.round])
        picked = np.zeros(len(scores.loss), bool)
        picked[rng.choice(np.flatnonzero(scores.candidate), count, replace=False)] = True
        return picked


class SelectNet(BaseEstimator):
    """Candidates that a small network f_s trusts (Section 3.3, eqs. 5 and 6).

    f_s has two hidden ReLU layers of 8 and 4 units and a sigmoid output. Each round continues from
    the last round's weights and minimizes mean(f_s(z) (L - lambda)). Candidates with an output
    above beta are added.

    Args:
        threshold: lambda in nats, or a callable from the round to it.
        beta: the output that an added candidate exceeds; None: lambda's value, as in the paper.
        inputs: z: "probs+loss", "probs", "penultimate+loss" or "penultimate".
        fit_on: "minor" fits on the candidates, "all" on every sample.
        init: "glorot", or "normal" for N(0, 0.05).
        learning_rate: Adam's, or a callable from the step to it.
        epochs: of each round.
        batch_size: samples a step.
        seed: of the initial weights and the order.
        soft: return f_s itself, each candidate's weight in eq. (3), instead of a mask.

    Attributes:
        output: [n] float32 in [0, 1], f_s of every sample in the last round.
    """

    def __init__(
        self,
        threshold: Threshold = THRESHOLD,
        beta: float | None = None,
        *,
        inputs: str = "probs+loss",
        fit_on: str = "minor",
        init: str = "glorot",
        learning_rate: float = 1e-2,
        epochs: int = 20,
        batch_size: int = 32,
        seed: int = 0,
        soft: bool = False,
    ) -> None:
        if inputs not in ("probs+loss", "probs", "penultimate+loss", "penultimate"):
            raise ValueError(
                f"inputs is {inputs!r}, but has to be probs+loss, probs, penultimate+loss or"
                " penultimate"
            )
        if fit_on not in ("minor", "all") or init not in ("glorot", "normal"):
            raise ValueError(
                f"fit_on has to be minor or all, init glorot or normal; received {fit_on!r},"
                f" {init!r}"
            )
        least = threshold if beta is None else beta
        if not soft and not callable(least) and least >= 1:
            raise ValueError(
                f"beta (by default the threshold) is {least}, and no output of f_s exceeds 1: give"
                " a beta below 1"
            )
        check_whole("seed", seed, 0)
        check_whole("epochs", epochs)
        check_whole("batch_size", batch_size)
        number = isinstance(learning_rate, (int, float, np.number)) and 0 < learning_rate < np.inf
        if not number and not callable(learning_rate):  # as Keras's schedules are
            raise ValueError(f"learning_rate is {learning_rate!r}, but has to be a number above 0")
        self.threshold, self.beta, self.inputs, self.fit_on = threshold, beta, inputs, fit_on
        self.init, self.seed, self.soft = init, seed, soft
        self.learning_rate, self.epochs, self.batch_size = learning_rate, epochs, batch_size
        self.output: np.ndarray | None = None
        self._net: Selector | None = None

    @property
    def features(self) -> bool:
        """Whether the rule reads Scores.features."""
        return self.inputs.startswith("penultimate")

    def __call__(self, scores: Scores) -> np.ndarray:
        limit = threshold_at(self.threshold, scores.round)
        if not scores.candidate.any():
            self.output = np.zeros(len(scores.loss), np.float32)
            return np.zeros(len(scores.loss), np.float32 if self.soft else bool)
        z = np.asarray(scores.features if self.features else scores.probs)
        if self.inputs.endswith("+loss"):
            z = np.concatenate([z, scores.loss[:, None]], axis=1)
        if self._net is None:
            self._net = Selector(z.shape[1], self.init, self.seed)
        chosen = scores.candidate if self.fit_on == "minor" else slice(None)
        self._net.fit(
            z[chosen],
            scores.loss[chosen] - np.float32(limit),
            self.epochs,
            self.batch_size,
            self.learning_rate,
            scores.round,
        )
        self.output = self._net.predict(z)
        if self.soft:
            return self.output
        return scores.candidate & (self.output > (limit if self.beta is None else self.beta))

    def reset(self) -> None:
        """Forgets the weights, for a new run."""
        self._net = self.output = None

    def get_state(self) -> dict[str, np.ndarray]:
        """Returns the weights of the selector and its optimizer; empty before the first round."""
        if self._net is None:
            return {}
        steps = np.array(self._net.steps)
        return {"inputs": np.array(self.inputs), "weights": self._net.weights, "steps": steps}

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Restores a state of get_state.

        Raises:
            ValueError: the state's selector has other inputs.
        """
        before = str(state.get("inputs", self.inputs))
        if before != self.inputs:
            raise ValueError(f"its selector's inputs are {before}, this run's {self.inputs}")
        self.reset()
        if state:
            k = state["weights"].shape[1]
            self._net = Selector((k - 49) // 8, self.init, self.seed)  # k - 49: the first kernel
            self._net.weights, self._net.steps = state["weights"], int(state["steps"])


class Capped(BaseEstimator):
    """A rule whose pseudo-labels are capped: each minor class keeps its most confident ones.

    A class with n pseudo-labels keeps n (n_low / n) ** alpha of them, where n_low is the fewest of
    any minor class, but at least `least`; a class with up to n_low keeps all. Labeled samples stay:
    their classes are known. Other attributes (threshold, output, get_state, ...) are the inner
    rule's.

    Args:
        rule: the inner rule, any callable from Scores to a mask or weights.
        alpha: 0 caps nothing, 1 leaves each class as many as the smallest has.
        least: the smallest n_low.
        most: the most pseudo-labels that a class keeps; None: no limit.
        minor: the minor classes; None: the classes predicted among the round's candidates.

    Attributes:
        rule: the inner rule.
    """

    def __init__(
        self,
        rule: Rule,
        alpha: float = 1 / 3,
        least: int = 10,
        most: int | None = None,
        minor: Sequence[int] | None = None,
    ) -> None:
        if not 0 <= alpha <= 1 or least < 1 or (most is not None and most < 1):
            raise ValueError(
                f"alpha has to be in [0, 1], least and most at least 1; received {alpha}, {least},"
                f" {most}"
            )
        check_callable("rule", rule, "sn.Context()")
        self.rule: Any = rule
        self.alpha, self.least, self.most, self.minor = alpha, least, most, minor

    def __call__(self, scores: Scores) -> np.ndarray:
        mask = np.array(self.rule(scores))
        apply_rule(mask, scores)  # raises where it is neither a mask nor weights
        predicted = scores.probs.argmax(1)
        pseudo = scores.candidate & ~scores.labeled & (mask > 0)
        minor = self.list_minor()
        known = set(range(scores.probs.shape[1]))
        if minor is not None and not (minor and set(minor) <= known):
            raise ValueError(f"Capped's minor is {minor}, but has to hold classes from 0")
        classes = np.unique(predicted[scores.candidate] if minor is None else minor)
        of_classes = [np.flatnonzero(pseudo & (predicted == c)) for c in classes]
        low = max(self.least, min((len(places) for places in of_classes), default=0))
        for places in of_classes:
            confident = places[np.argsort(-scores.probs[places].max(1), kind="stable")]
            mask[confident[self._limit(len(places), low) :]] = 0
        return mask

    def list_minor(self) -> list[Any] | None:
        """Returns the minor classes, of which `minor` may be one; None: those predicted."""
        if self.minor is None:
            return None
        one = isinstance(self.minor, str) or not np.iterable(self.minor)
        return [self.minor] if one else list(self.minor)

    def _limit(self, n: int, low: int) -> int:
        """Returns the number of pseudo-labels that a class keeps of n."""
        kept = n if n <= low else int(n * (low / n) ** self.alpha + 1e-9)
        return kept if self.most is None else min(kept, self.most)

    def __getattr__(self, name: str) -> Any:
        # `rule` is not set yet while Python copies or unpickles a Capped
        if name == "rule" or name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.rule, name)


def linear(first: float, last: float, rounds: int) -> Callable[[int], float]:
    """Returns a threshold that moves in equal steps and then stays (PMLR version, Table 4).

    Args:
        first: the threshold of the first round, nats.
        last: the threshold from the last of `rounds` on, nats.
        rounds: the number of rounds from `first` to `last`.
    """
    return functools.partial(_interpolate, first, last, rounds)  # no lambda: it can be pickled


def threshold_at(threshold: Threshold, round: int) -> float:
    """Returns a rule's threshold in a round, nats."""
    return float(threshold(round) if callable(threshold) else threshold)


def apply_rule(found: Any, scores: Scores) -> np.ndarray:
    """Returns a rule's result for candidates alone: [n] bool, or [n] float32 weights from 0 to 1.

    Args:
        found: the result.
        scores: the Scores that the rule was given.

    Raises:
        ValueError: the result is neither, such as places or ones and zeros.
    """
    given, n = np.asarray(found), len(scores.loss)
    if given.shape != (n,) or given.dtype.kind not in "bf":
        raise ValueError(
            f"the rule returned {given.dtype} {list(given.shape)}, but has to return a mask, bool"
            f" [{n}], or weights from 0 to 1, float [{n}]: for places, return"
            f" np.isin(np.arange({n}), places)"
        )
    if given.dtype.kind == "b":
        return np.asarray(given & scores.candidate)
    if not ((given >= 0) & (given <= 1)).all():
        raise ValueError(
            f"the rule returned weights from {given.min():.3g} to {given.max():.3g}, but they have"
            " to be from 0 to 1: clip or divide them"
        )
    return np.where(scores.candidate, given, 0).astype(np.float32)


def read_only(array: np.ndarray) -> np.ndarray:
    """Returns a read-only view of an array, for rules and adjustments."""
    view = array.view()
    view.flags.writeable = False
    return view


def _interpolate(first: float, last: float, rounds: int, round: int) -> float:
    return first + (last - first) * min(round / max(rounds - 1, 1), 1.0)
