"""Callbacks of a run: test metrics of each epoch, epochs.csv, selection.csv and lines on screen."""

import json
import pathlib
import time
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import pandas as pd

from selectnet_tf import rules
from selectnet_tf._csv_files import write_frame
from selectnet_tf._files import printable
from selectnet_tf.data.task import Task
from selectnet_tf.recipes import TrainingRecipe
from selectnet_tf.runs import evaluation, plan
from selectnet_tf.scoring import Scoring
from selectnet_tf.selection import Round, Selection

KEPT_EPOCHS = 10  # whose predictions stay: the headline is their mean
MOST_LETTERS = 90  # of the counts by class in a round's line


class Evaluate(keras.callbacks.Callback):
    """Adds the exact test accuracy and loss to each epoch's logs, on any number of replicas.

    Belongs before the progress bar. Logits, as under class_balanced, go through softmax, so that
    the losses of all methods compare.

    Attributes:
        probs: probabilities after the last epoch, [n, m]; None before the first.
        predicted: predicted classes after each of the last ten epochs, [n] each.

    Args:
        scorer: scores the test set.
        y_test: true classes of the test set, [n].
        minor: the minor classes.
    """

    def __init__(self, scorer: Scoring, y_test: np.ndarray, minor: Sequence[int]) -> None:
        super().__init__()
        self.scorer, self.truth, self.minor = scorer, y_test, minor
        self.probs: np.ndarray | None = None
        self.predicted: list[np.ndarray] = []

    def __call__(self) -> tuple[np.ndarray, float]:
        """Returns (probabilities [n, m], mean negative log-likelihood in nats) on the test set."""
        output, _ = self.scorer()
        probs = evaluation.to_probabilities(output)
        nll = -np.log(np.clip(probs[np.arange(len(probs)), self.truth], 1e-7, 1))
        return probs, float(nll.mean())

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.probs, logs["val_loss"] = self()
        predicted = self.probs.argmax(1)
        small = predicted.astype(np.min_scalar_type(self.probs.shape[1] - 1))
        self.predicted = [*self.predicted[1 - KEPT_EPOCHS :], small]
        right = predicted == self.truth
        logs["val_accuracy"] = float(right.mean())
        logs["val_minor_accuracy"] = float(right[np.isin(self.truth, self.minor)].mean())

    def get_state(self) -> dict[str, np.ndarray]:
        return {"predicted": np.array(self.predicted)}

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        self.predicted = list(state["predicted"])


