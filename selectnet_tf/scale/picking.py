"""Picks of a rule from a pool's scores, by id, and their images as folders for the next run."""

import io
import pathlib
import shutil
import uuid
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from selectnet_tf._csv_files import write_csv
from selectnet_tf._files import digest, printable
from selectnet_tf.data.folders import listing
from selectnet_tf.data.folders.decisions import COLUMNS
from selectnet_tf.rules import Rule, Scores, apply_rule
from selectnet_tf.scale import pools

LONGEST = 150  # bytes of an image's id in its file's name: file systems allow 255
KINDS = {"id": pa.large_string(), "class": pa.string(), "loss": pa.float32()}


class Picks(NamedTuple):
    """ids: of k images, sorted. label: [k] places in the minor classes. loss: [k] float32, nats."""

    ids: list[str]
    label: np.ndarray
    loss: np.ndarray


def pick(scores: pathlib.Path, pool: pathlib.Path, minor: Sequence[str], rule: Rule) -> Picks:
    """Returns what a rule picks of a scored pool; the order of scores and images does not count.

    Args:
        scores: the folder that score wrote, or a Parquet file.
        pool: the images that were scored.
        minor: names of the minor classes; a rule sees what is predicted as one of them.
        rule: its Scores are in the order of ids, and their probs hold the predicted class's alone.

    Raises:
        ValueError: ids that are not unique, or not the pool's; a minor class that is none; a file
            that is damaged, or lacks a column. One line.
    """
    batches = [b for path in pools.list_files(scores) for b in pools.read(path, list(KINDS))]
    ids, known = pools.check_ids([b["id"] for b in batches], scores), pools.read_ids(pool)
    _check_known(ids, known, pool, "give --images the pool that was scored")
    _check_known(known, ids, scores, "run python -m selectnet_tf score to its end")
    _check_names(minor, set().union(*(_list_classes(b["class"]) for b in batches)))
    table = pa.Table.from_batches([b.cast(pa.schema(KINDS)) for b in batches])
    table = table.filter(pc.is_in(table["class"], pa.array(minor))).sort_by("id")
    label = pc.index_in(table["class"], pa.array(minor)).to_numpy()
    loss, k = table["loss"].to_numpy(), len(table)
    probs = np.zeros((k, len(minor)), np.float32)
    probs[np.arange(k), label] = np.exp(-loss)
    found = Scores(probs, loss, np.zeros(k, bool), np.ones(k, bool))
    places = np.flatnonzero(apply_rule(rule(found), found))
    return Picks(table["id"].take(places).to_pylist(), label[places], loss[places])


def _check_known(ids: pa.Array, known: pa.Array, place: pathlib.Path, cure: str) -> None:
    """Raises ValueError where `known`, the ids in `place`, lacks some of these."""
    alone = ids.filter(pc.invert(pc.is_in(ids, known)))
    if len(alone):
        lacks = f"lacks {len(alone):,} of the ids, e.g. {printable(alone[0].as_py())}"
        raise ValueError(f"{printable(place)} {lacks}: {cure}")


def _list_classes(column: pa.Array) -> set[str]:
    """Returns the names of a model's classes; of a column saved as text, of those predicted."""
    names = column.dictionary if pa.types.is_dictionary(column.type) else column.unique()
    return set(names.to_pylist()) - {None}


def _check_names(minor: Sequence[str], known: set[str]) -> None:
    """Raises ValueError where one is no class, is there twice, or would lie outside of a folder."""
    for name in minor:
        if name not in known:
            some = ", ".join(sorted(known)[:10])
            raise ValueError(f"--minor={name} is none of the {len(known)} classes: {some}")
        if not name or pathlib.PurePath(name).name != name or name[0] == "." or "\0" in name:
            raise ValueError(
                f"--minor={name} can't be a folder's name: rename the class in the model"
            )
    if len(set(minor)) < len(minor):
        raise ValueError(f"--minor={','.join(minor)} has a class twice: give each once")


def write(found: Picks, pool: pathlib.Path, minor: Sequence[str], out: pathlib.Path) -> None:
    """Copies the picks' images into a folder per class, with decisions.csv; all of it or nothing.

    Raises:
        ValueError: `out` is there, or an image can't be read.
    """
    if out.exists():
        raise ValueError(f"{printable(out)} is there already: give --out a new folder")
    beside = out.with_name(f".{out.name}.{uuid.uuid4().hex[:8]}")
    places, lines = {id: i for i, id in enumerate(found.ids)}, [("file", *COLUMNS)]
    try:
        beside.mkdir(parents=True)
        for id, image in _read_images(found.ids, pool):
            i = places[id]
            folder = beside / minor[found.label[i]]
            folder.mkdir(exist_ok=True)
            name = id.replace("/", "_").encode()[-LONGEST:].decode("utf-8", "ignore")
            suffix = "" if id.lower().endswith(listing.SUFFIXES) else _suffix(image)
            path = folder / f"{np.exp(-found.loss[i]):.4f}_{name}{suffix}"
            path = path.with_name(f"{path.stem}~{i}{path.suffix}") if path.exists() else path
            path.write_bytes(image)
            lines.append((path.relative_to(beside).as_posix(), digest(image), "right", folder.name))
        write_csv(beside / "decisions.csv", lines)
        beside.rename(out)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _read_images(ids: list[str], pool: pathlib.Path) -> Iterator[tuple[str, bytes]]:
    """Yields (id, an image's file), in the pool's order."""
    if pools.is_folder_of_images(pool):
        yield from ((id, (pool / id).read_bytes()) for id in ids)
        return
    wanted = pc.field("id").cast(pa.large_string()).isin(pa.array(ids, pa.large_string()))
    for path in pools.list_files(pool):
        for batch in pools.read(path, ["id", "image"], wanted):
            for id, cell in zip(batch["id"], batch["image"], strict=True):
                image = pools.decode_cell(cell)
                yield str(id.as_py()), image if isinstance(image, bytes) else _to_png(image)


def _suffix(image: bytes) -> str:
    """Returns the suffix of an image's file, by which a run takes it for one."""
    suffix = f".{str(Image.open(io.BytesIO(image)).format).lower()}"  # many phones' JPEGs are MPO
    return suffix if suffix in listing.SUFFIXES else ".jpg"


def _to_png(pixels: np.ndarray) -> bytes:
    """Returns raw pixels of a square, in three colours or gray, as a PNG file."""
    side = round(pixels.size**0.5)
    gray = side * side == pixels.size
    side = side if gray else round((pixels.size / 3) ** 0.5)
    file = io.BytesIO()
    Image.fromarray(pixels.reshape((side, side) if gray else (side, side, 3))).save(file, "PNG")
    return file.getvalue()
