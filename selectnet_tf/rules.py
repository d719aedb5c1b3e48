"""What is added to the training set.

A rule is any callable from Scores to a bool mask [n], or to float weights [n] from 0 to 1. Only
candidates (D': samples predicted as a minor class) are ever added, whatever else it says. No true
label of an unlabeled image can reach a rule.
"""

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from sklearn.base import BaseEstimator

from selectnet_tf._validate import check_whole

if TYPE_CHECKING:
    from selectnet_tf.selector import Selector


class Scores(NamedTuple):
    """What the classifier says of D and U, n samples in all. A rule gets arrays that it can read,
    not change.

    probs: [n, m] float32, f_c(x).
    loss: [n] float32, nats, L_c of eq. (3); what it means for labeled samples is Selection's
    `labeled_loss`.
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


MOST_SEED = (
    2**31 - 2 * 7919
)  # SelectNet adds up to 2 * 7919 to its seed, for each of its layers, and TensorFlow takes 32 bits
THRESHOLD = 0.6  # lambda of the paper, nats
Rule = Callable[[Scores], np.ndarray]
Threshold = float | Callable[[int], float]


def read_only(array: np.ndarray) -> np.ndarray:
    """A view of the array that can't be written to:

    What a rule, or what adjusts before it, is handed.
    """
    view = array.view()
    view.flags.writeable = False
    return view


def apply_rule(found: Any, scores: Scores) -> np.ndarray:
    """What a rule returned, for candidates alone: [n] bool, or [n] float32 weights from 0 to 1.

    Raises:
        ValueError: it returned something else, such as places or ones and zeros.
    """
    given, n = np.asarray(found), len(scores.loss)
    if given.shape != (n,) or given.dtype.kind not in "bf":
        raise ValueError(
            f"the rule returned {given.dtype} {list(given.shape)}, but has to return a mask, bool"
            f" [{n}], or weights from 0 to 1, float [{n}]; of places it is np.isin(np.arange({n}),"
            " places)"
        )
    if given.dtype.kind == "b":
        return np.asarray(given & scores.candidate)
    if not ((given >= 0) & (given <= 1)).all():
        raise ValueError(
            f"the rule returned weights from {given.min():.3g} to {given.max():.3g}, but they have"
            " to be from 0 to 1"
        )
    return np.where(scores.candidate, given, 0).astype(np.float32)


def linear(first: float, last: float, rounds: int) -> Callable[[int], float]:
    """A threshold that goes from `first` to `last` in `rounds` equal steps and stays there (PMLR
    version, Table 4).
    """
    return functools.partial(_interpolate, first, last, rounds)  # no lambda: it can be pickled


def _interpolate(first: float, last: float, rounds: int, round: int) -> float:
    return first + (last - first) * min(round / max(rounds - 1, 1), 1.0)


def threshold_at(threshold: Threshold, round: int) -> float:
    """A rule's threshold in that round, which may be a callable from the round to it."""
    return float(threshold(round) if callable(threshold) else threshold)


class SelfPaced(BaseEstimator):
    """Unlabeled candidates whose loss is under the threshold (eq. 2, Section 4.2).

    Args:
        threshold: lambda in nats, or a callable from the round to it.
    """

    def __init__(self, threshold: Threshold = THRESHOLD) -> None:
        self.threshold = threshold

    def __call__(self, scores: Scores) -> np.ndarray:
        return np.asarray(
            scores.candidate
            & ~scores.labeled
            & (scores.loss < threshold_at(self.threshold, scores.round))
        )


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
    """As many candidates as Context picks, but any: what selecting is worth shows beside it.

    Args:
        threshold: Context's.
        seed: of the draw, which also depends on the round.
    """

    def __init__(
        self, threshold: float | Callable[[int], float] = THRESHOLD, seed: int = 0
    ) -> None:
        self.threshold, self.seed = threshold, seed

    def __call__(self, scores: Scores) -> np.ndarray:
        count = int(Context(self.threshold)(scores).sum())
        rng = np.random.default_rng([self.seed, 4, scores.round])
        picked = np.zeros(len(scores.loss), bool)
        picked[rng.choice(np.flatnonzero(scores.candidate), count, replace=False)] = True
        return picked


