"""Pools of unlabeled images on disk: a folder of images, or Parquet files with id and image."""

import contextlib
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from selectnet_tf._files import printable
from selectnet_tf.data.folders import listing

COLUMNS = ("image", "img", "pixels", "picture")  # that may hold the images


@contextlib.contextmanager
def opened(path: pathlib.Path, columns: Sequence[str] = (), **options: Any) -> Iterator[Any]:
    """A pq.ParquetFile with these columns

    Pages that have a checksum are verified. Raises ValueError.
    """
    try:
        with pq.ParquetFile(path, page_checksum_verification=True, **options) as file:
            names = file.schema_arrow.names
            if missing := [name for name in columns if name not in names]:
                raise ValueError(
                    f"{printable(path)} has no column {missing[0]}, only {', '.join(names)}: add it"
                )
            yield file
    except (OSError, pa.ArrowException) as error:
        raise ValueError(
            f"{printable(path)} is damaged ({str(error).splitlines()[0]}): replace it"
        ) from None


def parquet(place: pathlib.Path) -> list[pathlib.Path]:
    """Returns a folder's Parquet files, or the file itself. Raises FileNotFoundError."""
    if not place.exists():
        raise FileNotFoundError(f"{printable(place)} is not there: give a folder or a Parquet file")
    return sorted(place.glob("*.parquet")) if place.is_dir() else [place]


def image_column(pool: pathlib.Path) -> str | None:
    """Returns the name of a Parquet pool's image column, None for a folder of images.

    Raises:
        ValueError: a file lacks it, or lacks id; images lie beside Parquet files.
    """
    if not (files := parquet(pool)):
        return None
    names = sorted(path.name for path in pool.iterdir()) if pool.is_dir() else []
    if image := next((name for name in names if name.lower().endswith(listing.SUFFIXES)), None):
        both = f"images ({printable(image)}) and Parquet files ({files[0].name})"
        raise ValueError(f"{printable(pool)} holds {both}: give a folder of one kind")
    with opened(files[0]) as file:
        column = next((name for name in COLUMNS if name in file.schema_arrow.names), COLUMNS[0])
    for path in files:
        with opened(path, ["id", column]):
            pass
    return column


def ids_of(pool: pathlib.Path) -> pa.ChunkedArray:
    """Returns the ids [n] of a pool's images, as text: column id, or the paths below the folder.

    Raises:
        ValueError: there is no image, or an id that is missing, there twice or no text.
    """
    if image_column(pool):
        return unique_ids([read(path, ["id"]) for path in parquet(pool)], pool)
    walk = (
        (place / name).as_posix()
        for _, place, names in listing.walk_folders(pool)
        for name in names
    )
    paths = [path for path in walk if path.lower().endswith(listing.SUFFIXES)]
    try:
        return unique_ids([pa.table({"id": pa.array(paths, pa.string())})], pool)
    except UnicodeEncodeError as error:
        raise ValueError(f"{printable(error.object)} is no UTF-8: rename that file") from None


def read(path: pathlib.Path, columns: list[str] | None = None) -> pa.Table:
    """Returns columns of a Parquet file, or all. Raises ValueError as opened does."""
    with opened(path, columns or ()) as file:
        table = file.read(columns)  # in the file's order
    return table.select(columns) if columns else table


def unique_ids(tables: list[pa.Table], where: pathlib.Path) -> pa.ChunkedArray:
    """Returns the tables' ids as text.

    Raises ValueError: none, one is missing, there twice or no text.
    """
    for kind in {table["id"].type for table in tables}:
        if not (
            pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind)
        ):
            raise ValueError(
                f"{printable(where)}: column id holds {kind}, but needs text or integers"
            )
    chunks = [chunk for table in tables for chunk in table["id"].cast(pa.large_string()).chunks]
    ids = pa.chunked_array(chunks, pa.large_string())
    if ids.null_count or not len(ids):
        raise ValueError(
            f"{printable(where)}: {ids.null_count or 'all'} images lack an id: give each its own"
        )
    counts = ids.value_counts()
    twice = counts.filter(pc.greater(counts.field("counts"), 1)).field("values")
    if len(twice):
        example = f"{len(twice):,} ids are there more than once, e.g. {printable(twice[0].as_py())}"
        raise ValueError(f"{printable(where)}: {example}: give each image an id of its own")
    return ids


def check_known(
    ids: pa.ChunkedArray, known: pa.ChunkedArray, place: pathlib.Path, cure: str
) -> None:
    """Raises ValueError where `known`, the ids in `place`, lacks some of these."""
    alone = ids.filter(pc.invert(pc.is_in(ids, known.combine_chunks())))
    if len(alone):
        lacks = f"lacks {len(alone):,} of the ids, e.g. {printable(alone[0].as_py())}"
        raise ValueError(f"{printable(place)} {lacks}: {cure}")


def content(cell: Any) -> bytes | np.ndarray:
    """Returns a cell of an image column:

    An encoded image, or raw pixels [k] uint8. Raises ValueError.
    """
    if isinstance(cell, pa.StructScalar) and cell.is_valid:  # Hugging Face's {bytes, path}
        cell = cell["bytes"]
    if not cell.is_valid:
        raise ValueError("there is no image")
    if isinstance(cell, pa.FixedSizeBinaryScalar):
        return np.frombuffer(cell.as_py(), np.uint8)
    if not isinstance(cell, pa.ListScalar):
        return bytes(cell.as_py())
    if cell.values.null_count:
        raise ValueError("a pixel is missing")
    return np.asarray(cell.values.cast(pa.uint8()))
