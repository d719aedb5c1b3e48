"""ask.csv: the pictures of the pool that a person should label: those that the model doubts, no two of them alike."""

import pathlib

import keras
import numpy as np
import pandas as pd

from selectnet_tf.csvs import as_cell, write_frame
from selectnet_tf.data.tasks import Task
from selectnet_tf.experiment import metrics
from selectnet_tf.images import Subset
from selectnet_tf.recipes import Recipe
from selectnet_tf.scoring import Scorer
from selectnet_tf.selection import Selection

AMONG = 10  # times as many of the most doubtful ones are those that are chosen among


def write(folder: pathlib.Path, model: keras.Model, selection: Selection, task: Task, recipe: Recipe) -> None:
    """Writes ask.csv, the most doubtful first, of what was not picked; of data without files, nothing.

    task: as the model sees it, with rows in place of pictures under --freeze.
    """
    pool = selection.pool
    if task.listing is None or not task.files or not recipe.ask or pool.labeled.all():
        return
    settled = pool.labeled.copy()
    for round in selection.history:
        settled[round.index] = True
    labeled = int(pool.labeled.sum())
    places = np.flatnonzero(~settled) - labeled  # in the unlabeled ones
    probs = metrics.probabilities(Scorer(model, task.x_unlabeled)()[0])
    found = places[doubtful(probs[places], pool.minor)[: recipe.ask * AMONG]]
    if len(found) > recipe.ask:
        _, features = Scorer(model, Subset(task.x_unlabeled, found), features=True)()
        found = found[apart(np.asarray(features), recipe.ask, recipe.seed)]
    first, second = np.argsort(-probs[found], axis=1, kind="stable")[:, :2].T
    rows = np.arange(len(found))
    frame = pd.DataFrame({
        "file": [as_cell(task.files[i]) for i in task.index[labeled + found]],
        "likeliest": [task.names[c] for c in first], "p_likeliest": probs[found][rows, first].round(4),
        "second": [task.names[c] for c in second], "p_second": probs[found][rows, second].round(4),
    })  # fmt: skip
    write_frame(folder / "ask.csv", frame)


def doubtful(probs: np.ndarray, minor: np.ndarray) -> np.ndarray:
    """Places of those that hang between two classes of which one is minor, the smallest margin first. probs: [n, m]."""
    likeliest = np.argsort(-probs, axis=1, kind="stable")[:, :2]
    first, second = np.take_along_axis(probs, likeliest, 1).T
    open_to = np.flatnonzero(np.isin(likeliest, minor).any(1))
    return open_to[np.argsort((first - second)[open_to], kind="stable")]


def apart(features: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Places, in order, of `count` rows that lie far from each other, by k-means++. features: [n, d]."""
    from sklearn.cluster import kmeans_plusplus

    return np.unique(kmeans_plusplus(features, count, random_state=seed)[1])
