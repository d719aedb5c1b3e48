"""Sweeps as Ray jobs: over a stand-in for Ray's client, and over a cluster of two nodes."""

import itertools
import os
import pathlib
import shlex
import signal
import socket
import subprocess
import sys
import time
import types

import pytest
from conftest import RUN

from selectnet_tf.runs import plan, store, sweep
from selectnet_tf.scale import jobs

CELLS = plan.make_grid("table1", epochs=40, archs=["simple"], methods=["imbalanced", "context"])
NAMES = [cell.name for cell in CELLS]


class Client:
    """Jobs in memory. turn(job): what happens to a job whenever somebody asks for it."""

    def __init__(self, results, turn=lambda job: None):
        self.results, self.turn, self.jobs = results, turn, {}

    def submit_job(self, submission_id, **options):
        if submission_id in self.jobs:
            raise RuntimeError(
                f"Job with submission_id {submission_id} already exists. Please use a different submission_id."
            )
        self.add(submission_id, **options)
        return submission_id

    def add(self, submission_id, **options):
        state = {"status": "PENDING", "driver_exit_code": None, "message": "waits"}
        self.jobs[submission_id] = types.SimpleNamespace(
            submission_id=submission_id, **state | options
        )

    def end(self, job, status, code):
        if status == "SUCCEEDED":
            name = job.metadata["run"]
            store.write_row(self.results, name, {"name": name, "accuracy": 0.5, "seconds": 60.0})
        job.status, job.driver_exit_code, job.message = status, code, "its actor died\nand more"

    def list_jobs(self):
        return list(self.jobs.values())

    def get_job_info(self, name):
        self.turn(self.jobs[name])
        return self.jobs[name]

    def get_job_logs(self, name):
        return f"said by {name}\n"


@pytest.fixture
def client(tmp_path, monkeypatch):
    """A Client whose jobs succeed."""
    monkeypatch.setattr(sweep, "POLL", 0.01)
    client = Client(tmp_path)
    client.turn = lambda job: client.end(job, "SUCCEEDED", 0)
    return client


def a_sweep(client, **options):
    return jobs.JobSweep([client, {"CPU": 2, "GPU": 0}], CELLS, client.results, **options)


def test_the_command_of_each_missing_cell_is_a_job_of_the_run_s_name(client, tmp_path, capsys):
    store.write_row(tmp_path, NAMES[0], {"name": NAMES[0], "accuracy": 0.25, "seconds": 1.0})
    work = a_sweep(client, data_dir="/my data")
    (printed,) = work.list_commands()
    assert work.run() == 0
    assert list(client.jobs) == NAMES[1:]
    assert client.jobs[NAMES[1]].entrypoint == shlex.join(printed)
    said = capsys.readouterr().out
    assert f"{NAMES[1]}: accuracy 0.5000" in said and "2 of 2 cells done, 0 failed" in said


@pytest.mark.parametrize(
    ("has", "device", "gpus", "threads", "at_once"),
    [
        ({"CPU": 8, "GPU": 0}, "auto", 0, "1", 8),
        ({"CPU": 8, "GPU": 2}, "auto", 1, None, 2),
        ({"CPU": 8, "GPU": 2}, "cpu", 0, "1", 8),
    ],
)
def test_a_job_takes_a_gpu_or_where_there_is_none_a_core(
    has, device, gpus, threads, at_once, client, tmp_path
):
    work = jobs.JobSweep([client, has], CELLS, tmp_path, device=device)
    assert len(work.slots) == at_once and work.run() == 0
    job = client.jobs[NAMES[0]]
    assert (job.entrypoint_num_cpus, job.entrypoint_num_gpus) == (1, gpus)
    assert job.runtime_env["env_vars"].get("TF_NUM_INTRAOP_THREADS") == threads
    assert ("--device=cpu" in job.entrypoint) == (device == "cpu")


