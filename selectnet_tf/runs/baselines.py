"""Baselines of a run on one's own images: logistic regressions, and other methods' runs."""

import dataclasses
import pathlib
import shlex
import warnings
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold
from sklearn.utils.class_weight import compute_sample_weight

from selectnet_tf import recipes
from selectnet_tf._csv_files import read_csv
from selectnet_tf._files import DAMAGE, is_full, printable
from selectnet_tf._locks import lock
from selectnet_tf.data import load
from selectnet_tf.data.folders.survey import Survey
from selectnet_tf.recipes import FolderData, Recipe
from selectnet_tf.runs import evaluation, frozen, outputs, resume, store, train

METHODS = ("logit_adjusted", "random", "selectnet")
LOGISTIC, PICKS = "logistic", "logistic_picks"  # the regressions' folders in the run's
NAMES = {LOGISTIC: "logistic regression", PICKS: "logistic regression with picks"}
DECAYS = (0.01, 0.1, 1.0)  # weights of half the squared norm beside the mean loss, to choose from
FOLDS, MOST = 3, 200  # of the choice, and its images of a class


class Baseline(NamedTuple):
    """A baseline of a run.

    Attributes:
        name: for people.
        folder: holds its model.keras and predictions.npz; None: it was not run.
        why: why not, and the command that trains it.
    """

    name: str
    folder: pathlib.Path | None
    why: str = ""


def train_all(
    recipe: Recipe,
    results: pathlib.Path,
    cache_dir: pathlib.Path,
    survey: Survey | None = None,
    others: bool = True,
    **options: Any,
) -> list[Baseline]:
    """Returns the baselines of a finished run; trains those that are not finished.

    What one of them raises is its `why`, but for a full disk.

    Args:
        recipe: the run's, of images in folders.
        results: folder of the results.
        cache_dir: folder of decoded images.
        survey: of the recipe's folders; None: they are surveyed.
        others: train METHODS, too; False: finished runs of them are found.
        options: for train.train, such as force.
    """
    features = "frozen" if recipe.training.weights else "this run's"
    folder = results / "runs" / store.find_name(results, recipe)
    found = []
    try:
        with lock(folder / ".lock"):  # a --force would put the run aside meanwhile
            for place in fit_logistic(recipe, folder, cache_dir, survey):
                found.append(Baseline(f"{NAMES[place.name]}, {features} features", place))
    except (ValueError, OSError) as error:
        found.append(Baseline(f"{NAMES[LOGISTIC]}, {features} features", None, _reason(error)))
    for method in list_methods(recipe):
        try:
            other = recipes.with_method(recipe, method)
            if others:
                train.train(
                    other, results_dir=results, cache_dir=cache_dir, survey=survey, **options
                )
            found.append(_find_run(method, other, results, folder))
        except (ValueError, OSError) as error:
            found.append(Baseline(method, None, _reason(error)))
    return found


def list_methods(recipe: Recipe) -> list[str]:
    """Returns the METHODS that are baselines of a run: others than its own, that have a pool."""
    assert isinstance(recipe.data, FolderData)
    without_pool = () if recipe.data.unlabeled_dir else recipes.SELECTING
    return [m for m in METHODS if m not in (recipe.selection.method, *without_pool)]


