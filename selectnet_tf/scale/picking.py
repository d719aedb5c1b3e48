"""Picks from a pool's scores on disk, by the rules of self-paced selection and Capped, in two passes and without sorting the scores.

The first pass counts, for each minor class, how many images there are of each size of loss; that says which of these sizes is the
last to be picked. The second takes what is surer, and sorts only what is of that size. In memory are the picks and nothing else.
"""

import io
import json
import os
import pathlib
import shutil
import sys
import uuid
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from selectnet_tf.capped import Capped
from selectnet_tf.data import folders
from selectnet_tf.data.decisions import COLUMNS
from selectnet_tf.experiment import runs
from selectnet_tf.files import digest
from selectnet_tf.scale import pools

KEY = b"selectnet_tf"  # of a part's metadata: what it was made of
BITS = 18  # of a loss as float32, which make no difference between sizes: each size is 3% of the loss wide
ROWS = 65536  # at once
LONGEST = 150  # bytes of an image's id in its file's name: file systems allow 255


class Picks(NamedTuple):
    """part, row: [k] where each pick stands in the scores, in their order. label: [k] places in the minor classes.

    probability, loss: [k] float32.
    """

    part: np.ndarray
    row: np.ndarray
    label: np.ndarray
    probability: np.ndarray
    loss: np.ndarray


def parts(scores: pathlib.Path) -> list[pathlib.Path]:
    """The scores' files. Raises ValueError where there are none, or where one is missing between them."""
    found = sorted(scores.glob("part-*.parquet"))
    if [p.name for p in found] != [f"part-{i:06}.parquet" for i in range(len(found))] or not found:
        raise ValueError(f"{scores} does not hold the scores of a whole pool: run python -m selectnet_tf.score to its end")
    return found


def pick(scores: pathlib.Path, minor: Sequence[str], threshold: float = 0.6, cap: float = 0.0, most: int | None = None) -> Picks:
    """What Capped(SelfPaced(threshold), cap, most=most) picks of the pool.

    minor: the minor classes' names. threshold: nats. cap: Capped's alpha. most: picks of a class.

    Raises:
        ValueError: no scores of a whole pool there, or a name that none of their classes has.
    """
    files = parts(scores)
    _check_names(files, minor)
    counts = np.zeros((len(minor), 2 ** (32 - BITS)), np.int64)
    for _, batch in _candidates(files, minor, threshold):
        np.add.at(counts, (batch.label, _sizes(batch.loss)), 1)
    totals = counts.sum(1)
    capped = Capped(lambda scores: scores.candidate, cap, most=most)
    low = max(capped.least, int(totals.min()))
    kept = [capped.kept(int(n), low) for n in totals]
    sums = counts.cumsum(1)
    last = np.array([int(np.searchsorted(of_class, n)) for of_class, n in zip(sums, kept, strict=True)])  # the last size, picked in part
    surer = [int(of_class[size - 1]) if size else 0 for of_class, size in zip(sums, last, strict=True)]
    found: list[Picks] = []
    edge: list[Picks] = []
    for _, batch in _candidates(files, minor, threshold):
        size = _sizes(batch.loss)
        found.append(_at(batch, size < last[batch.label]))
        edge.append(_at(batch, size == last[batch.label]))
    at_edge = _joined(edge)
    for c in range(len(minor)):
        of_class = np.flatnonzero(at_edge.label == c)
        surest = np.argsort(-at_edge.probability[of_class], kind="stable")[: kept[c] - surer[c]]
        found.append(_at(at_edge, of_class[surest]))
    picked = _joined(found)
    return _at(picked, np.lexsort((picked.row, picked.part)))


def _check_names(files: list[pathlib.Path], minor: Sequence[str]) -> None:
    with pq.ParquetFile(files[0]) as file:
        known = next(file.iter_batches(1, columns=["class"]))["class"].dictionary.to_pylist()  # the model's, predicted or not
    if unknown := [name for name in minor if name not in known]:
        some = ", ".join(known[:10]) + (", ..." if len(known) > 10 else "")
        raise ValueError(f"minor class {unknown[0]!r} is none of the {len(known)} classes of these scores: {some}")
    if len(set(minor)) < len(minor):
        raise ValueError(f"a minor class is named twice: {', '.join(minor)}")


def _candidates(files: list[pathlib.Path], minor: Sequence[str], threshold: float) -> Iterator[tuple[int, Picks]]:
    """Batch by batch: what is predicted as a minor class with a loss under the threshold."""
    places = {name: i for i, name in enumerate(minor)}
    for part, path in enumerate(files):
        start = 0
        with pq.ParquetFile(path, pre_buffer=False, page_checksum_verification=True) as file:
            for batch in file.iter_batches(ROWS, columns=["class", "probability", "loss"], use_threads=False):
                classes = batch["class"]
                of_name = np.array([*(places.get(name, -1) for name in classes.dictionary.to_pylist()), -1], np.int32)
                label = of_name[classes.indices.fill_null(-1).to_numpy(zero_copy_only=False)]  # what could not be read is no class
                loss = batch["loss"].fill_null(np.inf).to_numpy(zero_copy_only=False)
                rows = np.flatnonzero((label >= 0) & (loss < threshold))
                probability = batch["probability"].to_numpy(zero_copy_only=False)[rows]
                yield part, Picks(np.full(len(rows), part, np.int32), (start + rows).astype(np.int32), label[rows], probability, loss[rows])
                start += len(batch)