class Log(keras.callbacks.Callback):
    """Writes epochs.csv and selection.csv; prints each round's picks and the time left.

    The only callback that sees true classes of the unlabeled pool: it audits the picks with them.

    Attributes:
        rows: rows of epochs.csv.
        audits: rows of selection.csv.
        seconds: seconds of training and selection, over all of the run's processes; those that
            this process spends on an epoch count at its end.
        selecting: seconds of selection among them.

    Args:
        folder: the run's folder.
        selection: the run's Selection; pass `audit` to it as on_round.
        task: the run's Task.
        training: epochs and batch size.
    """

    def __init__(
        self, folder: pathlib.Path, selection: Selection, task: Task, training: TrainingRecipe
    ) -> None:
        super().__init__()
        self.folder, self.selection = folder, selection
        self.epochs, self.batch_size = training.epochs, training.batch_size
        self.truth, self.names = task.truth, task.names
        self.rows: list[dict[str, Any]] = []
        self.audits: list[dict[str, Any]] = []
        self.seconds = self.selecting = 0.0
        self._images = 0  # of the current epoch
        self._start: float | None = None  # of the current epoch in this process
        self._resumed = 0, 0.0  # epochs and seconds before this process

    def audit(self, round: Round) -> None:
        """Compares a round's picks with their true classes, and prints a line."""
        pool = self.selection.pool
        labeled = pool.labeled[round.index]
        kinds = evaluation.count_picks(
            self.truth[round.index], round.predicted, labeled, pool.minor
        )
        counts = {c: int((round.target[~labeled] == c).sum()) for c in pool.minor}
        ever = np.zeros_like(pool.labeled)
        for past in self.selection.history:
            ever[past.index] = True
        threshold = rules.threshold_at(self.selection.rule.threshold, len(self.audits))
        warning = round._replace(
            unpicked=self._names_of(round.unpicked), fading=self._names_of(round.fading)
        ).warning
        self.audits.append(
            {
                "epoch": round.epoch,
                "candidates": round.candidates,
                **kinds,
                "score_min": round.lowest,
                "score_median": round.median,
                "score_max": round.highest,
                "warning": warning,
                **{f"as_{c}": n for c, n in counts.items()},
                "below_lambda": int((round.loss < threshold).sum()),
                "loss_max": float(round.loss.max()) if len(round.loss) else np.nan,
                "unlabeled_so_far": int((ever & ~pool.labeled).sum()),
            }
        )
        self.selecting += round.seconds
        print(self._describe_round(round, kinds["precision"], counts), flush=True)
        if warning:
            print(f"  warning: {printable(warning)}", flush=True)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._start = time.perf_counter()
        self._images = len(self.selection.pool.index) // self.batch_size * self.batch_size

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        done = epoch + 1
        # the loss was computed before the last update, val_loss after it
        if not np.isfinite([logs["loss"], logs["val_loss"]]).all():
            raise ValueError(
                f"after epoch {done} the loss is {logs['loss']}, and {logs['val_loss']} on the test"
                " set: training has diverged, use a smaller --lr"
            )
        self.seconds, self._start = self._elapsed(), None
        metrics = {name: float(value) for name, value in logs.items()}
        self.rows.append({"epoch": done, "images": self._images, **metrics})
        write_frame(self.folder / "epochs.csv", pd.DataFrame(self.rows))
        if self.audits:
            write_frame(self.folder / "selection.csv", pd.DataFrame(self.audits))
        ends_round = done % self.selection.every == 0 and done < self.epochs
        if self.selection.rule is None and ends_round:
            print(f"epoch {done}/{self.epochs}: {self._describe_time_left(done)}", flush=True)

    def get_state(self) -> dict[str, np.ndarray]:
        names = ("rows", "audits", "seconds", "selecting")
        state = {name: getattr(self, name) for name in names} | {"seconds": self._elapsed()}
        return {"json": np.array(json.dumps(state))}

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        for name, value in json.loads(str(state["json"])).items():
            setattr(self, name, value)
        self._resumed = len(self.rows), self.seconds

    def _elapsed(self) -> float:
        """Returns `seconds` and those of the current epoch so far."""
        return self.seconds + (time.perf_counter() - self._start if self._start else 0)

    def _names_of(self, classes: np.ndarray) -> np.ndarray:
        return np.array([self.names[c] for c in classes], str)

    def _describe_round(self, round: Round, precision: float, counts: dict[int, int]) -> str:
        """counts: unlabeled picks of each minor class."""
        rounds = self.epochs // self.selection.every
        labeled = int(self.selection.pool.labeled[round.index].sum())
        classes = ", ".join(f"{self.names[c]}: {n:,}" for c, n in counts.items() if n)
        kinds = [f"class {classes}"] if 0 < len(classes) < MOST_LETTERS else []
        kinds += [f"labeled: {labeled:,}"] if labeled else []
        added = f"{len(round.index):,} added" + (f" ({'; '.join(kinds)})" if kinds else "")
        parts = [f"{round.candidates:,} candidates", added]
        if np.isfinite(precision):
            parts.append(f"{precision:.1%} correct")
        parts.append(f"{len(self.selection.pool.index):,} images now")
        if round.epoch < self.epochs:
            parts.append(self._describe_time_left(round.epoch))
        return printable(f"round {len(self.audits)}/{rounds}: {', '.join(parts)}")

    def _describe_time_left(self, epoch: int) -> str:
        left = (self.epochs - epoch) * len(self.selection.pool.index)
        first, before = self._resumed  # the former process may have been suspended, or elsewhere
        trained, spent = sum(row["images"] for row in self.rows[first:]), self._elapsed() - before
        if len(self.rows) < epoch:  # this epoch has no row yet
            trained += self._images
        return f"{plan.format_hours(spent / trained * left)} left"
