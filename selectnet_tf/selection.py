"""What each selection did: the Rounds of a run, and how they are kept in its state."""

import copy
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np

from selectnet_tf._validate import check_whole
from selectnet_tf.alignment import (
    Adjust,
    apply_adjust,
    describe_fading,
    find_fading,
    set_class_counts,
)
from selectnet_tf.pool import Pool
from selectnet_tf.rules import Rule, Scores, apply_rule, read_only
from selectnet_tf.scoring import Scorer, Scoring, check_finite, probabilities, sample_loss


class Round(NamedTuple):
    """One selection: what was added, and as what.

    epoch: epochs trained before it. candidates: size of D'.
    index, predicted, target: [k] int32: positions in the pool, predicted classes (of what
    accumulates: at its last pick), and
        the classes trained on from now.
    score, loss: [k] float32: the selector's output, or the predicted class's probability under a
    rule without one; nats.
    lowest, median, highest: of the score over D'; NaN where D' is empty.
    seconds: what scoring, selecting and swapping took.
    unpicked, fading: [j] int32: minor classes that nothing unlabeled, or too few, was picked as,
    see minors.fading.
    weight: [k] float32: what a rule that gives weights gave each pick; empty under one that gives a
    mask.
    """

    epoch: int
    candidates: int
    index: np.ndarray  # type: ignore[assignment]  # hides tuple.index
    predicted: np.ndarray
    target: np.ndarray
    score: np.ndarray
    loss: np.ndarray
    lowest: float
    median: float
    highest: float
    seconds: float
    unpicked: np.ndarray = np.zeros(0, np.int32)
    weight: np.ndarray = np.zeros(0, np.float32)
    fading: np.ndarray = np.zeros(0, np.int32)

    @property
    def warning(self) -> str:
        """'' or why this selection should not be trusted."""
        if not self.candidates:
            return "nothing is predicted as a minor class"
        collapsed = (
            f"the scores have collapsed to {self.median:.3f}"
            if self.highest - self.lowest < 0.01
            else ""
        )
        lost = (
            describe_fading(list(self.unpicked), list(self.fading))
            if len(self.index)
            else ""
            if collapsed
            else "nothing was picked"
        )
        return "; ".join(text for text in (collapsed, lost) if text)

    def __str__(self) -> str:
        text = (
            f"epoch {self.epoch}: {self.candidates:,} predicted as minor, {len(self.index):,} added"
        )
        return f"{text} (warning: {self.warning})" if self.warning else text


def rounds_to_arrays(history: list[Round]) -> dict[str, np.ndarray]:
    """The Rounds as arrays, for a state file."""
    return {
        f"round_{i}_{k}": np.asarray(v)
        for i, round in enumerate(history)
        for k, v in round._asdict().items()
    }


def rounds_from_arrays(state: dict[str, np.ndarray]) -> list[Round]:
    """The Rounds that `state_of` gave."""
    history: list[Round] = []
    while found := strip_prefix(state, f"round_{len(history)}_"):
        fields: dict[str, Any] = {k: v if v.ndim else v.item() for k, v in found.items()}
        history.append(Round(**fields))
    return history


