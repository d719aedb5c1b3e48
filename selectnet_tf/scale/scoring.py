"""A model's scores of a pool, shard by shard, as Parquet files that are whole or not there.

Any number of processes, on any number of machines with a common storage, share the shards of one pool by claims.
"""

import concurrent.futures
import hashlib
import json
import pathlib
import re
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from selectnet_tf import saved
from selectnet_tf.data import decoding
from selectnet_tf.devices import cores
from selectnet_tf.experiment import claims, metrics
from selectnet_tf.files import replacing
from selectnet_tf.scale import pools
from selectnet_tf.scoring import with_features

KEY = b"selectnet_tf"  # of a shard's metadata: what it was made of
GROUP = 8192  # rows at once in a shard's file
VERSION = 1


class Scored(NamedTuple):
    """What `score` did. shards: in all. done: that it found done. images, unreadable: that it scored, and that it could not."""

    shards: int = 0
    done: int = 0
    images: int = 0
    unreadable: int = 0
    seconds: float = 0.0

    def plus(self, other: "Scored") -> "Scored":
        return Scored(*(a + b for a, b in zip(self, other, strict=True)))  # type: ignore[arg-type]


class Model:
    """A run's model, loaded once, for batches of one shape: the last one is filled up, and cut off again.

    Args:
        path: the model.keras of a run that classifies square pictures; looked through before Keras reads it.
        names: of its classes; numbers where there are none.
        batch: images at once.
        features: also give the input of the last layer that has weights, as float16.
        threads: that decode the next batch meanwhile.
    """

    def __init__(
        self, path: pathlib.Path, names: Callable[[int], list[str]], batch: int = 256, features: bool = False, threads: int | None = None
    ) -> None:  # fmt: skip
        model = saved.load(path)
        shape = tuple(model.input_shape[1:])
        if len(shape) != 3 or not shape[0] or shape[0] != shape[1] or shape[2] not in (1, 3):
            raise ValueError(f"{path} takes inputs of {list(shape)}, not square pictures: predict classifies the rows of tables")
        self.shape, self.batch, self.features, self.threads = shape, batch, features, threads or cores()
        self.fit = decoding.fit_of(path)
        self.names = names(model.output_shape[-1])
        self.digest = hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()
        self._model = with_features(model) if features else model
        self.width = self._model.outputs[1].shape[1] if features else 0

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """images [k, H, W, C] uint8, k at most the batch -> (probabilities [k, m], features [k, d] float16 or None)."""
        k = len(images)
        full = np.concatenate([images, np.repeat(images[-1:], self.batch - k, 0)]) if k < self.batch else images
        found = self._model.predict_on_batch(full)
        output, features = found if self.features else (found, None)
        return metrics.probabilities(output[:k].astype(np.float32)), None if features is None else _halves(features[:k])

    @property
    def schema(self) -> pa.Schema:
        """Of a shard's file. What could not be read has an id and a problem, and nothing else."""
        fields = [("id", pa.string()), ("predicted", pa.int32()), ("class", pa.dictionary(pa.int32(), pa.string()))]
        fields += [("probability", pa.float32()), ("loss", pa.float32()), ("problem", pa.string())]
        if self.features:
            fields.append(("features", pa.list_(pa.float16(), self.width)))
        return pa.schema(fields)


def _halves(features: np.ndarray) -> np.ndarray:
    """float16: values beyond its range become its largest."""
    most = np.finfo(np.float16).max
    return np.asarray(np.clip(features, -most, most), np.float16)


def score(model: Model, source: pathlib.Path, out: pathlib.Path, size: int = 65536, say: Callable[[str], object] = print) -> Scored:
    """Scores every image of `source` that no file below `out` holds a score of.

    Args:
        source: see pools.shards. size: images in a shard.
        out: folder of part-000000.parquet and so on.
        say: is called with a line for each shard.

    Raises:
        ValueError: what stands in `out` is of another model or other images.
    """
    out.mkdir(parents=True, exist_ok=True)
    start, total, others = time.perf_counter(), Scored(), []
    for shard in pools.shards(source, size):
        if (found := score_shard(model, shard, out, size, say)) is None:
            others.append(shard)
        else:
            total = total.plus(found)
    for shard in others:
        total = total.plus(score_shard(model, shard, out, size, say, wait=True) or Scored())
    check_surplus(out, total.shards)
    return total._replace(seconds=time.perf_counter() - start)


def score_shard(
    model: Model, shard: pools.Shard, out: pathlib.Path, size: int, say: Callable[[str], object], wait: bool = False
) -> Scored | None:
    """Scores one shard, unless its file is there; None where another process is at it (and `wait` is false)."""
    path, made_of = out / f"part-{shard.number:06}.parquet", _made_of(model, shard, size)
    if is_done(path, made_of, say):
        return Scored(1, 1)
    try:
        with claims.hold(out / f".{path.stem}.claim", wait):
            if path.exists() and is_done(path, made_of, say):  # by another process, meanwhile
                return Scored(1, 1)
            begun = time.perf_counter()
            rows, bad = _write(model, shard, path, made_of)
    except BlockingIOError:
        return None
    say(f"{path.name}: {rows:,} images, {rows / (time.perf_counter() - begun):,.0f} a second" + (f", {bad:,} unreadable" if bad else ""))
    return Scored(1, 0, rows, bad)


