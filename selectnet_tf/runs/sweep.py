"""A sweep: many runs, each in its own process, one after another or several at once.

A sweep trains the runs without a row. Their locks and rows are its only memory, so it can be killed
and started again at any time, and several sweeps, on any number of hosts, share one results folder.
Only the runs' processes import TensorFlow.
"""

import contextlib
import ctypes
import math
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any

from selectnet_tf import _locks, recipes
from selectnet_tf._console import align_columns
from selectnet_tf._devices import environment_of_job, find_problem, visible_gpus
from selectnet_tf.data import cifar
from selectnet_tf.runs import plan, store

POLL = 1.0  # seconds between two looks at the processes
QUIET = 600.0  # seconds between two lines of progress, away from a terminal
RUN = (sys.executable, "-m", "selectnet_tf.run")


class Cell:
    """One run of a sweep.

    Attributes:
        recipe: its Recipe.
        name: its name.
        folder: its folder.
        log: the file of its output.
        process: its process while it trains.
        slot: the number of its GPU or share of the cores while it trains.
        problem: the reason of its failure, or "".
        log_start: the size of `log` before this process, in bytes.
    """

    def __init__(self, recipe: recipes.Recipe, results: pathlib.Path, known: store.Known) -> None:
        self.recipe, self.name = recipe, store.find_name(results, recipe, known)
        self.folder = results / "runs" / self.name
        self.log = self.folder / "log.txt"
        self.process: subprocess.Popen[bytes] | None = None
        self.slot = 0
        self.problem, self.log_start = "", 0

    @property
    def epochs(self) -> int:
        """The saved epochs of an unfinished run."""
        progress = store.read_progress(self.folder / "state.npz")
        return progress[0] if progress else 0

    def is_busy(self) -> bool:
        """Whether any process trains it now."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return _locks.is_held(self.folder / ".lock")

    def read_last_line(self) -> str:
        """Returns the last error of this process, or its last line."""
        text = self.log.read_bytes()[self.log_start :].decode(errors="replace")
        lines = [line for line in text.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("error: ")]
        return (errors or lines or ["no output"])[-1].removeprefix("error: ").strip()


class Sweep:
    """Trains every recipe without a row in runs.csv.

    Args:
        cells: the recipes; one given twice trains once.
        results: holds runs.csv and runs/.
        data_dir: passed to each run.
        jobs: the number of runs at once.
        device: passed to each run.
    """

    def __init__(
        self,
        cells: Iterable[recipes.Recipe],
        results: pathlib.Path,
        data_dir: str | None = None,
        jobs: int = 1,
        device: str = "auto",
    ) -> None:
        self.results, self.data_dir, self.jobs, self.device = results, data_dir, jobs, device
        unique = {recipe.name: recipe for recipe in cells}
        known = store.read_rows(results)
        self.cells = [Cell(recipe, results, known) for recipe in unique.values()]
        self.rates = plan.read_rates(results)
        shared = not (self.rates or visible_gpus())  # cores
        self.speedup = min(jobs, plan.TOGETHER) if shared else jobs
        self.waiting, self.slots = list(self.cells), list(range(jobs))
        self.running: list[Cell] = []
        self._start, self._printed = time.monotonic(), -math.inf

    def plan(self) -> str:
        """Returns the plan as text: finished runs, counts by data set and arch, the time left."""
        done = store.read_names(self.results)
        lines: list[tuple[Any, ...]] = [
            ("column", "cells", "done", "half trained", "missing", "time")
        ]
        columns: dict[str, list[Cell]] = {}
        for cell in self.cells:
            columns.setdefault(
                f"{cell.recipe.data.dataset} {cell.recipe.training.arch}", []
            ).append(cell)
        for column, cells in [*columns.items(), ("all", self.cells)]:
            left = [c for c in cells if c.name not in done]
            half = sum(c.epochs > 0 for c in left)
            hours = plan.format_hours(self.estimate_seconds(left))
            lines.append(
                (column, len(cells), len(cells) - len(left), half, len(left) - half, hours)
            )
        listed = [f"done  {c.name}" for c in self.cells if c.name in done]
        speed = f"of {plan.SPEED:.2g} multiply-adds a second (two CPU cores)"
        if self.rates:
            speed = "of the finished runs here"
        notes = [
            f"time: one run after another, at the speed {speed}; at most that for selecting runs"
        ]
        if self.jobs > 1:
            hours = plan.format_hours(self.estimate_seconds(left) / self.speedup)
            notes.append(f"{self.jobs} at once: about {hours}")
        return "\n".join([*listed, *[""] * bool(listed), align_columns(lines), "", *notes])

    def list_commands(self) -> list[list[str]]:
        """Returns the command of each run without a row, as lists of words: for Slurm."""
        done = store.read_names(self.results)
        return [self.make_command(c) for c in self.cells if c.name not in done]

    def make_command(self, cell: Cell) -> list[str]:
        """Returns the command that trains a cell, as a list of words."""
        places = {
            "results_dir": self.results,
            "data_dir": self.data_dir,
            "device": "cpu" if self.device == "cpu" else None,
        }
        return [*RUN, *cell.recipe.flags(), *(f"--{k}={v}" for k, v in places.items() if v)]

    def estimate_seconds(self, cells: Iterable[Cell]) -> float:
        """Returns the seconds that cells still need, one after another."""
        return sum(
            plan.estimate_seconds(c.recipe, self.rates) * (1 - c.epochs / c.recipe.training.epochs)
            for c in cells
        )

    def run(self) -> int:
        """Trains. Returns 0, 1 if a cell failed, or 128 + the signal that stopped the sweep."""
        done = store.read_names(self.results)
        missing = [c for c in self.cells if c.name not in done]
        self._total = self.estimate_seconds(missing)
        self._check(missing)
        with _raising_stop():
            try:
                while self.waiting or self.running:
                    self.running = [c for c in self.running if not self._finish(c)]
                    while self.slots and self._start_next():
                        pass
                    self._print_progress()
                    time.sleep(POLL)
            except _Stop as stop:
                self._stop()
                return 128 + stop.number
            except (OSError, ValueError):  # such as of a damaged runs.csv: no run is left alone
                self._stop()
                raise
        failed = [c for c in self.cells if c.problem]
        counts = f"{len(self.cells) - len(failed)} of {len(self.cells)} cells done"
        took = plan.format_hours(time.monotonic() - self._start)
        self._print(f"{counts}, {len(failed)} failed, {took}")
        for cell in failed:
            print(f"error: {cell.name}: {cell.problem} (see {cell.log})", file=sys.stderr)
        return int(bool(failed))

    def _check(self, missing: Iterable[Cell]) -> None:
        """Raises OSError once, not once for each run: GPUs that fail, or missing data."""
        if problem := find_problem():
            raise OSError(problem)
        for name in {c.recipe.data.dataset for c in missing}:
            cifar.find_source(name, self.data_dir)

    def _start_next(self) -> bool:
        """Starts the first waiting cell that no process trains. Returns whether there was one."""
        done = store.read_names(self.results)
        self.waiting = [c for c in self.waiting if c.name not in done]
        cell = next((c for c in self.waiting if self._is_free(c)), None)
        if not cell:
            return False
        self.waiting.remove(cell)
        self.running.append(cell)
        self._print(f"{cell.name}: {self._describe_start(cell)}")
        cell.slot = self.slots.pop(0)
        cell.log_start = cell.log.stat().st_size if cell.log.exists() else 0
        self._launch(cell)
        return True

    def _is_free(self, cell: Cell) -> bool:
        return not cell.is_busy()

    def _describe_start(self, cell: Cell) -> str:
        return f"resumes after epoch {cell.epochs}" if cell.epochs else "starts"

    def _launch(self, cell: Cell) -> None:
        with open(cell.log, "ab") as log:
            cell.process = subprocess.Popen(
                self.make_command(cell),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=_die_with_parent,
                env=os.environ | environment_of_job(cell.slot, self.jobs),
                start_new_session=True,
            )

    def _poll(self, cell: Cell) -> int | None:
        """Returns the exit code of a cell's process, None while it trains."""
        return cell.process.poll() if cell.process else None

    def _finish(self, cell: Cell) -> bool:
        """Returns whether a cell's process has ended; sorts the cell by its row and its output."""
        code = self._poll(cell)
        if code is None:
            return False
        self.slots.append(cell.slot)
        self._printed = -math.inf  # progress is due
        row = None
        with contextlib.suppress(ValueError):  # a damaged row, which the run has reported
            row = store.read_row(self.results, cell.name)
        if row:
            took = plan.format_hours(float(row["seconds"]))
            self._print(f"{cell.name}: accuracy {float(row['accuracy']):.4f}, {took}")
            return True
        last = cell.read_last_line()
        if _locks.TAKEN in last:  # another sweep took it since `_is_free`
            self.waiting.append(cell)
        else:
            cell.problem = last if code >= 0 else f"killed by signal {-code}"
            self._print(f"{cell.name}: failed: {cell.problem}")
        return True

    def _stop(self) -> None:
        processes = [cell.process for cell in self.running if cell.process]
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()
        if processes:
            self._print("stopped: half-trained runs are saved, run the same command to resume them")

    def _print_progress(self) -> None:
        """Prints cells done, epochs of running cells and the time left."""
        terminal = sys.stdout.isatty()
        due = terminal or time.monotonic() - self._printed >= QUIET
        if not due or not (self.running or self.waiting):
            return
        left = self.estimate_seconds([*self.waiting, *self.running])
        trained = self._total - left
        if trained > 120:  # then this sweep's own speed is known
            left *= (time.monotonic() - self._start) / trained
        else:
            left /= self.speedup
        now = ", ".join(
            f"{c.recipe.selection.method} {c.epochs}/{c.recipe.training.epochs}"
            for c in self.running
        )
        finished = len(self.cells) - len(self.waiting) - len(self.running)
        self._printed = time.monotonic()
        self._print(
            f"{finished}/{len(self.cells)} cells; {now or 'waiting for another sweep'};"
            f" {plan.format_hours(left)} left",
            end="" if terminal else "\n",
        )

    def _print(self, line: str, end: str = "\n") -> None:
        clear = "\r\033[K" if sys.stdout.isatty() else ""
        print(f"{clear}{time.strftime('%H:%M')} {line}", end=end, flush=True)


def _die_with_parent() -> None:
    """Makes the kernel send SIGTERM to a run whose sweep was killed: it saves and stops."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


class _Stop(KeyboardInterrupt):
    def __init__(self, number: int) -> None:
        self.number = number


@contextlib.contextmanager
def _raising_stop() -> Iterator[None]:
    """Raises _Stop at the first SIGINT or SIGTERM, and ignores later ones."""

    def stop(number: int, frame: Any) -> None:
        for other in (signal.SIGINT, signal.SIGTERM):
            signal.signal(other, signal.SIG_IGN)
        raise _Stop(number)

    old = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