def fit_logistic(
    recipe: Recipe, folder: pathlib.Path, cache_dir: pathlib.Path, survey: Survey | None = None
) -> list[pathlib.Path]:
    """Fits balanced logistic regressions on a network's features. Returns their folders.

    One is of the labeled images alone, the other also of the pseudo-labels of the run's last round,
    if it has any. The network is that of --weights, as it was before training; without --weights,
    the run's own. A folder gets a run's model.keras, predictions.npz and test-set reports, unless
    they are there.

    Args:
        recipe: the run's.
        folder: the run's.
        cache_dir: folder of decoded images and embeddings.
        survey: of the recipe's folders; None: they are surveyed.

    Raises:
        ValueError: the images are not those of the run, or selected.npz is damaged.
    """
    rounds = [int(row["epoch"]) for row in read_csv(folder / "selection.csv")]
    path = folder / "selected.npz"
    try:
        with np.load(path) as file:
            last = file["epoch"] == max(rounds, default=0)
            index, labels = file["index"][last], file["label"][last]
    except DAMAGE:
        raise ValueError(f"{path} is damaged: train the run again with --force") from None
    places = [folder / name for name in (LOGISTIC, PICKS)[: 1 + bool(len(index))]]
    missing = [place for place in places if not (place / "predictions.npz").exists()]
    if not missing:
        return places
    task = load.make_task(recipe, cache_dir=cache_dir, survey=survey)
    _check_same(read_csv(folder / resume.FILES), resume.list_images(task), folder)
    given = recipe.training.weights
    training = dataclasses.replace(recipe.training, weights=given or str(folder / "model.keras"))
    y = task.y_labeled
    of_pool = pd.Index(task.index[len(y) :]).get_indexer(index)  # -1: a labeled image
    of_pool, pseudo = of_pool[of_pool >= 0], labels[of_pool >= 0]
    some = task._replace(x_unlabeled=task.x_unlabeled[of_pool])
    # other runs have no use for the features of this one
    seen, network = frozen.embed(some, training, cache_dir if given else None)
    head = frozen.head(np.asarray(seen.x_labeled), len(task.names), "softmax")
    standardized, classes = (head.get_layer(layer) for layer in ("standardized", "classes"))
    rows, more = (np.asarray(standardized(x)) for x in (seen.x_labeled, seen.x_unlabeled))
    decay = _choose_decay(rows, y)
    for place in missing:
        if place.name == PICKS:
            rows, y = np.concatenate([rows, more]), np.append(y, pseudo)
        classes.set_weights(_fit(rows, y, decay))
        probs = head.predict(seen.x_test, batch_size=frozen.BATCH, verbose=0)
        place.mkdir(exist_ok=True)
        model = frozen.join(network, head, place.name)
        outputs.write_model(place / "model.keras", model, task)
        evaluation.write_test_reports(place, task, probs)
        small = probs.argmax(1).astype(np.min_scalar_type(probs.shape[1] - 1))
        outputs.write_predictions(place, task.y_test, [small])  # last: its presence ends the work
    return places


def _choose_decay(rows: np.ndarray, y: np.ndarray) -> float:
    """Returns that of DECAYS with the least balanced loss over FOLDS of at most MOST rows a class.

    Of a class with one row, it is the middle one.
    """
    order = np.random.default_rng(0).permutation(len(y))
    some = np.concatenate([order[y[order] == c][:MOST] for c in np.unique(y)])
    folds = min(FOLDS, int(np.bincount(y[some]).min()))
    if folds < 2:
        return DECAYS[1]
    return min(DECAYS, key=lambda each: _validate(rows[some], y[some], each, folds))


def _fit(rows: np.ndarray, y: np.ndarray, decay: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns (weights [d, m], biases [m]) of a balanced logistic regression."""
    model = _regress(rows, y, decay)
    weights, biases = model.coef_.T, model.intercept_
    if len(biases) == 1:  # of two classes, scikit-learn has the difference
        weights, biases = (np.concatenate([-v, v], -1) / 2 for v in (weights, biases))
    return weights, biases


def _validate(rows: np.ndarray, y: np.ndarray, decay: float, folds: int) -> float:
    """Returns the mean balanced loss, in nats, of the rows that each fold leaves out."""
    losses = []
    for fitted, held in StratifiedKFold(folds).split(rows, y):
        probs = _regress(rows[fitted], y[fitted], decay).predict_proba(rows[held])
        weights = compute_sample_weight("balanced", y[held])
        losses.append(log_loss(y[held], probs, sample_weight=weights, labels=np.unique(y)))
    return float(np.mean(losses))


def _regress(rows: np.ndarray, y: np.ndarray, decay: float) -> LogisticRegression:
    model = LogisticRegression(C=1 / (decay * len(y)), class_weight="balanced", tol=1e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(rows, y)


def _find_run(method: str, recipe: Recipe, results: pathlib.Path, run: pathlib.Path) -> Baseline:
    """Returns the Baseline of another method's run, finished or not.

    Raises ValueError where its images are not those of `run`.
    """
    name = store.find_name(results, recipe)
    if not store.read_row(results, name):
        words = ["selectnet", "train", *recipe.flags(), f"--results_dir={results}"]
        return Baseline(method, None, f"train it by {printable(shlex.join(words))}")
    folder = store.find_folder(results, name)
    _check_same(read_csv(run / resume.FILES), read_csv(folder / resume.FILES), folder)
    return Baseline(method, folder)


def _check_same(
    before: list[dict[str, Any]], after: list[dict[str, Any]], folder: pathlib.Path
) -> None:
    """Raises ValueError where two files.csv differ."""
    if changes := resume.describe_changes(before, after):
        raise ValueError(f"images differ ({changes}): train {folder.name} again with --force")


def _reason(error: Exception) -> str:
    if is_full(error):
        raise error
    return printable((str(error) or type(error).__name__).splitlines()[0])
