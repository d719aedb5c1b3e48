"""Many runs, one after another or several at once: each a process of its own, resumable, and shared
with other sweeps.

A sweep trains what has no row yet. Its runs' locks and rows are its only memory: it can be killed
at any time and started again, and two sweeps on one results folder share the work, on any number of
hosts. Only its children import TensorFlow.
"""

import contextlib
import ctypes
import dataclasses
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
from selectnet_tf._csv_files import read_csv
from selectnet_tf._devices import environment_of_job, visible_gpus
from selectnet_tf.runs import plan, store

POLL = 1.0  # seconds between two looks at the children
RUN = (sys.executable, "-m", "selectnet_tf.run")


class Cell:
    """One recipe on its way: its folder, its process while it trains, and why it failed."""

    def __init__(self, recipe: recipes.Recipe, results: pathlib.Path) -> None:
        self.recipe, self.name = recipe, store.find_name(results, recipe)
        self.folder = results / "runs" / self.name
        self.log = self.folder / "log.txt"
        self.process: subprocess.Popen[bytes] | None = None
        self.slot = 0
        self.problem, self.said = "", 0  # said: the log's length before this process

    @property
    def epochs(self) -> int:
        """Epochs that are trained and saved, of a run that is not finished."""
        with contextlib.suppress(ValueError, OSError):
            return (
                len(read_csv(self.folder / "epochs.csv"))
                if (self.folder / "state.npz").exists()
                else 0
            )
        return 0

    def busy(self) -> bool:
        """Whether some process trains it now."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return _locks.busy(self.folder / ".lock")

    def last_line(self) -> str:
        """Why it failed, or what it said last."""
        lines = self.log.read_bytes()[self.said :].decode(errors="replace").splitlines()
        said = [line for line in lines if line.startswith("error: ")] or [
            line for line in lines if line.strip()
        ]
        return said[-1].removeprefix("error: ").strip() if said else "no output"


class Sweep:
    """Trains every recipe that has no row in results/runs.csv, `jobs` at a time.

    Device: the runs' --device.
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
        self.cells = [
            Cell(recipe, results) for recipe in {recipe.name: recipe for recipe in cells}.values()
        ]
        self.rates = plan.read_rates(results)
        self.at_once = (
            jobs if self.rates or visible_gpus() else min(jobs, plan.TOGETHER)
        )  # times the speed of one after another
        self.waiting, self.slots = list(self.cells), list(range(jobs))
        self.running: list[Cell] = []
        self._start, self._said = time.monotonic(), -math.inf

    def plan(self) -> str:
        """Text:

        The cells, column by column, what is done and missing, and how long the rest will take.
        """
        done = store.read_names(self.results)
        lines: list[tuple[Any, ...]] = [
            ("column", "cells", "done", "half trained", "missing", "time")
        ]
        columns: dict[str, list[Cell]] = {}
        for cell in self.cells:
            columns.setdefault(f"{cell.recipe.dataset} {cell.recipe.arch}", []).append(cell)
        for column, cells in [*columns.items(), ("all", self.cells)]:
            left = [c for c in cells if c.name not in done]
            half = sum(c.epochs > 0 for c in left)
            time = plan.format_hours(self.seconds(left))
            lines.append((column, len(cells), len(cells) - len(left), half, len(left) - half, time))
        listed = "\n".join(
            f"{'done' if c.name in done else 'to do':5}  {c.name}" for c in self.cells
        )
        speed = (
            "of the finished runs here"
            if self.rates
            else f"of {plan.SPEED:.2g} multiply-adds a second (two CPU cores)"
        )
        note = (
            f"time: one run after another at the speed {speed}; a selecting run's is an upper bound"
        )
        if self.jobs > 1:
            time = plan.format_hours(self.seconds(left) / self.at_once)
            note += f"\n{self.jobs} at once: about {time}"
        return f"{listed}\n\n{align_columns(lines)}\n\n{note}"

    def commands(self) -> list[list[str]]:
        """[the command of each cell that has no row], as lists of words: for Slurm and its like."""
        done = store.read_names(self.results)
        return [self.command(c) for c in self.cells if c.name not in done]

    def command(self, cell: Cell) -> list[str]:
        """What trains a cell, as a list of words."""
        places = {
            "results_dir": self.results,
            "data_dir": self.data_dir,
            "device": "cpu" if self.device == "cpu" else None,
        }
        return [*RUN, *format_flags(cell.recipe), *(f"--{k}={v}" for k, v in places.items() if v)]

    def seconds(self, cells: Iterable[Cell]) -> float:
        """Estimated seconds that cells still need, one after another."""
        return sum(
            plan.estimate_seconds(c.recipe, self.rates) * (1 - c.epochs / c.recipe.epochs)
            for c in cells
        )

    def run(self) -> int:
        """Trains.

        Returns 0, 1 where a cell failed, 128 + the signal's number where it was stopped.
        """
        done = store.read_names(self.results)
        self._total = self.seconds([c for c in self.cells if c.name not in done])
        try:
            with _stoppable():
                while self.waiting or self.running:
                    self.running = [c for c in self.running if not self._ended(c)]
                    while self.slots and self._begin_next():
                        pass
                    self._progress()
                    time.sleep(POLL)
        except _Stop as stop:
            self._stop()
            return 128 + stop.number
        failed = [c for c in self.cells if c.problem]
        counts = (
            f"{len(self.cells) - len(failed)} of {len(self.cells)} cells done, {len(failed)} failed"
        )
        self._say(f"{counts}, {plan.format_hours(time.monotonic() - self._start)}")
        for cell in failed:
            print(f"error: {cell.name}: {cell.problem} (see {cell.log})", file=sys.stderr)
        return int(bool(failed))

    def _begin_next(self) -> bool:
        """Begins the first waiting cell that nobody trains. Returns whether there was one."""
        done = store.read_names(self.results)
        self.waiting = [c for c in self.waiting if c.name not in done]
        cell = next((c for c in self.waiting if self._free(c)), None)
        if cell:
            self.waiting.remove(cell)
            self.running.append(cell)
            self._begin(cell)
        return bool(cell)

    def _free(self, cell: Cell) -> bool:
        return not cell.busy()

    def _news(self, cell: Cell) -> str:
        return f"goes on after epoch {cell.epochs}" if cell.epochs else "begins"

    def _begin(self, cell: Cell) -> None:
        self._say(f"{cell.name}: {self._news(cell)}")
        cell.slot = self.slots.pop(0)
        cell.said = cell.log.stat().st_size if cell.log.exists() else 0
        self._launch(cell)

    def _launch(self, cell: Cell) -> None:
        with open(cell.log, "ab") as log:
            cell.process = subprocess.Popen(
                self.command(cell),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=_die_with_parent,
                env=os.environ | environment_of_job(cell.slot, self.jobs),
                start_new_session=True,
            )

    def _ended(self, cell: Cell) -> bool:
        """Whether a cell's process is over

        What it left says whether it is done, failed or another sweep's.
        """
        code = self._exit_code(cell)
        if code is None:
            return False
        self.slots.append(cell.slot)
        row = None
        self._said = -math.inf  # what is left is worth a line now
        with contextlib.suppress(
            ValueError
        ):  # a row that is damaged, of which the run itself has said so
            row = store.read_row(self.results, cell.name)
        if row:
            self._say(
                f"{cell.name}: accuracy {float(row['accuracy']):.4f},"
                f" {plan.format_hours(float(row['seconds']))}"
            )
        elif _locks.TAKEN in (
            said := cell.last_line()
        ):  # another sweep's, which looked at its lock just then
            self.waiting.append(cell)
        else:
            cell.problem = said if code >= 0 else f"killed by signal {-code}"
            self._say(f"{cell.name}: failed: {cell.problem}")
        return True

    def _exit_code(self, cell: Cell) -> int | None:
        """None while it trains."""
        return cell.process.poll() if cell.process else None

    def _stop(self) -> None:
        for cell in self.running:
            if cell.process:
                cell.process.terminate()
        for cell in self.running:
            if cell.process:
                cell.process.wait()
        self._say("stopped; half-trained runs are saved, the same command goes on with them")

    def _progress(self) -> None:
        """One line, every second on a terminal, else every ten minutes:

        Cells done, epochs of those under way, time left.
        """
        terminal = sys.stdout.isatty()
        if not (self.running or self.waiting) or (
            not terminal and time.monotonic() - self._said < 600
        ):
            return
        left = self.seconds([*self.waiting, *self.running])
        trained = self._total - left
        left *= (
            (time.monotonic() - self._start) / trained if trained > 120 else 1 / self.at_once
        )  # this sweep's own speed, once known
        now = (
            ", ".join(f"{c.recipe.method} {c.epochs}/{c.recipe.epochs}" for c in self.running)
            or "waiting for another sweep"
        )
        self._said = time.monotonic()
        finished = len(self.cells) - len(self.waiting) - len(self.running)
        self._say(
            f"{finished}/{len(self.cells)} cells · {now} · {plan.format_hours(left)} left",
            end="" if terminal else "\n",
        )

    def _say(self, line: str, end: str = "\n") -> None:
        print(
            "\r\033[K" * sys.stdout.isatty() + f"{time.strftime('%H:%M')} {line}",
            end=end,
            flush=True,
        )


def format_flags(recipe: recipes.Recipe) -> list[str]:
    """A recipe's command line: its run's name, and what differs from its preset."""
    always = ("dataset", "arch", "method", "preset")
    base = recipes.make(**{k: getattr(recipe, k) for k in always})
    changed = {
        k: v for k, v in dataclasses.asdict(recipe).items() if k in always or v != getattr(base, k)
    }
    return [
        f"--{k}={','.join(map(str, v)) if isinstance(v, tuple) else v}" for k, v in changed.items()
    ]


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(
            1, signal.SIGTERM
        )  # PR_SET_PDEATHSIG: the runs of a killed sweep save and stop


class _Stop(BaseException):
    def __init__(self, number: int) -> None:
        self.number = number


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    """SIGTERM stops a sweep as Ctrl-C does; a second one does not hurry it."""

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