@pytest.mark.parametrize("status", ["PENDING", "RUNNING"])
def test_a_job_of_an_earlier_command_is_followed(status, client, tmp_path, capsys):
    client.add(NAMES[1], status=status, metadata={"run": NAMES[1], "results": str(tmp_path)})
    assert a_sweep(client, jobs=1).run() == 0
    assert list(client.jobs) == NAMES[::-1]  # and first of all
    assert f"{NAMES[1]}: is a job already" in capsys.readouterr().out


def test_a_job_that_another_command_submits_meanwhile_is_followed(client, tmp_path):
    first, second, asked = a_sweep(client), a_sweep(client), itertools.count()
    client.turn = lambda job: next(asked) and client.end(job, "SUCCEEDED", 0)
    first._launch(first.cells[0])
    assert second.run() == 0
    assert list(client.jobs) == NAMES


@pytest.mark.parametrize(
    ("status", "results"),
    [("FAILED", None), ("STOPPED", None), ("SUCCEEDED", None), ("RUNNING", "/elsewhere")],
)
def test_a_run_whose_job_ended_or_is_another_folder_s_gets_a_new_job(
    status, results, client, tmp_path
):
    for name in (NAMES[0], f"{NAMES[0]}-2"):
        client.add(
            name, status=status, metadata={"run": NAMES[0], "results": results or str(tmp_path)}
        )
    client.add(None, status="RUNNING", metadata=None)  # a job that nobody submitted
    assert a_sweep(client).run() == 0
    assert set(client.jobs) == {
        None,
        *NAMES,
        f"{NAMES[0]}-2",
        f"{NAMES[0]}-3",
    }
    assert store.read_names(tmp_path) == set(NAMES)


def test_a_failed_job_is_named_with_its_error_and_stops_nothing(client, tmp_path, capsys):
    client.get_job_logs = lambda name: "begins\nerror: the loss is nan\nmore\n"
    client.turn = lambda job: client.end(
        job, *(("FAILED", 1) if job.submission_id == NAMES[0] else ("SUCCEEDED", 0))
    )
    assert a_sweep(client).run() == 1
    log = tmp_path / "runs" / NAMES[0] / "log.txt"
    assert capsys.readouterr().err == f"error: {NAMES[0]}: the loss is nan (see {log})\n"
    assert log.read_text() == "begins\nerror: the loss is nan\nmore\n"
    assert store.read_names(tmp_path) == {NAMES[1]}


@pytest.mark.parametrize("code", [None, -9, 143])
def test_a_job_that_was_killed_is_submitted_again_a_few_times(code, client, tmp_path, capsys):
    killed = itertools.count()
    client.turn = lambda job: client.end(
        job, *(("FAILED", code) if next(killed) < 3 else ("SUCCEEDED", 0))
    )
    assert a_sweep(client).run() == 0 and store.read_names(tmp_path) == set(NAMES)
    client.turn = lambda job: client.end(job, "FAILED", code)
    work = jobs.JobSweep([client, {"CPU": 1, "GPU": 0}], CELLS[:1], tmp_path / "other")
    before = len(client.jobs)
    assert work.run() == 1 and len(client.jobs) == before + 1 + jobs.RETRIES
    assert code == -9 or "its actor died (see" in capsys.readouterr().err


def test_a_job_that_is_stopped_is_not_submitted_again(client, capsys):
    client.turn = lambda job: client.end(job, "STOPPED", None)
    assert a_sweep(client).run() == 1 and len(client.jobs) == 2
    assert f"error: {NAMES[0]}: said by {NAMES[0]} (see" in capsys.readouterr().err


def test_ctrl_c_leaves_the_jobs_to_the_next_command(client, capsys):
    client.turn = lambda job: os.kill(os.getpid(), signal.SIGINT)
    assert a_sweep(client).run() == 130
    assert [job.status for job in client.jobs.values()] == ["PENDING", "PENDING"]
    assert "the jobs continue" in capsys.readouterr().out


