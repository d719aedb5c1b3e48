"""Sweeps over a stand-in for selectnet_tf.run that takes the run's lock, leaves its files and its row, and needs no TensorFlow."""

import contextlib
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import pytest
from conftest import RUN

from selectnet_tf import recipes
from selectnet_tf._csv_files import read_csv
from selectnet_tf._files import write_npz
from selectnet_tf._locks import lock
from selectnet_tf.runs import plan, store, sweep


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """Makes sweep.RUN the stand-in: (seconds an epoch, method that fails) -> None."""

    def use(seconds=0.05, fails=None):
        path = tmp_path / "run.py"
        path.write_text(f"SECONDS, FAILS = {seconds}, {fails!r}\n{RUN}")
        monkeypatch.setattr(sweep, "RUN", (sys.executable, str(path)))
        monkeypatch.setattr(sweep, "POLL", 0.02)
        return path

    return use


CELLS = plan.make_grid("table1", epochs=3, archs=["simple"])


def test_a_schedule_of_lambda_is_for_what_has_one():
    found = plan.make_grid("table4", epochs=20, methods=["imbalanced", "candidates", "selectnet"])
    assert [(r.selection.method, r.selection.lambda_schedule) for r in found] == [
        ("imbalanced", "constant"), ("candidates", "constant"), ("selectnet", "constant"), ("selectnet", "0.4:0.6"), ("selectnet", "0.6:0.4"),
    ]  # fmt: skip


def trained(results):
    lines = (results / "trained.txt").read_text().splitlines()
    return sorted(line.removesuffix(" 1") for line in lines if line.endswith(" 1"))


@pytest.mark.parametrize("jobs", [1, 3])
def test_each_missing_cell_is_trained_once(jobs, stand_in, tmp_path, capsys):
    stand_in()
    store.write_row(
        tmp_path, CELLS[1].name, {"name": CELLS[1].name, "accuracy": 0.25, "seconds": 1.0}
    )
    assert sweep.Sweep([*CELLS, CELLS[0]], tmp_path, jobs=jobs).run() == 0
    assert trained(tmp_path) == sorted(c.name for c in CELLS if c is not CELLS[1])
    assert store.read_names(tmp_path) == {c.name for c in CELLS}
    assert store.read_row(tmp_path, CELLS[1].name)["accuracy"] == "0.25"
    said = capsys.readouterr().out
    assert said.count("accuracy 0.5000") == 4
    assert "5 of 5 cells done, 0 failed" in said
    assert "left" in said


def test_a_failing_cell_is_named_at_the_end_and_stops_nothing(stand_in, tmp_path, capsys):
    stand_in(fails="oversampling")
    assert sweep.Sweep(CELLS[:3], tmp_path, jobs=2).run() == 1
    assert len(store.read_names(tmp_path)) == 2
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 1
    assert error[0].startswith(f"error: {CELLS[1].name}: the loss is nan (see ")
    assert "log.txt" in error[0]


def command(path, results, jobs=1):
    """A sweep in a process of its own."""
    code = f"""
import pathlib, sys
from selectnet_tf.runs import plan, sweep
sweep.RUN, sweep.POLL = (sys.executable, {str(path)!r}), 0.02
sys.exit(sweep.Sweep(plan.make_grid("table1", epochs=3, archs=["simple"]), pathlib.Path({str(results)!r}), jobs={jobs}).run())
"""
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def test_a_sweep_that_fails_itself_leaves_no_run_alone(stand_in, tmp_path, monkeypatch):
    stand_in(seconds=60)
    calls = iter([set(), set(), set()])  # the third process starts no more

    def read_names(results):
        for names in calls:
            return names
        raise ValueError("runs.csv is damaged")

    monkeypatch.setattr(store, "read_names", read_names)
    work = sweep.Sweep(CELLS, tmp_path, jobs=3)
    with pytest.raises(ValueError, match="damaged"):
        work.run()
    assert [cell.process.poll() for cell in work.running] == [-signal.SIGTERM] * 2


def test_a_second_signal_does_not_cut_the_wait_for_the_runs(tmp_path, monkeypatch):
    def raises(number):
        return lambda _: signal.raise_signal(number)

    monkeypatch.setattr(sweep.Sweep, "_start_next", raises(signal.SIGTERM))
    monkeypatch.setattr(sweep.Sweep, "_stop", raises(signal.SIGINT))
    assert sweep.Sweep(CELLS, tmp_path).run() == 128 + signal.SIGTERM


def test_a_sweep_that_starts_no_run_speaks_of_none(tmp_path, capsys):
    (tmp_path / "runs").touch()
    with pytest.raises(NotADirectoryError):
        sweep.Sweep(CELLS, tmp_path).run()
    assert capsys.readouterr().out == ""


