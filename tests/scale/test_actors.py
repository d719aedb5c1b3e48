"""Scores of a pool by actors of a Ray cluster: the bytes of a process alone, also where an actor is killed."""

import sys

import keras
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import blobs, small_model

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install -e '.[scale]'")

from ray.cluster_utils import Cluster  # noqa: E402

from selectnet_tf.scale import actors, cluster, scoring  # noqa: E402

STORE = {"object_store_memory": 80_000_000}


@pytest.fixture(scope="module")
def connected():
    """Two nodes of one core each; the head has none."""
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # the workers know nothing of this file
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **STORE})
    for _ in range(2):
        made.add_node(num_cpus=1, **STORE)
    cluster.connect(made.address)
    yield
    ray.shutdown()
    made.shutdown()


@pytest.fixture
def pool(tmp_path):
    """(a model's file, a Parquet file of 120 images in row groups of 10)."""
    keras.utils.set_random_seed(0)
    small_model().save(tmp_path / "model.keras")
    x, _ = blobs(120)
    table = pa.table({"image": pa.array([one.tobytes() for one in x], pa.binary(16))})
    pq.write_table(table, tmp_path / "pool.parquet", row_group_size=10)
    return tmp_path / "model.keras", tmp_path / "pool.parquet"


def plain(classes):
    return list("abcdefgh"[:classes])


def job(pool, out, names=plain, features=True):
    return actors.Job(pool[0], names, 4, features, pool[1], out, 10)


def alone(pool, out):
    scoring.score(scoring.Model(pool[0], plain, 4, features=True), pool[1], out, 10, lambda line: None)
    return files(out)


def files(out):
    return {p.name: p.read_bytes() for p in out.glob("part-*")}


@pytest.mark.slow
def test_actors_leave_the_bytes_of_a_process_alone(connected, pool, tmp_path, monkeypatch):
    said, sizes, real = [], [], actors._get
    monkeypatch.setattr(actors, "_get", lambda ref: sizes.append(len(ray.cloudpickle.dumps(found := real(ref)))) or found)
    done = actors.score(job(pool, tmp_path / "out"), 3, say=said.append)  # the third finds no core, and nothing waits for it
    assert (done.shards, done.done, done.images, done.unreadable) == (12, 0, 120, 0) and len(said) == 12
    assert len(sizes) >= 13 and max(sizes) < 400  # counts and a line came back, no pixels
    assert files(tmp_path / "out") == alone(pool, tmp_path / "alone")
    for number in (3, 7):
        (tmp_path / "out" / f"part-{number:06}.parquet").unlink()
    again = actors.score(job(pool, tmp_path / "out"))
    assert (again.done, again.images) == (10, 20) and files(tmp_path / "out") == files(tmp_path / "alone")


@pytest.mark.slow
def test_an_actor_that_is_killed_leaves_the_same_scores(connected, pool, tmp_path):
    """Within its second shard, once."""
    once = tmp_path / "killed"

    def dies(classes):
        import os
        import signal

        from selectnet_tf.scale import scoring

        real, calls = scoring._record, []

        def record(*given):
            calls.append(1)
            if len(calls) == 5 and not once.exists():
                once.write_text("")
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*given)

        scoring._record = record
        return plain(classes)

    done = actors.score(job(pool, tmp_path / "out", dies))
    assert once.exists() and (done.shards, done.done, done.images) == (12, 0, 120)
    assert files(tmp_path / "out") == alone(pool, tmp_path / "alone")


@pytest.mark.slow
def test_what_an_actor_finds_wrong_is_one_line(connected, pool, tmp_path):
    alone(pool, tmp_path / "out")
    with pytest.raises(ValueError, match=r"^.*part-0000\d\d.parquet was made with another --features: give the same, or a new --out$"):
        actors.score(job(pool, tmp_path / "out", features=False))
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save(pool[0])
    with pytest.raises(ValueError, match=r"takes inputs of \[4\], not square pictures"):
        actors.score(job(pool, tmp_path / "new"))


def test_no_cluster_is_one_line(monkeypatch):
    def init(**options):
        raise ConnectionError("Could not find any running Ray instance.\nPlease do this.")

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(ConnectionError, match=r"^no Ray cluster at auto \(Could not find any running Ray instance.\): ray start --head$"):
        cluster.connect("auto")


@pytest.mark.parametrize(
    ("nodes", "cpu", "wanted", "count", "cores", "gpus"),
    [
        ([{"GPU": 2, "CPU": 16}], False, 0, 2, 8, 1),  # a node's cores are shared out among its GPUs, for decoding
        ([{"CPU": 32}, {"GPU": 4, "CPU": 8}], False, 0, 4, 2, 1),  # more than two no node has
        ([{"GPU": 2, "CPU": 16}], True, 0, 16, 1, 0),
        ([{"CPU": 3}], False, 0, 3, 1, 0),
        ([{"GPU": 4, "CPU": 2}], False, 3, 3, 1, 1),
    ],
)
def test_an_actor_for_each_gpu_or_core(nodes, cpu, wanted, count, cores, gpus, pool, tmp_path, monkeypatch):
    made = []

    class Actor:
        @staticmethod
        def options(**options):
            made.append(options)
            return Actor

        @staticmethod
        def remote(job, threads):
            made[-1]["threads"] = threads

    monkeypatch.setattr(actors, "_Scorer", Actor)
    monkeypatch.setattr(ray, "cluster_resources", lambda: {kind: sum(n.get(kind, 0) for n in nodes) for kind in ("GPU", "CPU")})
    monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": True, "Resources": n} for n in nodes])
    actors._make(job(pool, tmp_path / "out"), wanted, cpu)
    assert len(made) == count and all(o["max_restarts"] == o["max_task_retries"] == 5 for o in made)
    assert {(o["num_cpus"], o["num_gpus"], o["threads"]) for o in made} == {(cores, gpus, cores)}
