"""Checks TensorFlow, GPU, memory and data: selectnet doctor

Prints ten lines, with a cure for each problem. Exits with code 1 if there is one. Needs only the
standard library; a child process imports TensorFlow, so that a crash is a line, too.
"""

import argparse
import contextlib
import json
import os
import pathlib
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from selectnet_tf import _devices
from selectnet_tf._files import expand

OLDEST = (3, 11)  # Python; setup.py says the same
PROBE = "from selectnet_tf.commands import doctor; doctor.probe()"
STEPS = 5  # timed on each device, after one to warm up


def examine(data_dir: str | None, results: pathlib.Path) -> list[tuple[str, str, str]]:
    """Returns ten lines, and one on TF_CONFIG if it is set.

    Args:
        data_dir: folder of CIFAR; None: SELECTNET_DATA, else Keras's downloads.
        results: folder that runs write to.

    Returns:
        [(name, finding, problem with its cure or "")].
    """
    found = ask_tensorflow()
    lines: list[tuple[str, Callable[[], tuple[str, str]]]] = [
        ("Python", _python),
        ("TensorFlow", lambda: _tensorflow(found)),
        ("Keras", lambda: (str(found.get("keras") or "none"), str(found.get("keras_problem", "")))),
        ("GPU", lambda: _gpus(found)),
        ("CUDA", lambda: _cuda(found)),
        ("oneDNN", _onednn),
        ("memory", _machine),
        ("disk", lambda: _disk(results)),
        ("CIFAR", lambda: _cifar(data_dir)),
        ("one step", lambda: _steps(found)),
    ]
    if os.environ.get("TF_CONFIG"):
        lines.append(("TF_CONFIG", lambda: ("set", _devices.check_tf_config())))
    return [(name, *_attempt(line)) for name, line in lines]


def _attempt(line: Callable[[], tuple[str, str]]) -> tuple[str, str]:
    try:
        return line()
    except Exception as error:  # the doctor survives whatever is broken
        return f"unknown ({type(error).__name__}: {error})", ""


def ask_tensorflow() -> dict[str, Any]:
    """Returns the output of `probe` in a child process, or {"problem": reason and cure}."""
    env = dict(os.environ)
    if _devices.ask_driver()[1]:  # a broken driver may hang
        env["CUDA_VISIBLE_DEVICES"] = "-1"
    found = subprocess.run(
        [sys.executable, "-c", PROBE],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        env=env,
    )
    with_json = [line for line in found.stdout.splitlines() if line.startswith("{")]
    if found.returncode == 0 and with_json:
        return dict(json.loads(with_json[-1]))
    if found.returncode < 0:
        return {
            "problem": (
                f"killed by signal {-found.returncode} at its import: its packages need a CPU with"
                " AVX, which this one may lack"
            )
        }
    said = [line for line in found.stderr.splitlines() if line.strip()] or ["no output"]
    cure = (
        f"{_devices.PIP} -e ."
        if "No module named" in said[-1]
        else f"reinstall it: {_devices.PIP} -e . --force-reinstall"
    )
    return {"problem": f"{said[-1].strip()}: {cure}"}


def probe() -> None:
    """Prints TensorFlow's version, build, GPUs and time of a training step as JSON."""
    from selectnet_tf._console import importing_tensorflow

    with importing_tensorflow():
        import tensorflow as tf  # isort: skip
        import keras
    gpus = tf.config.list_physical_devices("GPU")
    build = tf.sysconfig.get_build_info()
    details = [
        tf.config.experimental.get_device_details(gpu).get("device_name", "unnamed") for gpu in gpus
    ]
    found: dict[str, Any] = {
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "keras_problem": (
            ""
            if keras.backend.backend() == "tensorflow"
            else "its backend is not TensorFlow: export KERAS_BACKEND=tensorflow"
        ),
        "with_cuda": tf.test.is_built_with_cuda(),
        "cuda": str(build.get("cuda_version", "")),
        "cudnn": str(build.get("cudnn_version", "")),
        "gpus": details,
        "home": str(pathlib.Path(tf.__file__).parents[1]),
        "steps": {},
    }
    for name in ["CPU:0", *(f"GPU:{i}" for i in range(len(gpus)))]:
        found["steps"][name] = _time_step(name)
    print(json.dumps(found))


def _time_step(device: str) -> float | str:
    """Returns the median seconds of a training step of the simple net, or the error."""
    import statistics
    import timeit

    import keras
    import numpy as np
    import tensorflow as tf

    from selectnet_tf.models import networks

    try:
        with tf.device(device):
            model = networks.build("simple", (32, 32, 3), 10)
            model.compile(
                keras.optimizers.SGD(0.01), "sparse_categorical_crossentropy", jit_compile=False
            )
            batch = np.zeros((32, 32, 32, 3), np.uint8), np.arange(32) % 10
            times = timeit.repeat(lambda: model.train_on_batch(*batch), number=1, repeat=STEPS + 1)
        return statistics.median(times[1:])
    except Exception as error:  # a GPU can fail in many ways
        return (str(error).strip().splitlines() or [type(error).__name__])[0][:120]


def _python() -> tuple[str, str]:
    version, machine = platform.python_version(), f"{platform.system()} {platform.machine()}"
    problem = "" if sys.version_info >= OLDEST else "too old: install Python 3.11 or later"
    return f"{version}, {sys.executable}, {machine}", problem


