"""What a run leaves: epochs.csv, selection.csv, selected.npz, picks.csv, classes.csv, and the lines on screen."""

import json
import os
import pathlib
import shutil
import time
import zipfile

import keras
import numpy as np
import pandas as pd

from selectnet_tf import gallery, metrics, rules, runs
from selectnet_tf.files import replacing
from selectnet_tf.images import Images
from selectnet_tf.selection import Scorer


class Evaluate(keras.callbacks.Callback):
    """Adds test accuracy and loss to each epoch's logs, exactly, on any number of replicas. Goes before the progress bar.

    Under class_balanced the model gives logits; the loss is then that of their softmax, to compare the methods.
    """

    def __init__(self, model, x_test, y_test, minor):
        super().__init__()
        self.truth, self.minor = y_test, minor
        self.scorer = Scorer(model, x_test)
        self.probs = None

    def __call__(self):
        """(probabilities [n, m], mean negative log-likelihood in nats) on the test set."""
        output, _ = self.scorer()
        probs = metrics.probabilities(output)
        nll = -np.log(np.clip(probs[np.arange(len(probs)), self.truth], 1e-7, 1))
        return probs, float(nll.mean())

    def on_epoch_end(self, epoch, logs=None):
        self.probs, logs["val_loss"] = self()
        right = self.probs.argmax(1) == self.truth
        logs["val_accuracy"] = float(right.mean())
        logs["val_minor_accuracy"] = float(right[np.isin(self.truth, self.minor)].mean())


