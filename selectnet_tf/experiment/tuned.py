"""--threshold=auto: lambda by cross-validation on the labeled rows, with "no rule helps" among the answers."""

import dataclasses
import pathlib

import numpy as np
import pandas as pd

from selectnet_tf import estimators, presets
from selectnet_tf.experiment import fitted, methods, metrics
from selectnet_tf.experiment.csvs import write_frame
from selectnet_tf.pool import Pool
from selectnet_tf.recipes import Recipe
from selectnet_tf.unlabeled import LabeledFolds

LAMBDAS = (presets.FITTED["threshold"], 0.35)  # the first stands unless another answer is better
NONE = "none"
FOLDS = 4
MOST = 10_000  # rows of the pool that are looked at
FILE = "lambdas.csv"


def choose(recipe: Recipe, pool: Pool, folder: pathlib.Path) -> tuple[Recipe, str]:
    """(the recipe with its lambda, or of the labeled rows alone; lambda as text, "none" without a rule).

    LAMBDAS[0] stands unless another answer's average precision of the minor classes is higher by more than one standard error,
    over the folds: eight labeled rows of a class tell no smaller differences. lambdas.csv has the numbers; what was found is said.
    """
    counts = np.bincount(pool.labels[pool.labeled])
    folds = min(FOLDS, int(counts[counts > 0].min()))
    if folds < 2:
        print(f"  threshold {LAMBDAS[0]}: a class with one labeled row can't be divided into folds", flush=True)
        return dataclasses.replace(recipe, threshold=LAMBDAS[0]), str(LAMBDAS[0])
    recipes = {str(value): dataclasses.replace(recipe, threshold=value) for value in LAMBDAS}
    recipes[NONE] = dataclasses.replace(recipe, method="imbalanced", threshold=LAMBDAS[0])
    found = pd.DataFrame([{answer: _precision(r, *part) for answer, r in recipes.items()} for part in _parts(recipe, pool, folds)])
    gain = found.sub(found[str(LAMBDAS[0])], axis=0)
    error = gain.std() / np.sqrt(folds)
    better = (gain.mean() - error)[gain.mean() > error]
    answer = str(better.idxmax()) if len(better) else str(LAMBDAS[0])
    table = pd.DataFrame({"lambda": found.columns, "average_precision": found.mean(), "gain": gain.mean(), "standard_error": error})
    write_frame(folder / FILE, table.assign(chosen=table["lambda"] == answer, folds=folds).round(4))
    scores = ", ".join(f"{name} {value:.3f}" for name, value in found.mean().items())
    what = "no rule helps here, so the labeled rows alone are trained on" if answer == NONE else f"lambda is {answer}"
    print(f"  {what} (average precision of the minor classes in {folds} folds: {scores})", flush=True)
    return recipes[answer], answer


def _parts(recipe: Recipe, pool: Pool, folds: int) -> list[tuple[Pool, np.ndarray, np.ndarray]]:
    """(a Pool without the fold, the fold's rows, their classes) of each fold."""
    unlabeled = np.flatnonzero(~pool.labeled)
    some = np.random.default_rng([recipe.seed, 6]).permutation(unlabeled)[:MOST]
    split = LabeledFolds(folds, shuffle=True, random_state=recipe.seed).split(np.arange(len(pool.labels)), pool.labels)
    made = []
    for train, test in split:
        kept = train[pool.labeled[train]]
        part = Pool(pool.images[kept], pool.labels[kept], pool.images[some], pool.minor.tolist(), seed=recipe.seed)
        made.append((part, pool.images[test], pool.labels[test]))
    return made


def _precision(recipe: Recipe, pool: Pool, rows: np.ndarray, truth: np.ndarray) -> float:
    """The minor classes' average precision on `rows`, trained on the pool as a run of the recipe is."""
    classes = int(pool.labels.max()) + 1
    classifier, selection = fitted.Classifier(recipe, pool, classes), methods.make_selection(recipe, pool)
    fitted.prepare(selection, classifier)
    selection.reset()
    for epoch in range(recipe.epochs):
        classifier.fit(pool.index, pool.targets)
        if epoch + 1 < recipe.epochs:
            selection.on_epoch_end(epoch)
    found = metrics.ranking(truth, estimators.probabilities(classifier.fitted, rows, classes))["average_precision"]
    return float(np.nanmean(found[pool.minor]))
