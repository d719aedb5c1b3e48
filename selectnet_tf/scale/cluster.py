"""A sweep whose runs are actors of a Ray cluster: the same plan, lines, rows and resume.

Ray knows which node is free and begins an actor again elsewhere when its node dies; the run then goes on from its state, on a file
system that all nodes see. The actors are detached: they outlive the sweep, and one that is started again finds them.
"""

import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import ray

from selectnet_tf.experiment import sweep
from selectnet_tf.files import digest

NAMESPACE = "selectnet_tf"  # of the actors' names
RETRIES = 5  # of a run whose node died, or that was killed there
PATIENCE = 120.0  # seconds that a stopped run has to save
LINGER = 10.0  # seconds for which an ended run still says how it ended


@ray.remote
class _Run:
    """On a node: the command, by this node's Python; Ray has set CUDA_VISIBLE_DEVICES. Ends by itself when the command has ended."""

    def __init__(self, words: list[str], log: pathlib.Path, gpus: int) -> None:
        self._begun, self._ended, self._stopped = threading.Event(), threading.Event(), False
        self._code, self._problem = 1, ""
        me = ray.get_runtime_context().current_actor
        threading.Thread(target=self._live, args=(words, log, gpus, me), daemon=True).start()

    def _live(self, words: list[str], log: pathlib.Path, gpus: int, me: Any) -> None:
        try:
            self._train(words, log, gpus)
            if not self._stopped and (self._code < 0 or self._code == 128 + signal.SIGTERM):
                os._exit(1)  # somebody ended it: for all that it knows, its node goes down, and Ray begins it again elsewhere
        except (OSError, ValueError) as error:
            self._code, self._problem = 1, str(error)
        self._begun.set()
        self._ended.set()
        time.sleep(LINGER)
        ray.kill(me)

    def _train(self, words: list[str], log: pathlib.Path, gpus: int) -> None:
        threads = {} if gpus else dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"), "1")
        with open(log, "ab") as out:
            self._process = subprocess.Popen(
                [sys.executable, *words], stdin=subprocess.DEVNULL, stdout=out, stderr=out, preexec_fn=sweep._die_with_parent,
                env=os.environ | threads, start_new_session=True,
            )  # fmt: skip
        self._begun.set()
        self._code = self._process.wait()

    def wait(self, seconds: float = 10.0) -> tuple[int, str] | None:
        """(exit code, why it could not run), or None where it still trains after so many seconds: whoever asks may be gone by then."""
        return (self._code, self._problem) if self._ended.wait(seconds) else None

    def stop(self) -> None:
        """As SIGTERM ends a run here: it saves first."""
        self._stopped = True
        self._begun.wait()
        if not self._ended.is_set():
            self._process.terminate()


class Task:
    """A run on some node, with as much of a subprocess.Popen as a sweep needs.

    name: of its actor. words: its command. log: the file that takes what it says. gpus: its share, or a core where 0.
    found: whether it was there already.
    """

    def __init__(self, name: str, words: list[str], log: pathlib.Path, gpus: int) -> None:
        self._log = log
        found = find(name)
        self.found = found is not None
        self._actor = found or _Run.options(  # type: ignore[attr-defined]
            name=name, namespace=NAMESPACE, lifetime="detached", get_if_exists=True, num_cpus=1, num_gpus=gpus,
            max_restarts=RETRIES, max_task_retries=-1, max_concurrency=16,
        ).remote(words[1:], log, gpus)  # fmt: skip
        self._ref = self._actor.wait.remote()

    def poll(self) -> int | None:
        """The run's exit code, or None while it trains or waits for a node."""
        if not ray.wait([self._ref], timeout=0)[0]:
            return None
        try:
            said = ray.get(self._ref)
        except ray.exceptions.RayError as error:
            said = 1, f"Ray: {str(error).strip().splitlines()[-1]}"
        if said is None:
            self._ref = self._actor.wait.remote()
            return None
        ray.kill(self._actor)
        code, problem = said
        if problem:
            with open(self._log, "a") as log:
                log.write(f"error: {problem}\n")
        return int(code)

    def terminate(self) -> None:
        self._stopping = self._actor.stop.remote()

    def wait(self) -> None:
        """Until it has saved; one that waits for a node never begins."""
        if not ray.wait([self._stopping], timeout=10)[0]:
            ray.kill(self._actor)
        end = time.monotonic() + PATIENCE
        while self.poll() is None and time.monotonic() < end:
            time.sleep(0.1)


def find(name: str) -> Any:
    """The actor of that name, of a run that trains or waits for a node; None where there is none."""
    try:
        return ray.get_actor(name, NAMESPACE)
    except ValueError:
        return None


class ClusterSweep(sweep.Sweep):
    """A Sweep over the cluster that this process is connected to.

    results: on a file system that every node sees at the same path. jobs: runs at once; 0: one a GPU, or a
    core where there are no GPUs.
    """

    def __init__(
        self, cells: list[Any], results: pathlib.Path, data_dir: str | None = None, jobs: int = 0
    ) -> None:  # fmt: skip
        has = ray.cluster_resources()
        self.gpus = int(has.get("GPU", 0) > 0)
        jobs = jobs or max(1, int(has.get("GPU" if self.gpus else "CPU", 1)))
        super().__init__(cells, results.absolute(), data_dir, jobs)
        self.waiting.sort(key=lambda cell: find(self._actor(cell)) is None)

    def _actor(self, cell: sweep.Cell) -> str:
        return f"{cell.name} {digest(str(self.results).encode())}"

    def _free(self, cell: sweep.Cell) -> bool:
        return super()._free(cell) or find(self._actor(cell)) is not None

    def _begin(self, cell: sweep.Cell) -> None:
        cell.slot = self.slots.pop(0)
        cell.said = cell.log.stat().st_size if cell.log.exists() else 0
        task = Task(self._actor(cell), self.command(cell), cell.log, self.gpus)
        cell.process, cell.found = task, task.found  # type: ignore[assignment]
        self._say(f"{cell.name}: {self._news(cell)}")


def connect(address: str) -> None:
    """To a cluster: auto, or its address. Raises ConnectionError, with the cure, where there is none."""
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise ConnectionError(f"no Ray cluster at {address} ({str(error).splitlines()[0]}): ray start --head") from None
