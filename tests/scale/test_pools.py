"""Pools as shards: the same ones each time, with digests of what they hold."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import COLOURS, picture
from PIL import Image

from selectnet_tf.data import folders
from selectnet_tf.scale import pools


def rows(shard, at_once=100):
    """(ids, sources) of all of a shard's batches together."""
    found = list(shard.read(at_once))
    return [i for ids, _ in found for i in ids], [s for _, sources in found for s in sources]


def jpeg(colour):
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_folder_falls_into_shards_of_its_pictures(tree):
    shards = list(pools.shards(tree / "pool", 8))
    assert [s.number for s in shards] == [0, 1, 2, 3] and [len(rows(s)[0]) for s in shards] == [8, 8, 8, 7]
    ids = [i for s in shards for i in rows(s)[0]]
    assert sorted(ids) == folders.survey(tree / "pool").files and len(set(ids)) == 31
    assert rows(shards[0])[1] == [tree / "pool" / i for i in rows(shards[0])[0]]
    assert [len(batch) for batch, _ in shards[0].read(3)] == [3, 3, 2]
    assert [s.digest for s in shards] == [s.digest for s in pools.shards(tree / "pool", 8)]


def test_pictures_beside_parquet_files_are_refused_as_one_of_both_would_be_left_out(tree):
    pq.write_table(pa.table({"image": pa.array([bytes(48)], pa.binary(48))}), tree / "pool" / "a.parquet")
    with pytest.raises(ValueError, match=r"pool holds pictures \(.*\.\w+\) and Parquet files \(a.parquet\): give a folder of one kind"):
        next(pools.shards(tree / "pool", 8))
    pq.write_table(pa.table({"image": pa.array([bytes(48)], pa.binary(48))}), tree / "a.parquet")
    assert rows(next(pools.shards(tree, 8)))[0] == ["a.parquet:0"]  # pictures in a folder beside are another thing


def test_a_picture_more_changes_the_digests_from_there_on(tree):
    before = [s.digest for s in pools.shards(tree / "pool", 8)]
    picture(tree / "pool" / "1" / "zz.png", COLOURS["cat"], 0)
    after = [s.digest for s in pools.shards(tree / "pool", 8)]
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, True, False, False]


def test_a_link_back_is_followed_once(tree):
    (tree / "pool" / "0" / "back").symlink_to(tree / "pool")
    assert sum(len(rows(s)[0]) for s in pools.shards(tree / "pool", 8)) == 31


@pytest.mark.parametrize(("size", "counts"), [(4, [4, 4, 2, 4, 1]), (100, [10, 5]), (1, [4, 4, 2, 4, 1]), (8, [8, 2, 5]), (9, [8, 2, 5])])
def test_parquet_falls_into_shards_of_row_groups(size, counts, tmp_path):
    for name, n in (("b", 5), ("a", 10)):
        table = pa.table({"image": pa.array([bytes([i]) * 48 for i in range(n)], pa.binary(48))})
        pq.write_table(table, tmp_path / f"{name}.parquet", row_group_size=4)
    shards = list(pools.shards(tmp_path, size))
    assert [len(rows(s)[0]) for s in shards] == counts and [s.number for s in shards] == list(range(len(counts)))
    ids = [i for s in shards for i in rows(s, 3)[0]]
    assert ids == [f"a.parquet:{i}" for i in range(10)] + [f"b.parquet:{i}" for i in range(5)]
    assert [int(s[0]) for shard in shards for s in rows(shard)[1]] == [*range(10), *range(5)]


def test_another_file_has_another_digest_and_a_copy_the_same(tmp_path):
    def write(folder, last):
        folder.mkdir()
        pq.write_table(pa.table({"image": pa.array([bytes(48), bytes([last]) * 48], pa.binary(48))}), folder / "a.parquet")
        return next(pools.shards(folder, 10)).digest

    assert write(tmp_path / "1", 7) == write(tmp_path / "2", 7) != write(tmp_path / "3", 8)