def test_two_sweeps_share_one_folder(stand_in, tmp_path):
    path = stand_in(0.1)
    both = [command(path, tmp_path) for _ in range(2)]
    said = [process.communicate(timeout=60)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert trained(tmp_path) == sorted(c.name for c in CELLS)  # none twice
    assert all("5 of 5 cells done" in text for text in said)
    assert all(
        f"{c.name}: accuracy" in "".join(said) for c in CELLS
    )  # by both, where both began it at once and one found it done


def test_a_cell_that_another_sweep_finishes_meanwhile_is_done(
    stand_in, tmp_path, monkeypatch, capsys
):
    stand_in()
    look = sweep.Cell.is_busy

    def finished_after_the_look(cell):
        busy = look(cell)
        store.write_row(tmp_path, cell.name, {"name": cell.name, "accuracy": 0.25, "seconds": 60.0})
        return busy

    monkeypatch.setattr(sweep.Cell, "is_busy", finished_after_the_look)
    assert sweep.Sweep(CELLS[:2], tmp_path).run() == 0 and not (tmp_path / "trained.txt").exists()
    said = capsys.readouterr().out
    assert said.count("starts") == said.count("accuracy 0.2500") == 2
    assert "2 of 2 cells done, 0 failed" in said


def test_a_run_that_finds_its_lock_held_is_started_again(stand_in, tmp_path, monkeypatch, capsys):
    stand_in()
    look, seen, held = sweep.Cell.is_busy, [], contextlib.ExitStack()

    def taken_after_the_look_and_freed_before_the_next(cell):
        held.close()
        busy = look(cell)
        if not seen:
            held.enter_context(lock(cell.folder / ".lock"))
        seen.append(cell)
        return busy

    monkeypatch.setattr(sweep.Cell, "is_busy", taken_after_the_look_and_freed_before_the_next)
    assert sweep.Sweep(CELLS[:2], tmp_path).run() == 0
    assert trained(tmp_path) == sorted(c.name for c in CELLS[:2])
    said = capsys.readouterr().out
    assert said.count(f"{CELLS[0].name}: starts") == 2 and "2 of 2 cells done, 0 failed" in said


def wait_for(found, seconds=30):
    end = time.time() + seconds
    while not found():
        assert time.time() < end
        time.sleep(0.02)


def alive(results):
    """Processes that still train into results."""
    listed = subprocess.run(
        ["ps", "-eo", "pid,args"], capture_output=True, text=True
    ).stdout.splitlines()
    return [line for line in listed if f"--results_dir={results}" in line]


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGKILL,
        *(
            pytest.param(number, marks=pytest.mark.slow)
            for number in (signal.SIGTERM, signal.SIGINT)
        ),
    ],
)
def test_a_killed_sweep_stops_its_runs_and_resumes_them(number, stand_in, tmp_path):
    path = stand_in(
        2
    )  # slow enough that both runs are half trained at some moment, however late one starts
    first = command(path, tmp_path, jobs=2)
    halves = [tmp_path / "runs" / c.name / "state.npz" for c in CELLS[:2]]
    wait_for(lambda: all(half.exists() for half in halves))
    os.kill(first.pid, number)
    first.communicate(timeout=30)
    assert first.returncode == (-9 if number == signal.SIGKILL else 128 + number)
    wait_for(lambda: not alive(tmp_path))
    done = store.read_names(tmp_path)
    stand_in()
    second = command(path, tmp_path, jobs=2)
    said = second.communicate(timeout=60)[0]
    assert second.returncode == 0 and store.read_names(tmp_path) == {c.name for c in CELLS}
    assert len(done) == 0 and said.count("resumes after epoch") == 2


def test_the_rows_are_read_no_more_often_for_more_cells(tmp_path, monkeypatch):
    work, calls = store.read_rows, []
    monkeypatch.setattr(store, "read_rows", lambda results: calls.append(0) or work(results))
    for count in (1, 5):
        sweep.Sweep(CELLS[:count], tmp_path)
    assert len(calls) == 4


def test_the_plan_counts_and_trains_nothing(tmp_path):
    store.write_row(
        tmp_path, CELLS[1].name, {"name": CELLS[1].name, "accuracy": 0.5, "seconds": 1.0}
    )
    half = tmp_path / "runs" / CELLS[2].name
    half.mkdir(parents=True)
    write_npz(half / "state.npz", position=[1, 0])
    text = sweep.Sweep(CELLS, tmp_path).plan()
    assert f"done  {CELLS[1].name}" in text and CELLS[2].name not in text
    all_cells = next(line for line in text.splitlines() if line.startswith("all"))
    assert all_cells.split()[1:5] == ["5", "1", "1", "3"] and all_cells.endswith("min")
    assert {p.name for p in (tmp_path / "runs").iterdir()} == {c.name for c in CELLS[1:3]}


