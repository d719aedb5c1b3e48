"""The tables' command, where it does not train; what it trains is tested in runs/test_sweep.py."""

import os
import pathlib
import re
import shlex
import subprocess
import sys

import pytest
from conftest import write_run

from selectnet_tf import recipes

HOME = pathlib.Path(__file__).parents[2]


def test_print_gives_a_command_for_each_missing_cell(tmp_path):
    made = {"dataset": "digits-4minor", "epochs": 4, "every": 4}
    (tmp_path / "my results").mkdir()
    write_run(tmp_path / "my results", **made, method="context")
    words = [
        "table1",
        "--print",
        "--datasets=digits-4minor",
        "--archs=simple",
        "--epochs=4",
        "--seeds=0",
        "--device=cpu",
    ]
    words += [
        "--methods=context,selectnet,oversampling",
        "--results_dir=my results",
        "--data_dir=data",
    ]
    found = subprocess.run(
        [sys.executable, "-m", "selectnet_tf", "sweep", *words],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert found.returncode == 0, found.stderr
    lines = [shlex.split(line) for line in found.stdout.splitlines()]
    places = [
        f"--results_dir={tmp_path / 'my results'}",
        f"--data_dir={tmp_path / 'data'}",
        "--device=cpu",
    ]
    assert [line[:3] + line[-3:] for line in lines] == [
        [sys.executable, "-m", "selectnet_tf.run", *places]
    ] * 2
    given = [dict(word.removeprefix("--").split("=", 1) for word in line[3:-3]) for line in lines]
    assert {
        recipes.make(
            **g | {field: int(g[field]) for field in ("epochs", "every") if field in g}
        ).name
        for g in given
    } == {recipes.make(**made, method=method).name for method in ("selectnet", "oversampling")}


def test_commands_that_found_no_room_are_no_success():
    words = [
        "table1",
        "--print",
        "--datasets=digits-4minor",
        "--archs=simple",
        "--seeds=0",
        "--methods=context",
    ]
    with open("/dev/full", "w") as full:
        found = subprocess.run(
            [sys.executable, "-m", "selectnet_tf", "sweep", *words],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert found.returncode == 1 and found.stderr == "error: [Errno 28] No space left on device\n"


def test_who_reads_enough_commands_ends_without_an_error():
    words = [
        sys.executable,
        "-m",
        "selectnet_tf",
        "sweep",
        "table1",
        "--print",
        f"--seeds={','.join(map(str, range(300)))}",
    ]
    found = subprocess.run(
        ["/bin/bash", "-c", f"set -o pipefail; {shlex.join(words)} | head -1"],
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0 and found.stderr == "" and found.stdout.count("\n") == 1


def test_the_home_folder_is_the_same_one_for_the_sweep_and_its_runs(tmp_path):
    words = [
        "table1",
        "--print",
        "--datasets=digits-4minor",
        "--archs=simple",
        "--seeds=0",
        "--methods=context",
    ]
    words += ["--results_dir=~/results", "--data_dir=~/data"]
    command, home = (
        [sys.executable, "-m", "selectnet_tf", "sweep", *words],
        {**os.environ, "HOME": str(tmp_path)},
    )
    found = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=home)
    assert shlex.split(found.stdout)[-2:] == [
        f"--results_dir={tmp_path / 'results'}",
        f"--data_dir={tmp_path / 'data'}",
    ], found.stderr
    assert not (tmp_path / "~").exists()


def test_without_ray_the_extra_is_named(tmp_path):
    (tmp_path / "ray.py").write_text("raise ImportError")
    words = [
        sys.executable,
        "-m",
        "selectnet_tf",
        "sweep",
        "table1",
        "--datasets=digits-4minor",
        "--ray=auto",
        "--results_dir=results",
    ]
    found = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path)
    assert found.returncode == 1 and found.stdout == ""
    assert found.stderr == "error: --ray needs Ray: python -m pip install -e '.[scale]'\n"


@pytest.mark.parametrize(("code", "requeued"), [(143, True), (0, False), (1, False)])
def test_the_slurm_template_goes_on_with_what_its_time_limit_stopped(code, requeued, tmp_path):
    page = (HOME / "docs" / "machines.md").read_text(encoding="utf-8")
    script = re.search(r"```bash\n(.*?)```", page, re.DOTALL)[1]
    assert "#SBATCH --signal=TERM@" in script and len(script.splitlines()) == 15
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
    assert (tmp_path / "ran").read_text() == "two words\n" and (
        tmp_path / "requeued"
    ).exists() == requeued
    assert not requeued or (tmp_path / "requeued").read_text() == "requeue 77_2\n"