@pytest.mark.parametrize(
    ("column", "red"),
    [
        (pa.array([jpeg((255, 0, 0)), jpeg((0, 0, 0)), None], pa.binary()), [255, 0]),
        (pa.array([{"bytes": jpeg((255, 0, 0)), "path": "a"}, {"bytes": jpeg((0, 0, 0)), "path": None}, None]), [255, 0]),
        (pa.array([bytes([255, 0, 0]) * 64, bytes(192), None], pa.binary(192)), [255, 0]),
        (pa.array([[255, 0, 0] * 64, [0] * 192, None], pa.list_(pa.uint8())), [255, 0]),
        (pa.array([[255, 0, 0] * 64, [0] * 192, None], pa.list_(pa.uint8(), 192)), [255, 0]),
        (pa.array([[255, 0, 0] * 64, [0] * 192, [None] * 192], pa.large_list(pa.int32())), [255, 0]),
        (pa.array([jpeg((255, 0, 0)), jpeg((0, 0, 0)), None], pa.large_binary()), [255, 0]),
    ],
    ids=["encoded", "hugging face", "fixed size", "list", "fixed list", "large list of integers", "large"],
)
def test_images_of_every_kind_of_column(column, red, tmp_path):
    pq.write_table(pa.table({"id": ["x", None, "z"], "image": column}), tmp_path / "a.parquet")
    ids, sources = rows(next(pools.shards(tmp_path / "a.parquet", 10)))
    assert ids == ["x", "a.parquet:1", "z"]
    found = [pools.decode(s, (8, 8, 3)) for s in sources[:2]]
    assert [f.shape for f in found] == [(8, 8, 3)] * 2 and [int(f[4, 4, 0]) for f in found] == red and found[0][..., 1].max() == 0
    with pytest.raises(ValueError, match="there is no image"):
        pools.decode(sources[2], (8, 8, 3))


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (pa.array([[0.5] * 192]), "its column image holds list<.*double>, neither pictures' bytes nor pixels from 0 to 255"),
        (pa.array([[300] * 192], pa.list_(pa.int32())), "Integer value 300 not in range: 0 to 255"),
        (pa.array(["a.png"]), "its column image holds string, neither"),
        (pa.array([{"path": "a.png"}]), "its column image holds struct<path: string>, neither"),
    ],
)
def test_what_is_no_image_is_never_scored_as_one(column, words, tmp_path):
    pq.write_table(pa.table({"image": column}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=rf"a.parquet can't be read as Parquet \({words}"):
        rows(next(pools.shards(tmp_path, 10)))


def test_gray_models_get_gray_pictures_and_pixels_have_to_fit():
    assert pools.decode(jpeg((30, 60, 90)), (4, 4, 1)).tolist() == np.full((4, 4, 1), 60).tolist()
    with pytest.raises(ValueError, match="48 bytes of pixels, but the model takes 8 x 8 x 3"):
        pools.decode(np.zeros(48, np.uint8), (8, 8, 3))


def test_pictures_become_squares_as_the_model_s_did():
    buffer = io.BytesIO()
    Image.new("RGB", (8, 4), "white").save(buffer, "PNG")
    found = {fit: pools.decode(buffer.getvalue(), (4, 4, 3), fit)[:, 0, 0].tolist() for fit in ("stretch", "pad", "crop")}
    assert found == {"stretch": [255] * 4, "pad": [0, 255, 255, 0], "crop": [255] * 4}


def test_what_is_no_pool_is_one_line(tmp_path):
    with pytest.raises(FileNotFoundError, match="is not there: give a folder of pictures"):
        next(pools.shards(tmp_path / "nowhere", 10))
    with pytest.raises(ValueError, match="holds no image"):
        next(pools.shards(tmp_path, 10))
    (tmp_path / "a.parquet").write_bytes(b"no Parquet")
    with pytest.raises(ValueError, match=r"a.parquet can't be read as Parquet \(.*\): give pictures"):
        next(pools.shards(tmp_path, 10))
    pq.write_table(pa.table({"id": ["x"]}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="no column image or img or pixels or picture, only id"):
        next(pools.shards(tmp_path / "a.parquet", 10))
