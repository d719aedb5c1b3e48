"""Sweeps as Ray jobs, which outlive the command; the next one finds them by the runs' names."""

import collections
import contextlib
import itertools
import os
import pathlib
import shlex
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from selectnet_tf import _devices, recipes
from selectnet_tf.runs import store, sweep

LIMIT = 4.0  # seconds for a cluster to answer; Ray itself waits for up to minutes
START = 60.0  # seconds in which the agents of a cluster that has just started come up
RETRIES = 5  # of a run that was killed, alone or with its node
ENDED = ("SUCCEEDED", "FAILED", "STOPPED")
DASHBOARD = "the address of the cluster's dashboard, --ray=http://HOST:8265"


class JobSweep(sweep.Sweep):
    """A Sweep whose runs are jobs of a Ray cluster, each on a GPU, or a core if it has none.

    Args:
        cluster: the result of `connect`.
        cells: the recipes.
        results: on a file system that all nodes see at the same path.
        data_dir: passed to each run.
        jobs: the number of runs at once; 0: one for each GPU, or core.
        device: passed to each run.

    Raises:
        OSError: the cluster does not answer; `run` may raise it, too.
    """

    def __init__(
        self,
        cluster: list[Any],
        cells: Iterable[recipes.Recipe],
        results: pathlib.Path,
        data_dir: str | None = None,
        jobs: int = 0,
        device: str = "auto",
    ) -> None:
        self.client, has = cluster
        self.gpus = int(has["GPU"] > 0 and device != "cpu")
        jobs = jobs or max(1, int(has["GPU" if self.gpus else "CPU"]))
        super().__init__(cells, results.absolute(), data_dir, jobs, device)
        self.speedup, self.tries = jobs, collections.Counter[str]()
        self.ids: dict[str, str] = {}  # {run: job} of jobs that wait or train
        for job in _ask(self.client.list_jobs):
            if self._is_own(job):
                self.ids[job.metadata["run"]] = job.submission_id
        self.waiting.sort(key=lambda cell: cell.name not in self.ids)

    def _is_own(self, job: Any) -> bool:
        """Returns whether a job waits for or trains a run of these results."""
        results = (job.metadata or {}).get("results")
        return bool(results == str(self.results)) and job.status not in ENDED

    def _check(self, missing: Iterable[sweep.Cell]) -> None:
        """The nodes' GPUs and data are not this machine's."""

    def _is_free(self, cell: sweep.Cell) -> bool:
        return cell.name in self.ids or super()._is_free(cell)

    def _describe_start(self, cell: sweep.Cell) -> str:
        start = super()._describe_start(cell)
        return f"is a job already, {start}" if cell.name in self.ids else start

    def _launch(self, cell: sweep.Cell) -> None:
        variables = {"RAY_JOB_STOP_WAIT_TIME_S": "120"}
        if not self.gpus:
            variables |= _devices.limit_threads(1)
        names = (f"{cell.name}-{n}" if n > 1 else cell.name for n in itertools.count(1))
        while cell.name not in self.ids:
            name = next(names)
            try:
                self.ids[cell.name] = _ask(
                    self.client.submit_job,
                    submission_id=name,
                    entrypoint=shlex.join(self.make_command(cell)),
                    runtime_env={"env_vars": variables},
                    entrypoint_num_cpus=1,
                    entrypoint_num_gpus=self.gpus,
                    metadata={"run": cell.name, "results": str(self.results)},
                )
            except FileExistsError:
                if self._is_own(_ask(self.client.get_job_info, name)):  # of another command
                    self.ids[cell.name] = name

    def _poll(self, cell: sweep.Cell) -> int | None:
        job = _ask(self.client.get_job_info, self.ids[cell.name])
        if job.status not in ENDED:
            return None
        ended, code = self.ids.pop(cell.name), job.driver_exit_code
        killed = job.status == "FAILED" and (code is None or not 0 <= code < 128)
        killed = killed and cell.name not in store.read_names(self.results)
        if killed and self.tries[cell.name] < RETRIES:
            self.tries[cell.name] += 1
            start = self._describe_start(cell)
            self._print(f"{cell.name}: killed, or its node died; {start} as a new job")
            self._launch(cell)
            return None
        with open(cell.log, "a", encoding="utf-8") as log:
            with contextlib.suppress(OSError):  # the logs died with their node
                log.write(_ask(self.client.get_job_logs, ended))
            log.write(f"error: {job.message}\n" if killed else "")
        return 1 if code is None else int(code)

    def _stop(self) -> None:
        follow = "run the same command to follow them, `ray job stop ID` to stop one"
        self._print(f"the jobs continue: {follow}")


def connect(address: str) -> list[Any]:
    """Returns [client, {"CPU": n, "GPU": n}] of a cluster.

    Args:
        address: auto, or the URL of the cluster's dashboard.

    Raises:
        ValueError: the address is neither.
        OSError: Ray is not installed, or no cluster answers.
    """
    if address != "auto" and not address.startswith(("http://", "https://")):
        raise ValueError(f"--ray={address} is neither auto nor {DASHBOARD}")
    try:
        from ray.job_submission import JobSubmissionClient
        from ray.util.state import list_nodes
    except ImportError:
        raise OSError(f"--ray needs Ray: {_devices.PIP} -e '.[scale]'") from None
    if address != "auto":
        os.environ["RAY_API_SERVER_ADDRESS"] = address  # or Ray takes RAY_ADDRESS
    found: list[Any] = [f"no answer within {LIMIT:.0f} s"]

    def ask() -> None:
        try:
            client = JobSubmissionClient(address)
            nodes = list_nodes(client.get_address(), [("state", "=", "ALIVE")], limit=10_000)
            has = [node.resources_total for node in nodes]
            found[:] = client, {k: sum(r.get(k, 0) for r in has) for k in ("CPU", "GPU")}
        except Exception as error:  # of Ray, gRPC or requests
            found[:] = [error]

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(LIMIT)
    if len(found) == 1:
        cure = f"run `ray start --head`, or pass {DASHBOARD}"
        raise OSError(f"no Ray cluster at {address}; {cure}: {found[0]}")
    return found


def _ask(call: Callable[..., Any], *positional: Any, **named: Any) -> Any:
    """Returns call(...).

    Raises:
        FileExistsError: a job has this id.
        OSError: Ray does not answer.
    """
    deadline = time.monotonic() + START
    while True:
        try:
            return call(*positional, **named)
        except (OSError, RuntimeError) as error:
            if "No available agent" in str(error) and time.monotonic() < deadline:
                time.sleep(1)
                continue
            kind = FileExistsError if "already exists" in str(error) else OSError
            raise kind(f"Ray does not answer, run the same command again: {error}") from None
