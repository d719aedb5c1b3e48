"""Pools of unlabeled images on disk: a folder of images, or Parquet files with id and image."""

import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pds

from selectnet_tf._files import printable
from selectnet_tf.data.folders import listing

DISK = pa.fs.LocalFileSystem()  # a path may look like an address
VERIFIED = pds.ParquetFragmentScanOptions(page_checksum_verification=True, pre_buffer=False)


def list_files(place: pathlib.Path) -> list[pathlib.Path]:
    """Returns the Parquet files of a folder, or the file itself. Raises FileNotFoundError."""
    if not place.exists():
        raise FileNotFoundError(f"{printable(place)} is not there: give a folder or a Parquet file")
    return sorted(place.glob("*.parquet")) if place.is_dir() else [place]


def read(
    path: pathlib.Path, columns: list[str], only: Any = None, needs: str = "id"
) -> Iterator[pa.RecordBatch]:
    """Yields columns of a Parquet file, in the rows where the expression `only` holds.

    Raises:
        ValueError: one of them, or column `needs`, is missing; the file or a page is damaged.
    """
    form = pds.ParquetFileFormat(default_fragment_scan_options=VERIFIED)
    try:
        file = pds.dataset(str(path), format=form, filesystem=DISK)
        names = file.schema.names
        if missing := [name for name in (*columns, needs) if name not in names]:
            raise ValueError(
                f"{printable(path)} has no column {missing[0]}, only {', '.join(names)}: add it"
            )
        yield from file.to_batches(columns=columns, filter=only, batch_size=1024, batch_readahead=1)
    except (OSError, pa.ArrowException) as error:
        cause = str(error).splitlines()[0]
        raise ValueError(f"{printable(path)} is damaged ({cause}): replace it") from None


def is_folder_of_images(pool: pathlib.Path) -> bool:
    """Returns whether a pool has no Parquet files. Raises ValueError where it has images, too."""
    files = list_files(pool)
    names = sorted(path.name for path in pool.iterdir()) if pool.is_dir() and files else []
    if image := next((name for name in names if name.lower().endswith(listing.SUFFIXES)), None):
        both = f"images ({printable(image)}) and Parquet files ({files[0].name})"
        raise ValueError(f"{printable(pool)} holds {both}: give a folder of one kind")
    return not files


def read_ids(pool: pathlib.Path) -> pa.Array:
    """Returns the ids [n] of a pool's images, as text: column id, or the paths below the folder.

    Raises:
        ValueError: there is no image, or an id that is missing, there twice or no text.
    """
    if not is_folder_of_images(pool):
        files = list_files(pool)
        return check_ids(
            [b["id"] for path in files for b in read(path, ["id"], needs="image")], pool
        )
    walk = (
        (place / name).as_posix()
        for _, place, names in listing.walk_folders(pool)
        for name in names
    )
    try:
        paths = [path for path in walk if path.lower().endswith(listing.SUFFIXES)]
        return check_ids([pa.array(paths, pa.string())], pool)
    except UnicodeEncodeError as error:
        raise ValueError(f"{printable(error.object)} is no UTF-8: rename that file") from None


def check_ids(ids: list[pa.Array], where: pathlib.Path) -> pa.Array:
    """Returns ids as one array of text.

    Raises:
        ValueError: there is none, or one is missing, there twice, or neither text nor an integer.
    """
    for kind in {some.type for some in ids}:
        if not (pa.types.is_integer(kind) or kind in (pa.string(), pa.large_string())):
            raise ValueError(
                f"{printable(where)}: column id holds {kind}, but needs text or integers"
            )
    texts = [some.cast(pa.large_string()) for some in ids]
    found = pa.chunked_array(texts, pa.large_string()).combine_chunks()
    if not len(found):
        raise ValueError(f"{printable(where)} holds neither images nor *.parquet files with rows")
    if found.null_count:
        raise ValueError(
            f"{printable(where)}: {found.null_count} images lack an id: give each its own"
        )
    counts = found.value_counts()
    twice = counts.filter(pc.greater(counts.field("counts"), 1)).field("values")
    if len(twice):
        example = f"{len(twice):,} ids are there more than once, e.g. {printable(twice[0].as_py())}"
        raise ValueError(f"{printable(where)}: {example}: give each image an id of its own")
    return found


def decode_cell(cell: Any) -> bytes | np.ndarray:
    """Returns a cell of column image: an encoded image, or raw pixels [k] uint8 of fixed size.

    Raises:
        ValueError: it is empty.
    """
    if isinstance(cell, pa.StructScalar) and cell.is_valid:  # Hugging Face's {bytes, path}
        cell = cell["bytes"]
    if not cell.is_valid:
        raise ValueError("there is no image")
    content = bytes(cell.as_py())
    raw = isinstance(cell, pa.FixedSizeBinaryScalar)
    return np.frombuffer(content, np.uint8) if raw else content
