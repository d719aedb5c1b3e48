"""Cards that a stand-in for nvidia-smi lists, on machines with and without a TensorFlow that finds them."""

import json
import os
import subprocess
import sys
import types

import pytest
from conftest import selectnet

from selectnet_tf import _devices

LISTED = """GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-1)
  MIG 1g.10gb     Device  0: (UUID: MIG-1)
GPU 1: Tesla T4 (UUID: GPU-2)"""


@pytest.fixture
def nvidia_smi(tmp_path, monkeypatch):
    """Puts an nvidia-smi on PATH that prints a text: (text, exit code) -> None."""

    def install(text=LISTED, code=0):
        path = tmp_path / "bin" / "nvidia-smi"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\ncat <<'END'\n{text}\nEND\nexit {code}\n")
        path.chmod(0o755)
        _devices.ask_driver.cache_clear()

    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("TF_CONFIG", raising=False)
    _devices.ask_driver.cache_clear()
    yield install
    _devices.ask_driver.cache_clear()


@pytest.mark.parametrize(
    ("text", "code", "names"),
    [
        (LISTED, 0, ["NVIDIA H100 80GB HBM3", "Tesla T4"]),
        (LISTED, 14, ["NVIDIA H100 80GB HBM3", "Tesla T4"]),
        ("GPU 0:", 0, ["unnamed"]),
    ],
)
def test_cards_are_those_that_the_driver_lists(text, code, names, nvidia_smi):
    nvidia_smi(text, code)
    assert _devices.ask_driver() == (names, "")


MISMATCH = "Failed to initialize NVML: Driver/library version mismatch"


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        (f"{MISMATCH}\nNVML library version: 570.1", 18, f"nvidia-smi fails (exit 18): {MISMATCH}: restart the machine"),
        ("", 9, "nvidia-smi fails (exit 9): no output: "),
        ("END\nexec sleep 30\n", 0, "nvidia-smi gave no answer in 0.2 s: "),
    ],
)  # fmt: skip
def test_a_driver_that_fails_or_hangs_is_a_problem(text, code, words, nvidia_smi, monkeypatch):
    monkeypatch.setattr(_devices, "LIMIT", 0.2)
    nvidia_smi(text, code)
    problem = _devices.find_problem()
    assert problem.startswith(words) and "--device=cpu" in problem and "\n" not in problem
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert _devices.find_problem() == ""


def test_the_driver_is_asked_once_a_process(nvidia_smi, tmp_path):
    nvidia_smi(f"END\necho asked >> {tmp_path / 'asked'}\ncat <<'END'\n{LISTED}")
    assert len(_devices.visible_gpus()) == len(_devices.visible_gpus()) == 2
    assert (tmp_path / "asked").read_text() == "asked\n"


def test_a_machine_without_nvidia_smi_has_no_card(nvidia_smi):
    assert _devices.ask_driver() == ([], "")
    assert _devices.visible_gpus() == [] and _devices.find_problem() == ""


@pytest.mark.parametrize(
    ("given", "visible"),
    [(None, ["0", "1"]), ("1", ["1"]), ("", []), ("-1", []), ("GPU-1,GPU-2", ["GPU-1", "GPU-2"])],
)
def test_cuda_visible_devices_chooses(given, visible, nvidia_smi, monkeypatch):
    nvidia_smi()
    if given is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    assert _devices.visible_gpus() == visible


@pytest.mark.parametrize(
    ("found", "words"),
    [(0, "nvidia-smi lists NVIDIA H100 80GB HBM3, Tesla T4, but TensorFlow finds no GPU"), (1, "")],
)
def test_cards_that_tensorflow_does_not_find_are_a_problem(found, words, nvidia_smi, monkeypatch):
    nvidia_smi()
    monkeypatch.setattr(_devices, "count_gpus", lambda: found)
    problem = _devices.find_problem()
    assert problem.startswith(words) and bool(problem) == bool(words)
    assert not words or (
        "pip install 'tensorflow[and-cuda]'" in problem
        and "--device=cpu" in problem
        and "\n" not in problem
    )
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # whoever hides the cards knows it
    assert _devices.find_problem() == ""


