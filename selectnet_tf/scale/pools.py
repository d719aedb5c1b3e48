"""Pools that fit no memory, as shards that are read as streams: folders of pictures, and Parquet files.

A shard is the unit of work. The same pool always falls into the same shards, and each has a digest of what it holds.
"""

import contextlib
import hashlib
import itertools
import json
import os
import pathlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from selectnet_tf.data import decoding, folders

IMAGE_COLUMNS = ("image", "img", "pixels", "picture")
Rows = tuple[list[str], list[Any]]  # (ids, for each a path, the bytes of a picture, or its raw pixels as an array)


class Shard(NamedTuple):
    """A part of a pool. digest: of what it holds. read: (rows at once) -> its Rows, batch by batch."""

    number: int
    digest: str
    read: Callable[[int], Iterator[Rows]]


def shards(source: pathlib.Path, size: int) -> Iterator[Shard]:
    """The shards of a folder of pictures, a Parquet file, or a folder of Parquet files; about `size` images each.

    Raises:
        FileNotFoundError: nothing there. ValueError: neither pictures nor Parquet files, or both, or files of other columns.
    """
    if not source.exists():
        raise FileNotFoundError(f"{source} is not there: give a folder of pictures, a Parquet file, or a folder of Parquet files")
    files = sorted(source.glob("*.parquet")) if source.is_dir() else [source]
    beside = sorted(source.iterdir()) if files and source.is_dir() else []
    picture = next((path.name for path in beside if path.name.lower().endswith(folders.SUFFIXES)), None)
    if picture:
        raise ValueError(f"{source} holds pictures ({picture}) and Parquet files ({files[0].name}): give a folder of one kind")
    found = _of_parquet(files, size) if files else _of_pictures(source, size)
    first = next(found, None)
    if first is None:
        raise ValueError(f"{source} holds no image: give a folder of pictures, a Parquet file, or a folder of Parquet files")
    yield first
    yield from found


def decode(source: Any, shape: tuple[int, ...], fit: str = "stretch") -> np.ndarray:
    """A path, the bytes of a picture, or raw pixels -> [H, W, C] uint8. Raises whatever a damaged file makes Pillow raise.

    fit: how a picture becomes a square, see decoding.decode.
    """
    if source is None:
        raise ValueError("there is no image")
    if isinstance(source, np.ndarray):
        if source.size != np.prod(shape):
            raise ValueError(f"{source.size} bytes of pixels, but the model takes {' x '.join(map(str, shape))}")
        return source.reshape(shape)
    pixels = decoding.decode(source, shape[0], fit)
    return np.asarray(pixels if shape[2] == 3 else pixels.mean(-1, keepdims=True), np.uint8)


def _of_pictures(root: pathlib.Path, size: int) -> Iterator[Shard]:
    number, ids = 0, []
    for file in _walk(root):
        ids.append(file)
        if len(ids) == size:
            yield _pictures(root, number, ids)
            number, ids = number + 1, []
    if ids:
        yield _pictures(root, number, ids)


def _pictures(root: pathlib.Path, number: int, ids: list[str]) -> Shard:
    def read(at_once: int) -> Iterator[Rows]:
        for start in range(0, len(ids), at_once):
            some = ids[start : start + at_once]
            yield some, [root / file for file in some]

    return Shard(number, hashlib.sha256("\0".join(ids).encode("utf-8", "surrogateescape")).hexdigest(), read)


def _walk(root: pathlib.Path) -> Iterator[str]:
    """What folders.survey lists, but folder by folder: never more than one folder's names in memory."""
    for _, place, names in folders.walk(root):
        yield from ((place / name).as_posix() for name in sorted(names) if name.lower().endswith(folders.SUFFIXES))


def _of_parquet(files: list[pathlib.Path], size: int) -> Iterator[Shard]:
    """Row groups of one file, until there are `size` rows of them; a larger row group is a shard."""
    numbers = itertools.count()
    for path in files:
        with _reading(path) as file:
            column, footer = _image_column(file.schema_arrow), _footer(path, file.metadata.serialized_size)
            sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
        groups: list[int] = []
        start = count = 0
        for group, following in itertools.zip_longest(range(len(sizes)), sizes[1:]):
            groups.append(group)
            count += sizes[group]
            if count and (following is None or count + following > size):
                yield _row_groups(path, next(numbers), groups, start, column, footer)
                groups, start, count = [], start + count, 0


@contextlib.contextmanager
def _reading(path: pathlib.Path) -> Iterator[Any]:
    """A Parquet file; what is wrong with it is one line with its name."""
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, pre_buffer=False, buffer_size=2**20) as file:  # as a stream: no row group is in memory as a whole
            yield file
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} can't be read as Parquet ({str(error).splitlines()[0]}): give pictures, or whole Parquet files") from None


def _footer(path: pathlib.Path, size: int) -> bytes:
    """What says where in a Parquet file which values lie, and their ranges: another one's differs."""
    with open(path, "rb") as file:
        file.seek(-size - 8, os.SEEK_END)
        return file.read()


def _image_column(schema: Any) -> str:
    column = next((name for name in IMAGE_COLUMNS if name in schema.names), None)
    if column is None:
        raise ValueError(f"no column {' or '.join(IMAGE_COLUMNS)}, only {', '.join(schema.names)}")
    _check_type(column, schema.field(column).type)
    return column


def _check_type(column: str, kind: Any) -> None:
    """Raises ValueError where it holds neither pictures' bytes nor pixels."""
    import pyarrow as pa

    if pa.types.is_struct(kind):
        kind = kind.field("bytes").type if kind.get_field_index("bytes") >= 0 else kind
    pixels = _is_list(kind) and pa.types.is_integer(kind.value_type)
    if not (pixels or pa.types.is_fixed_size_binary(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
        raise ValueError(f"its column {column} holds {kind}, neither pictures' bytes nor pixels from 0 to 255")


def _is_list(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _row_groups(path: pathlib.Path, number: int, groups: list[int], start: int, column: str, footer: bytes) -> Shard:
    def read(at_once: int) -> Iterator[Rows]:
        with _reading(path) as file:
            columns = [column, *(["id"] if "id" in file.schema_arrow.names else [])]
            row = start
            for batch in file.iter_batches(at_once, row_groups=groups, columns=columns, use_threads=False):
                own = batch["id"].to_pylist() if "id" in columns else [None] * len(batch)
                yield [f"{path.name}:{i}" if one is None else str(one) for i, one in enumerate(own, row)], _images(batch[column])
                row += len(batch)

    facts = json.dumps([path.name, groups]).encode()
    return Shard(number, hashlib.sha256(facts + footer).hexdigest(), read)


def _images(column: Any) -> list[Any]:
    """A column of Parquet as pictures' bytes (also as Hugging Face's {bytes, path} holds them), or arrays of raw pixels."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_struct(kind):
        column = column.field("bytes")
    if pa.types.is_fixed_size_binary(kind):
        return [np.frombuffer(value, np.uint8) if value is not None else None for value in column.to_pylist()]
    if _is_list(kind):
        pixels = [value.values.cast(pa.uint8()) if value.is_valid else None for value in column]  # ValueError beyond 0 to 255
        return [None if one is None or one.null_count else one.to_numpy() for one in pixels]
    return list(column.to_pylist())