def check_surplus(out: pathlib.Path, count: int) -> None:
    """Raises ValueError where there is a file of a shard that a pool of so many shards does not have."""
    surplus = sorted(p.name for p in out.glob("part-*.parquet") if int(p.stem.removeprefix("part-")) >= count)
    if surplus:
        raise ValueError(f"{out} holds more than these images, e.g. {surplus[0]}: delete it, or give a new --out")


def _made_of(model: Model, shard: pools.Shard, size: int) -> dict[str, Any]:
    return {"version": VERSION, "model": model.digest, "--shard": size, "--features": model.features, "images": shard.digest}


def is_done(path: pathlib.Path, made_of: dict[str, Any], say: Callable[[str], object] = print) -> bool:
    """Whether a shard's file is there and undamaged: each page is read against its checksum.

    Raises:
        ValueError: it is whole, but of another model or other images.
    """
    if not path.exists():
        return False
    try:
        with pq.ParquetFile(path, pre_buffer=False, page_checksum_verification=True) as file:
            found = json.loads((file.schema_arrow.metadata or {})[KEY])
            rows = sum(len(batch) for batch in file.iter_batches(GROUP, use_threads=False))
            if rows != file.metadata.num_rows:
                raise OSError("rows are missing")
    except (OSError, ValueError, KeyError) as error:
        say(f"{path.name} is damaged ({str(error).strip().splitlines()[0][:80]}): scored again")
        return False
    if other := [key for key, value in made_of.items() if found.get(key) != value]:
        raise ValueError(f"{path} was made with another {other[0]}: give the same, or a new --out")
    return True


def _write(model: Model, shard: pools.Shard, path: pathlib.Path, made_of: dict[str, Any]) -> tuple[int, int]:
    """Scores a shard into its file. Returns (images, how many of them could not be read)."""
    for left in path.parent.glob(f".{path.stem}.*.parquet"):  # by a process that was killed
        left.unlink(missing_ok=True)
    schema = model.schema.with_metadata({KEY: json.dumps(made_of).encode()})
    rows = bad = 0
    kept: list[pa.RecordBatch] = []
    with replacing(path) as beside, pq.ParquetWriter(beside, schema, compression="zstd", write_page_checksum=True) as writer:
        for batch in _batches(model, shard, schema):
            kept.append(batch)
            rows, bad = rows + len(batch), bad + len(batch) - batch["problem"].null_count
            if sum(map(len, kept)) >= GROUP:
                writer.write_table(pa.Table.from_batches(kept, schema))
                kept = []
        writer.write_table(pa.Table.from_batches(kept, schema))
    return rows, bad


def _batches(model: Model, shard: pools.Shard, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The shard's scores, batch by batch; the next batch is read and decoded while the model is at one."""
    with concurrent.futures.ThreadPoolExecutor(model.threads) as threads:
        rows = shard.read(model.batch)
        following = _begin(threads, rows, model)
        while following is not None:
            ids, waiting = following
            decoded = [one.result() for one in waiting]
            following = _begin(threads, rows, model)
            yield _record(model, ids, decoded, schema)


def _begin(
    threads: concurrent.futures.Executor, rows: Iterator[pools.Rows], model: Model
) -> tuple[list[str], list[concurrent.futures.Future[np.ndarray | str]]] | None:
    found = next(rows, None)
    return found and (found[0], [threads.submit(_attempt, source, model) for source in found[1]])


def _attempt(source: Any, model: Model) -> np.ndarray | str:
    """The pixels, or why there are none."""
    try:
        return pools.decode(source, model.shape, model.fit)
    except Exception as error:  # Pillow's plugins raise whatever a damaged file makes them
        text = re.sub(r" ?<_io\.\w+ object at \w+>", "", str(error).partition("\n")[0])  # the same at each try
        return text or type(error).__name__


def _record(model: Model, ids: list[str], decoded: list[np.ndarray | str], schema: pa.Schema) -> pa.RecordBatch:
    good = np.array([not isinstance(one, str) for one in decoded])
    problems = [one if isinstance(one, str) else None for one in decoded]
    predicted, probability, loss = np.zeros(len(ids), np.int32), np.zeros(len(ids), np.float32), np.zeros(len(ids), np.float32)
    features = np.zeros((len(ids), model.width), np.float16)
    if good.any():
        probs, found = model(np.stack([one for one in decoded if not isinstance(one, str)]))
        predicted[good], probability[good] = probs.argmax(1), probs.max(1)
        loss[good] = -np.log(np.clip(probs.max(1), 1e-7, 1))  # nats, of the predicted class: eq. (3)
        if found is not None:
            features[good] = found
    classes = pa.DictionaryArray.from_arrays(pa.array(predicted, mask=~good), model.names)
    columns = [pa.array(ids), pa.array(predicted, mask=~good), classes, pa.array(probability, mask=~good), pa.array(loss, mask=~good)]
    columns.append(pa.array(problems, pa.string()))
    if model.features:
        flat = pa.FixedSizeListArray.from_arrays(pa.array(features.ravel()), model.width)
        columns.append(flat if good.all() else flat.take(pa.array(np.arange(len(ids)), mask=~good)))
    return pa.RecordBatch.from_arrays(columns, schema=schema)