class SelectNet(BaseEstimator):
    """Candidates that a small network f_s trusts (Section 3.3, eqs. 5 and 6).

    f_s has two hidden ReLU layers of 8 and 4 units and a sigmoid output. Each round it goes on from
    the last round's weights, minimizing mean(f_s(z) (L - lambda)); what it gives more than beta is
    picked.

    Args:
        threshold: lambda, nats, or a callable from the round to it.
        beta: picks need an output above it; lambda's value where None (as in the paper).
        inputs: z: "probs+loss", "probs", "penultimate+loss" or "penultimate".
        fit_on: "minor" fits on the candidates, "all" on every sample.
        init: "glorot", or "normal" for N(0, 0.05).
        learning_rate, epochs, batch_size: Adam's, each round.
        seed: of the initial weights and the order.
        soft: give f_s itself, the weight of each candidate in eq. (3), and not whether it
            exceeds beta.

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
        if beta is None and not soft and not callable(threshold) and threshold >= 1:
            raise ValueError(
                f"f_s gives at most 1, so nothing would exceed a beta of lambda's {threshold}: give"
                " a beta below 1"
            )
        if not isinstance(seed, (int, np.integer)) or not 0 <= seed < MOST_SEED:
            raise ValueError(
                f"seed is {seed!r}, but has to be a whole number from 0, and below {MOST_SEED}"
            )
        check_whole("epochs", epochs)
        check_whole("batch_size", batch_size)
        number = isinstance(learning_rate, (int, float, np.number)) and 0 < learning_rate < np.inf
        if not number and not callable(learning_rate):  # as Keras's schedules are
            raise ValueError(f"learning_rate is {learning_rate!r}, but has to be a number above 0")
        self.threshold, self.beta, self.inputs, self.fit_on = threshold, beta, inputs, fit_on
        self.init, self.learning_rate, self.epochs, self.batch_size = (
            init,
            learning_rate,
            epochs,
            batch_size,
        )
        self.seed, self.soft = seed, soft
        self.output: np.ndarray | None = None
        self._net: Selector | None = None

    @property
    def features(self) -> bool:
        """Whether Scores has to hold the input of the classifier's last layer."""
        return self.inputs.startswith("penultimate")

    def __call__(self, scores: Scores) -> np.ndarray:
        limit = threshold_at(self.threshold, scores.round)
        if not scores.candidate.any():
            self.output = np.zeros(len(scores.loss), np.float32)
            return np.zeros(len(scores.loss), np.float32 if self.soft else bool)
        z = np.asarray(scores.features if self.features else scores.probs)
        if self.inputs.endswith("+loss"):
            z = np.concatenate([z, scores.loss[:, None]], axis=1)
        net = self._network(z.shape[1])
        chosen = scores.candidate if self.fit_on == "minor" else slice(None)
        net.fit(
            z[chosen],
            scores.loss[chosen] - np.float32(limit),
            self.epochs,
            self.batch_size,
            [self.seed, scores.round],
        )
        self.output = net.predict(z)
        if self.soft:
            return self.output
        return scores.candidate & (self.output > (limit if self.beta is None else self.beta))

    def reset(self) -> None:
        """Forgets what was learned, for a new run."""
        self._net = self.output = None

    def get_state(self) -> dict[str, np.ndarray]:
        """The net's weights and its optimizer's, if there is one yet."""
        weights = (
            {}
            if self._net is None
            else {f"net{i}": v.numpy() for i, v in enumerate(self._net.variables)}
        )
        return {"inputs": np.array(self.inputs), **weights} if weights else {}

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Puts back what get_state gave.

        Raises ValueError where that was fitted to other inputs.
        """
        if (before := str(state.get("inputs", self.inputs))) != self.inputs:
            raise ValueError(f"its selector sees {before}, this run's {self.inputs}")
        self.reset()
        if state:
            inputs = (len(state["net0"]) - 8 * 4 - 8 - 4 - 4 - 1) // 8
            for i, variable in enumerate(self._network(inputs).variables):
                variable.assign(state[f"net{i}"])

    def __getstate__(self) -> dict[str, Any]:
        return {
            **self.__dict__,
            "_net": self.get_state(),
        }  # a copy, or a pickle, holds no TensorFlow function

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ = {**state, "_net": None}
        self.set_state(state["_net"])
        self.output = state["output"]

    def _network(self, inputs: int) -> "Selector":
        if self._net is None:
            from selectnet_tf.selector import Selector  # TensorFlow, which no other rule needs

            self._net = Selector(inputs, self.init, self.learning_rate, self.seed)
        return self._net


class Capped(BaseEstimator):
    """Of what another rule picks from the pool, each minor class keeps its surest ones only.

    A class with n unlabeled picks keeps n (n_low / n) ** alpha of them, where n_low is the fewest
    that any minor class has, but not under `least`; a class with no more than n_low keeps all.
    Labeled picks stay, for their classes are known.

    Args:
        rule: what picks, any callable from Scores to a mask.
        alpha: 0 caps nothing, 1 leaves each class as many as the smallest has.
        least: n_low where a class has fewer picks, or none.
        most: no class keeps more unlabeled picks than this; None: no such limit.
        minor: the minor classes; None: those that something is predicted as in the round.

    Attributes:
        rule: the rule inside. What else is asked of a Capped (threshold, output, get_state,
            ...) is the inner rule's, but for what Python or scikit-learn ask of an object to copy
            it (`__name__`s, parameters).
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
        self.rule: Any = rule
        self.alpha, self.least, self.most = alpha, least, most
        self.minor = (
            minor
            if minor is None or (np.iterable(minor) and not isinstance(minor, str))
            else [minor]
        )

    def __call__(self, scores: Scores) -> np.ndarray:
        mask = np.array(self.rule(scores))
        apply_rule(mask, scores)  # a mask or weights
        predicted = scores.probs.argmax(1)
        open_to = scores.candidate & ~scores.labeled & (mask > 0)  # what may be dropped
        classes = (
            np.unique(predicted[scores.candidate])
            if self.minor is None
            else sorted(set(self.minor))
        )
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
        if name == "rule" or name.startswith(
            "__"
        ):  # `rule` is not set yet while Python copies or unpickles it
            raise AttributeError(name)
        return getattr(self.rule, name)
