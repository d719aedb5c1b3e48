"""Classifiers of scikit-learn as f_c: fitted each round, with the same selection and the same files as a network's run."""

import dataclasses
import json
import pathlib
import zipfile
from typing import Any

import numpy as np

from selectnet_tf import estimators
from selectnet_tf.data.tasks import Task
from selectnet_tf.experiment import record
from selectnet_tf.experiment.origin import Origin
from selectnet_tf.files import replacing
from selectnet_tf.pool import Pool
from selectnet_tf.recipes import Recipe
from selectnet_tf.scoring import Scoring
from selectnet_tf.selection import Selection
from selectnet_tf.statefile import StateFile


class Classifier:
    """A committee of scikit-learn's classifiers: two more each round, one of the labeled rows alone, one of what is trained on now.

    The second one selects; in the end the mean of all counts. Five of four rounds' eight have seen no pseudo-label, so that wrong ones
    cost little: on eight tables that was worth more than it took, see docs/tables.md.

    Attributes:
        fitted: all so far, the round's second one last. sets: what these were fitted on, (index, targets) as in Pool.
    """

    def __init__(self, recipe: Recipe, pool: Pool, classes: int) -> None:
        self.recipe, self.pool, self.classes = recipe, pool, classes
        self.fitted: list[Any] = []
        self.sets: list[tuple[np.ndarray, np.ndarray]] = []

    def fit(self, index: np.ndarray, targets: np.ndarray) -> None:
        """A round's two; the second on pool.images[index] as the classes `targets`. Each has a seed of its own."""
        labeled = np.flatnonzero(self.pool.labeled)
        for places, classes in ((labeled, self.pool.labels[labeled]), (index, targets)):
            seed = np.random.default_rng([self.recipe.seed, 5, len(self.fitted)]).integers(2**31)
            made = estimators.make(self.recipe.arch, int(seed), self.recipe.estimator)
            self.fitted.append(estimators.fit(made, self.pool.images[places], classes))
        self.sets.append((index, targets))

    def scorer(self, rows: Any, last: bool = False) -> Scoring:
        """Gives, when it is asked, the probabilities [n, m] of these rows: the mean of all so far, or the `last` one's."""
        return lambda: (estimators.probabilities(self.fitted[-1:] if last else self.fitted, rows, self.classes), None)

    def get_state(self) -> dict[str, np.ndarray]:
        return {f"{name}{i}": a for i, pair in enumerate(self.sets) for name, a in zip(("index", "targets"), pair, strict=True)}

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Fits anew what was fitted: that takes less time than it takes to keep it."""
        self.fitted, self.sets = [], []
        for i in range(len(state) // 2):
            self.fit(state[f"index{i}"], state[f"targets{i}"])


def prepare(selection: Selection, classifier: Classifier) -> None:
    """Has a selection score by what was fitted last, and say nothing."""
    selection.on_round, selection.from_logits = None, False
    selection.scorer = classifier.scorer(selection.pool.images, last=True)


def train(
    recipe: Recipe, task: Task, selection: Selection, classifier: Classifier, folder: pathlib.Path, origin: Origin
) -> tuple[record.Evaluate, np.ndarray, record.Log]:
    """Algorithm 1 with a fit in place of some epochs: fit, score, select, swap; recipe.epochs times.

    The state, what each round is fitted on, is written before the fit: a kill costs a round.
    """
    pool = selection.pool
    evaluate = record.Evaluate(classifier.scorer(task.x_test), task.y_test, task.minor)
    log = record.Log(folder, selection, task, recipe)
    prepare(selection, classifier)
    selection.on_round = log.audit
    parts: dict[str, Any] = {"origin": origin, "selection": selection, "log": log, "classifier": classifier}
    state = StateFile(folder / "state.npz", parts, {"recipe": dataclasses.asdict(recipe)})
    state.or_else = " or pass --force"
    selection.reset()
    first = 0
    if state.path.exists():
        first, _ = state.put_back(state.read())
        print("\n".join([f"going on after epoch {first}", *origin.says]), flush=True)
    record.write_recipe(folder, recipe, task, pool, origin, 1)
    for epoch in range(first, recipe.epochs):
        state.write({}, epoch)
        log.on_epoch_begin(epoch)
        classifier.fit(pool.index, pool.targets)
        logs = _on_training(classifier, pool)
        for callback in (evaluate, selection, log):
            callback.on_epoch_end(epoch, logs)
    assert evaluate.probs is not None
    return evaluate, evaluate.probs, log


def _on_training(classifier: Classifier, pool: Pool) -> dict[str, float]:
    """Accuracy and loss (nats) on what the classifier was fitted on, as Keras has them."""
    probs, _ = classifier.scorer(pool.images[pool.index], last=True)()
    of_class = probs[np.arange(len(probs)), pool.targets]
    return {"accuracy": float((probs.argmax(1) == pool.targets).mean()), "loss": float(-np.log(np.clip(of_class, 1e-7, 1)).mean())}


def write_model(folder: pathlib.Path, classifier: Classifier, task: Task) -> None:
    """model.skops: the classifier, the classes' names and what encodes a table's rows."""
    with replacing(folder / "model.skops") as beside:
        estimators.save(beside, classifier.fitted)
        with zipfile.ZipFile(beside, "a") as file:
            file.writestr("classes.json", json.dumps(list(task.names)))
        if task.encode:
            task.encode.save_into(beside)
