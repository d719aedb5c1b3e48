"""Pools: ids that name each image once, and images of every kind of column."""

import io
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from selectnet_tf.data.folders import listing
from selectnet_tf.scale import pools


def put(path, **columns):
    pq.write_table(pa.table(columns), path)
    return path


def png(red):
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (red, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_folder_s_ids_are_the_paths_of_its_images(tree):
    (tree / "pool" / "0" / "back").symlink_to(tree / "pool")  # followed once
    ids = pools.read_ids(tree / "pool").to_pylist()
    assert sorted(ids) == listing.list_images(tree / "pool").files and len(set(ids)) == 31
    assert pools.is_folder_of_images(tree / "pool")


@pytest.mark.parametrize("ids", [["b", "a", "c"], [3, 1, 2]])
def test_parquet_ids_are_the_column_id_as_text(ids, tmp_path):
    put(tmp_path / "1.parquet", id=ids[:2], image=[b"", b""])
    put(tmp_path / "2.parquet", id=ids[2:], image=[b""])
    assert pools.read_ids(tmp_path).to_pylist() == [str(i) for i in ids]
    assert not pools.is_folder_of_images(tmp_path)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (
            {"id": ["a", "b", "a", "b", "a"]},
            "2 ids are there more than once, e.g. a: give each image an id",
        ),
        ({"id": ["a", None]}, "1 images lack an id"),
        ({"id": [0.5, 1.5]}, "column id holds double, but needs text or integers"),
        ({"name": ["a"]}, "pool.parquet has no column id, only name, image"),
    ],
)
def test_ids_that_do_not_name_one_image_are_refused(columns, words, tmp_path):
    (values,) = columns.values()
    with pytest.raises(ValueError, match=words):
        pools.read_ids(put(tmp_path / "pool.parquet", **columns, image=[b""] * len(values)))


def test_what_is_no_pool_is_one_line(tree, tmp_path):
    with pytest.raises(FileNotFoundError, match="is not there: give a folder or a Parquet file"):
        pools.read_ids(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty holds neither images nor"):
        pools.read_ids(tmp_path / "empty")
    with pytest.raises(ValueError, match=r"has no column image, only id"):
        pools.read_ids(put(tmp_path / "a.parquet", id=["x"]))
    put(tree / "pool" / "a.parquet", id=["x"], image=[b""])
    with pytest.raises(ValueError, match=r"holds images \(.*\) and Parquet files \(a.parquet\)"):
        pools.read_ids(tree / "pool")
    (tmp_path / "b.parquet").write_bytes(b"no Parquet")
    with pytest.raises(ValueError, match=r"b.parquet is damaged \(.*\)"):
        pools.read_ids(tmp_path / "b.parquet")


def test_a_name_that_is_no_utf8_is_named(tree):
    os.rename(
        os.fsencode(next((tree / "pool").rglob("*.png"))), os.fsencode(tree / "pool") + b"/\xff.png"
    )
    with pytest.raises(ValueError, match=r"^\\xff.png is no UTF-8: rename that file$"):
        pools.read_ids(tree / "pool")


def test_a_damaged_page_is_never_read(tmp_path):
    path = tmp_path / "a.parquet"
    column = pa.array([os.urandom(256) for _ in range(100)], pa.binary(256))
    pq.write_table(pa.table({"id": range(100), "image": column}), path, write_page_checksum=True)
    content = bytearray(path.read_bytes())
    content[9000:9400] = bytes(400)
    path.write_bytes(content)
    with pytest.raises(ValueError, match="a.parquet is damaged"):
        list(pools.read(path, ["id", "image"]))


def test_raw_pixels_are_read_and_what_is_none_is_refused():
    good, bad = pa.chunked_array([pa.array([bytes(range(48)), None], pa.binary(48))])
    assert pools.decode_cell(good).dtype == np.uint8
    assert pools.decode_cell(good).tolist() == list(range(48))
    with pytest.raises(ValueError, match="there is no image"):
        pools.decode_cell(bad)


@pytest.mark.parametrize(
    "kind", [pa.binary(), pa.large_binary(), pa.struct({"bytes": pa.binary(), "path": pa.string()})]
)
def test_encoded_images_are_their_bytes(kind):
    value = {"bytes": png(9), "path": None} if pa.types.is_struct(kind) else png(9)
    good, bad = pa.chunked_array([pa.array([value, None], kind)])
    assert pools.decode_cell(good) == png(9)
    with pytest.raises(ValueError, match="there is no image"):
        pools.decode_cell(bad)