def _tensorflow(found: dict[str, Any]) -> tuple[str, str]:
    if "problem" in found:
        return "none", found["problem"]
    built = f"with CUDA {found['cuda']}" if found["with_cuda"] else "without CUDA"
    return f"{found['tensorflow']}, built {built}", ""


def _gpus(found: dict[str, Any]) -> tuple[str, str]:
    (listed, failed), seen = _devices.ask_driver(), found.get("gpus", [])
    if failed:
        return "unknown", failed
    text = f"the driver lists {_named(listed)}; TensorFlow finds {_named(seen)}"
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if hidden is not None:
        text += f"; CUDA_VISIBLE_DEVICES is {hidden!r}"
    if "problem" in found or not listed or len(seen) >= len(_devices.visible_gpus()):
        return text, ""
    if not found["with_cuda"]:
        cure = f"on Linux, {_devices.CURE}; elsewhere, --device=cpu"
        return text, f"this build of TensorFlow has no GPU support: {cure}"
    if _missing(found):
        return text, "CUDA libraries are missing: see the next line"
    return text, "update the driver: it is too old for this CUDA"


def _named(names: list[str]) -> str:
    return f"{len(names)} ({', '.join(names)})" if names else "none"


def _missing(found: dict[str, Any]) -> list[str]:
    return _devices.missing_cuda_libraries(
        found["cuda"], found["cudnn"], pathlib.Path(found["home"])
    )


def _cuda(found: dict[str, Any]) -> tuple[str, str]:
    if "problem" in found:
        return "not checked", ""
    if not found["with_cuda"]:
        return "not needed: TensorFlow is built without CUDA", ""
    missing = _missing(found)
    if not missing:
        return "all libraries load", ""
    if not (_devices.ask_driver()[0] and _devices.visible_gpus()):
        return "not needed without a GPU", ""
    return f"not loading: {', '.join(missing)}", _devices.CURE


def _onednn() -> tuple[str, str]:
    off = os.environ.get("TF_ENABLE_ONEDNN_OPTS") == "0"
    info = pathlib.Path("/proc/cpuinfo")
    text = info.read_text(errors="replace") if info.exists() else ""
    known = [
        name
        for name in ("avx", "avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16")
        if re.search(rf"\b{name}\b", text)
    ]
    cpu = _devices.name_cpu() + (f" with {', '.join(known)}" if known else "")
    problem = "training may take twice as long: unset TF_ENABLE_ONEDNN_OPTS" if off else ""
    return f"{'off' if off else 'on'}; {cpu}", problem


def _machine() -> tuple[str, str]:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    info = pathlib.Path("/proc/meminfo")
    free = re.search(r"MemAvailable:\s*(\d+)", info.read_text()) if info.exists() else None
    memory, problem = f"{total:.1f} GiB of memory", ""
    if free:
        gigabytes = int(free[1]) / 2**20
        memory = f"{gigabytes:.1f} of {total:.1f} GiB free"
        problem = "a run needs 2 GiB: close other programs" if gigabytes < 2 else ""
    return f"{_devices.count_cores()} of {os.cpu_count()} cores; {memory}", problem


def _disk(results: pathlib.Path) -> tuple[str, str]:
    place = results.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free / 2**30
    problem = "" if os.access(place, os.W_OK) else "not writable: give another --results_dir"
    return f"{free:.1f} GiB free in {place}", problem or (
        "a sweep needs 1 GiB: free some space" if free < 1 else ""
    )


def _cifar(data_dir: str | None) -> tuple[str, str]:
    """Returns where a run finds CIFAR, and a cure if it would not."""
    from selectnet_tf.data import cifar

    given = data_dir or os.environ.get("SELECTNET_DATA")
    if not given:
        kept = expand(os.environ.get("KERAS_HOME", "~/.keras")) / "datasets"
        have = [f"cifar{n}" for n in (10, 100) if list(kept.glob(f"cifar-{n}-*"))]
        return f"{' and '.join(have) or 'neither set'} in {kept}; a run downloads a missing one", ""
    here = []
    for kind in cifar.LAYOUTS:
        with contextlib.suppress(FileNotFoundError):
            cifar.find_source(kind, given)
            here.append(kind)
    cure = (
        "put the archives of www.cs.toronto.edu/~kriz/cifar.html there, or give another --data_dir"
    )
    return f"{' and '.join(here) or 'neither set'} in {given}", "" if here else cure


def _steps(found: dict[str, Any]) -> tuple[str, str]:
    if "problem" in found:
        return "not timed", ""
    text = ", ".join(
        f"{name} {t * 1000:.1f} ms" if isinstance(t, float) else f"{name} fails"
        for name, t in found["steps"].items()
    )
    wrong = [f"{name}: {t}" for name, t in found["steps"].items() if isinstance(t, str)]
    return (
        f"{text} (simple net, 32 images)",
        f"{wrong[0]}; update the driver, or give --device=cpu" if wrong else "",
    )


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        "selectnet doctor",
        description=__doc__,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--data_dir", help="folder of CIFAR; default: SELECTNET_DATA, else Keras's downloads"
    )
    parser.add_argument(
        "--results_dir", default="results", help="folder that runs write to; default: results"
    )
    given = parser.parse_args(argv)
    lines = examine(given.data_dir, expand(given.results_dir))
    for name, text, problem in lines:
        print(f"{name:<11}{text}" + (f" -- {problem}" if problem else ""))
    return int(any(problem for _, _, problem in lines))