def strip_prefix(state: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """What stands under `prefix` in a state, without it."""
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


CHOICES = {
    "labeled_loss": ("predicted", "true", "two_hot"),
    "context": ("all", "wrong"),
    "loss_norm": ("union", "separate"),
}


class Selection(keras.callbacks.Callback):
    """Every `every` epochs: score D and U, let the rule pick, and train on D + D_add from then on
    (Algorithm 1).

    Only `fit` can drive it: Keras reads a training set's length once for each model.fit.

    Args:
        pool: the Pool.
        rule: a callable from Scores to a mask, bool [n], or to weights in the loss, float [n]
            from 0 to 1 (eq. (3)'s f_s); None never selects. A plain function is tried on made-up
            scores before the first epoch.
        every: epochs between two selections; the first round has as many.
        init: D in the first round (in all rounds, without a rule): "balanced" by sampling with
            replacement, "balanced_minor" where only the minors are, a number of further copies of
            the minors, or "none".
        labeled_loss: the loss of a labeled sample: "predicted", -log p of the predicted class
            as for unlabeled ones (eq. 3's y-hat); "true", -log p of its class; "two_hot", the
            released code's sum of both where they differ.
        score_batch: images scored at once, over all replicas.
        accumulate: whether an unlabeled pick stays, as the class it was last picked as;
            Algorithm 1 picks anew each round.
        from_logits: whether the model gives logits; None: as its loss says.
        on_round: called with each Round; prints it by default. None: nothing is.
        context: the labeled samples of D': "all" that are predicted as a minor class (Section
            4.2), or those "wrong"ly (3.2).
        loss_norm: "union": one mean over D and D_add; "separate": the sum of a mean over each,
            as eq. (3) has it.
        adjust: a callable (probs [n, m], pool) -> probs, e.g. AlignMinors; D', the loss and the
            pseudo-labels follow from it.
        scorer: a callable that gives (output [n, m], features [n, d] or None) of D and U by the
            model as it is then, e.g. of a pool that other machines score; None: a Scorer of the
            model.

    Attributes:
        history: the Rounds so far.
        scorer: as given.
        driven: whether `fit` is running it.
    """

    def __init__(
        self,
        pool: Pool,
        rule: Rule | None = None,
        *,
        every: int = 10,
        init: str | int = "balanced",
        labeled_loss: str = "predicted",
        accumulate: bool = False,
        score_batch: int = 250,
        from_logits: bool | None = None,
        on_round: Callable[[Round], Any] | None = print,
        context: str = "all",
        loss_norm: str = "union",
        adjust: Adjust | None = None,
        scorer: Scoring | None = None,
    ) -> None:
        super().__init__()
        check_whole("every", every)
        for name, value in (
            ("labeled_loss", labeled_loss),
            ("context", context),
            ("loss_norm", loss_norm),
        ):
            if value not in CHOICES[name]:
                raise ValueError(f"{name} is {value!r}, but has to be {' or '.join(CHOICES[name])}")
        if init not in ("balanced", "balanced_minor", "none") and (
            not isinstance(init, (int, np.integer)) or init < 0
        ):
            raise ValueError(
                f"init is {init!r}, but has to be 'balanced', 'balanced_minor', 'none' or a number"
                " of copies"
            )
        _check_instances(pool, rule)
        if rule is not None and pool.labeled.all():
            raise ValueError(
                "the pool has no unlabeled image to select from: give some, or train without a rule"
            )
        self.pool, self.every, self.init = pool, every, init
        self.rule: Any = rule
        self.labeled_loss, self.accumulate, self.on_round = labeled_loss, accumulate, on_round
        self.score_batch, self.from_logits, self.adjust = score_batch, from_logits, adjust
        self.context, self.loss_norm = context, loss_norm
        self.history: list[Round] = []
        self.scorer = scorer
        self.driven = False
        self._own: Scorer | None = None

    def reset(self) -> None:
        """The state before the first epoch."""
        self.history = []
        for learner in (self.rule, self.adjust):
            getattr(learner, "reset", lambda: None)()
        if not isinstance(self.init, str):
            self.pool.copy_minor(int(self.init))
        elif self.init == "none":
            self.pool.train_on_labeled()
        else:
            self.pool.balance(self.pool.minor.tolist() if self.init == "balanced_minor" else None)

    def rehearse(self, rule: bool = True) -> bool:
        """Finds now what would fail after the first round: scores one batch, tries a copy of
        `adjust`, and a rule that is a plain function.

        Returns:
            Whether the loss of what is trained on will be weighted, as far as it can be known.

        Raises:
            ValueError: an output that is no probabilities of the classes, a rule or an `adjust`
                that returns something else than it has to.
        """
        weighted = self.pool.sample_weight is not None
        if self.rule is not None:
            weighted |= self.loss_norm == "separate" or bool(getattr(self.rule, "soft", False))
        if self.scorer is not None:
            return weighted
        output, features = self._scorer().first()
        if self.rule is None and not np.isfinite(output).all():
            return weighted  # what isn't finite spoils no selection
        classes = self._probabilities(output, trained=not rule).shape[1]
        learns = hasattr(self.rule, "reset") or hasattr(
            self.rule, "get_state"
        )  # from what is made up, too
        if self.rule is None or (self.adjust is None and (learns or not rule)):
            return weighted
        rng, n = np.random.default_rng(0), len(self.pool.labels)
        probs = rng.dirichlet(np.ones(classes), n).astype(np.float32)
        apply_adjust(_copy(self.adjust, self.pool), probs, self.pool)
        if rule and not learns:
            if features is not None:
                features = rng.normal(size=(n, features.shape[1])).astype(np.float32)
            made_up = self._scores(probs, features, 0)
            weighted |= apply_rule(self.rule(made_up), made_up).dtype != bool
        return weighted

    def round_end(self, epoch: int) -> int:
        """The epoch before which the training set that `epoch` is trained on stays the same."""
        return (epoch // self.every + 1) * self.every

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        if not self.driven:
            raise ValueError(
                "model.fit would never train on what is picked: call sn.fit(model, selection, ...)"
                " instead"
            )

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.pool.begin_epoch(epoch)
        set_class_counts(self.model.loss, self.pool.counts())

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if self.rule is not None and (epoch + 1) % self.every == 0:
            self.history.append(self.select(epoch + 1))
            if self.on_round is not None:
                self.on_round(self.history[-1])

    def select(self, epoch: int) -> Round:
        """Scores, selects and swaps once. Returns the Round."""
        start = time.perf_counter()
        scores = self.score(epoch // self.every - 1)
        predicted = scores.probs.argmax(1).astype(np.int32)
        weight = apply_rule(self.rule(scores), scores)
        mask = weight > 0
        if self.accumulate:
            self._keep(mask, predicted, weight)
        picked = np.flatnonzero(mask).astype(np.int32)
        target = np.where(scores.labeled, self.pool.labels, predicted)[picked]
        self.pool.train_on_labeled(picked, target, self._weights(weight[picked]))
        output = getattr(self.rule, "output", None)
        score = scores.probs.max(1) if output is None else output
        of_candidates = score[scores.candidate] if scores.candidate.any() else [np.nan]
        lowest, median, highest = (float(f(of_candidates)) for f in (np.min, np.median, np.max))
        unpicked, few = find_fading(
            self.pool, [*((r.index, r.target) for r in self.history), (picked, target)]
        )
        given = weight[picked] if weight.dtype != bool else np.zeros(0, np.float32)
        d_prime, loss, seconds = (
            int(scores.candidate.sum()),
            scores.loss[picked],
            time.perf_counter() - start,
        )
        what = (picked, predicted[picked], target, score[picked], loss)
        return Round(epoch, d_prime, *what, lowest, median, highest, seconds, unpicked, given, few)

    def _keep(self, mask: np.ndarray, predicted: np.ndarray, weight: np.ndarray) -> None:
        """Adds the unlabeled images that are trained on now to a round's picks, unless they are
        among them.
        """
        kept = ~self.pool.labeled[self.pool.index] & ~mask[self.pool.index]
        index = self.pool.index[kept]
        mask[index], predicted[index], weight[index] = True, self.pool.targets[kept], 1
        if self.history and len(self.history[-1].weight):
            before = np.ones(len(weight), np.float32)
            before[self.history[-1].index] = self.history[-1].weight
            weight[index] = before[index]

    def _weights(self, of_picks: np.ndarray) -> np.ndarray | None:
        """[n_D + k] weights in the loss, of D and then of the picks [k]

        None where all weigh the same.
        """
        if of_picks.dtype == bool and self.loss_norm == "union":
            return None
        labeled, added = int(self.pool.labeled.sum()), len(of_picks)
        weights = np.concatenate([np.ones(labeled), of_picks]).astype(np.float32)
        if (
            self.loss_norm == "separate" and added
        ):  # a batch's mean then expects mean(D) + mean(D_add)
            weights *= np.repeat(
                [(labeled + added) / labeled, (labeled + added) / added], [labeled, added]
            ).astype(np.float32)
        return weights

    def score(self, round: int = 0) -> Scores:
        """One forward pass over D and U. Returns Scores."""
        output, features = self._scorer()() if self.scorer is None else self.scorer()
        return self._scores(
            apply_adjust(self.adjust, self._probabilities(output), self.pool), features, round
        )

    def _scorer(self) -> Scorer:
        if self._own is None or self._own.classifier is not self.model:
            self._own = Scorer(
                self.model,
                self.pool.images,
                self.score_batch,
                getattr(self.rule, "features", False),
            )
        return self._own

    def _probabilities(self, output: np.ndarray, trained: bool = True) -> np.ndarray:
        check_finite(output, self.pool.images, trained)
        from_logits = self.from_logits
        if from_logits is None:
            from_logits = any(
                getattr(loss, "from_logits", False) for loss in keras.tree.flatten(self.model.loss)
            )
        return probabilities(output, from_logits, int(self.pool.labels.max()))

    def _scores(self, probs: np.ndarray, features: np.ndarray | None, round: int) -> Scores:
        """As a rule may see them: read-only."""
        loss = sample_loss(probs, self.pool.labels, self.pool.labeled, self.labeled_loss)
        predicted = probs.argmax(1)
        candidate = np.isin(predicted, self.pool.minor)
        if self.context == "wrong":
            candidate &= predicted != self.pool.labels
        probs, loss, labeled, candidate = map(
            read_only, (probs, loss, self.pool.labeled, candidate)
        )
        return Scores(
            probs,
            loss,
            labeled,
            candidate,
            round,
            None if features is None else read_only(features),
        )

    def _parts(self) -> list[tuple[str, Any]]:
        return [
            (k, p)
            for k, p in (("pool", self.pool), ("rule", self.rule), ("adjust", self.adjust))
            if hasattr(p, "set_state")
        ]

    def __getstate__(self) -> dict[str, Any]:
        return {
            **self.__dict__,
            "_own": None,
            "_model": None,
        }  # a copy, or a pickle, holds no model and no compiled function

    def get_state(self) -> dict[str, np.ndarray]:
        """The pool's state, the rule's, the adjustment's and the Rounds so far."""
        return {
            f"{name}_{k}": v for name, p in self._parts() for k, v in p.get_state().items()
        } | rounds_to_arrays(self.history)

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Puts back what get_state gave. Raises ValueError where it is of other data."""
        for name, p in self._parts():
            p.set_state(strip_prefix(state, f"{name}_"))
        self.history = rounds_from_arrays(state)


def _copy(adjust: Adjust | None, pool: Pool) -> Adjust | None:
    """What can be tried without a trace, with the same pool; None where it can't be copied."""
    try:
        return copy.deepcopy(adjust, {id(shared): shared for shared in (pool, pool.images)})
    except Exception:  # of somebody else's object: a lock, a file, a compiled function
        return None


def _check_instances(pool: Pool, rule: Rule | None) -> None:
    if isinstance(rule, type):
        raise ValueError(
            f"the rule is the class {rule.__name__}: make one, as in {rule.__name__}()"
        )
    if rule is not None and not callable(rule):
        raise ValueError(
            f"the rule is a {type(rule).__name__}, but has to be a function from Scores to a mask"
        )
    if not isinstance(pool, Pool):
        raise ValueError(
            f"pool is {pool!r}, but has to be a Pool, as in sn.Pool(x_labeled, y_labeled,"
            " x_unlabeled, minor)"
        )
