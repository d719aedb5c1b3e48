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
from selectnet_tf import recipes
from selectnet_tf.experiment import runs
from selectnet_tf.files import lock
given = dict(a[2:].split("=", 1) for a in sys.argv[1:])
results = pathlib.Path(given.pop("results_dir"))
recipe = recipes.make(**{k: int(v) if k in ("seed", "epochs") else v for k, v in given.items()})
folder = results / "runs" / recipe.name
try:
    with lock(folder / ".lock"):
        with open(results / "begun.txt", "a") as file:
            file.write(recipe.name + "\\n")
        epochs = folder / "epochs.csv"
        for epoch in range(len(runs.read_csv(epochs)) + 1, recipe.epochs + 1):
            time.sleep(0.2)
            runs.write_csv(epochs, [("epoch",), *[(i + 1,) for i in range(epoch)]])
            (folder / "state.npz").touch()
            with open(results / "trained.txt", "a") as file:
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


def test_a_cell_whose_node_dies_ends_on_another(nodes, tmp_path, monkeypatch, capsys):
    made, (first, _) = nodes
    cluster.connect(made.address)
    killed = []
    progress = sweep.Sweep._progress

    def watch(self):
        if not killed and {line.split()[0] for line in epochs_of(tmp_path)} == {c.name for c in CELLS}:
            made.remove_node(first, allow_graceful=False)
            killed.append(len(epochs_of(tmp_path)))
        progress(self)

    monkeypatch.setattr(cluster.ClusterSweep, "_progress", watch)
    assert cluster.ClusterSweep(CELLS, tmp_path).run() == 0
    assert killed and killed[0] < 60
    assert runs.names(tmp_path) == {c.name for c in CELLS}
    assert len(epochs_of(tmp_path)) == len(set(epochs_of(tmp_path))) == 80  # no epoch was trained twice
    begun = (tmp_path / "begun.txt").read_text().split()
    assert len(begun) == 3 and set(begun) == {c.name for c in CELLS}
    assert "2 of 2 cells done, 0 failed" in capsys.readouterr().out


def test_a_driver_that_is_killed_is_started_again(nodes, tmp_path):
    made, _ = nodes
    code = f"""
import pathlib, sys
from selectnet_tf.experiment import grids, sweep
from selectnet_tf.scale import cluster
sweep.RUN, sweep.POLL = {sweep.RUN!r}, 0.1
cluster.connect({made.address!r})
cells = grids.grid("table1", epochs=40, archs=["simple"], methods=["imbalanced", "context"])
sys.exit(cluster.ClusterSweep(cells, pathlib.Path({str(tmp_path)!r})).run())
"""
    driver = subprocess.Popen([sys.executable, "-c", code])
    while len(epochs_of(tmp_path)) < 10:
        time.sleep(0.1)
        assert driver.poll() is None
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    assert subprocess.run([sys.executable, "-c", code], timeout=300).returncode == 0
    assert runs.names(tmp_path) == {c.name for c in CELLS}
    assert len(epochs_of(tmp_path)) == len(set(epochs_of(tmp_path))) == 80
