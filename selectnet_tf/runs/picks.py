"""A run's pseudo-labels (selected.npz, picks.csv, selected.csv) and images to review.

These are uncertain ones of the pool (ask.csv) and doubtful ones of the labeled set (suspects.csv).
"""

import pathlib
import warnings

import keras
import numpy as np
import pandas as pd

from selectnet_tf._csv_files import as_cell, write_csv, write_frame
from selectnet_tf._files import write_npz
from selectnet_tf.data.task import Task
from selectnet_tf.images import Subset
from selectnet_tf.runs import evaluation, store
from selectnet_tf.scoring import Scorer
from selectnet_tf.selection import Round, Selection

FOLDS, COMPONENTS = 5, 128  # of the layer that estimates
SUSPECTS = 100  # most lines of suspects.csv
AMONG = 10  # times as many uncertain images as are asked about are candidates
MOST_CLASSES = 10
COLUMNS = store.FILES["picks.csv"]


def excerpt(
    epoch: int,
    index: np.ndarray,
    label: np.ndarray,
    score: np.ndarray,
    truth: np.ndarray | None = None,
) -> list[tuple]:
    """Returns the lines of picks.csv (COLUMNS) that a gallery shows of one round.

    For each pseudo-label: number of picks, number of errors, and a line for each of the most
    confident picks and errors, in order of confidence. Beyond the MOST_CLASSES largest classes, one
    line without an image.

    Args:
        epoch: of the round.
        index: [k] places in the original training set.
        label: [k] pseudo-labels.
        score: [k] confidence.
        truth: [k] true classes; None if unknown: then `wrong` and `truth` stay empty.
    """
    order = np.argsort(-score, kind="stable")
    labels, counts = np.unique(label, return_counts=True)
    largest = labels[np.argsort(-counts, kind="stable")][:MOST_CLASSES]
    lines = []
    for c, count in zip(labels, counts, strict=True):
        here = order[label[order] == c]
        wrong = here[:0] if truth is None else here[truth[here] != c]
        shown = (
            here[(np.arange(count) < store.EXCERPT) | np.isin(here, wrong[: store.EXCERPT])]
            if c in largest
            else here[:0]
        )
        head = (epoch, c, count, "" if truth is None else len(wrong))
        lines += [
            (*head, f"{score[i]:.6f}", index[i], "" if truth is None else truth[i]) for i in shown
        ] or [(*head, "", "", "")]
    return lines


def write_picks(folder: pathlib.Path, history: list[Round], task: Task) -> None:
    """Writes selected.npz and picks.csv, its excerpt for galleries.

    selected.npz has every round's picks in order: epoch, index (in task.index), label, predicted,
    score, loss.
    """
    picks = _join(history)
    write_npz(folder / "selected.npz", **picks | {"index": task.index[picks["index"]]})
    if history:
        write_csv(
            folder / "picks.csv",
            [COLUMNS, *(line for round in history for line in _excerpt(round, task))],
        )


def _join(history: list[Round]) -> dict[str, np.ndarray]:
    """Returns {column: values} of all rounds' picks; index: position in the pool."""
    rounds = [
        (np.full(len(r.index), r.epoch), r.index, r.target, r.predicted, r.score, r.loss)
        for r in history
    ]
    names = ("epoch", "index", "label", "predicted", "score", "loss")
    columns = map(np.concatenate, zip(*rounds, strict=True)) if rounds else [np.zeros(0, int)] * 6
    return dict(zip(names, columns, strict=True))


def write_selected(
    folder: pathlib.Path, model: keras.Model, history: list[Round], task: Task
) -> None:
    """Writes selected.csv, the unlabeled images that were ever picked, and suspects.csv.

    suspects.csv has labeled images of which a layer that has not seen them finds another class
    likelier, the most doubtful first.

    Args:
        folder: the run's.
        model: trained.
        history: the rounds.
        task: images in files; with --freeze their features.
    """
    labeled, names = len(task.y_labeled), np.array(task.names, object)
    picks = pd.DataFrame(_join(history))
    by_place = picks[picks["index"] >= labeled].groupby("index", sort=False)
    epochs = by_place["epoch"].agg(first_chosen="first", last_chosen="last", rounds="size")
    frame = by_place[["label", "score", "loss"]].last().join(epochs)
    places = np.append(np.arange(labeled), frame.index).astype(int)
    labels = np.append(task.y_labeled, frame["label"]).astype(int)
    images = (task.x_test, task.x_labeled, Subset(task.x_unlabeled, places[labeled:] - labeled))
    tested, *features = (
        np.asarray(Scorer(model, some, features=True)()[1]) for some in images if len(some)
    )
    probs = estimate_out_of_fold(np.concatenate(features), labels, len(names), tested, task.y_test)
    likely = compare_labels(labels, probs).set_index(places)
    likely["second"] = likely["second"].map(dict(enumerate(names)))
    frame.insert(0, "pseudo_label", names[frame.pop("label")])
    frame = frame.sort_values(["pseudo_label", "score"], ascending=[True, False])
    _write_by_file(folder / "selected.csv", frame.join(likely), task)
    likely.insert(0, "label", names[labels])
    doubtful = likely[:labeled].query("p_second > p_right")
    order = (doubtful.p_right - doubtful.p_second).argsort(kind="stable")[:SUSPECTS]
    _write_by_file(folder / "suspects.csv", doubtful.iloc[order], task)


