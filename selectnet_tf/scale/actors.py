"""Scoring a pool on a Ray cluster: an actor for each GPU, or core, with the model loaded once, and a shard at a time for each.

Not Ray Data's map_batches, which writes files of its own making: here each shard is whole or not there, and a restart does the missing
ones. An actor does what a process without Ray does: claim, read, decode, score, write. Only counts come back. Its threads decode,
for Pillow works outside Python's lock, and from tasks of their own the pixels would travel through Ray's store.
"""

import os
import pathlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import ray

from selectnet_tf.cli import importing_tensorflow
from selectnet_tf.scale import pools

if TYPE_CHECKING:
    from selectnet_tf.scale import scoring

RETRIES = 5  # of an actor that dies, and of its shard


class Job(NamedTuple):
    """What to score with what: see scoring.Model and scoring.score. Paths that all nodes see."""

    model: pathlib.Path
    names: Callable[[int], list[str]]
    batch: int
    features: bool
    source: pathlib.Path
    out: pathlib.Path
    size: int


@ray.remote
class _Scorer:
    """On a node; Ray has set CUDA_VISIBLE_DEVICES."""

    def __init__(self, job: Job, threads: int) -> None:
        self._job, self._threads = job, threads
        self._loaded: scoring.Model | None = None
        os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"
        os.environ |= dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS"), str(threads))
        with importing_tensorflow():
            import tensorflow  # noqa: F401

    def ready(self) -> None:
        """Loads the model, and says what is wrong with it."""
        self._model()

    def _model(self) -> "scoring.Model":
        from selectnet_tf.scale import scoring

        if not self._loaded:  # nor where Ray has made this actor anew
            self._loaded = scoring.Model(self._job.model, self._job.names, self._job.batch, self._job.features, self._threads)
        return self._loaded

    def score(self, shard: pools.Shard) -> tuple["scoring.Scored", list[str]]:
        """(counts, what is to be said)"""
        from selectnet_tf.scale import scoring

        lines: list[str] = []
        found = scoring.score_shard(self._model(), shard, self._job.out, self._job.size, lines.append, wait=True)
        return found or scoring.Scored(), lines


def score(job: Job, actors: int = 0, cpu: bool = False, say: Callable[[str], object] = print) -> "scoring.Scored":
    """As scoring.score, on the cluster that this process is connected to.

    actors: 0: one a GPU, or a core where there are none. cpu: leave GPUs alone.
    """
    from selectnet_tf.scale import scoring

    job.out.mkdir(parents=True, exist_ok=True)
    start, total = time.perf_counter(), scoring.Scored()
    shards = pools.shards(job.source, job.size)
    following = next(shards, None)
    loading = {actor.ready.remote(): actor for actor in _make(job, actors, cpu)}  # or waiting for a node: it is handed no shard
    idle: list[Any] = []
    busy: dict[Any, Any] = {}
    while following or busy:
        while idle and following:
            actor = idle.pop()
            busy[actor.score.remote(following)] = actor
            following = next(shards, None)
        (ended,), _ = ray.wait([*loading, *busy], num_returns=1)
        found = _get(ended)
        if ended in loading:
            idle.append(loading.pop(ended))
            continue
        idle.append(busy.pop(ended))
        total = total.plus(found[0])
        for line in found[1]:
            say(line)
    scoring.check_surplus(job.out, total.shards)
    return total._replace(seconds=time.perf_counter() - start)


def _make(job: Job, actors: int, cpu: bool) -> list[Any]:
    has = ray.cluster_resources()
    gpus, cpus = 0 if cpu else int(has.get("GPU", 0)), max(1, int(has.get("CPU", 1)))
    threads = _cores_beside_a_gpu(ray.nodes()) if gpus else 1
    options = {"num_cpus": threads, "num_gpus": int(gpus > 0), "max_restarts": RETRIES, "max_task_retries": RETRIES}
    return [_Scorer.options(**options).remote(job, threads) for _ in range(actors or gpus or cpus)]  # type: ignore[attr-defined]


def _cores_beside_a_gpu(nodes: list[dict[str, Any]]) -> int:
    """How many cores every node has for each of its GPUs, at least one: an actor that asks for more is never placed."""
    shares = [n["Resources"].get("CPU", 0) // n["Resources"]["GPU"] for n in nodes if n["Alive"] and n["Resources"].get("GPU")]
    return max(1, int(min(shares, default=1)))


def _get(ref: Any) -> Any:
    """Raises ValueError or OSError where the actor's own work did, or where the actor is lost."""
    try:
        return ray.get(ref)
    except ray.exceptions.RayTaskError as error:
        raise (error.cause if isinstance(error.cause, (ValueError, OSError)) else OSError(f"{error.cause!r}")) from None
    except ray.exceptions.RayError as error:
        raise OSError(f"Ray: {str(error).strip().splitlines()[-1]}") from None