def _sizes(loss: np.ndarray) -> np.ndarray:
    """[n] float32, 0 or more -> [n] whole numbers that grow with it."""
    return (loss + np.float32(0)).view(np.uint32) >> BITS  # -0 becomes 0


def _at(picks: Picks, places: np.ndarray) -> Picks:
    return Picks(*(values[places] for values in picks))


def _joined(some: list[Picks]) -> Picks:
    return Picks(*(np.concatenate(values) for values in zip(*some, strict=True)))


def write(picks: Picks, scores: pathlib.Path, source: pathlib.Path, minor: Sequence[str], out: pathlib.Path) -> None:
    """Copies the picks' images into a folder for each class, with decisions.csv for the next run.

    No other image of the pool is decoded.

    out: a new folder; it is there when all images are in it.

    Raises:
        ValueError: the scores are not of these images, or out is there.
    """
    if out.exists():
        raise ValueError(f"{out} is there already: give --out a new folder")
    beside, lines = out.with_name(f".{out.name}.{uuid.uuid4().hex[:8]}"), [("file", *COLUMNS)]
    try:
        beside.mkdir(parents=True)
        for number, (id, image) in enumerate(_images(picks, scores, source)):
            folder = beside / minor[picks.label[number]]
            folder.mkdir(exist_ok=True)
            place = _put(image, folder, f"{picks.probability[number]:.4f}_{_shortened(id.replace('/', '_').replace(os.sep, '_'))}", number)
            file = place.relative_to(beside).as_posix()
            lines.append((file, digest(place.read_bytes()), "right", folder.name))
        runs.write_csv(beside / "decisions.csv", lines)
        beside.rename(out)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _images(picks: Picks, scores: pathlib.Path, source: pathlib.Path) -> Iterator[tuple[str, Any]]:
    """(id, a path, a picture's bytes or raw pixels) of each pick, in order. Shards without a pick are not read."""
    files = parts(scores)
    made_of = [json.loads(pq.read_schema(path).metadata[KEY]) for path in files]
    starts = np.searchsorted(picks.part, np.arange(len(files) + 1))
    changed = ValueError(f"{scores} are not the scores of {source}, or it has changed: score it again")
    count = 0
    for shard in pools.shards(source, made_of[0]["--shard"]):
        if shard.number >= len(files) or shard.digest != made_of[shard.number]["images"]:
            raise changed
        count += 1
        wanted = picks.row[starts[shard.number] : starts[shard.number + 1]]
        row = 0
        for ids, sources in shard.read(1024) if len(wanted) else ():
            for i in wanted[(wanted >= row) & (wanted < row + len(ids))] - row:
                yield ids[i], sources[i]
            row += len(ids)
    if count < len(files):
        raise changed


def _shortened(name: str) -> str:
    """Its last LONGEST bytes, in whole characters."""
    return os.fsencode(name)[-LONGEST:].decode(sys.getfilesystemencoding(), "ignore")


def _put(image: Any, folder: pathlib.Path, name: str, number: int) -> pathlib.Path:
    """Under a name that no other pick has."""
    suffix = _suffix(image)
    stem = name.removesuffix(suffix)
    place = folder / f"{stem}{suffix}"
    if place.exists():
        place = folder / f"{stem}~{number}{suffix}"
    if isinstance(image, pathlib.Path):
        shutil.copyfile(image, place)
    elif isinstance(image, np.ndarray):
        _picture(image).save(place)
    else:
        place.write_bytes(image)
    return place


def _suffix(image: Any) -> str:
    """The ending by which a run knows the picture as one, whatever Pillow calls what it holds: many phones' JPEGs are MPO."""
    if isinstance(image, pathlib.Path):
        return image.suffix[:16]
    if isinstance(image, np.ndarray):
        return ".png"
    suffix = f".{str(Image.open(io.BytesIO(image)).format).lower()}"
    return suffix if suffix in folders.SUFFIXES else ".jpg"  # Pillow reads it by what it holds


def _picture(pixels: np.ndarray) -> Image.Image:
    """Raw pixels of a square, in three colours or gray."""
    for channels in (3, 1):
        side = round((pixels.size / channels) ** 0.5)
        if side * side * channels == pixels.size:
            return Image.fromarray(pixels.reshape((side, side, 3) if channels == 3 else (side, side)))
    raise ValueError(f"{pixels.size} bytes of pixels are no square")
