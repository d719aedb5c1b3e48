"""The doctor on machines that are well, that lack something, and whose TensorFlow dies."""

import pathlib
import signal
import subprocess
import sys
import types

import pytest
from conftest import selectnet
from test__devices import nvidia_smi  # noqa: F401

from selectnet_tf import _devices
from selectnet_tf.commands import doctor

LINES = ["Python", "TensorFlow", "Keras", "GPU", "CUDA", "oneDNN", "memory", "disk", "CIFAR"]
LINES += ["one step"]
FOUND = {
    "tensorflow": "2.21.0", "keras": "3.15.1", "keras_problem": "", "with_cuda": True, "cuda": "12.5.1", "cudnn": "9",
    "gpus": [], "home": "/nowhere", "steps": {"CPU:0": 0.0123},
}  # fmt: skip


@pytest.fixture
def examine(tmp_path, monkeypatch, nvidia_smi):  # noqa: F811
    """{what: (text, problem)} of a machine whose TensorFlow says `FOUND` and these changes."""
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.delenv("SELECTNET_DATA", raising=False)
    monkeypatch.setattr(_devices, "missing_cuda_libraries", lambda *_: [])

    def examine(data_dir=None, results=tmp_path, replace=None, **changes):
        monkeypatch.setattr(doctor, "ask_tensorflow", lambda: replace or FOUND | changes)
        return {
            what: (text, problem)
            for what, text, problem in doctor.examine(data_dir, pathlib.Path(results))
        }

    return examine


def test_ten_lines_of_a_machine_that_is_well(examine):
    found = examine()
    assert list(found) == LINES and not any(problem for _, problem in found.values())
    assert found["TensorFlow"][0] == "2.21.0, built with CUDA 12.5.1"
    assert found["GPU"][0] == "the driver lists none; TensorFlow finds none"
    assert found["one step"][0] == "CPU:0 12.3 ms (simple net, 32 images)"


def test_cards_without_their_libraries(examine, nvidia_smi, monkeypatch):  # noqa: F811
    nvidia_smi("GPU 0: Tesla T4 (UUID: GPU-2)")
    monkeypatch.setattr(_devices, "missing_cuda_libraries", lambda *_: ["libcudnn.so.9"])
    found = examine()
    assert found["GPU"] == (
        "the driver lists 1 (Tesla T4); TensorFlow finds none",
        "CUDA libraries are missing: see the next line",
    )
    assert found["CUDA"] == (
        "not loading: libcudnn.so.9",
        f"{sys.executable} -m pip install 'tensorflow[and-cuda]'",
    )
    monkeypatch.setattr(_devices, "missing_cuda_libraries", lambda *_: [])
    assert "update the driver" in examine()["GPU"][1]
    assert "has no GPU support" in examine(with_cuda=False)["GPU"][1]
    assert examine(gpus=["Tesla T4"], steps={"CPU:0": 0.1, "GPU:0": "no kernel image"})[
        "one step"
    ] == (
        "CPU:0 100.0 ms, GPU:0 fails (simple net, 32 images)",
        "GPU:0: no kernel image; update the driver, or give --device=cpu",
    )


def test_a_driver_that_fails_is_not_a_machine_without_cards(examine, nvidia_smi, monkeypatch):  # noqa: F811
    nvidia_smi("Failed to initialize NVML: Driver/library version mismatch", 18)
    text, problem = examine()["GPU"]
    assert text == "unknown"
    assert "(exit 18): Failed to initialize NVML" in problem
    assert "--device=cpu" in problem


def test_what_nobody_needs_is_no_problem(examine, monkeypatch):
    monkeypatch.setattr(_devices, "missing_cuda_libraries", lambda *_: ["libcudnn.so.9"])
    assert examine()["CUDA"] == ("not needed without a GPU", "")


def test_onednn_switched_off_is_said(examine, monkeypatch):
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    assert examine()["oneDNN"][0].startswith("off")
    assert "unset TF_ENABLE_ONEDNN_OPTS" in examine()["oneDNN"][1]


def test_cifar_is_where_a_run_would_find_it(examine, tmp_path):
    assert examine()["CIFAR"] == (
        f"neither set in {tmp_path / 'keras' / 'datasets'}; a run downloads a missing one",
        "",
    )
    text, problem = examine(data_dir=str(tmp_path))["CIFAR"]
    assert text == f"neither set in {tmp_path}" and problem.startswith("put the archives")
    (tmp_path / "cifar-100-python").mkdir()
    assert examine(data_dir=str(tmp_path))["CIFAR"] == (f"cifar100 in {tmp_path}", "")
    (tmp_path / "cifar-10-python.tar.gz").touch()
    assert examine(data_dir=str(tmp_path))["CIFAR"] == (f"cifar10 and cifar100 in {tmp_path}", "")


def test_a_full_disk_and_several_machines_are_problems(examine, tmp_path, monkeypatch):
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: types.SimpleNamespace(free=2**29))
    assert examine(results=tmp_path / "not" / "yet")["disk"] == (
        f"0.5 GiB free in {tmp_path}",
        "a sweep needs 1 GiB: free some space",
    )
    monkeypatch.setenv("TF_CONFIG", '{"cluster": {"worker": ["a:1", "b:1"]}}')
    found = examine()
    assert list(found) == [*LINES, "TF_CONFIG"] and "over 2 machines" in found["TF_CONFIG"][1]


def test_a_line_that_fails_is_a_line(examine, monkeypatch):
    monkeypatch.setattr(doctor.os, "sysconf", lambda _: 1 / 0)
    assert examine()["memory"] == ("unknown (ZeroDivisionError: division by zero)", "")


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("raise ImportError(\"No module named 'tensorflow'\")", f"No module named 'tensorflow': {sys.executable} -m pip install -e ."),
        ("raise ImportError('libstdc++.so.6: version not found')", "libstdc++.so.6: version not found: reinstall it"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", f"killed by signal {int(signal.SIGILL)} at its import"),
    ],
)  # fmt: skip
def test_a_tensorflow_that_dies_is_a_line(module, words, tmp_path, monkeypatch, capsys):
    (tmp_path / "tensorflow.py").write_text(module)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{pathlib.Path(doctor.__file__).parents[2]}")
    assert doctor.main([f"--results_dir={tmp_path}"]) == 1
    said = {line[:11].strip(): line[11:] for line in capsys.readouterr().out.splitlines()}
    assert list(said) == LINES and words in said["TensorFlow"] and said["one step"] == "not timed"


def test_the_doctor_needs_the_standard_library_only():
    code = "import sys; import selectnet_tf.commands.doctor; sys.exit(len({'absl', 'numpy', 'tensorflow', 'pandas'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.slow
def test_the_doctor_here(tmp_path):
    found = selectnet("doctor", f"--results_dir={tmp_path}")
    lines = found.stdout.splitlines()
    assert [line[:11].strip() for line in lines[:10]] == LINES
    assert "CPU:0" in lines[9]
    assert found.stderr == ""
