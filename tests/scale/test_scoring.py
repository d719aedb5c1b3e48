"""Scores of pools: each image once, each file whole, and nothing done twice, whatever is killed or damaged in between."""

import contextlib
import json
import subprocess
import sys
import threading
import time
import zipfile

import keras
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import Killed, blobs, small_model
from PIL import Image

from selectnet_tf.experiment import claims
from selectnet_tf.scale import scoring


def names(classes):
    return [f"class {c}" for c in range(classes)]


@pytest.fixture
def pool(tmp_path):
    """(a model's file, a Parquet file of 50 images in row groups of 10)."""
    keras.utils.set_random_seed(0)
    small_model().save(tmp_path / "model.keras")
    x, _ = blobs(50)
    table = pa.table({"id": [f"image {i}" for i in range(50)], "image": pa.array([one.tobytes() for one in x], pa.binary(16))})
    pq.write_table(table, tmp_path / "pool.parquet", row_group_size=10)
    return tmp_path / "model.keras", tmp_path / "pool.parquet"


def run(pool, out, features=False, size=10, batch=4, say=lambda line: None):
    return scoring.score(scoring.Model(pool[0], names, batch, features), pool[1], out, size, say)


def same(one, other):
    assert sorted(p.name for p in one.iterdir()) == sorted(p.name for p in other.iterdir())
    return all((other / p.name).read_bytes() == p.read_bytes() for p in one.iterdir())


def test_each_image_has_its_score(pool, tmp_path):
    done = run(pool, tmp_path / "out", features=True)
    assert (done.shards, done.done, done.images, done.unreadable) == (5, 0, 50, 0)
    table = pq.read_table(tmp_path / "out")
    x, _ = blobs(50)
    model = keras.saving.load_model(pool[0], compile=False)
    probs = model.predict(x, verbose=0)
    assert table["id"].to_pylist() == [f"image {i}" for i in range(50)]
    assert table["predicted"].to_pylist() == probs.argmax(1).tolist()
    assert table["class"].to_pylist() == [f"class {c}" for c in probs.argmax(1)]
    assert np.allclose(table["probability"], probs.max(1), atol=1e-6) and np.allclose(table["loss"], -np.log(probs.max(1)), atol=1e-5)
    features = keras.Model(model.inputs[0], model.layers[-1].input).predict(x, verbose=0)
    assert table.schema.field("features").type == pa.list_(pa.float16(), 8)
    assert np.allclose(np.array(table["features"].to_pylist(), np.float32), features, rtol=1e-3, atol=1e-3)
    assert table["problem"].null_count == 50


def test_pictures_that_can_not_be_read_are_rows_too(tree, tmp_path):
    model = keras.Sequential([keras.Input((16, 16, 3), dtype="uint8"), keras.layers.Flatten(), keras.layers.Dense(3, activation="softmax")])
    model.save(tmp_path / "model.keras")
    done = run((tmp_path / "model.keras", tree / "pool"), tmp_path / "out", features=True)
    assert (done.shards, done.images, done.unreadable) == (4, 31, 1)
    torn = [row for row in pq.read_table(tmp_path / "out").to_pylist() if row["problem"]]
    assert [row["id"] for row in torn] == ["torn.jpg"] and torn[0]["problem"] == "no picture of a kind that is read"
    assert {torn[0][key] for key in ("predicted", "class", "probability", "loss")} == {None} and torn[0]["features"] is None


