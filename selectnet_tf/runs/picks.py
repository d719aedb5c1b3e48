"""A run's pseudo-labels (selected.npz, picks.csv, selected.csv) and uncertain images (ask.csv)."""

import pathlib

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

AMONG = 10  # times as many uncertain images as are asked about are candidates
MOST_CLASSES = 10
COLUMNS = ("epoch", "label", "picked", "wrong", "score", "index", "truth")


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
    """Writes selected.npz and picks.csv; for images in files also selected.csv.

    selected.npz has every round's picks in order: epoch, index (in task.index), label, predicted,
    score, loss. picks.csv is the excerpt for galleries. selected.csv has a line for each image that
    was ever picked.
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
            "file": [as_cell(task.files[i]) for i in task.index[labeled + found]],
            "likeliest": [task.names[c] for c in first],
            "p_likeliest": probs[found][rows, first].round(4),
            "second": [task.names[c] for c in second],
            "p_second": probs[found][rows, second].round(4),
        }
    )
    write_frame(folder / "ask.csv", frame)


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
