"""Scores of pools: those of the model itself, each id once, whatever is killed or damaged."""

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import zipfile

import keras
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import blobs, selectnet, small_model
from PIL import Image

pytest.importorskip("ray", reason="Ray is not installed: pip install -e '.[scale]'")

from selectnet_tf.scale import scoring


@pytest.fixture
def model(tmp_path, monkeypatch):
    for name in ("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS", "TF_FORCE_GPU_ALLOW_GROWTH"):
        monkeypatch.setenv(name, "1")  # which an actor sets
    keras.utils.set_random_seed(0)
    small_model().save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras", "a") as file:
        file.writestr("classes.json", json.dumps(["cat", "dog", "emu", "fox"]))
    return tmp_path / "model.keras"


def put(path, n, ids=None):
    x, _ = blobs(n)
    column = pa.array([one.tobytes() for one in x], pa.binary(16))
    pq.write_table(
        pa.table({"id": ids or [f"i{i}" for i in range(n)], "image": column}),
        path,
        row_group_size=200,
    )
    return path


def test_scores_are_the_model_s(model, tmp_path):
    pool = put(tmp_path / "pool.parquet", 50)
    found = scoring.Scorer(scoring.Job(model, pool, False, batch=64), 2)(pq.read_table(pool))
    loaded = keras.saving.load_model(model, compile=False)
    probs = loaded.predict(blobs(50)[0], verbose=0)
    assert found["id"].to_pylist() == [f"i{i}" for i in range(50)]
    assert found["predicted"].to_pylist() == probs.argmax(1).tolist()
    assert found["class"].to_pylist() == [["cat", "dog", "emu", "fox"][c] for c in probs.argmax(1)]
    assert np.allclose(found["probability"], probs.max(1), atol=1e-6)
    assert np.allclose(found["loss"], -np.log(probs.max(1)), atol=1e-5)
    assert found["problem"].null_count == 50


def test_an_image_that_can_not_be_read_is_a_row_with_a_problem(model, tmp_path):
    x = pa.array([bytes(16), None, bytes(15)], pa.binary())
    table = pa.table(
        {"id": ["a", "b", "c"], "image": pa.array([bytes(16), None, bytes(16)], pa.binary(16))}
    )
    found = scoring.Scorer(scoring.Job(model, tmp_path, False, batch=4), 1)(table).to_pylist()
    assert [row["problem"] for row in found] == [None, "there is no image", None]
    assert {found[1][key] for key in ("predicted", "class", "probability", "loss")} == {None}
    assert found[0] == {**found[2], "id": "a"}
    found = scoring.Scorer(scoring.Job(model, tmp_path, False, batch=4), 1)(
        table.set_column(1, "image", x)
    )
    assert [bool(p) for p in found["problem"].to_pylist()] == [
        True,
        True,
        True,
    ]  # encoded images that are none


@pytest.mark.parametrize(("fit", "white"), [(None, 1.0), ("pad", 0.5)])
def test_images_are_fitted_as_those_of_the_run(fit, white, model, tmp_path):
    """A white image of twice its height: a model that tells white from black says how much of it is padding."""
    layers = [
        keras.Input((4, 4, 3), dtype="uint8"),
        keras.layers.Rescaling(1 / 255),
        keras.layers.GlobalAveragePooling2D(),
    ]
    net = keras.Sequential([*layers, keras.layers.Dense(2)])
    net.layers[-1].set_weights([np.array([[1 / 3, -1 / 3]] * 3), np.array([0.0, 1.0])])
    net.save(model)
    if fit:
        with zipfile.ZipFile(model, "a") as file:
            file.writestr("pictures.json", json.dumps({"fit": fit}))
    Image.new("RGB", (8, 4), "white").save(tmp_path / "wide.png")
    (row,) = scoring.Scorer(scoring.Job(model, tmp_path, True, batch=2), 1)(
        pa.table({"id": ["wide.png"]})
    ).to_pylist()
    assert (row["predicted"], row["class"], row["probability"]) == (
        0,
        "0",
        pytest.approx(white, abs=1e-5),
    )


def test_a_model_of_no_square_images_is_refused(model):
    for shape in ((4,), (None, None, 3)):
        end = [keras.layers.GlobalAveragePooling2D()] if len(shape) == 3 else []
        keras.Sequential([keras.Input(shape), *end, keras.layers.Dense(2)]).save(model)
        with pytest.raises(ValueError, match=r"square images, .* takes inputs of \["):
            scoring.Scorer(scoring.Job(model, model, True), 1)(pa.table({"id": []}))


def kept(out, **files):
    """As Ray leaves them: {name: ids}; with a checkpoint of each."""
    (out / ".scores" / "ids").mkdir(parents=True, exist_ok=True)
    for name, ids in files.items():
        table = pa.table({"id": ids, "problem": pa.array([None] * len(ids), pa.string())})
        pq.write_table(table, out / f"{name}-0.parquet", write_page_checksum=True)
        pq.write_table(table.select(["id"]), out / ".scores" / "ids" / f"{name}.parquet")
    return out / ".scores" / "ids"


