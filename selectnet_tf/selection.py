"""The selection: every few epochs, score all images, let the rule pick, swap the training set."""

import copy
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np

from selectnet_tf._validate import check_callable, check_whole
from selectnet_tf.alignment import (
    Adjust,
    apply_adjust,
    describe_fading,
    find_counted_losses,
    find_fading,
)
from selectnet_tf.checkpoint import strip_prefix
from selectnet_tf.pool import Pool
from selectnet_tf.rules import Rule, Scores, apply_rule, read_only
from selectnet_tf.scoring import (
    DOUBLE,
    Scorer,
    Scoring,
    check_finite,
    compute_losses,
    ends_in_sigmoid,
    to_probabilities,
)

CHOICES = {
    "labeled_loss": ("predicted", "true", "two_hot"),
    "context": ("all", "wrong"),
    "loss_norm": ("union", "separate"),
}


class Round(NamedTuple):
    """One selection: k images that were added, and their classes.

    Attributes:
        epoch: epochs trained before it.
        candidates: size of D'.
        index: [k] int32, positions in the pool.
        predicted: [k] int32, the predicted classes; under `accumulate`, of the last time picked.
        target: [k] int32, the classes trained on from now.
        score: [k] float32, the selector's output, or the predicted class's probability under a
            rule without one.
        loss: [k] float32, nats.
        lowest: smallest score over D'; NaN where D' is empty.
        median: median score over D'.
        highest: largest score over D'.
        seconds: duration of scoring, selecting and swapping.
        unpicked: [j] int32, minor classes without pseudo-labels.
        weight: [k] float32, the weights of a rule that returns weights; else empty.
        fading: [j] int32, other minor classes with too few; see alignment.find_fading.
        has_selector: whether the scores are a selector's output.
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
    has_selector: bool = False

    @property
    def warning(self) -> str:
        """The reasons to distrust this selection; '' where there is none."""
        if not self.candidates:
            return "no image is predicted as a minor class"
        reasons = []
        if self.has_selector and self.candidates > 1 and self.highest - self.lowest < 0.01:
            reasons.append(f"the scores have collapsed to {self.median:.3f}")
        if len(self.index):
            reasons.append(describe_fading(list(self.unpicked), list(self.fading)))
        elif not reasons:
            reasons.append("no image was added")
        return "; ".join(filter(None, reasons))

    def __str__(self) -> str:
        counts = f"{self.candidates:,} predicted as minor, {len(self.index):,} added"
        warning = f" (warning: {self.warning})" if self.warning else ""
        return f"epoch {self.epoch}: {counts}{warning}"


class Selection(keras.callbacks.Callback):
    """The callback that rebuilds the training set, D + D_add, every few epochs (Algorithm 1).

    Only `fit` can drive it: Keras reads a training set's length once for each model.fit.

    Args:
        pool: the Pool.
        rule: a callable from Scores to a mask, bool [n], or to weights in the loss, float [n]
            from 0 to 1 (eq. (3)'s f_s); None never selects. A plain function is tried on random
            scores before the first epoch.
        every: epochs between two selections, and of the first round.
        init: D in the first round (in all rounds, without a rule): "balanced" by sampling with
            replacement, "balanced_minor" for the minor classes alone, a number of further copies
            of the minors, or "none".
        score_batch: images scored at once, over all replicas; None: eight times the `batch_size`
            of `fit`, at most 250; or that size, where the model is built for it.
        from_logits: whether the model returns logits; None: as its loss says.
        on_round: called with each Round; prints it by default. None: no call.
        adjust: a callable (probs [n, m], pool) -> probs, such as AlignMinors; D', the loss and the
            pseudo-labels follow from it.
        scorer: a callable that returns (output [n, m], features [n, d] or None) of D and U, such
            as of a pool scored on other machines; None: a Scorer of the model.
        labeled_loss: this and the next three are readings of the paper, which contradicts itself.
            The loss of a labeled sample: "predicted", -log p of the predicted class as for
            unlabeled ones (eq. 3's y-hat); "true", -log p of its class; "two_hot", the released
            code's sum of both where they differ.
        accumulate: whether an unlabeled image stays, as the class that it was last picked as;
            Algorithm 1 picks again each round.
        context: the labeled samples of D': "all" that are predicted as a minor class (Section
            4.2), or only the "wrong" ones (3.2).
        loss_norm: "union": one mean over D and D_add; "separate": the sum of a mean over each
            (eq. 3).

    Attributes:
        scorer: the argument.
        driven: whether `fit` is running.
        batch_size: images a step; `fit` sets it.
        history: the Rounds so far.
    """

    def __init__(
        self,
        pool: Pool,
        rule: Rule | None = None,
        *,
        every: int = 10,
        init: str | int = "balanced",
        score_batch: int | None = None,
        from_logits: bool | None = None,
        on_round: Callable[[Round], Any] | None = print,
        adjust: Adjust | None = None,
        scorer: Scoring | None = None,
        labeled_loss: str = "predicted",
        accumulate: bool = False,
        context: str = "all",
        loss_norm: str = "union",
    ) -> None:
        super().__init__()
        check_whole("every", every)
        if score_batch is not None:
            check_whole("score_batch", score_batch)
        check_callable("rule", rule, "sn.Context()")
        check_callable("adjust", adjust, "sn.AlignMinors()")
        check_callable("on_round", on_round, "print")
        if not isinstance(pool, Pool):
            raise ValueError(
                f"pool is {pool!r}, but has to be a Pool, as in sn.Pool(x_labeled, y_labeled,"
                " x_unlabeled, minor)"
            )
        _check_choices(init, labeled_loss=labeled_loss, context=context, loss_norm=loss_norm)
        if rule is not None and pool.labeled.all():
            raise ValueError("the pool has no unlabeled image: give some, or train without a rule")
        self.pool, self.every, self.init = pool, every, init
        self.rule: Any = rule
        self.labeled_loss, self.accumulate, self.on_round = labeled_loss, accumulate, on_round
        self.score_batch, self.from_logits, self.adjust = score_batch, from_logits, adjust
        self.context, self.loss_norm, self.scorer = context, loss_norm, scorer
        self.history: list[Round] = []
        self.driven = False
        self.batch_size = 32
        self._own: Scorer | None = None
        self._counted: list[Any] = []  # losses that want the classes' counts

    def reset(self) -> None:
        """Restores the state before the first epoch."""
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
        """Scores one batch, tries a copy of `adjust`, and a rule that is a plain function.

        Args:
            rule: whether to try the rule; False for a resumed run.

        Returns:
            Whether the loss will be weighted, as far as known.

        Raises:
            ValueError: an output that is not probabilities of the classes, or a wrong result of the
                rule or of `adjust`.
        """
        weighted = self.pool.sample_weight is not None
        if self.rule is not None:
            weighted |= self.loss_norm == "separate" or bool(getattr(self.rule, "soft", False))
        if self.scorer is not None:
            return weighted
        output, features = self._scorer().first()
        if self.rule is None and not np.isfinite(output).all():
            return weighted  # without a rule, the output is not used
        classes = self._probabilities(output, trained=not rule).shape[1]
        # a rule that learns would learn from the random scores
        learns = hasattr(self.rule, "reset") or hasattr(self.rule, "get_state")
        tries_rule = rule and not learns
        if self.rule is None or (self.adjust is None and not tries_rule):
            return weighted
        rng, n = np.random.default_rng(0), len(self.pool.labels)
        probs = rng.dirichlet(np.ones(classes), n).astype(np.float32)
        apply_adjust(_copy_adjust(self.adjust, self.pool), probs, self.pool)
        if tries_rule:
            if features is not None:
                features = rng.normal(size=(n, features.shape[1])).astype(np.float32)
            scores = self._scores(probs, features, 0)
            weighted |= apply_rule(self.rule(scores), scores).dtype != bool
        return weighted

    def round_end(self, epoch: int) -> int:
        """Returns the first epoch after `epoch` that another training set may begin with."""
        return (epoch // self.every + 1) * self.every

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        if not self.driven:
            raise ValueError(
                "model.fit would never train on the added images: call sn.fit(model, selection,"
                " ...) instead"
            )
        self._counted = find_counted_losses(self.model)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.pool.begin_epoch(epoch)
        self._set_counts(self.pool.counts())

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._set_counts(np.ones(1))  # even ones, so that val_loss means the same in every epoch

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        self._set_counts(self.pool.counts())

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        self._set_counts(np.ones(1))  # so that model.evaluate means what val_loss does

    def _set_counts(self, counts: np.ndarray) -> None:
        for loss in self._counted:
            loss.set_counts(counts)

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
            self._keep_added(mask, predicted, weight)
        picked = np.flatnonzero(mask).astype(np.int32)
        target = np.where(scores.labeled, self.pool.labels, predicted)[picked]
        self.pool.train_on_labeled(picked, target, self._loss_weights(weight[picked]))
        output = getattr(self.rule, "output", None)
        score = scores.probs.max(1) if output is None else output
        of_candidates = score[scores.candidate] if scores.candidate.any() else [np.nan]
        unpicked, fading = find_fading(
            self.pool, [*((r.index, r.target) for r in self.history), (picked, target)]
        )
        return Round(
            epoch=epoch,
            candidates=int(scores.candidate.sum()),
            index=picked,
            predicted=predicted[picked],
            target=target,
            score=score[picked],
            loss=scores.loss[picked],
            lowest=float(np.min(of_candidates)),
            median=float(np.median(of_candidates)),
            highest=float(np.max(of_candidates)),
            seconds=time.perf_counter() - start,
            unpicked=unpicked,
            weight=np.zeros(0, np.float32) if weight.dtype == bool else weight[picked],
            fading=fading,
            has_selector=output is not None,
        )

    def score(self, round: int = 0) -> Scores:
        """Returns the Scores of D and U by one forward pass.

        Args:
            round: 0 for the first selection.
        """
        output, features = self._scorer()() if self.scorer is None else self.scorer()
        for found in (output, features):
            if found is not None and len(found) != len(self.pool.labels):
                raise ValueError(
                    f"scorer returned {len(found)} rows, but the pool has {len(self.pool.labels)}"
                    " images: return a row for each, labeled ones first"
                )
        probs = apply_adjust(self.adjust, self._probabilities(output), self.pool)
        return self._scores(probs, features, round)

    def get_state(self) -> dict[str, np.ndarray]:
        """Returns the states of the pool, the rule and the adjustment, and the Rounds so far."""
        state = {f"{k}_{name}": v for k, p in self._parts() for name, v in p.get_state().items()}
        for i, round in enumerate(self.history):
            state |= {f"round_{i}_{k}": np.asarray(v) for k, v in round._asdict().items()}
        return state

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Restores a state of get_state.

        Raises:
            ValueError: the state is of other data.
        """
        for name, part in self._parts():
            part.set_state(strip_prefix(state, f"{name}_"))
        self.history = []
        while found := strip_prefix(state, f"round_{len(self.history)}_"):
            fields: dict[str, Any] = {k: v if v.ndim else v.item() for k, v in found.items()}
            self.history.append(Round(**fields))

    def __getstate__(self) -> dict[str, Any]:
        # a copy, or a pickle, holds no model and no compiled function
        return {**self.__dict__, "_own": None, "_counted": [], "_model": None}

    def _keep_added(self, mask: np.ndarray, predicted: np.ndarray, weight: np.ndarray) -> None:
        """Adds the unlabeled images of the training set to a round's picks, in place.

        Args:
            mask: [n] bool, the picks.
            predicted: [n] int32, the predicted classes.
            weight: [n] the rule's mask or weights.
        """
        kept = ~self.pool.labeled[self.pool.index] & ~mask[self.pool.index]
        index = self.pool.index[kept]
        mask[index], predicted[index], weight[index] = True, self.pool.targets[kept], 1
        if self.history and len(self.history[-1].weight):
            before = np.ones(len(weight), np.float32)
            before[self.history[-1].index] = self.history[-1].weight
            weight[index] = before[index]

    def _loss_weights(self, of_picks: np.ndarray) -> np.ndarray | None:
        """Returns the weights in the loss of D and the picks, or None where all are equal.

        Args:
            of_picks: [k] the rule's mask or weights.
        """
        if of_picks.dtype == bool and self.loss_norm == "union":
            return None
        labeled, added = int(self.pool.labeled.sum()), len(of_picks)
        weights = np.concatenate([np.ones(labeled), of_picks]).astype(np.float32)
        if self.loss_norm == "separate" and added:
            # the expectation of a batch's mean is then mean(D) + mean(D_add)
            shares = [(labeled + added) / labeled, (labeled + added) / added]
            weights *= np.repeat(shares, [labeled, added]).astype(np.float32)
        return weights

    def _scorer(self) -> Scorer:
        if self.model is None:
            raise ValueError("the selection has no model yet: call sn.fit, or set_model(model)")
        built = [tensor.shape[0] for tensor in getattr(self.model, "inputs", None) or []]
        fixed = self.batch_size in built  # as for a stateful layer
        size = self.score_batch or (self.batch_size if fixed else min(250, 8 * self.batch_size))
        own = self._own
        if own is None or own.classifier is not self.model or own.batch_size != size:
            features = getattr(self.rule, "features", False)
            own = self._own = Scorer(self.model, self.pool.images, size, features)
        return own

    def _probabilities(self, output: np.ndarray, trained: bool = True) -> np.ndarray:
        check_finite(output, self.pool.images, trained)
        from_logits = self.from_logits
        if from_logits is None:
            losses = keras.tree.flatten(self.model.loss)
            from_logits = any(getattr(loss, "from_logits", False) for loss in losses)
        if from_logits and output.shape[-1] == 1 and ends_in_sigmoid(self.model):
            raise ValueError(DOUBLE)
        return to_probabilities(output, from_logits, int(self.pool.labels.max()))

    def _scores(self, probs: np.ndarray, features: np.ndarray | None, round: int) -> Scores:
        loss = compute_losses(probs, self.pool.labels, self.pool.labeled, self.labeled_loss)
        predicted = probs.argmax(1)
        candidate = np.isin(predicted, self.pool.minor)
        if self.context == "wrong":
            candidate &= predicted != self.pool.labels
        return Scores(
            probs=read_only(probs),
            loss=read_only(loss),
            labeled=read_only(self.pool.labeled),
            candidate=read_only(candidate),
            round=round,
            features=None if features is None else read_only(features),
        )

    def _parts(self) -> list[tuple[str, Any]]:
        parts = (("pool", self.pool), ("rule", self.rule), ("adjust", self.adjust))
        return [(name, part) for name, part in parts if hasattr(part, "set_state")]


def _copy_adjust(adjust: Adjust | None, pool: Pool) -> Adjust | None:
    """Returns a copy that shares the pool, or None where it can't be copied."""
    try:
        return copy.deepcopy(adjust, {id(shared): shared for shared in (pool, pool.images)})
    except Exception:  # of a user's object: a lock, a file, a compiled function
        return None


def _check_choices(init: Any, **options: str) -> None:
    for name, value in options.items():
        if value not in CHOICES[name]:
            raise ValueError(f"{name} is {value!r}, but has to be {' or '.join(CHOICES[name])}")
    copies = isinstance(init, (int, np.integer)) and init >= 0
    if not copies and init not in ("balanced", "balanced_minor", "none"):
        raise ValueError(
            f"init is {init!r}, but has to be 'balanced', 'balanced_minor', 'none' or a number of"
            " copies"
        )
