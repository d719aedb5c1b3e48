"""Sweeps over a Ray cluster of three nodes in one process tree, one of which dies."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install -e '.[ray]'")

from ray.cluster_utils import Cluster  # noqa: E402

from selectnet_tf.experiment import grids, runs, sweep  # noqa: E402
from selectnet_tf.scale import cluster  # noqa: E402

pytestmark = pytest.mark.slow
CELLS = grids.grid("table1", epochs=40, archs=["simple"], methods=["imbalanced", "context"])
RUN = """
import pathlib, sys, time
import numpy as np
from selectnet_tf import recipes
from selectnet_tf.experiment import runs
from selectnet_tf.files import lock
given = dict(a[2:].split("=", 1) for a in sys.argv[1:])
home, results = pathlib.Path(__file__).parent, pathlib.Path(given.pop("results_dir"))
recipe = recipes.make(**{k: int(v) if k in ("seed", "epochs") else v for k, v in given.items()})
folder = results / "runs" / recipe.name
try:
    with lock(folder / ".lock"):
        with open(home / "begun.txt", "a") as file:
            file.write(recipe.name + "\\n")
        epochs = folder / "epochs.csv"
        for epoch in range(len(runs.read_csv(epochs)) + 1, recipe.epochs + 1):
            time.sleep(0.2)
            runs.write_csv(epochs, [("epoch",), *[(i + 1,) for i in range(epoch)]])
            np.savez(folder / "state.npz", position=np.array([epoch, 0]))
            with open(home / "trained.txt", "a") as file:
                file.write(f"{recipe.name} {epoch}\\n")
        runs.write_row(results, recipe.name, {"name": recipe.name, "accuracy": 0.5, "seconds": 60.0})
        (folder / "state.npz").unlink()
except BlockingIOError as error:
    sys.exit(f"error: {error}")
"""


@pytest.fixture
def nodes(tmp_path, monkeypatch):
    """(cluster, [its two nodes of one core each]); the head has none."""
    (tmp_path / "run.py").write_text(RUN)
    monkeypatch.setattr(sweep, "RUN", (sys.executable, str(tmp_path / "run.py")))
    monkeypatch.setattr(sweep, "POLL", 0.1)
    monkeypatch.setenv("PYTHONPATH", str(pathlib.Path(cluster.__file__).parents[2]))
    store = {"object_store_memory": 80_000_000}
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **store})
    found = [made.add_node(num_cpus=1, **store) for _ in range(2)]
    yield made, found
    ray.shutdown()
    made.shutdown()


def epochs_of(results):
    return (results / "trained.txt").read_text().splitlines() if (results / "trained.txt").exists() else []


@pytest.fixture
def dying(nodes, tmp_path, monkeypatch):
    """Connects, and kills a node when both cells train. [how many epochs were trained by then]"""
    made, (first, _) = nodes
    cluster.connect(made.address)
    killed = []
    progress = sweep.Sweep._progress

    def watch(self):
        if not killed and {line.split()[0] for line in epochs_of(tmp_path)} == {c.name for c in CELLS}:
            made.remove_node(first, allow_graceful=False)
            killed.append(len(epochs_of(tmp_path)))
        progress(self)

    monkeypatch.setattr(sweep.Sweep, "_progress", watch)
    return killed


def test_a_cell_whose_node_dies_ends_on_another(dying, tmp_path, capsys):
    assert cluster.ClusterSweep(CELLS, tmp_path).run() == 0
    assert dying and dying[0] < 60
    assert runs.names(tmp_path) == {c.name for c in CELLS}
    assert len(epochs_of(tmp_path)) == len(set(epochs_of(tmp_path))) == 80  # no epoch was trained twice
    begun = (tmp_path / "begun.txt").read_text().split()
    assert len(begun) == 3 and set(begun) == {c.name for c in CELLS}
    assert "2 of 2 cells done, 0 failed" in capsys.readouterr().out


def driver(made, results):
    """The code of a process that sweeps CELLS."""
    return f"""
import pathlib, sys
from selectnet_tf.experiment import grids, sweep
from selectnet_tf.scale import cluster
sweep.RUN, sweep.POLL = {sweep.RUN!r}, 0.1
cluster.connect({made.address!r})
cells = grids.grid("table1", epochs=40, archs=["simple"], methods=["imbalanced", "context"])
sys.exit(cluster.ClusterSweep(cells, pathlib.Path({str(results)!r})).run())
"""


@pytest.fixture
def killed(nodes, tmp_path):
    """(cluster, code of the driver) after a driver has been killed in mid-sweep."""
    made, _ = nodes
    code = driver(made, tmp_path)
    process = subprocess.Popen([sys.executable, "-c", code])
    while {line.split()[0] for line in epochs_of(tmp_path)} != {c.name for c in CELLS}:
        time.sleep(0.1)
        assert process.poll() is None
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    return made, code


def test_runs_outlive_their_driver_and_the_next_one_finds_them(killed, tmp_path):
    _, code = killed
    before = len(epochs_of(tmp_path))
    time.sleep(3)
    assert len(epochs_of(tmp_path)) > before  # nobody watches, and they train
    again = subprocess.run([sys.executable, "-c", code], timeout=300, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("is running, after epoch") == 2 and "2 of 2 cells done, 0 failed" in again.stdout
    assert runs.names(tmp_path) == {c.name for c in CELLS}
    assert len(epochs_of(tmp_path)) == len(set(epochs_of(tmp_path))) == 80
    assert len((tmp_path / "begun.txt").read_text().split()) == 2  # each once: none was stopped


def test_ctrl_c_on_the_next_driver_stops_what_the_last_one_began(killed, tmp_path):
    _, code = killed
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    lines = [process.stdout.readline() for _ in range(2)]
    assert all("is running, after epoch" in line for line in lines)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130
    time.sleep(1)
    before = len(epochs_of(tmp_path))
    time.sleep(2)
    assert len(epochs_of(tmp_path)) == before < 80 and not runs.names(tmp_path)


def test_runs_whose_driver_never_comes_back_end_and_leave_their_nodes(killed, tmp_path):
    made, code = killed
    cluster.connect(made.address)
    end = time.monotonic() + 90
    while ray.available_resources().get("CPU") != 2:
        time.sleep(0.5)
        assert time.monotonic() < end
    assert runs.names(tmp_path) == {c.name for c in CELLS} and len(epochs_of(tmp_path)) == 80
