"""A run's picks: selected.npz, picks.csv and selected.csv."""

import pathlib
from typing import TYPE_CHECKING

import keras
import numpy as np
import pandas as pd

from selectnet_tf._csv_files import as_cell, write_csv, write_frame
from selectnet_tf._files import write_npz
from selectnet_tf.data.task import Task
from selectnet_tf.images import Subset
from selectnet_tf.recipes import Recipe
from selectnet_tf.runs import evaluation
from selectnet_tf.scoring import Scorer
from selectnet_tf.selection import Selection

if TYPE_CHECKING:
    from selectnet_tf.data.task import Task
    from selectnet_tf.selection import Round

EACH = 8  # pictures of a class: so many of the surest, and so many of the most wrong
MOST_CLASSES = 10
COLUMNS = ("epoch", "label", "picked", "wrong", "score", "index", "truth")


def excerpt(
    epoch: int,
    index: np.ndarray,
    label: np.ndarray,
    score: np.ndarray,
    truth: np.ndarray | None = None,
) -> list[tuple]:
    """What a gallery shows of one round's unlabeled picks, as lines of picks.csv (COLUMNS).

    For each pseudo-label: how many were picked, how many of them wrongly, and a line for each of
    the surest and of the surest wrong ones, the surest first; one line without a picture beyond the
    MOST_CLASSES largest labels.

    Args:
        index: [k] places in the original training set. label: [k] pseudo-labels. score: [k].
        truth: [k] true classes; None where nobody knows, and then `wrong` and `truth` stay empty.
    """
    order = np.argsort(-score, kind="stable")
    labels, counts = np.unique(label, return_counts=True)
    largest = labels[np.argsort(-counts, kind="stable")][:MOST_CLASSES]
    lines = []
    for c, count in zip(labels, counts, strict=True):
        here = order[label[order] == c]
        wrong = here[:0] if truth is None else here[truth[here] != c]
        shown = (
            here[(np.arange(count) < EACH) | np.isin(here, wrong[:EACH])]
            if c in largest
            else here[:0]
        )
        head = (epoch, c, count, "" if truth is None else len(wrong))
        lines += [
            (*head, f"{score[i]:.6f}", index[i], "" if truth is None else truth[i]) for i in shown
        ] or [(*head, "", "", "")]
    return lines


def write_picks(folder: pathlib.Path, history: "list[Round]", task: "Task") -> None:
    """selected.npz: every round's picks one after another: epoch, index (task.index's), label,
    predicted, score, loss.

    picks.csv: what a gallery shows of them. Where the pictures are files, also selected.csv, for
    people: one line for each picture that was ever picked.
    """
    rounds = [
        (
            np.full(len(r.index), r.epoch),
            task.index[r.index],
            r.target,
            r.predicted,
            r.score,
            r.loss,
        )
        for r in history
    ]
    columns = (
        [np.concatenate(parts) for parts in zip(*rounds, strict=True)]
        if rounds
        else [np.zeros(0)] * 6
    )
    arrays = dict(
        zip(("epoch", "index", "label", "predicted", "score", "loss"), columns, strict=True)
    )
    write_npz(folder / "selected.npz", **arrays)
    if history:
        write_csv(
            folder / "picks.csv",
            [COLUMNS, *(line for round in history for line in _excerpt(round, task))],
        )
    if task.files:
        picks = pd.DataFrame(arrays).astype({"index": int, "label": int})
        picks = picks[~picks["index"].isin(task.index[: len(task.y_labeled)])]
        by_file = picks.groupby("index", sort=False)
        frame = (
            by_file[["label", "score", "loss"]]
            .last()
            .join(by_file["epoch"].agg(first_chosen="first", last_chosen="last", rounds="size"))
        )
        frame["label"] = [task.names[c] for c in frame["label"]]
        frame.insert(0, "file", [as_cell(task.files[i]) for i in frame.index])
        frame = frame.rename(columns={"label": "pseudo_label"})
        write_frame(
            folder / "selected.csv",
            frame.sort_values(["pseudo_label", "score"], ascending=[True, False]),
        )


def _excerpt(round: "Round", task: "Task") -> list[tuple]:
    picks = np.flatnonzero(round.index >= len(task.y_labeled))
    places = round.index[picks]
    truth = None if (task.truth < 0).any() else task.truth[places]
    return excerpt(round.epoch, task.index[places], round.target[picks], round.score[picks], truth)


AMONG = 10  # times as many of the most doubtful ones are those that are chosen among


def write_uncertain(
    folder: pathlib.Path, model: keras.Model, selection: Selection, task: Task, recipe: Recipe
) -> None:
    """Writes ask.csv, the most doubtful first, of what was not picked; of data without files,
    nothing.

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
    probs = evaluation.to_probabilities(Scorer(model, task.x_unlabeled)()[0])
    found = places[doubtful(probs[places], pool.minor)[: recipe.ask * AMONG]]
    if len(found) > recipe.ask:
        _, features = Scorer(model, Subset(task.x_unlabeled, found), features=True)()
        found = found[apart(np.asarray(features), recipe.ask, recipe.seed)]
    first, second = np.argsort(-probs[found], axis=1, kind="stable")[:, :2].T
    rows = np.arange(len(found))
    frame = pd.DataFrame(
        {
            "file": [as_cell(task.files[i]) for i in task.index[labeled + found]],
            "likeliest": [task.names[c] for c in first],
            "p_likeliest": probs[found][rows, first].round(4),
            "second": [task.names[c] for c in second],
            "p_second": probs[found][rows, second].round(4),
        }
    )
    write_frame(folder / "ask.csv", frame)


def doubtful(probs: np.ndarray, minor: np.ndarray) -> np.ndarray:
    """Places of those that hang between two classes of which one is minor, the smallest margin
    first. probs: [n, m].
    """
    likeliest = np.argsort(-probs, axis=1, kind="stable")[:, :2]
    first, second = np.take_along_axis(probs, likeliest, 1).T
    open_to = np.flatnonzero(np.isin(likeliest, minor).any(1))
    return open_to[np.argsort((first - second)[open_to], kind="stable")]


def apart(features: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Places, in order, of `count` rows that lie far from each other, by k-means++.

    Features: [n, d].
    """
    from sklearn.cluster import kmeans_plusplus

    return np.unique(kmeans_plusplus(features, count, random_state=seed)[1])