class Log(keras.callbacks.Callback):
    """Keeps epochs.csv and selection.csv, and says on screen what was selected and how long it will take.

    The only callback that sees the pool's true classes (the task's), and only to audit.
    """

    def __init__(self, folder, selection, task, recipe):
        super().__init__()
        self.folder, self.selection, self.recipe = folder, selection, recipe
        self.truth, self.names = task.truth, task.names
        self.rows, self.audits = [], []
        self.seconds = self.selecting = 0.0  # over all of the run's processes
        self._images = 0

    def on_epoch_begin(self, epoch, logs=None):
        self._start = time.perf_counter()
        self._images = len(self.selection.pool.index) // self.recipe.batch_size * self.recipe.batch_size

    def audit(self, round):
        """Selection's on_round: compares a round's picks with their true classes."""
        round = round._replace(unpicked=[self.names[c] for c in round.unpicked])
        pool = self.selection.pool
        labeled = pool.labeled[round.index]
        kinds = metrics.picks(self.truth[round.index], round.predicted, labeled, pool.minor)
        taken = [int((round.target[~labeled] == c).sum()) for c in pool.minor]
        ever = np.zeros_like(pool.labeled)
        for past in self.selection.history:
            ever[past.index] = True
        row = {"epoch": round.epoch, "candidates": round.candidates, **kinds}
        row |= {"score_min": round.lowest, "score_median": round.median, "score_max": round.highest, "warning": round.warning}
        row |= {f"as_{c}": n for c, n in zip(pool.minor, taken, strict=True)}  # as in classes.csv
        row["below_lambda"] = int((round.loss < rules.at(self.selection.rule.threshold, len(self.audits))).sum())
        row["loss_max"] = float(round.loss.max()) if len(round.loss) else np.nan
        row["unlabeled_so_far"] = int((ever & ~pool.labeled).sum())
        self.audits.append(row)
        self.selecting += round.seconds
        print(self._line(round, kinds["precision"], labeled, taken), flush=True)

    def _line(self, round, precision, labeled, taken):
        classes = zip(self.selection.pool.minor, taken, strict=True)
        classes = ", ".join(f"{self.names[c]}: {n:,}" for c, n in classes if n)
        rounds = -(-self.recipe.epochs // self.recipe.every)
        parts = [f"round {len(self.audits)}/{rounds}", f"D' {round.candidates:,}"]
        added = f"added {len(round.index):,} ({labeled.sum():,} labeled)"
        parts.append(f"{added}, unlabeled as {classes}" if 0 < len(classes) < 90 else added)
        if np.isfinite(precision):
            parts.append(f"pseudo-labels {precision:.1%} right")
        parts += [f"now {len(self.selection.pool.index):,} images", *self._time_left(round.epoch)]
        return " · ".join(parts) + (f"\n  warning: {round.warning}" if round.warning else "")

    def _time_left(self, epoch):
        left = (self.recipe.epochs - epoch) * len(self.selection.pool.index)
        done = sum(row["images"] for row in self.rows) + self._images * (len(self.rows) < epoch)
        spent = self.seconds + (time.perf_counter() - self._start) * (len(self.rows) < epoch)
        return [f"{_duration(spent / done * left)} left"] if left else []

    def on_epoch_end(self, epoch, logs=None):
        if not np.isfinite(logs["loss"]):
            raise ValueError(f"the loss is {logs['loss']} after epoch {epoch + 1}: training has diverged, use a smaller --lr")
        self.seconds += time.perf_counter() - self._start
        self.rows.append({"epoch": epoch + 1, "images": self._images, **{k: float(v) for k, v in logs.items()}})
        _write_frame(self.folder / "epochs.csv", pd.DataFrame(self.rows))
        if self.audits:
            _write_frame(self.folder / "selection.csv", pd.DataFrame(self.audits))
        done = epoch + 1
        if self.selection.rule is None and done % self.recipe.every == 0 and done < self.recipe.epochs:
            print(f"epoch {done}/{self.recipe.epochs} · {self._time_left(done)[0]}", flush=True)

    def get_state(self):
        state = {"rows": self.rows, "audits": self.audits, "seconds": self.seconds, "selecting": self.selecting}
        return {"json": np.array(json.dumps(state))}

    def set_state(self, state):
        for name, value in json.loads(str(state["json"])).items():
            setattr(self, name, value)


def _duration(seconds):
    hours, minutes = int(seconds // 3600), int(seconds % 3600 // 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {int(seconds % 60):02} s"


def _write_frame(path, frame):
    with replacing(path) as beside:
        frame.to_csv(beside, index=False, lineterminator="\n")


def write_json(path, content):
    with replacing(path) as beside:
        beside.write_text(json.dumps(content, indent=1) + "\n")


def write_npz(path, **arrays):
    with replacing(path) as beside:
        np.savez_compressed(beside, **arrays)


def write_selected(folder, history, task):
    """selected.npz: every round's picks one after another: epoch, index (task.index's), label, predicted, score, loss.

    picks.csv: what a gallery shows of them. Where the pictures are files, also selected.csv, for people: one line for each
    picture that was ever picked.
    """
    columns = [(np.full(len(r.index), r.epoch), task.index[r.index], r.target, r.predicted, r.score, r.loss) for r in history]
    columns = [np.concatenate(parts) for parts in zip(*columns, strict=True)] if columns else [np.zeros(0)] * 6
    arrays = dict(zip(("epoch", "index", "label", "predicted", "score", "loss"), columns, strict=True))
    write_npz(folder / "selected.npz", **arrays)
    if history:
        runs.write_csv(folder / "picks.csv", [gallery.COLUMNS, *(line for round in history for line in _excerpt(round, task))])
    if task.files:
        picks = pd.DataFrame(arrays).astype({"index": int, "label": int})
        picks = picks[~picks["index"].isin(task.index[: len(task.y_labeled)])]
        by_file = picks.groupby("index", sort=False)
        frame = (
            by_file[["label", "score", "loss"]].last().join(by_file["epoch"].agg(first_chosen="first", last_chosen="last", rounds="size"))
        )
        frame["label"] = [task.names[c] for c in frame["label"]]
        frame.insert(0, "file", [task.files[i] for i in frame.index])
        frame = frame.rename(columns={"label": "pseudo_label"}).sort_values(["pseudo_label", "score"], ascending=[True, False])
        _write_frame(folder / "selected.csv", frame)
        if task.encode is None:
            shown = gallery.render(runs.read_csv(folder / "picks.csv"), task.names, _InTask(task))
            body = f"<main><h1>What was picked</h1>{gallery.NOTE}{shown}</main>"
            with replacing(folder / "picks.html") as beside:
                beside.write_text(gallery.document("What was picked", body), encoding="utf-8")


def _excerpt(round, task):
    picks = np.flatnonzero(round.index >= len(task.y_labeled))
    places = round.index[picks]
    truth = None if (task.truth < 0).any() else task.truth[places]
    return gallery.excerpt(round.epoch, task.index[places], round.target[picks], round.score[picks], truth)


class _InTask:
    """A task's images by their place in task.index."""

    def __init__(self, task):
        self.images, self.places = Images(task.x_labeled, task.x_unlabeled), task.index

    def __getitem__(self, indices):
        order = np.argsort(self.places)
        return self.images[order[np.searchsorted(self.places, indices, sorter=order)]]


def review(folder, target):
    """Links (or copies) the picks of a run's selected.csv into a folder for each pseudo-label. Returns how many.

    Delete the wrong ones there and pass it as a second labeled_dir.
    """
    target = pathlib.Path(target)
    rows = runs.read_csv(folder / "selected.csv")
    for row in rows:
        source = pathlib.Path(row["file"])
        place = target / row["pseudo_label"] / f"{float(row['score']):.4f}_{'_'.join(source.parts[-3:])}"
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, place)
        except OSError:
            shutil.copyfile(source, place)
    return len(rows)


def write_classes(path, truth, probs, task):
    """Per class: precision, recall, F1, the ranking's quality, and how many of its test images were taken for each class (as_0, ...)."""
    predicted = probs.argmax(1)
    m = len(task.names)
    labeled = np.bincount(task.y_labeled, minlength=m)
    table = {"class": range(m), "name": task.names, "minor": np.isin(range(m), task.minor).astype(int), "labeled": labeled}
    counts = metrics.confusion(truth, predicted, m)
    taken = {f"as_{c}": counts[:, c] for c in range(m)}
    _write_frame(path, pd.DataFrame(table | metrics.by_class(truth, predicted, m) | metrics.ranking(truth, probs) | taken))


def write_model(path, model, task):
    """A .keras file as any Keras reads it; beside the model the classes' names, classes.json, and what encodes a table's rows."""
    with replacing(path) as beside:
        model.save(beside)
        with zipfile.ZipFile(beside, "a") as file:
            file.writestr("classes.json", json.dumps(list(task.names)))
        if task.encode:
            task.encode.save_into(beside)


def table(rows):
    """The closing table on screen: accuracy, minor and major accuracy and macro F1 of finished runs, one a line."""
    columns = ("accuracy", "minor_accuracy", "major_accuracy", "macro_f1")
    width = max(len(row["method"]) for row in rows)
    lines = [" " * width + "".join(f"{c.replace('_', ' '):>16}" for c in columns)]
    for row in rows:
        lines.append(f"{row['method']:<{width}}" + "".join(f"{float(row[c]):>16.4f}" for c in columns))
    return "\n".join(lines)
