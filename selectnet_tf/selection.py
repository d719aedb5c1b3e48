"""When: the Keras callback that scores D and U, selects and swaps, every ten epochs."""

import time
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from selectnet_tf.images import Images, batches
from selectnet_tf.minors import adjusted, fading, says, tell_counts
from selectnet_tf.rules import Scores


class Round(NamedTuple):
    """One selection: what was added, and as what.

    epoch: epochs trained before it. candidates: size of D'.
    index, predicted, target: [k] int32: positions in the pool, predicted classes (of what accumulates: at its last pick), and
        the classes trained on from now.
    score, loss: [k] float32: the selector's output, or the predicted class's probability under a rule without one; nats.
    lowest, median, highest: of the score over D'; NaN where D' is empty.
    seconds: what scoring, selecting and swapping took.
    unpicked, fading: [j] int32: minor classes that nothing unlabeled, or too few, was picked as, see minors.fading.
    """

    epoch: int
    candidates: int
    index: np.ndarray
    predicted: np.ndarray
    target: np.ndarray
    score: np.ndarray
    loss: np.ndarray
    lowest: float
    median: float
    highest: float
    seconds: float
    unpicked: np.ndarray = ()  # state files of runs begun before these fields lack them
    fading: np.ndarray = ()

    @property
    def warning(self):
        """'' or why this selection should not be trusted."""
        if not self.candidates:
            return "nothing is predicted as a minor class"
        collapsed = f"the scores have collapsed to {self.median:.3f}" if self.highest - self.lowest < 0.01 else ""
        lost = says(self.unpicked, self.fading) if len(self.index) else "" if collapsed else "nothing was picked"
        return "; ".join(part for part in (collapsed, lost) if part)

    def __str__(self):
        text = f"epoch {self.epoch}: {self.candidates:,} predicted as minor, {len(self.index):,} added"
        return f"{text} (warning: {self.warning})" if self.warning else text