def _write_by_file(path: pathlib.Path, frame: pd.DataFrame, task: Task) -> None:
    """Writes a frame whose index are positions in the pool, with a column `file` in front."""
    assert task.files
    files = [as_cell(task.files[i]) for i in task.index[frame.index]]
    frame.insert(0, "file", pd.Series(files, frame.index, object))  # Arrow takes UTF-8 alone
    write_frame(path, frame)


def estimate_out_of_fold(
    features: np.ndarray,
    labels: np.ndarray,
    classes: int,
    x_test: np.ndarray,
    y_test: np.ndarray,
) -> np.ndarray:
    """Returns probabilities [n, classes] by logistic regressions that have not seen the image.

    One temperature calibrates them on the test images, which the features' network has not seen
    either. An image that is alone in its class has NaN.

    Args:
        features: [n, d].
        labels: [n] classes.
        classes: their number.
        x_test: features of the test images, [k, d].
        y_test: [k] classes.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    known, sizes = np.unique(labels), np.bincount(labels, minlength=2)
    probs = np.full((len(labels), classes), np.nan)
    if (folds := min(FOLDS, int(np.sort(sizes)[-2]))) < 2:
        return probs
    few = min(COMPONENTS, len(labels) * (folds - 1) // folds, features.shape[1])
    regression = LogisticRegression(C=0.01, max_iter=200)
    model = make_pipeline(StandardScaler(), PCA(few, random_state=0), regression)
    split = StratifiedKFold(folds, shuffle=True, random_state=0)
    with warnings.catch_warnings(action="ignore"):  # of classes smaller than the folds
        found = cross_val_predict(model, features, labels, cv=split, method="predict_proba")
    tested = np.log(np.maximum(model.fit(features, labels).predict_proba(x_test), 1e-12))
    rows, of_test = np.arange(len(y_test)), np.searchsorted(known, y_test)
    sharpness = minimize_scalar(  # the square keeps a few test images from making all 0 or 1
        lambda t: np.log(t) ** 2 - log_softmax(t * tested, 1)[rows, of_test].sum(),
        bounds=(0.1, 10),
    ).x
    probs[:] = 0
    probs[:, known] = np.exp(log_softmax(sharpness * np.log(np.maximum(found, 1e-12)), 1))
    probs[sizes[labels] < 2] = np.nan
    return probs


def compare_labels(labels: np.ndarray, probs: np.ndarray) -> pd.DataFrame:
    """Returns the probability of each label, the likeliest other class and its probability.

    Args:
        labels: [n] classes.
        probs: [n, m].

    Returns:
        p_right, second and p_second, n lines; NaN where the probabilities are.
    """
    rows, others = np.arange(len(labels)), probs.copy()
    others[rows, labels] = -1
    found = {"p_right": probs[rows, labels], "second": others.argmax(1), "p_second": others.max(1)}
    frame = pd.DataFrame(found, dtype=float).round(4)
    frame[frame.p_right.isna()] = np.nan
    return frame


def _excerpt(round: Round, task: Task) -> list[tuple]:
    picks = np.flatnonzero(round.index >= len(task.y_labeled))
    places = round.index[picks]
    truth = None if (task.truth < 0).any() else task.truth[places]
    return excerpt(round.epoch, task.index[places], round.target[picks], round.score[picks], truth)


def write_uncertain(
    folder: pathlib.Path,
    model: keras.Model,
    selection: Selection,
    task: Task,
    count: int,
    seed: int,
) -> None:
    """Writes ask.csv: the most uncertain images that were never picked, in order.

    Args:
        folder: the run's.
        model: trained.
        selection: its history has the picks.
        task: images in files; with --freeze their features.
        count: number of images; 0: no file.
        seed: of the choice among AMONG times as many.
    """
    pool = selection.pool
    if not task.files or not count or pool.labeled.all():
        return
    settled = pool.labeled.copy()
    for round in selection.history:
        settled[round.index] = True
    labeled = int(pool.labeled.sum())
    places = np.flatnonzero(~settled) - labeled  # in the unlabeled ones
    probs = evaluation.to_probabilities(Scorer(model, task.x_unlabeled)()[0])
    found = places[rank_uncertain(probs[places], pool.minor)[: count * AMONG]]
    if len(found) > count:
        _, features = Scorer(model, Subset(task.x_unlabeled, found), features=True)()
        found = found[choose_diverse(np.asarray(features), count, seed)]
    first, second = np.argsort(-probs[found], axis=1, kind="stable")[:, :2].T
    rows = np.arange(len(found))
    frame = pd.DataFrame(
        {
            "likeliest": [task.names[c] for c in first],
            "p_likeliest": probs[found][rows, first].round(4),
            "second": [task.names[c] for c in second],
            "p_second": probs[found][rows, second].round(4),
        },
        index=labeled + found,
    )
    _write_by_file(folder / "ask.csv", frame, task)


def rank_uncertain(probs: np.ndarray, minor: np.ndarray) -> np.ndarray:
    """Returns places of rows with a minor class among the two likeliest, smallest margin first.

    probs: [n, m].
    """
    likeliest = np.argsort(-probs, axis=1, kind="stable")[:, :2]
    first, second = np.take_along_axis(probs, likeliest, 1).T
    open_to = np.flatnonzero(np.isin(likeliest, minor).any(1))
    return open_to[np.argsort((first - second)[open_to], kind="stable")]


def choose_diverse(features: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Returns places, sorted, of `count` rows far from each other, by k-means++.

    features: [n, d].
    """
    from sklearn.cluster import kmeans_plusplus

    return np.unique(kmeans_plusplus(features, count, random_state=seed)[1])