def test_a_process_without_tensorflow_asks_a_child(tmp_path, monkeypatch):
    (tmp_path / "tensorflow.py").write_text(
        "import types\nconfig = types.SimpleNamespace(list_physical_devices=lambda kind: ['a', 'b'])\nprint('greeting')"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(
        _devices, "sys", types.SimpleNamespace(modules={}, executable=sys.executable)
    )
    assert _devices.count_gpus() == 2
    (tmp_path / "tensorflow.py").write_text("import os; os.abort()")
    assert _devices.count_gpus() == 0


@pytest.mark.parametrize(
    ("command", "flags"),
    [
        pytest.param("train", ["--dataset=digits-4minor"], marks=pytest.mark.slow),
        ("sweep", ["table1", "--datasets=digits-4minor"]),
    ],
)
def test_a_run_and_a_sweep_stop_with_the_cure(command, flags, nvidia_smi, tmp_path):
    nvidia_smi(MISMATCH, 18)
    found = selectnet(command, *flags, f"--results_dir={tmp_path / 'results'}")
    assert (found.returncode, found.stdout) == (1, "")
    assert found.stderr.startswith(f"error: nvidia-smi fails (exit 18): {MISMATCH}")
    assert found.stderr.count("\n") == 1 and not (tmp_path / "results" / "runs").exists()


@pytest.mark.parametrize(
    ("text", "code", "flags", "exit_code", "printed"),
    [
        (LISTED, 0, [], 0, "gpu\n"),
        (LISTED, 0, ["cpu"], 0, "\n"),
        (MISMATCH, 18, [], 1, ""),
        (MISMATCH, 18, ["cpu"], 0, "\n"),
    ],
)
def test_make_installs_the_extra_that_the_cards_need(
    text, code, flags, exit_code, printed, nvidia_smi
):
    nvidia_smi(text, code)
    found = subprocess.run(
        [sys.executable, "-m", "selectnet_tf._devices", *flags], capture_output=True, text=True
    )
    assert (found.returncode, found.stdout) == (exit_code, printed)
    assert bool(found.stderr) == (exit_code == 1)


def test_the_cpu_by_choice_is_no_problem(nvidia_smi, monkeypatch):
    nvidia_smi()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")  # so that the test's end restores it
    _devices.hide_gpus_for_cpu("auto")
    assert _devices.visible_gpus() == ["0"]
    _devices.hide_gpus_for_cpu("cpu")
    assert _devices.visible_gpus() == [] and _devices.find_problem() == ""


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}}, "over 2 machines"),
        ({"cluster": {"chief": ["a:1"], "worker": ["b:1", "c:1"], "ps": ["d:1"]}}, "over 3 machines"),
        ({"cluster": {"chief": ["a:1"]}}, ""),
        ({}, ""),
        ([1], ""),
        ('{"cluster":', ""),  # torn: TensorFlow does not read it either
    ],
)  # fmt: skip
def test_one_training_over_several_machines_is_refused(config, words, nvidia_smi, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", config if isinstance(config, str) else json.dumps(config))
    problem = _devices.find_problem()
    assert words in problem and bool(problem) == bool(words)
    assert not words or (
        "keras#20585" in problem and "docs/machines.md" in problem and "\n" not in problem
    )


def test_libraries_that_do_not_load_are_named(tmp_path):
    absent = _devices.missing_cuda_libraries("12.5.1", "9", tmp_path)
    known = {f"lib{word}" for word in _devices.LIBRARIES["12"].split()}
    assert set(absent) <= known | {"libcudnn.so.9"}
    broken = tmp_path / "nvidia" / "cudnn" / "lib" / "libcudnn.so.99"
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b"no library")
    assert _devices.missing_cuda_libraries("99", "99.1", tmp_path) == ["libcudnn.so.99"]


def test_shares_of_threads_and_of_gpus(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(_devices, "count_cores", lambda: 8)
    assert _devices.environment_of_job(0, 1) == {}
    assert _devices.environment_of_job(1, 3)["TF_NUM_INTRAOP_THREADS"] == "2"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,7")
    for jobs in (2, 3):  # as many GPUs each: any slot can resume a run, on as many replicas
        assert [_devices.environment_of_job(slot, jobs) for slot in range(jobs)] == [
            {"CUDA_VISIBLE_DEVICES": gpu} for gpu in "457"[:jobs]
        ]
    assert _devices.environment_of_job(4, 5) == {
        "CUDA_VISIBLE_DEVICES": "5",
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    }
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3,4")
    assert _devices.environment_of_job(1, 2) == {"CUDA_VISIBLE_DEVICES": "2,3"}


@pytest.mark.parametrize(("gpus", "cores", "jobs"), [("0,1,2", 8, 3), ("", 8, 2), ("", 1, 1)])
def test_the_usual_jobs_are_one_a_gpu_or_two_on_cores(gpus, cores, jobs, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", gpus)
    monkeypatch.setattr(_devices, "count_cores", lambda: cores)
    assert _devices.default_jobs() == jobs


@pytest.mark.parametrize(
    ("inner", "outer", "cores"),
    [
        ("max 100000", "max 100000", 8),
        ("150000 100000", "max 100000", 2),
        ("max 100000", "1000 100000", 1),
        (None, None, 8),
    ],
)
def test_a_quota_of_a_container_counts_as_cores(inner, outer, cores, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(_devices, "CGROUPS", tmp_path)
    monkeypatch.setattr(_devices, "OWN_CGROUP", tmp_path / "own")
    (tmp_path / "own").write_text("4:memory:/else\n0::/pod/box\n")
    (tmp_path / "pod" / "box").mkdir(parents=True)
    for folder, text in (("pod/box", inner), ("pod", outer)):
        if text:
            (tmp_path / folder / "cpu.max").write_text(f"{text}\n")
    assert _devices.count_cores() == cores