class Selection(keras.callbacks.Callback):
    """Every `every` epochs: score D and U, let the rule pick, and train on D + D_add from then on (Algorithm 1).

    Args:
        pool: the Pool.
        rule: a callable from Scores to a bool mask [n]; None never selects.
        every: epochs between two selections; the first round has as many.
        init: D in the first round (in all rounds, without a rule): "balanced" by sampling with replacement, a
            number of further copies of the minors, or "none".
        labeled_loss: the loss of a labeled sample: "predicted", -log p of the predicted class as for unlabeled ones
            (eq. 3's y-hat); "true", -log p of its class; "two_hot", the released code's sum of both where they differ.
        score_batch: images scored at once, over all replicas.
        accumulate: whether an unlabeled pick stays, as the class it was last picked as; Algorithm 1 picks anew each round.
        from_logits: whether the model gives logits; None: as its loss says.
        adjust: a callable (probs [n, m], pool) -> probs, e.g. AlignMinors; D', the loss and the pseudo-labels follow from it.
        on_round: called with each Round; prints it by default.

    Attributes:
        history: the Rounds so far.
        scorer: what gives (output [n, m], features [n, d] or None) of D and U; a Scorer of the model unless it is set.
    """

    def __init__(
        self, pool, rule=None, *, every=10, init="balanced", labeled_loss="predicted", accumulate=False, score_batch=250,
        from_logits=None, adjust=None, on_round=print,
    ):  # fmt: skip
        super().__init__()
        if every < 1:
            raise ValueError(f"every is {every}, but has to be at least 1")
        if labeled_loss not in ("predicted", "true", "two_hot"):
            raise ValueError(f"labeled_loss is {labeled_loss!r}, but has to be predicted, true or two_hot")
        if init not in ("balanced", "none") and not isinstance(init, int):
            raise ValueError(f"init is {init!r}, but has to be 'balanced', 'none' or a number of copies")
        if rule is not None and pool.labeled.all():
            raise ValueError("the pool has no unlabeled image to select from: give some, or train without a rule")
        self.pool, self.rule, self.every, self.init = pool, rule, every, init
        self.labeled_loss, self.accumulate, self.on_round = labeled_loss, accumulate, on_round
        self.score_batch, self.from_logits, self.adjust = score_batch, from_logits, adjust
        self.history = []
        self.scorer = None

    def reset(self):
        """The state before the first epoch."""
        self.history = []
        for part in (self.rule, self.adjust):
            getattr(part, "reset", lambda: None)()
        if self.init == "balanced":
            self.pool.balance()
        elif self.init == "none":
            self.pool.train_on_labeled()
        else:
            self.pool.copy_minor(self.init)

    def round_end(self, epoch):
        """The epoch before which the training set that `epoch` is trained on stays the same."""
        return (epoch // self.every + 1) * self.every

    def on_epoch_begin(self, epoch, logs=None):
        self.pool.begin_epoch(epoch)
        tell_counts(self.model.loss, self.pool.counts())

    def on_epoch_end(self, epoch, logs=None):
        if self.rule is not None and (epoch + 1) % self.every == 0:
            self.history.append(self.select(epoch + 1))
            self.on_round(self.history[-1])

    def select(self, epoch):
        """Scores, selects and swaps once. Returns the Round."""
        start = time.perf_counter()
        scores = self.score(epoch // self.every - 1)
        mask = np.asarray(self.rule(scores)) & scores.candidate
        predicted = scores.probs.argmax(1).astype(np.int32)
        if self.accumulate:
            self._keep(mask, predicted)
        picked = np.flatnonzero(mask).astype(np.int32)
        target = np.where(scores.labeled, self.pool.labels, predicted)[picked]
        self.pool.train_on_labeled(picked, target)
        output = getattr(self.rule, "output", None)
        score = scores.probs.max(1) if output is None else output
        spread = score[scores.candidate] if scores.candidate.any() else [np.nan]
        spread = [float(f(spread)) for f in (np.min, np.median, np.max)]
        missing = fading(self.pool, [*((r.index, r.target) for r in self.history), (picked, target)])
        picks = picked, predicted[picked], target, score[picked], scores.loss[picked]
        return Round(epoch, int(scores.candidate.sum()), *picks, *spread, time.perf_counter() - start, *missing)

    def _keep(self, mask, predicted):
        """Adds the unlabeled images that are trained on now to a round's picks, unless they are among them."""
        kept = ~self.pool.labeled[self.pool.index] & ~mask[self.pool.index]
        index = self.pool.index[kept]
        mask[index], predicted[index] = True, self.pool.targets[kept]

    def score(self, round=0):
        """One forward pass over D and U. Returns Scores."""
        if self.scorer is None:
            self.scorer = Scorer(self.model, self.pool.images, self.score_batch, getattr(self.rule, "features", False))
        output, features = self.scorer()
        from_logits = getattr(self.model.loss, "from_logits", False) if self.from_logits is None else self.from_logits
        probs = _probabilities(output, from_logits, self.pool.labels.max())
        probs = adjusted(self.adjust, probs, self.pool)
        loss = sample_loss(probs, self.pool.labels, self.pool.labeled, self.labeled_loss)
        candidate = np.isin(probs.argmax(1), self.pool.minor)
        return Scores(probs, loss, self.pool.labeled, candidate, round, features)

    def _parts(self):
        return [(k, p) for k, p in (("pool", self.pool), ("rule", self.rule), ("adjust", self.adjust)) if hasattr(p, "set_state")]

    def get_state(self):
        state = {f"{name}_{k}": v for name, part in self._parts() for k, v in part.get_state().items()}
        for i, round in enumerate(self.history):
            state |= {f"round_{i}_{k}": np.asarray(v) for k, v in round._asdict().items()}
        return state

    def set_state(self, state):
        for name, part in self._parts():
            part.set_state(_part(state, f"{name}_"))
        self.history = []
        while part := _part(state, f"round_{len(self.history)}_"):
            self.history.append(Round(**{k: v if v.ndim else v.item() for k, v in part.items()}))


def _part(state, prefix):
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def _probabilities(output, from_logits, last):
    """The model's output as [n, m] probabilities. last: the largest class of a label."""
    if output.ndim != 2 or output.shape[1] <= last:
        raise ValueError(
            f"the model's output is {list(output.shape[1:])}, but has to be [m] for classes 0 to m - 1, and there is a class {last}"
        )
    if not np.isfinite(output).all():
        raise ValueError("the classifier's output is not finite: training has diverged, use a smaller learning rate")
    if from_logits:
        output = np.exp(output - output.max(1, keepdims=True))
        return output / output.sum(1, keepdims=True)
    sums = output.sum(1)
    if output.min() < 0 or abs(sums - 1).max() > 0.02:
        raise ValueError(
            f"the model's outputs are no probabilities (they sum to {sums.min():.3g} to {sums.max():.3g}): "
            "end it in a softmax, or pass Selection(from_logits=True) where it gives logits"
        )
    return output


def sample_loss(probs, labels, labeled, how):
    """L_c of every sample: [n] float32, nats. probs [n, m]; labels [n], ignored where not labeled [n]; see Selection."""
    rows = np.arange(len(probs))
    predicted = probs.argmax(1)
    nll = lambda classes: -np.log(np.clip(probs[rows, classes], 1e-7, 1)).astype(np.float32)  # noqa: E731
    loss = nll(predicted)
    if how != "predicted":
        true = nll(np.where(labeled, labels, predicted))
        wrong = labeled & (labels != predicted)
        loss = np.where(wrong, true + loss if how == "two_hot" else true, loss)
    return loss


class Scorer:
    """Runs a model over images, in order, exactly once an image, on any number of replicas.

    The last batch is filled up with the last image, so every batch has one shape and no replica is ever empty; what was
    filled up is cut off again. The dataset and the compiled function are made once and used for every pass.

    Args:
        model: a built keras.Model with one output.
        images: [n, ...] array, or Images.
        batch_size: images at once over all replicas; rounded to a multiple of them.
        features: also return the input of the last layer that has weights.
    """

    def __init__(self, model, images, batch_size=250, features=False):
        images = images if isinstance(images, Images) else Images(images)
        self.n = len(images)
        replicas = model.distribute_strategy.num_replicas_in_sync
        batch = max(1, min(batch_size, self.n) // replicas) * replicas
        self.model, self.features = model, features
        if features:
            if not getattr(model, "inputs", None):
                raise ValueError("features are read from a functional or sequential model: use probs as the selector's inputs")
            last = [layer for layer in model.layers if layer.weights][-1]
            with model.distribute_strategy.scope():
                self.model = keras.Model(model.inputs[0], [model.outputs[0], last.input])

        def load(step):
            places = tf.cast(step, tf.int32) * batch + tf.range(batch)
            return images.gather(tf.minimum(places, self.n - 1))

        self.dataset = batches(load, 0, -(-self.n // batch))

    def __call__(self):
        """(output [n, m], features [n, d] or None) as float32 arrays."""
        found = self.model.predict(self.dataset, verbose=0)
        output, features = found if self.features else (found, None)
        return output[: self.n].astype(np.float32), None if features is None else features[: self.n].astype(np.float32)
