"""What a run leaves:

Recipe.json, epochs.csv, selection.csv, classes.csv, model.keras, lines on screen; its picks are in
picks.py.
"""

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
from selectnet_tf.recipes import Recipe
from selectnet_tf.runs import evaluation
from selectnet_tf.scoring import Scoring
from selectnet_tf.selection import Round, Selection

KEPT_EPOCHS = 10


class Evaluate(keras.callbacks.Callback):
    """Adds test accuracy and loss to each epoch's logs, exactly, on any number of replicas. Goes
    before the progress bar.

    Under class_balanced the model gives logits; the loss is then that of their softmax, to compare
    the methods.

    Attributes:
        probs: [n, m] of the last epoch; None before the first.
        predicted: class codes of the test set, [n] each, after each of the last ten epochs, as
            the headline is their mean.
    """

    def __init__(self, scorer: Scoring, y_test: np.ndarray, minor: Sequence[int]) -> None:
        super().__init__()
        self.scorer, self.truth, self.minor = scorer, y_test, minor
        self.probs: np.ndarray | None = None
        self.predicted: list[np.ndarray] = []

    def __call__(self) -> tuple[np.ndarray, float]:
        """(probabilities [n, m], mean negative log-likelihood in nats) on the test set."""
        output, _ = self.scorer()
        probs = evaluation.to_probabilities(output)
        nll = -np.log(np.clip(probs[np.arange(len(probs)), self.truth], 1e-7, 1))
        return probs, float(nll.mean())

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.probs, logs["val_loss"] = self()
        predicted = self.probs.argmax(1)
        self.predicted = [
            *self.predicted[1 - KEPT_EPOCHS :],
            predicted.astype(np.min_scalar_type(self.probs.shape[1] - 1)),
        ]
        right = predicted == self.truth
        logs["val_accuracy"] = float(right.mean())
        logs["val_minor_accuracy"] = float(right[np.isin(self.truth, self.minor)].mean())

    def get_state(self) -> dict[str, np.ndarray]:
        return {"predicted": np.array(self.predicted)}

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        self.predicted = list(state.get("predicted", ()))  # older states lack it


class Log(keras.callbacks.Callback):
    """Keeps epochs.csv and selection.csv, and says on screen what was selected and how long it will
    take.

    The only callback that sees the pool's true classes (the task's), and only to audit.
    """

    def __init__(
        self, folder: pathlib.Path, selection: Selection, task: Task, recipe: Recipe
    ) -> None:
        super().__init__()
        self.folder, self.selection, self.recipe = folder, selection, recipe
        self.truth, self.names = task.truth, task.names
        self.rows: list[dict[str, Any]] = []
        self.audits: list[dict[str, Any]] = []
        self.seconds = self.selecting = 0.0  # over all of the run's processes
        self._images = 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._start = time.perf_counter()
        self._images = (
            len(self.selection.pool.index) // self.recipe.batch_size * self.recipe.batch_size
        )

    def audit(self, round: Round) -> None:
        """Selection's on_round: compares a round's picks with their true classes."""
        lost, fading = (
            np.array([self.names[c] for c in classes], str)
            for classes in (round.unpicked, round.fading)
        )
        round = round._replace(unpicked=lost, fading=fading)
        pool = self.selection.pool
        labeled = pool.labeled[round.index]
        kinds = evaluation.count_picks(
            self.truth[round.index], round.predicted, labeled, pool.minor
        )
        taken = [int((round.target[~labeled] == c).sum()) for c in pool.minor]
        ever = np.zeros_like(pool.labeled)
        for past in self.selection.history:
            ever[past.index] = True
        row: dict[str, Any] = {"epoch": round.epoch, "candidates": round.candidates, **kinds}
        row |= {
            "score_min": round.lowest,
            "score_median": round.median,
            "score_max": round.highest,
            "warning": round.warning,
        }
        row |= {f"as_{c}": n for c, n in zip(pool.minor, taken, strict=True)}  # as in classes.csv
        row["below_lambda"] = int(
            (round.loss < rules.threshold_at(self.selection.rule.threshold, len(self.audits))).sum()
        )
        row["loss_max"] = float(round.loss.max()) if len(round.loss) else np.nan
        row["unlabeled_so_far"] = int((ever & ~pool.labeled).sum())
        self.audits.append(row)
        self.selecting += round.seconds
        print(self._line(round, kinds["precision"], labeled, taken), flush=True)

    def _line(self, round: Round, precision: float, labeled: np.ndarray, taken: list[int]) -> str:
        counts = zip(self.selection.pool.minor, taken, strict=True)
        classes = ", ".join(f"{self.names[c]}: {n:,}" for c, n in counts if n)
        rounds = -(-self.recipe.epochs // self.recipe.every)
        parts = [f"round {len(self.audits)}/{rounds}", f"D' {round.candidates:,}"]
        added = f"added {len(round.index):,} ({labeled.sum():,} labeled)"
        parts.append(f"{added}, unlabeled as {classes}" if 0 < len(classes) < 90 else added)
        if np.isfinite(precision):
            parts.append(f"pseudo-labels {precision:.1%} right")
        parts += [f"now {len(self.selection.pool.index):,} images", *self._time_left(round.epoch)]
        return printable(" · ".join(parts)) + (
            f"\n  warning: {printable(round.warning)}" if round.warning else ""
        )

    def _time_left(self, epoch: int) -> list[str]:
        left = (self.recipe.epochs - epoch) * len(self.selection.pool.index)
        done = sum(row["images"] for row in self.rows) + self._images * (len(self.rows) < epoch)
        spent = self.seconds + (time.perf_counter() - self._start) * (len(self.rows) < epoch)
        return [f"{_format_duration(spent / done * left)} left"] if left else []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if not np.isfinite(logs["loss"]):
            raise ValueError(
                f"the loss is {logs['loss']} after epoch {epoch + 1}: training has diverged, use a"
                " smaller --lr"
            )
        self.seconds += time.perf_counter() - self._start
        self.rows.append(
            {"epoch": epoch + 1, "images": self._images, **{k: float(v) for k, v in logs.items()}}
        )
        write_frame(self.folder / "epochs.csv", pd.DataFrame(self.rows))
        if self.audits:
            write_frame(self.folder / "selection.csv", pd.DataFrame(self.audits))
        done = epoch + 1
        if (
            self.selection.rule is None
            and done % self.recipe.every == 0
            and done < self.recipe.epochs
        ):
            print(f"epoch {done}/{self.recipe.epochs} · {self._time_left(done)[0]}", flush=True)

    def get_state(self) -> dict[str, np.ndarray]:
        state = {
            "rows": self.rows,
            "audits": self.audits,
            "seconds": self.seconds,
            "selecting": self.selecting,
        }
        return {"json": np.array(json.dumps(state))}

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        for name, value in json.loads(str(state["json"])).items():
            setattr(self, name, value)


def _format_duration(seconds: float) -> str:
    hours, minutes = int(seconds // 3600), int(seconds % 3600 // 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {int(seconds % 60):02} s"
