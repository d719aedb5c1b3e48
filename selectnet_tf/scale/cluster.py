"""A sweep whose runs are tasks of a Ray cluster: the same plan, lines, rows and resume, on storage that all nodes see.

Ray knows which node is free and begins a task again elsewhere when its node dies; the run then goes on from its state file.
"""

import os
import pathlib
import signal
import subprocess
import sys
from typing import Any

import ray

from selectnet_tf.experiment import sweep

RETRIES = 5  # of a run whose node died, or that was killed there
PATIENCE = 120.0  # seconds that a stopped run has to save


class Interrupted(Exception):
    """Not the run ended, but somebody ended it: for all that it knows, its node goes down."""


class Task:
    """A run on some node, with as much of a subprocess.Popen as a sweep needs.

    words: its command. log: the file, on the common storage, that takes what it says. gpus: its share, or a core where 0.
    """

    def __init__(self, words: list[str], log: pathlib.Path, gpus: int) -> None:
        self._log = log
        again = {"max_retries": RETRIES, "retry_exceptions": [Interrupted]}
        self._ref = _train.options(num_cpus=1, num_gpus=gpus, name=log.parent.name, **again).remote(words[1:], str(log), gpus)

    def poll(self) -> int | None:
        """The run's exit code, or None while it trains or waits for a node."""
        ready, _ = ray.wait([self._ref], timeout=0)
        if not ready:
            return None
        try:
            return int(ray.get(self._ref))
        except ray.exceptions.RayError as error:
            with open(self._log, "a") as log:
                log.write(f"error: Ray: {str(error).strip().splitlines()[-1]}\n")
            return 1

    def terminate(self) -> None:
        """Ends it as SIGTERM ends a run here: it saves first."""
        ray.cancel(self._ref)

    def wait(self) -> None:
        ray.wait([self._ref], timeout=PATIENCE)


@ray.remote  # type: ignore[untyped-decorator]
def _train(words: list[str], log: str, gpus: int) -> int:
    """On a node: the command, by this node's Python; Ray has set CUDA_VISIBLE_DEVICES."""
    threads = {} if gpus else dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"), "1")
    with open(log, "ab") as out:
        process = subprocess.Popen(
            [sys.executable, *words], stdin=subprocess.DEVNULL, stdout=out, stderr=out, preexec_fn=sweep._die_with_parent,
            env=os.environ | threads, start_new_session=True,
        )  # fmt: skip
    try:
        code = process.wait()
    except BaseException:  # cancelled
        process.terminate()
        process.wait()
        raise
    if code < 0 or code == 128 + signal.SIGTERM:
        raise Interrupted(f"killed by signal {abs(code) % 128}")
    return code


class ClusterSweep(sweep.Sweep):
    """A Sweep over the cluster that this process is connected to.

    results: on storage that every node sees at the same path. jobs: runs at once; 0: one a GPU, or a core where there are no GPUs.
    """

    def __init__(self, cells: list[Any], results: pathlib.Path, data_dir: str | None = None, jobs: int = 0) -> None:
        has = ray.cluster_resources()
        self.gpus = int(has.get("GPU", 0) > 0)
        super().__init__(cells, results.absolute(), data_dir, jobs or max(1, int(has.get("GPU" if self.gpus else "CPU", 1))))

    def _begin(self, cell: sweep.Cell) -> None:
        self._say(f"{cell.name}: " + (f"goes on after epoch {cell.epochs}" if cell.epochs else "begins"))
        cell.slot = self.slots.pop(0)
        cell.said = cell.log.stat().st_size if cell.log.exists() else 0
        cell.process = Task(self.command(cell), cell.log, self.gpus)  # type: ignore[assignment]


def connect(address: str) -> None:
    """To a cluster: auto, or its address. Raises ConnectionError where there is none."""
    ray.init(address=address, log_to_driver=False, logging_level="ERROR")
