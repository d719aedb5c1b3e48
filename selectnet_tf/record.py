"""What a run leaves: epochs.csv, selection.csv, selected.npz, classes.csv, and the lines on screen."""

import json
import time

import keras
import numpy as np
import pandas as pd

from selectnet_tf import metrics
from selectnet_tf.files import replacing
from selectnet_tf.selection import Scorer


class Evaluate(keras.callbacks.Callback):
    """Adds test accuracy and loss to each epoch's logs, exactly, on any number of replicas. Goes before the progress bar.

    Under class_balanced the model gives logits; the loss is then that of their softmax, to compare the methods.
    """

    def __init__(self, model, x_test, y_test, minor):
        super().__init__()
        self.truth, self.minor = y_test, minor
        self.scorer = Scorer(model, x_test)
        self.predicted = None

    def __call__(self):
        """(probabilities or logits) -> (predicted classes [n], mean negative log-likelihood in nats)."""
        output, _ = self.scorer()
        probs = output if np.allclose(output.sum(1), 1, atol=1e-3) else np.exp(output - output.max(1, keepdims=True))
        probs = probs / probs.sum(1, keepdims=True)
        nll = -np.log(np.clip(probs[np.arange(len(probs)), self.truth], 1e-7, 1))
        return probs.argmax(1), float(nll.mean())

    def on_epoch_end(self, epoch, logs=None):
        self.predicted, logs["val_loss"] = self()
        right = self.predicted == self.truth
        logs["val_accuracy"] = float(right.mean())
        logs["val_minor_accuracy"] = float(right[np.isin(self.truth, self.minor)].mean())


class Log(keras.callbacks.Callback):
    """Keeps epochs.csv and selection.csv, and says on screen what was selected and how long it will take.

    The only callback that sees the pool's true classes (`truth` [n], in the pool's order), and only to audit.
    """

    def __init__(self, folder, selection, truth, recipe):
        super().__init__()
        self.folder, self.selection, self.truth, self.recipe = folder, selection, truth, recipe
        self.rows, self.audits = [], []
        self.seconds = self.selecting = 0.0  # over all of the run's processes
        self._images = 0

    def on_epoch_begin(self, epoch, logs=None):
        self._start = time.perf_counter()
        self._images = len(self.selection.pool.index) // self.recipe.batch_size * self.recipe.batch_size

    def audit(self, round):
        """Selection's on_round: compares a round's picks with their true classes."""
        labeled, minor = self.selection.pool.labeled[round.index], self.selection.pool.minor
        kinds = metrics.picks(self.truth[round.index], round.predicted, labeled, minor)
        score = {"score_min": round.lowest, "score_median": round.median, "score_max": round.highest}
        row = {"epoch": round.epoch, "candidates": round.candidates, **kinds, **score, "warning": round.warning}
        self.audits.append(row)
        self.selecting += round.seconds
        print(self._line(round, kinds["precision"], int(labeled.sum())), flush=True)

    def _line(self, round, precision, labeled):
        added = ", ".join(f"{c}: {n:,}" for c, n in zip(*np.unique(round.target, return_counts=True), strict=True))
        rounds = -(-self.recipe.epochs // self.recipe.every)
        parts = [f"round {len(self.audits)}/{rounds}", f"D' {round.candidates:,}"]
        parts.append(f"added {len(round.index):,} ({labeled:,} labeled)" + (f" as {added}" if len(added) < 90 and added else ""))
        if len(round.index) > labeled:
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


def write_selected(path, history, positions):
    """Every round's picks, one after another: epoch, index (into the original training set), label, predicted, score."""
    found = [(np.full(len(r.index), r.epoch), positions[r.index], r.target, r.predicted, r.score) for r in history]
    columns = [np.concatenate(parts) for parts in zip(*found, strict=True)] if found else [np.zeros(0)] * 5
    write_npz(path, **dict(zip(("epoch", "index", "label", "predicted", "score"), columns, strict=True)))


def write_classes(path, truth, predicted, labeled_counts, minor):
    """Per class: precision, recall, F1, and how many of its test images were taken for each class (as_0, as_1, ...)."""
    classes = len(labeled_counts)
    table = {"class": range(classes), "minor": np.isin(range(classes), minor).astype(int), "labeled": labeled_counts}
    counts = metrics.confusion(truth, predicted, classes)
    taken = {f"as_{c}": counts[:, c] for c in range(classes)}
    _write_frame(path, pd.DataFrame(table | metrics.by_class(truth, predicted, classes) | taken))


def table(rows):
    """The closing table on screen: accuracy, minor and major accuracy and macro F1 of finished runs, one a line."""
    columns = ("accuracy", "minor_accuracy", "major_accuracy", "macro_f1")
    width = max(len(row["method"]) for row in rows)
    lines = [" " * width + "".join(f"{c.replace('_', ' '):>16}" for c in columns)]
    for row in rows:
        lines.append(f"{row['method']:<{width}}" + "".join(f"{float(row[c]):>16.4f}" for c in columns))
    return "\n".join(lines)
