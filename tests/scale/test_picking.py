"""Picks from scores on disk: those of the rules in memory, and only their images."""

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from selectnet_tf import rules
from selectnet_tf.capped import Capped
from selectnet_tf.data import decisions, folders
from selectnet_tf.files import digest
from selectnet_tf.scale import picking, pools

NAMES = ["cat", "dog", "emu", "fox"]
MINOR = ["fox", "dog"]


def write_scores(folder, probs, size=1000, digests=None, unreadable=()):
    """As score writes them: probs [n, 4], and images that could not be read."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, start in enumerate(range(0, len(probs), size)):
        some = probs[start : start + size]
        bad = np.isin(np.arange(start, start + len(some)), unreadable)
        most = some.max(1)
        loss = (-np.log(np.clip(most, 1e-7, 1))).astype(np.float32)
        classes = pa.DictionaryArray.from_arrays(pa.array(some.argmax(1).astype(np.int32), mask=bad), NAMES)
        columns = {"class": classes, "probability": pa.array(most, mask=bad), "loss": pa.array(loss, mask=bad)}
        made_of = {"--shard": size, "images": digests[number] if digests else ""}
        table = pa.table(columns).replace_schema_metadata({b"selectnet_tf": json.dumps(made_of).encode()})
        pq.write_table(table, folder / f"part-{number:06}.parquet", write_page_checksum=True)
    return folder


def made_up(n, seed=0):
    """[n, 4] probabilities, of which many are nearly 1, many 1, and many alike."""
    rng = np.random.default_rng(seed)
    probs = rng.dirichlet([0.3] * 4, n).astype(np.float32)
    probs[::7] = np.eye(4, dtype=np.float32)[rng.integers(0, 4, len(probs[::7]))]
    probs[1::7] = np.round(probs[1::7], 1)
    return probs


def in_memory(probs, threshold, cap, most, unreadable=()):
    """(rows, labels as names) that the rules pick of a pool with these probabilities."""
    readable = ~np.isin(np.arange(len(probs)), unreadable)
    minor = [NAMES.index(name) for name in MINOR]
    loss = (-np.log(np.clip(probs.max(1), 1e-7, 1))).astype(np.float32)
    candidate = np.isin(probs.argmax(1), minor) & readable
    scores = rules.Scores(probs, loss, np.zeros(len(probs), bool), candidate)
    rows = np.flatnonzero(Capped(rules.SelfPaced(threshold), cap, most=most, minor=minor)(scores))
    return rows.tolist(), [NAMES[c] for c in probs.argmax(1)[rows]]


@pytest.mark.parametrize(
    ("threshold", "cap", "most", "count"),
    [(0.6, 0.0, None, 1158), (0.6, 0.0, 10, 20), (0.6, 0.0, 333, 536), (0.3, 0.5, None, 403), (1.0, 1.0, 200, 400), (0.0, 0, None, 0)],
)
def test_two_passes_pick_what_the_rules_pick_in_memory(threshold, cap, most, count, tmp_path):
    probs = made_up(5000)
    probs[:, 3] *= np.where(np.arange(5000) % 5, 0.3, 1)  # fewer foxes, so that the cap has something to do
    unreadable = [3, 17, 4000]
    picks = picking.pick(write_scores(tmp_path, probs, unreadable=unreadable), MINOR, threshold, cap, most)
    rows, names = in_memory(probs, threshold, cap, most, unreadable)
    assert (picks.part * 1000 + picks.row).tolist() == rows and [MINOR[i] for i in picks.label] == names
    assert np.array_equal(picks.probability, probs.max(1)[rows])
    assert len(rows) == count


def test_only_what_is_of_the_last_size_is_sorted(tmp_path, monkeypatch):
    probs = np.random.default_rng(1).dirichlet([0.5] * 4, 20000).astype(np.float32)
    sorted_, real = [], np.argsort
    monkeypatch.setattr(picking.np, "argsort", lambda values, **options: sorted_.append(len(values)) or real(values, **options))
    picks = picking.pick(write_scores(tmp_path, probs), MINOR, most=1000)
    assert len(picks.row) == 2000 and 0 < sum(sorted_) < 400


@pytest.fixture
def pool(tmp_path):
    """(scores, pool) of 60 pictures in Parquet, whose colour is their number; every sixth is a fox, the others cats."""
    probs = np.full((60, 4), 0.01, np.float32)
    probs[:, 0] = 0.97
    probs[::6] = [0.02, 0.02, 0.02, 0.94]

    def png(i):
        buffer = io.BytesIO()
        Image.new("RGB", (4, 4), (i, 0, 0)).save(buffer, "PNG")
        return buffer.getvalue()

    table = pa.table({"id": [f"a/{i}.png" for i in range(60)], "image": pa.array([png(i) for i in range(60)], pa.binary())})
    pq.write_table(table, tmp_path / "pool.parquet", row_group_size=10)
    digests = [shard.digest for shard in pools.shards(tmp_path / "pool.parquet", 20)]
    return write_scores(tmp_path / "scores", probs, 20, digests), tmp_path / "pool.parquet"


def test_the_picks_images_are_decided_for_the_next_run(pool, tmp_path, monkeypatch):
    picks = picking.pick(pool[0], ["fox"])
    picking.write(picks, *pool, ["fox"], tmp_path / "picks")
    files = sorted((tmp_path / "picks" / "fox").iterdir())
    assert len(files) == 10 and all(p.name.startswith("0.9400_a_") for p in files)
    assert sorted(Image.open(p).getpixel((0, 0))[0] for p in files) == list(range(0, 60, 6))
    found = decisions.read(tmp_path / "picks" / "decisions.csv", ("fox",))
    assert found == ({digest(p.read_bytes()): "fox" for p in files}, set())
    with pytest.raises(ValueError, match="is there already: give --out a new folder"):
        picking.write(picks, *pool, ["fox"], tmp_path / "picks")


def test_pictures_of_one_name_and_probability_are_all_kept_and_long_names_fit(tmp_path):
    def encoded(i, kind):
        buffer = io.BytesIO()
        first, second = Image.new("RGB", (4, 4), (i, 0, 0)), Image.new("RGB", (4, 4), (i, 9, 9))
        first.save(buffer, kind, **({"save_all": True, "append_images": [second]} if kind == "MPO" else {}))
        return buffer.getvalue()

    kinds, name = ["PNG", "PNG", "MPO", "TGA", "PNG"], "ねこ" * 100
    table = pa.table({"id": [name, name, name, "x", "x"], "image": pa.array([encoded(i, k) for i, k in enumerate(kinds)], pa.binary())})
    pq.write_table(table, tmp_path / "pool.parquet")
    (shard,) = pools.shards(tmp_path / "pool.parquet", 10)
    scores = write_scores(tmp_path / "scores", np.tile(np.float32([[0, 0.9, 0.1, 0]]), (5, 1)), 10, [shard.digest])
    picking.write(picking.pick(scores, ["dog"]), scores, tmp_path / "pool.parquet", ["dog"], tmp_path / "picks")
    files = folders.survey(tmp_path / "picks" / "dog").files
    assert len(files) == 5 and sorted(Image.open(tmp_path / "picks" / "dog" / f).format for f in files) == sorted(kinds)
    assert len(decisions.read(tmp_path / "picks" / "decisions.csv", ("dog",)).accepted) == 5


@pytest.mark.parametrize("names", [["foxx"], ["fox", "Dog"], ["fox", "fox"]])
def test_a_name_that_is_no_class_or_twice_there_is_refused(names, pool):
    assert len(picking.pick(pool[0], ["emu"]).row) == 0  # a class, although none is predicted as it
    with pytest.raises(ValueError, match=r"is none of the 4 classes of these scores: cat, dog, emu, fox$|named twice: fox, fox$"):
        picking.pick(pool[0], names)


def test_a_pool_that_lost_a_file_is_not_picked_from(tmp_path):
    (tmp_path / "pool").mkdir()
    for name in ("a", "b"):
        column = pa.array([bytes([ord(name)]) * 48] * 2, pa.binary(48))
        pq.write_table(pa.table({"image": column}), tmp_path / "pool" / f"{name}.parquet")
    digests = [shard.digest for shard in pools.shards(tmp_path / "pool", 2)]
    scores = write_scores(tmp_path / "scores", np.tile(np.float32([[0, 0.9, 0.1, 0]]), (4, 1)), 2, digests)
    (tmp_path / "pool" / "b.parquet").unlink()
    with pytest.raises(ValueError, match="or it has changed: score it again"):
        picking.write(picking.pick(scores, ["dog"]), scores, tmp_path / "pool", ["dog"], tmp_path / "picks")


@pytest.mark.parametrize(("shape", "mode"), [((4, 4, 3), "RGB"), ((4, 4), "L")])
def test_raw_pixels_become_pictures(shape, mode, tmp_path):
    x = np.random.default_rng(0).integers(0, 255, (5, *shape), dtype=np.uint8)
    column = pa.array([one.tobytes() for one in x], pa.binary(x[0].size))
    pq.write_table(pa.table({"image": column}), tmp_path / "pool.parquet")
    (shard,) = pools.shards(tmp_path / "pool.parquet", 10)
    scores = write_scores(tmp_path / "scores", np.tile(np.float32([[0, 0.9, 0.1, 0]]), (5, 1)), 10, [shard.digest])
    picking.write(picking.pick(scores, ["dog"]), scores, tmp_path / "pool.parquet", ["dog"], tmp_path / "picks")
    files = sorted((tmp_path / "picks" / "dog").iterdir())
    assert [Image.open(p).mode for p in files] == [mode] * 5
    assert all(np.array_equal(np.array(Image.open(p)), one) for p, one in zip(files, x, strict=True))


def test_pictures_of_a_folder_are_copied_as_they_are(tree, tmp_path):
    digests = [s.digest for s in pools.shards(tree / "pool", 20)]
    probs = np.tile(np.float32([[0, 0.9, 0.1, 0]]), (31, 1))
    scores = write_scores(tmp_path / "scores", probs, 20, digests, unreadable=[30])
    ids = [i for s in pools.shards(tree / "pool", 20) for ids, _ in s.read(100) for i in ids]
    picking.write(picking.pick(scores, ["dog"]), scores, tree / "pool", ["dog"], tmp_path / "picks")
    found = sorted(p.read_bytes() for p in (tmp_path / "picks" / "dog").iterdir())
    assert found == sorted((tree / "pool" / i).read_bytes() for i in ids[:30])


def test_scores_of_another_pool_or_of_half_a_one_are_refused(pool, tmp_path):
    picks = picking.pick(pool[0], ["fox"])
    pq.write_table(pq.read_table(pool[1]).slice(0, 50), pool[1], row_group_size=10)
    with pytest.raises(ValueError, match="or it has changed: score it again"):
        picking.write(picks, *pool, ["fox"], tmp_path / "picks")
    assert not (tmp_path / "picks").exists() and not list(tmp_path.glob(".picks*"))  # whole or not there
    (pool[0] / "part-000001.parquet").unlink()
    with pytest.raises(ValueError, match="does not hold the scores of a whole pool"):
        picking.pick(pool[0], ["fox"])