@pytest.mark.parametrize(("fit", "white"), [(None, 1.0), ("pad", 0.5)])
def test_pictures_are_fitted_as_those_of_the_run(fit, white, tmp_path):
    """A white picture of twice its height: a model that tells white from black says how much of it is padding."""
    model = keras.Sequential(
        [keras.Input((4, 4, 3), dtype="uint8"), keras.layers.Rescaling(1 / 255), keras.layers.GlobalAveragePooling2D()]
    )
    model.add(keras.layers.Dense(2))
    model.layers[-1].set_weights([np.array([[1 / 3, -1 / 3]] * 3), np.array([0.0, 1.0])])
    model.save(tmp_path / "model.keras")
    if fit:
        with zipfile.ZipFile(tmp_path / "model.keras", "a") as file:
            file.writestr("pictures.json", json.dumps({"fit": fit}))
    (tmp_path / "pool").mkdir()
    Image.new("RGB", (8, 4), "white").save(tmp_path / "pool" / "wide.png")
    run((tmp_path / "model.keras", tmp_path / "pool"), tmp_path / "out")
    row = pq.read_table(tmp_path / "out").to_pylist()[0]
    assert (row["predicted"], row["probability"]) == (0, pytest.approx(white, abs=1e-5))


@pytest.mark.parametrize("at", ["between shards", "within one"])
def test_a_restart_scores_what_is_missing_and_ends_the_same(at, pool, tmp_path, monkeypatch):
    run(pool, tmp_path / "whole")
    calls, limit = [], 2 if at == "between shards" else 7
    name = "_write" if at == "between shards" else "_record"
    real = getattr(scoring, name)

    def dies(*given):
        if len(calls) == limit:
            raise Killed
        calls.append(given)
        return real(*given)

    monkeypatch.setattr(scoring, name, dies)
    with pytest.raises(Killed):
        run(pool, tmp_path / "killed")
    left = {p.name for p in (tmp_path / "killed").glob("part-*")}
    assert left == {"part-000000.parquet", "part-000001.parquet"}
    calls.clear()
    limit = 100
    done = run(pool, tmp_path / "killed")
    assert (done.shards, done.done, done.images) == (5, 2, 30) and same(tmp_path / "whole", tmp_path / "killed")
    done = run(pool, tmp_path / "killed")
    assert (done.done, done.images) == (5, 0)


