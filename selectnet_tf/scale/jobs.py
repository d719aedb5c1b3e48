"""Sweeps as Ray jobs, which outlive the command: the next one finds them by the runs' names."""

import collections
import contextlib
import itertools
import os
import pathlib
import shlex
import threading
from collections.abc import Callable, Iterable
from typing import Any

from selectnet_tf import _devices, recipes
from selectnet_tf.runs import sweep

LIMIT = 4.0  # seconds in which a cluster has to answer; Ray by itself tries for up to minutes
RETRIES = 5  # of a run that was killed, with its node or alone
ENDED = ("SUCCEEDED", "FAILED", "STOPPED")
DASHBOARD = "the address of the cluster's dashboard, --ray=http://HOST:8265"


class JobSweep(sweep.Sweep):
    """A Sweep whose runs are jobs of a Ray cluster, each on a GPU, or a core where there is none.

    cluster: what `connect` returns. results: on a file system that all nodes see at one path.
    jobs: 0: one a GPU, or core. Raises OSError, from `run` too: the cluster does not answer.
    """

    def __init__(
        self, cluster: list[Any], cells: Iterable[recipes.Recipe], results: pathlib.Path,
        data_dir: str | None = None, jobs: int = 0, device: str = "auto",
    ) -> None:  # fmt: skip
        self.client, has = cluster
        self.gpus = int(has["GPU"] > 0 and device != "cpu")
        jobs = jobs or max(1, int(has["GPU" if self.gpus else "CPU"]))
        super().__init__(cells, results.absolute(), data_dir, jobs, device)
        self.at_once, self.tries = jobs, collections.Counter[str]()
        self.ids = {}  # {run: job} of those that wait or train
        for job in _ask(self.client.list_jobs):
            said = job.metadata or {}
            if said.get("results") == str(self.results) and job.status not in ENDED:
                self.ids[said["run"]] = job.submission_id
        self.waiting.sort(key=lambda cell: cell.name not in self.ids)

    def _free(self, cell: sweep.Cell) -> bool:
        return cell.name in self.ids or super()._free(cell)

    def _news(self, cell: sweep.Cell) -> str:
        return "is a job already, " * (cell.name in self.ids) + super()._news(cell)

    def _launch(self, cell: sweep.Cell) -> None:
        variables = {"RAY_JOB_STOP_WAIT_TIME_S": "120"} | ({} if self.gpus else _devices.threads(1))
        names = (f"{cell.name}-{n}" if n > 1 else cell.name for n in itertools.count(1))
        while cell.name not in self.ids:
            with contextlib.suppress(FileExistsError):
                self.ids[cell.name] = _ask(
                    self.client.submit_job, submission_id=next(names),
                    entrypoint=shlex.join(self.command(cell)), runtime_env={"env_vars": variables},
                    entrypoint_num_cpus=1, entrypoint_num_gpus=self.gpus,
                    metadata={"run": cell.name, "results": str(self.results)},
                )  # fmt: skip

    def _exit_code(self, cell: sweep.Cell) -> int | None:
        job = _ask(self.client.get_job_info, self.ids[cell.name])
        if job.status not in ENDED:
            return None
        ended, code = self.ids.pop(cell.name), job.driver_exit_code
        killed = job.status == "FAILED" and (code is None or not 0 <= code < 128)
        if killed and self.tries[cell.name] < RETRIES:
            self.tries[cell.name] += 1
            self._say(f"{cell.name}: killed, or its node died; {self._news(cell)} as a new job")
            self._launch(cell)
            return None
        with open(cell.log, "a", encoding="utf-8") as log:
            with contextlib.suppress(OSError):  # a node that died took it along
                log.write(_ask(self.client.get_job_logs, ended))
            log.write(f"error: {job.message}\n" if killed else "")
        return 1 if code is None else int(code)

    def _stop(self) -> None:
        self._say("the jobs train on: the same command follows them, `ray job stop ID` stops one")


def connect(address: str) -> list[Any]:
    """Returns [client, {"CPU": n, "GPU": n}] of a cluster. address: auto, or its dashboard's URL.

    Raises ValueError: neither. OSError: Ray is not installed, or no cluster answers.
    """
    if address != "auto" and not address.startswith(("http://", "https://")):
        raise ValueError(f"--ray={address} is neither auto nor {DASHBOARD}")
    try:
        from ray.job_submission import JobSubmissionClient
        from ray.util.state import list_nodes
    except ImportError:
        raise OSError("--ray needs Ray: python -m pip install -e '.[scale]'") from None
    if address != "auto":
        os.environ["RAY_API_SERVER_ADDRESS"] = address  # or Ray takes what RAY_ADDRESS says
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
        cure = f"run `ray start --head`, or give {DASHBOARD}"
        raise OSError(f"no Ray cluster at {address}; {cure}: {found[0]}")
    return found


def _ask(call: Callable[..., Any], *given: Any, **named: Any) -> Any:
    """Returns call(...). Raises FileExistsError: a job has this id. OSError: no answer."""
    try:
        return call(*given, **named)
    except (OSError, RuntimeError) as error:
        kind = FileExistsError if "already exists" in str(error) else OSError
        raise kind(f"Ray does not answer, run the same command again: {error}") from None
