"""Scores of a pool by Ray Data: one actor per GPU or core, resumable by id."""

import concurrent.futures
import contextlib
import hashlib
import json
import logging
import os
import pathlib
import re
import socket
import sys
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import ray
import ray.data
from ray.data.checkpoint import CheckpointConfig

from selectnet_tf import _devices
from selectnet_tf._console import importing_tensorflow
from selectnet_tf._files import printable, replacing, write_json
from selectnet_tf._locks import lock
from selectnet_tf.data.folders import decoding
from selectnet_tf.scale import pools

SPARE = 3  # CPUs beside the actors': one reads, one drops what is done, one writes
BLOCK = 16 * 2**20  # bytes of images that go to an actor, and the most that a stop loses of each


class Job(NamedTuple):
    """A model and a pool to score.

    model: a run's model.keras. pool: a folder of images or of Parquet files, or one of these.
    folder: whether it is one of images. batch: images that the model sees at once.
    device: "auto" or "cpu".
    """

    model: pathlib.Path
    pool: pathlib.Path
    folder: bool
    batch: int = 256
    device: str = "auto"


class Scorer:
    """An actor, which loads the model once; batches of ids, or ids and images, become scores."""

    def __init__(self, job: Job, threads: int) -> None:
        _devices.hide_gpus_for_cpu(job.device)
        os.environ |= dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS"), str(threads))
        os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"
        self.job, self.threads = job, concurrent.futures.ThreadPoolExecutor(threads)
        self.model: Any = None  # loaded by the first call, whose errors Ray hands on as they are

    def _load(self) -> None:
        with importing_tensorflow():
            from selectnet_tf.models import safe_load
        model = safe_load.load(self.job.model)
        self.shape = tuple(model.input_shape[1:])
        decoding.check_square(self.shape, self.job.model)
        self.fit, self.levels, cropped = decoding.read_settings(self.job.model)
        if cropped:
            raise ValueError(f"{self.job.model} was trained with --boxes: use selectnet predict")
        self.names = decoding.read_class_names(self.job.model, model.output_shape[-1])
        self.model = model

    def __call__(self, table: pa.Table) -> pa.Table:
        """Returns id, predicted, class, probability, loss and problem."""
        if self.model is None:
            self._load()
        from selectnet_tf.runs import evaluation

        found = list(self.threads.map(self._decode, table["id" if self.job.folder else "image"]))
        bad = np.array([isinstance(one, str) for one in found])
        images = np.zeros((self.job.batch, *self.shape), np.uint8)  # one shape of batch
        for i in np.flatnonzero(~bad):
            images[i] = found[i]
        output = self.model.predict_on_batch(images)[: len(found)]
        probs = evaluation.to_probabilities(output.astype(np.float32))
        predicted = pa.array(probs.argmax(1).astype(np.int32), mask=bad)
        loss = -np.log(np.clip(probs.max(1), 1e-7, 1))  # nats, of the predicted class: eq. (3)
        columns = {
            "id": table["id"],
            "predicted": predicted,
            "class": pa.DictionaryArray.from_arrays(predicted, self.names),
            "probability": pa.array(probs.max(1), mask=bad),
            "loss": pa.array(loss, mask=bad),
            "problem": pa.array([x if isinstance(x, str) else None for x in found], pa.string()),
        }
        return pa.table(columns)

    def _decode(self, cell: Any) -> np.ndarray | str:
        """Returns an image as a run sees it, [H, W, C] uint8, or why there is none."""
        try:
            source = self.job.pool / cell.as_py() if self.job.folder else pools.decode_cell(cell)
            if isinstance(source, np.ndarray):
                return source.reshape(self.shape)
        except Exception as error:  # the cell may hold anything
            return decoding.describe_failure(error)
        return decoding.try_decode(source, self.shape, self.fit, self.levels)


def score(
    job: Job, out: pathlib.Path, shard: int = 4096, address: str | None = None, actors: int = 0
) -> tuple[int, int, int]:
    """Scores each image of a pool that `out` holds no score of.

    Args:
        job: its paths are absolute, and the same on all nodes.
        out: folder of Parquet files; .scores in it says which ids they hold.
        shard: images of a file, at most.
        address: a Ray cluster, "auto" or HOST:PORT; None: Ray runs here for as long as it takes.
        actors: that score at once; 0: one per GPU, or per core where there are none.

    Returns (images scored now, images in the pool, those of them that could not be read).

    Raises:
        ValueError, OSError: the pool, the model, `out` or the cluster don't fit; one line.
    """
    ids, kept = pools.read_ids(job.pool), out / ".scores" / "ids"
    kept.mkdir(parents=True, exist_ok=True)
    with lock(kept.with_name("lock")):
        done, _ = _count_done(out, kept)
        digest = hashlib.sha256(job.model.read_bytes()).hexdigest()
        made_of = {"model": digest, "images": os.fsdecode(job.pool)}
        before = json.loads(kept.with_name("made_of.json").read_text()) if done else made_of
        if other := [key for key in made_of if made_of[key] != before[key]]:
            raise ValueError(
                f"{printable(out)} holds the scores of other --{other[0]}: give a new --out"
            )
        write_json(kept.with_name("made_of.json"), made_of)
        if done < len(ids):
            _run(job, ids, out, shard, address, actors)
        there, unreadable = _count_done(out, kept)
    if there < len(ids):
        raise OSError(f"{printable(out)} lacks {len(ids) - there:,} scores: run the command again")
    return there - done, there, unreadable