@pytest.mark.parametrize(("gpus", "hours"), [("", "1.0 h"), ("0,1", "0.7 h")])
def test_runs_that_share_cores_gain_less_than_their_number(gpus, hours, tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", gpus)
    monkeypatch.setattr(
        sweep.plan, "estimate_seconds", lambda recipe, known: 0.26 * 3600
    )  # 1.3 hours one after another
    monkeypatch.setattr(sweep.plan, "format_hours", lambda seconds: f"{seconds / 3600:.1f} h")
    assert sweep.Sweep(CELLS, tmp_path, jobs=2).plan().endswith(f"2 at once: about {hours}")
    assert "at once" not in sweep.Sweep(CELLS, tmp_path, jobs=1).plan()


@pytest.mark.parametrize(
    ("options", "cells"),
    [
        ({}, 30),
        ({"seeds": (0, 1)}, 60),
        ({"archs": ["simple"]}, 5),
        ({"datasets": ["cifar100-4minor"], "methods": ["oracle"]}, 2),
        ({"datasets": ["digits-4minor"], "archs": ["simple"]}, 5),  # not in the table: added
        ({"archs": ["simple", "resnet32"], "datasets": ["cifar10-4minor"]}, 10),
        ({"archs": ["simple", "resnet20"], "datasets": ["cifar10-4minor", "cifar100-4minor"]}, 20),
        ({"archs": ["resnet20", "resnet32"]}, 25),  # resnet32 on each of the three data sets
    ],
)
def test_narrower_and_wider_grids(options, cells):
    assert len(plan.make_grid("table1", **options)) == cells


def test_the_grid_begins_with_the_cheapest_column_and_maps_released_to_v2():
    archs = [r.training.arch for r in plan.make_grid("table1", preset="released")]
    assert list(dict.fromkeys(archs)) == ["simple", "resnet20v2", "resnet56v2"]
    assert {r.training.arch for r in plan.make_grid("table3", preset="released")} == {"resnet32"}
    assert [r.selection.lambda_schedule for r in plan.make_grid("table4")] == [
        "constant",
        "0.4:0.6",
        "0.6:0.4",
    ]


def test_flags_give_the_recipe_back():
    for recipe in (
        recipes.make(),
        recipes.make(method="context", seed=3, epochs=20, minor=(1, 2)),
        *plan.make_grid("table3", preset="released"),
    ):
        given = dict(flag[2:].split("=") for flag in recipe.flags())
        kinds = {"seed": int, "epochs": int, "minor": lambda v: tuple(map(int, v.split(",")))}
        assert recipes.make(**{k: kinds.get(k, str)(v) for k, v in given.items()}) == recipe


def experiment(name, *flags):
    home = pathlib.Path(__file__).parent.parent.parent
    return subprocess.run(
        [sys.executable, home / "experiments" / f"{name}.py", *flags],
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("name", ["table1", "figure2"])
def test_every_experiment_has_a_plan(name, tmp_path):
    found = experiment(name, "--dry", f"--results_dir={tmp_path}", "--seeds=0")
    assert found.returncode == 0 and re.search(
        rf"^all +{len(plan.make_grid(name))} ", found.stdout, re.MULTILINE
    ), found.stderr


@pytest.mark.slow
def test_a_real_sweep_killed_twice_ends_as_one_that_was_not(tmp_path):
    flags = ["--datasets=digits-4minor", "--archs=simple", "--methods=imbalanced,context"]
    flags += ["--seeds=0", "--epochs=12", "--jobs=2"]
    assert experiment("table1", *flags, f"--results_dir={tmp_path / 'whole'}").returncode == 0
    home, killed = pathlib.Path(__file__).parent.parent.parent, tmp_path / "killed"
    for epoch in (3, 10):
        process = subprocess.Popen(
            [sys.executable, home / "experiments" / "table1.py", *flags, f"--results_dir={killed}"]
        )
        wait_for(
            lambda e=epoch: any(len(read_csv(p)) >= e for p in killed.glob("runs/*/epochs.csv")),
            120,
        )
        process.kill()
        process.wait()
        for line in alive(
            killed
        ):  # kill -9 for the runs as well, not only what the sweep's end does to them
            os.kill(int(line.split()[0]), signal.SIGKILL)
        wait_for(lambda: not alive(killed))
    assert experiment("table1", *flags, f"--results_dir={killed}").returncode == 0
    whole = {run.name: run.row for run in store.read_runs(tmp_path / "whole")[0]}
    again = {run.name: run.row for run in store.read_runs(killed)[0]}
    times = {"seconds", "selection_seconds"}
    assert len(whole) == 2
    assert {n: {k: v for k, v in r.items() if k not in times} for n, r in whole.items()} == {
        n: {k: v for k, v in r.items() if k not in times} for n, r in again.items()
    }
    for name in whole:
        folders = [tmp_path / kind / "runs" / name for kind in ("whole", "killed")]
        assert (
            folders[0].joinpath("epochs.csv").read_text()
            == folders[1].joinpath("epochs.csv").read_text()
        )