def names(folder):
    return sorted(path.name for path in folder.glob("*.parquet"))


def test_damaged_lost_and_doubled_scores_are_forgotten(tmp_path):
    ids = kept(tmp_path, a=["1", "2"], b=["3"], c=["4", "5"], d=["5", "6"], e=["7"])
    assert scoring._count_done(tmp_path, ids) == (6, 0)  # the later of two files with 5 leaves
    assert names(ids) == ["a.parquet", "b.parquet", "c.parquet", "e.parquet"]
    content = bytearray((tmp_path / "a-0.parquet").read_bytes())
    content[40] ^= 1
    (tmp_path / "a-0.parquet").write_bytes(content)
    (tmp_path / "b-0.parquet").unlink()
    assert scoring._count_done(tmp_path, ids) == (3, 0)
    assert names(tmp_path) == ["c-0.parquet", "e-0.parquet"]
    assert names(ids) == [
        "c.parquet",
        "e.parquet",
    ]


def test_a_file_that_score_did_not_write_is_refused(tmp_path):
    ids = kept(tmp_path, a=["1"])
    (tmp_path / "mine.parquet").write_bytes(b"")
    with pytest.raises(
        ValueError, match="mine.parquet was not written by selectnet score: move it, or give a"
    ):
        scoring._count_done(tmp_path, ids)


@pytest.mark.parametrize("change", ["model", "pool"])
def test_scores_of_something_else_are_never_added_to(change, model, tmp_path):
    pool, out = put(tmp_path / "pool.parquet", 3), tmp_path / "out"
    job = scoring.Job(model, pool, False)
    kept(out, a=["i0", "i1", "i2"])
    made_of = {"model": hashlib.sha256(model.read_bytes()).hexdigest(), "images": str(pool)}
    (out / ".scores" / "made_of.json").write_text(json.dumps(made_of))
    assert scoring.score(job, out) == (0, 3, 0)  # all is done: no Ray
    other = tmp_path / "other"
    other.write_bytes(
        (model if change == "model" else pool).read_bytes() + b"0" * (change == "model")
    )
    job = job._replace(**{change: other})
    with pytest.raises(ValueError, match=r"out holds the scores of other --\w+: give a new --out"):
        scoring.score(job, out)


def test_a_dead_address_is_one_line_at_once():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(
        ConnectionError, match=rf"^no Ray at --ray={address} \(.*refused\): ray start --head$"
    ):
        scoring._start(address, 0, "cpu")


@pytest.mark.slow
def test_a_killed_command_goes_on_and_each_id_is_scored_once(model, tmp_path):
    pool, out = put(tmp_path / "pool.parquet", 2000), tmp_path / "out"
    words = ["score", f"--model={model}", f"--images={pool}", f"--out={out}"]
    words += ["--shard=100", "--actors=1"]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "selectnet_tf", *words]
    killed = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    while killed.poll() is None and not list(out.glob(".scores/ids/*[0-9].parquet")):
        time.sleep(0.01)
    os.kill(killed.pid, signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    ended = selectnet(*words, env=environment)
    assert ended.returncode == 0 and ended.stderr == "", ended.stderr
    scored = int(ended.stdout.split()[0].replace(",", ""))
    assert 0 < scored < 2000
    found = pq.read_table(out).sort_by("id")
    alone = scoring.Scorer(scoring.Job(model, pool, False, batch=2000), 1)(
        pq.read_table(pool)
    ).sort_by("id")
    assert found["id"].to_pylist() == alone["id"].to_pylist()
    assert found["predicted"].equals(alone["predicted"])
    assert np.allclose(found["loss"], alone["loss"], atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("what", ["page", "model"])
def test_what_an_actor_or_a_read_finds_wrong_is_one_line(what, model, tmp_path, capfd):
    pool = put(tmp_path / "pool.parquet", 100)
    if what == "page":
        pq.write_table(
            pq.read_table(pool),
            pool,
            write_page_checksum=True,
            use_dictionary=False,
            compression="none",
        )
        content = bytearray(pool.read_bytes())
        content[content.index(blobs(1)[0].tobytes()) + 3] ^= 1
        pool.write_bytes(content)
    else:
        keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save(model)
    words = {
        "page": "CRC checksum verification failed",
        "model": r"square images, .* takes inputs of \[4\]",
    }[what]
    with pytest.raises(OSError, match=f"^while scoring .*pool.parquet: [^\n]*{words}"):
        scoring.score(scoring.Job(model, pool, False, device="cpu"), tmp_path / "out", actors=1)
    assert capfd.readouterr().err == ""