def _count_done(out: pathlib.Path, kept: pathlib.Path) -> tuple[int, int]:
    """Returns (ids with a score, unreadable images); forgets files that are damaged or gone.

    Forgets also the later of two files with an id: a process that was killed may leave actors,
    which write for some seconds while the next one has begun.
    """
    files = {path.name.rpartition("-")[0]: path for path in sorted(out.glob("*.parquet"))}
    known = {path.name.split(".")[0]: path for path in sorted(kept.glob("*.parquet"))}
    if strange := sorted(files.keys() - known.keys()):
        raise ValueError(
            f"{printable(files[strange[0]])} was not written by selectnet score: move it, or give a"
            " new --out"
        )
    seen, unreadable = pd.Index([]), 0
    for name, path in known.items():
        if ".pending." in path.name:  # Ray itself forgets these
            continue
        with contextlib.suppress(KeyError, ValueError):
            table = pa.Table.from_batches(pools.read(files[name], ["id", "problem"]))
            ids = pd.Index(table["id"])
            if len(ids) == pq.read_metadata(path).num_rows and not ids.isin(seen).any():
                seen = seen.append(ids)
                unreadable += len(table) - table["problem"].null_count
                continue
        path.unlink()
        files.get(name, path).unlink(missing_ok=True)
    return len(seen), unreadable


def _run(
    job: Job, ids: pa.Array, out: pathlib.Path, shard: int, address: str | None, actors: int
) -> None:
    """Scores the ids that out/.scores/ids lacks. Raises OSError with an actor's or task's error."""
    files = pools.list_files(job.pool)
    if job.folder:
        files = [out / ".scores" / "pool.parquet"]
        with replacing(files[0]) as beside:
            pq.write_table(pa.table({"id": ids.cast(pa.string())}), beside)
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    try:
        actors, threads, gpus = _start(address, actors, job.device)
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = sys.stderr.isatty()
        context.target_max_block_size = BLOCK
        context.use_datasource_v2 = False  # it drops fragment_scan_options, and so the checksums
        context.checkpoint_config = CheckpointConfig(
            "id",
            str(out / ".scores" / "ids"),
            delete_checkpoint_on_success=False,
            override_filesystem=pools.DISK,
        )
        context.checkpoint_config.checkpoint_actor_pool_max_size = 1
        context.checkpoint_config.checkpoint_actor_memory_bytes = 2**27
        rows = ray.data.read_parquet(
            [str(path) for path in files],
            columns=["id"] if job.folder else ["id", "image"],
            filesystem=pools.DISK,
            partitioning=None,
            override_num_blocks=-(-len(ids) // shard),
            fragment_scan_options=pools.VERIFIED,
        )
        scores = rows.map_batches(
            Scorer,
            fn_constructor_args=(job, threads),
            batch_size=job.batch,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=actors),
            num_cpus=1,
            num_gpus=gpus,
        )
        scores.write_parquet(
            str(out), filesystem=pools.DISK, compression="zstd", write_page_checksum=True
        )
    except (ray.exceptions.RayError, RuntimeError) as error:
        said = re.findall(r"^[\w.]*(?:Error|Invalid): (.+)$", str(error), re.M) or [repr(error)]
        raise OSError(f"while scoring {printable(job.pool)}: {said[-1]}") from None
    finally:
        ray.shutdown()


def _start(address: str | None, actors: int, device: str) -> tuple[int, int, int]:
    """Connects to a Ray cluster, or starts one here. Returns (actors, threads and GPUs of each)."""
    if address and address != "auto":
        try:
            host, _, port = address.rpartition(":")
            socket.create_connection((host, int(port)), 5).close()
        except (OSError, ValueError) as error:  # Ray itself would wait
            raise ConnectionError(
                f"no Ray at --ray={address} ({error}): ray start --head"
            ) from None
    cpus = max(_devices.count_cores(), actors) + SPARE  # logical ones
    here = {"num_cpus": cpus, "object_store_memory": 4 * BLOCK * cpus, "include_dashboard": False}
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        with importing_tensorflow():  # which the actors do; Ray is as quiet
            ray.init(address or "local", **quiet, **({} if address else here))
    except Exception as error:  # Ray raises bare ones
        cure = "run `ray start --head`, or leave out --ray" if address else "run the command again"
        raise OSError(f"Ray did not start: {error}: {cure}") from None
    has = ray.cluster_resources()
    gpus = 0 if device == "cpu" else int(has.get("GPU", 0))
    cpus = int(has.get("CPU", 0)) - SPARE
    actors = actors or gpus or max(1, cpus)
    if not 0 < actors <= min(cpus, gpus or cpus):
        wants = f"{actors} actors need {actors + SPARE} CPUs{' and a GPU each' if gpus else ''}"
        raise ValueError(
            f"{wants}, but Ray has {cpus + SPARE} and {gpus} GPUs: give fewer --actors"
        )
    return actors, cpus // actors, int(gpus > 0)
