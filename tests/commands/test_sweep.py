"""The tables' command, where it does not train; what it trains is tested in runs/test_sweep.py."""

import os
import pathlib
import re
import shlex
import subprocess
import sys

import pytest
from conftest import selectnet, write_run

from selectnet_tf import recipes

HOME = pathlib.Path(__file__).parents[2]
CELL = ("sweep", "table1", "--print", "--datasets=digits-4minor", "--archs=simple", "--seeds=0")


def test_print_gives_a_command_for_each_missing_cell(tmp_path):
    made = {"dataset": "digits-4minor", "epochs": 4, "every": 2}
    (tmp_path / "my results").mkdir()
    write_run(tmp_path / "my results", **made, method="context")
    words = [*CELL, "--epochs=4", "--device=cpu", "--results_dir=my results", "--data_dir=data"]
    found = selectnet(*words, "--methods=context,selectnet,oversampling", cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    lines = [shlex.split(line) for line in found.stdout.splitlines()]
    places = [f"--results_dir={tmp_path / 'my results'}", f"--data_dir={tmp_path / 'data'}"]
    run = [sys.executable, "-m", "selectnet_tf.run", *places, "--device=cpu"]
    assert [line[:3] + line[-3:] for line in lines] == [run] * 2
    given = [dict(word.removeprefix("--").split("=", 1) for word in line[3:-3]) for line in lines]
    assert {
        recipes.make(
            **g | {field: int(g[field]) for field in ("epochs", "every", "seed") if field in g}
        ).name
        for g in given
    } == {recipes.make(**made, method=method).name for method in ("selectnet", "oversampling")}


def test_printed_commands_carry_the_folder_of_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("SELECTNET_DATA", "data")
    found = selectnet(*CELL, "--epochs=4", "--methods=context", cwd=tmp_path)
    assert f"--data_dir={tmp_path / 'data'}" in shlex.split(found.stdout)


def test_the_home_folder_is_the_same_one_for_the_sweep_and_its_runs(tmp_path):
    words = [*CELL, "--methods=context", "--results_dir=~/results", "--data_dir=~/data"]
    found = selectnet(*words, cwd=tmp_path, env={**os.environ, "HOME": str(tmp_path)})
    places = [f"--results_dir={tmp_path / 'results'}", f"--data_dir={tmp_path / 'data'}"]
    assert shlex.split(found.stdout)[-2:] == places, found.stderr
    assert not (tmp_path / "~").exists()


def test_a_damaged_table_is_no_wrong_flag(tmp_path):
    (tmp_path / "runs.csv").write_text("no,columns\n1,2\n")
    flags = ["--dry", "--datasets=digits-4minor", "--results_dir=."]
    found = selectnet("sweep", "table1", *flags, cwd=tmp_path)
    assert found.returncode == 1 and "runs.csv:1: no column name" in found.stderr, found.stdout
    assert selectnet("sweep", "table1", "--ray=here", *flags[1:], cwd=tmp_path).returncode == 2


def test_without_ray_the_extra_is_named(tmp_path):
    (tmp_path / "ray.py").write_text("raise ImportError")
    flags = ["--datasets=digits-4minor", "--ray=auto", "--results_dir=results"]
    found = selectnet("sweep", "table1", *flags, cwd=tmp_path)
    assert found.returncode == 1 and found.stdout == ""
    cure = f"{sys.executable} -m pip install -e '.[scale]'"
    assert found.stderr == f"error: --ray needs Ray: {cure}\n"


@pytest.mark.parametrize(("code", "requeued"), [(143, True), (0, False), (1, False)])
def test_the_slurm_template_goes_on_with_what_its_time_limit_stopped(code, requeued, tmp_path):
    page = (HOME / "docs" / "machines.md").read_text(encoding="utf-8")
    script = re.search(r"```bash\n(.*?)```", page, re.DOTALL)[1]
    assert "#SBATCH --signal=TERM@" in script
    stubs = {"srun": '#!/bin/sh\nexec "$@"\n', "scontrol": '#!/bin/sh\necho "$@" > requeued\n'}
    for name, text in stubs.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    (tmp_path / "commands.txt").write_text(
        f"exit 9\nsh -c 'echo \"$1\" > ran; exit {code}' - 'two words'\n"
    )
    environment = {
        "PATH": f"{tmp_path}:/usr/bin:/bin",
        "SLURM_ARRAY_TASK_ID": "2",
        "SLURM_ARRAY_JOB_ID": "77",
    }
    assert subprocess.run(["bash", "-c", script], cwd=tmp_path, env=environment).returncode == code
    assert (tmp_path / "ran").read_text() == "two words\n"
    assert (tmp_path / "requeued").exists() == requeued
    assert not requeued or (tmp_path / "requeued").read_text() == "requeue 77_2\n"