def test_a_process_killed_within_a_shard_leaves_none(pool, tmp_path):
    code = f"""
import os, pathlib, signal, sys
sys.path.insert(0, {str(__file__.rsplit("/", 2)[0])!r})
from selectnet_tf.scale import scoring
real = scoring._record
def record(*given):
    record.calls += 1
    if record.calls == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*given)
record.calls, scoring._record = 0, record
model = scoring.Model(pathlib.Path({str(pool[0])!r}), lambda n: list("abcd"), 4)
scoring.score(model, pathlib.Path({str(pool[1])!r}), pathlib.Path({str(tmp_path / "out")!r}), 10)
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == -9
    left = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert left[-1] == "part-000000.parquet" and any(p.startswith(".part-000001.") and p.endswith(".parquet") for p in left[:-1])
    done = run(pool, tmp_path / "out")  # at once: the dead process's claim is nobody's
    assert (done.done, done.images) == (1, 40)
    assert not list((tmp_path / "out").glob(".*.parquet")) and len(pq.read_table(tmp_path / "out")) == 50


@pytest.mark.parametrize("damage", ["cut", "a byte", "empty", "foreign"])
def test_a_damaged_shard_is_scored_again(damage, pool, tmp_path):
    run(pool, tmp_path / "whole")
    run(pool, tmp_path / "out")
    path = tmp_path / "out" / "part-000003.parquet"
    content = bytearray(path.read_bytes())
    if damage == "a byte":
        content[40] ^= 1
    path.write_bytes({"cut": content[: len(content) // 2], "empty": b""}.get(damage, content))
    if damage == "foreign":
        pq.write_table(pa.table({"a": [1]}), path)
    said = []
    done = run(pool, tmp_path / "out", say=said.append)
    assert (done.done, done.images) == (4, 10) and same(tmp_path / "whole", tmp_path / "out")
    assert said[0].startswith("part-000003.parquet is damaged (") and said[0].endswith("): scored again")


def test_scores_of_something_else_are_not_mixed(pool, tmp_path):
    run(pool, tmp_path / "out")
    with pytest.raises(ValueError, match=r"part-000000.parquet was made with another --shard: give the same, or a new --out"):
        run(pool, tmp_path / "out", size=20)
    with pytest.raises(ValueError, match="another --features"):
        run(pool, tmp_path / "out", features=True)
    table = pq.read_table(pool[1])
    pq.write_table(table.slice(0, 30), pool[1], row_group_size=10)
    with pytest.raises(ValueError, match="another images"):
        run(pool, tmp_path / "out")
    pq.write_table(table, pool[1], row_group_size=10)
    small_model().save(pool[0])
    with pytest.raises(ValueError, match="another model"):
        run(pool, tmp_path / "out")


def test_more_shards_than_the_pool_has_are_named(pool, tmp_path):
    run(pool, tmp_path / "out")
    (tmp_path / "out" / "part-000004.parquet").rename(tmp_path / "out" / "part-000007.parquet")
    with pytest.raises(ValueError, match=r"holds more than these images, e.g. part-000007.parquet"):
        run(pool, tmp_path / "out")


@pytest.mark.parametrize("other", ["dies", "ends"])
def test_a_shard_that_another_process_has_comes_last(other, other_has, pool, tmp_path):
    run(pool, tmp_path / "whole")
    others = tmp_path / "out" / "part-000002.parquet"
    said = []
    with other_has(
        tmp_path / "out", 2, lambda: others.write_bytes((tmp_path / "whole" / others.name).read_bytes()) if other == "ends" else None
    ):
        done = run(pool, tmp_path / "out", say=said.append)
    assert [int(line[5:11]) for line in said] == [0, 1, 3, 4] + [2] * (other == "dies")
    assert done.images == (50 if other == "dies" else 40) and same(tmp_path / "whole", tmp_path / "out")


@pytest.fixture
def other_has():
    """Another process, which is a thread, has a shard until the others are done: (out, number, what it leaves)."""

    @contextlib.contextmanager
    def start(out, number, leave):
        out.mkdir()
        held = threading.Event()

        def work():
            with claims.hold(out / f".part-{number:06}.claim"):
                held.set()
                while len(list(out.glob("part-*"))) < 4:
                    time.sleep(0.02)
                time.sleep(0.1)
                leave()

        thread = threading.Thread(target=work)
        thread.start()
        held.wait()
        yield
        thread.join()

    return start


def test_memory_holds_one_batch_whatever_the_pool(pool, tmp_path, monkeypatch):
    most = []
    real = scoring._begin

    def begin(threads, rows, shape):
        found = real(threads, rows, shape)
        most.append(len(found[0]) if found else 0)
        return found

    monkeypatch.setattr(scoring, "_begin", begin)
    run(pool, tmp_path / "out", size=50)
    assert max(most) == 4 and sum(most) == 50


def test_a_model_of_rows_is_refused(tmp_path):
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save(tmp_path / "model.keras")
    with pytest.raises(ValueError, match=r"takes inputs of \[4\], not square pictures"):
        scoring.Model(tmp_path / "model.keras", names)


def test_what_no_run_left_is_never_handed_to_keras(pool, tmp_path):
    keras.Sequential([keras.Input((None, None, 3)), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)]).save(
        tmp_path / "any.keras"
    )
    with pytest.raises(ValueError, match=r"takes inputs of \[None, None, 3\], not square pictures"):
        scoring.Model(tmp_path / "any.keras", names)
    keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Flatten(), keras.layers.GaussianNoise(0.1)]).save(tmp_path / "foreign.keras")
    with pytest.raises(ValueError, match="GaussianNoise, which no model of this package has, and was not loaded"):
        scoring.Model(tmp_path / "foreign.keras", names)
    content = bytearray(pool[0].read_bytes())
    content[len(content) // 2] ^= 1
    pool[0].write_bytes(content)
    with pytest.raises(ValueError, match="is damaged"):
        scoring.Model(pool[0], names)


def test_the_metadata_says_what_a_shard_was_made_of(pool, tmp_path):
    run(pool, tmp_path / "out")
    found = json.loads(pq.read_schema(tmp_path / "out" / "part-000002.parquet").metadata[b"selectnet_tf"])
    assert set(found) == {"version", "model", "images", "--shard", "--features"} and len(found["model"]) == 64