def test_a_cluster_that_no_longer_answers_is_one_error(client):
    def gone(job):
        raise ConnectionError("refused")

    client.turn = gone
    with pytest.raises(OSError, match="^Ray does not answer, run the same command again: refused$"):
        a_sweep(client).run()


def test_an_address_is_auto_or_a_dashboard_s():
    with pytest.raises(
        ValueError, match=r"^--ray=10.0.0.1:6379 is neither auto nor .* --ray=http://HOST:8265$"
    ):
        jobs.connect("10.0.0.1:6379")


@pytest.mark.parametrize("listens", [False, True])
def test_no_cluster_is_one_error_in_time(listens, monkeypatch):
    pytest.importorskip(
        "ray.job_submission", reason="Ray is not installed: pip install -e '.[scale]'"
    )
    monkeypatch.setattr(jobs, "LIMIT", 2.0)
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "")
    with socket.socket() as server:  # connections to it are taken, and never answered
        server.bind(("127.0.0.1", 0))
        server.listen() if listens else None
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        start = time.monotonic()
        with pytest.raises(
            OSError, match=f"^no Ray cluster at {address}; run `ray start --head`, or pass "
        ):
            jobs.connect(address)
    assert time.monotonic() - start < 10


@pytest.fixture
def nodes(tmp_path, monkeypatch):
    """(cluster, its two nodes of one core each, its dashboard); the head has no cores."""
    cluster_utils = pytest.importorskip(
        "ray.cluster_utils", reason="Ray is not installed: pip install -e '.[scale]'"
    )
    (tmp_path / "run.py").write_text(f"SECONDS, FAILS = 0.5, None\n{RUN}")
    monkeypatch.setattr(sweep, "RUN", (sys.executable, str(tmp_path / "run.py")))
    monkeypatch.setenv("PYTHONPATH", str(pathlib.Path(jobs.__file__).parents[2]))
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    store = {"object_store_memory": 80_000_000}
    made = cluster_utils.Cluster(
        True,
        head_node_args={"num_cpus": 0, "include_dashboard": True, "dashboard_port": port, **store},
    )
    yield (
        made,
        [made.add_node(num_cpus=1, **store) for _ in range(2)],
        f"http://{made.head_node.webui_url}",
    )
    made.shutdown()


@pytest.mark.slow
def test_a_killed_command_and_a_dead_node_cost_no_run(nodes, tmp_path, capsys):
    made, (first, _), address = nodes

    (tmp_path / "trained.txt").touch()

    def trained():
        return (tmp_path / "trained.txt").read_text().splitlines()

    code = f"""
import pathlib
from selectnet_tf.runs import plan, sweep
from selectnet_tf.scale import jobs
sweep.RUN = {sweep.RUN!r}
cells = plan.make_grid("table1", epochs=40, archs=["simple"], methods=["imbalanced", "context"])
jobs.JobSweep(jobs.connect({address!r}), cells, pathlib.Path({str(tmp_path)!r})).run()
"""
    command = subprocess.Popen([sys.executable, "-c", code])
    while {line.split()[0] for line in trained()} != set(NAMES):
        time.sleep(0.1)
        assert command.poll() is None
    command.kill()
    command.wait()
    before = len(trained())
    work = jobs.JobSweep(jobs.connect(address), CELLS, tmp_path)
    assert work.ids == {name: name for name in NAMES}
    deadline = time.monotonic() + 60
    while len(trained()) == before and time.monotonic() < deadline:
        time.sleep(0.1)
    assert len(trained()) > before  # nobody watched, and they trained
    made.remove_node(first, allow_graceful=False)
    assert work.run() == 0
    assert store.read_names(tmp_path) == set(NAMES)
    assert len(trained()) == len(set(trained())) == 80  # no epoch was trained twice
    said = capsys.readouterr().out
    assert said.count("is a job already, resumes after epoch") == 2
    assert "killed, or its node died; resumes after epoch" in said
