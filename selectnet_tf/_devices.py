"""GPUs and cores of this machine, by the driver and by TensorFlow.

Standard library only, until TensorFlow is asked.
"""

import ctypes
import functools
import json
import math
import os
import pathlib
import platform
import re
import shlex
import shutil
import subprocess
import sys

CHOICES = ("auto", "cpu")  # of --device
PIP = f"{shlex.quote(sys.executable)} -m pip install"  # of make, that is the one in .venv
CURE = f"{PIP} 'tensorflow[and-cuda]'"
WITHOUT = "or train on the CPU by --device=cpu (make: DEVICE=cpu)"
LIMIT = 5  # seconds that nvidia-smi may take
CGROUPS, OWN_CGROUP = pathlib.Path("/sys/fs/cgroup"), pathlib.Path("/proc/self/cgroup")
# CUDA's major version -> libraries that TensorFlow opens by name to find GPUs, besides cuDNN
LIBRARIES = {
    "12": "cudart.so.12 cublas.so.12 cublasLt.so.12 cufft.so.11 cusolver.so.11 cusparse.so.12",
    "13": "cudart.so.13 cublas.so.13 cublasLt.so.13 cufft.so.12 cusolver.so.12 cusparse.so.12",
}
COUNT = "import tensorflow as tf; print(len(tf.config.list_physical_devices('GPU')))"


@functools.cache
def ask_driver() -> tuple[list[str], str]:
    """Returns (names of the NVIDIA GPUs, error with its cure or ""), by nvidia-smi, once a process.

    Without nvidia-smi there is neither.
    """
    if not shutil.which("nvidia-smi"):
        return [], ""
    cure = f"restart the machine if its driver was updated, {WITHOUT}"
    try:
        asked = subprocess.Popen(
            ["nvidia-smi", "-L"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        said, _ = asked.communicate(timeout=LIMIT)
    except subprocess.TimeoutExpired:
        asked.kill()  # without a wait: a driver that hangs may hold it for ever
        return [], f"nvidia-smi gave no answer in {LIMIT} s: {cure}"
    except OSError as error:
        return [], f"nvidia-smi can't be started ({error.strerror}): {cure}"
    found = [line.partition(": ")[2] for line in said.splitlines() if line.startswith("GPU ")]
    if asked.returncode and not found:
        first = (said.strip().splitlines() or ["no output"])[0]
        return [], f"nvidia-smi fails (exit {asked.returncode}): {first}: {cure}"
    return [name.partition(" (UUID")[0].strip() or "unnamed" for name in found], ""


def gpus_hidden() -> bool:
    """Returns whether CUDA_VISIBLE_DEVICES hides every GPU."""
    return "CUDA_VISIBLE_DEVICES" in os.environ and not visible_gpus()


def visible_gpus() -> list[str]:
    """Returns the GPUs in CUDA_VISIBLE_DEVICES, or the positions of all that the driver lists."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [gpu for gpu in given.split(",") if gpu.strip() not in ("", "-1")]
    return [str(i) for i in range(len(ask_driver()[0]))]


def count_cores() -> int:
    """Returns the cores of this process, by affinity and its container's quota, rounded up."""
    own = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(own, max(1, math.ceil(min(_quotas(), default=own))))


def name_cpu() -> str:
    """Returns the name of the processor."""
    info = pathlib.Path("/proc/cpuinfo")  # of Linux
    found = re.search(r"model name\s*: (.+)", info.read_text()) if info.exists() else None
    return found[1] if found else platform.processor() or platform.machine()


def _quotas() -> list[float]:
    """Returns the CPUs of each limited cgroup (version 2) around this process."""
    try:
        lines = OWN_CGROUP.read_text().splitlines()
    except OSError:
        return []
    inner = CGROUPS / next((line[4:] for line in lines if line.startswith("0::/")), "")
    quotas = []
    for group in (inner, *inner.parents):
        try:
            most, period = (group / "cpu.max").read_text().split()
            quotas.append(int(most) / int(period))
        except (OSError, ValueError):  # no such file, or "max": no limit
            continue
    return quotas


def hide_gpus_for_cpu(device: str) -> None:
    """Hides the GPUs from this process and its children under --device=cpu.

    Call it before TensorFlow is imported.
    """
    if device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"


def find_problem() -> str:
    """Returns the reason not to train here, in one line with the cure, or "".

    GPUs that TensorFlow does not find, or that a failing driver does not list, would leave a run to
    the CPU, silently, for days.
    """
    several = check_tf_config()
    if several or gpus_hidden():
        return several
    names, failed = ask_driver()
    if failed or not names or count_gpus():
        return failed
    return (
        f"nvidia-smi lists {', '.join(names)}, but TensorFlow finds no GPU: {CURE} (details:"
        f" selectnet doctor), {WITHOUT}"
    )


def environment_of_job(slot: int, jobs: int) -> dict[str, str]:
    """Returns the environment of one of several child processes: its GPUs, or its threads.

    Args:
        slot: the child's position among them.
        jobs: the number of children at once.
    """
    if jobs == 1:
        return {}
    if gpus := visible_gpus():
        growth = {"TF_FORCE_GPU_ALLOW_GROWTH": "true"} if jobs > len(gpus) else {}
        share = max(1, len(gpus) // jobs)  # of each: a resumed run needs as many replicas
        first = slot * share % len(gpus)
        return {"CUDA_VISIBLE_DEVICES": ",".join(gpus[first : first + share]), **growth}
    return limit_threads(max(1, count_cores() // jobs))


def limit_threads(count: int) -> dict[str, str]:
    """Returns the environment that limits TensorFlow to `count` threads."""
    return dict.fromkeys(
        ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"), str(count)
    )


def default_jobs() -> int:
    """Returns the number of runs at once: one a GPU; on CPUs two, the fastest by `make bench`."""
    return len(visible_gpus()) or min(2, count_cores())


def count_gpus() -> int:
    """Returns the number of GPUs that TensorFlow finds, here or in a child process."""
    if "tensorflow" in sys.modules:
        import tensorflow as tf

        return len(tf.config.list_physical_devices("GPU"))
    found = subprocess.run(
        [sys.executable, "-c", COUNT], capture_output=True, text=True, check=False
    ).stdout.split()
    return int(found[-1]) if found and found[-1].isdigit() else 0


def check_tf_config() -> str:
    """Returns the problem of a TF_CONFIG with several machines, with the cure, or ""."""
    try:
        cluster = json.loads(os.environ.get("TF_CONFIG") or "{}").get("cluster", {})
        workers = sum(len(cluster.get(kind, ())) for kind in ("chief", "master", "worker"))
    except (ValueError, AttributeError, TypeError):
        return ""  # no TensorFlow reads it either
    if workers < 2:
        return ""
    return (
        f"TF_CONFIG asks for one training over {workers} machines, but Keras 3 on TensorFlow trains"
        " on one (keras#20585): unset it, and distribute several runs instead (docs/machines.md)"
    )


def missing_cuda_libraries(cuda: str, cudnn: str, home: pathlib.Path) -> list[str]:
    """Returns the names of CUDA libraries that can't be loaded.

    Args:
        cuda: the version that TensorFlow was built with.
        cudnn: the version that TensorFlow was built with.
        home: the folder of the packages tensorflow and nvidia.
    """
    words = LIBRARIES.get(cuda.partition(".")[0], "").split()
    names = [f"lib{word}" for word in (*words, f"cudnn.so.{cudnn.partition('.')[0]}")]
    return [name for name in names if not _can_load(name, home)]


def _can_load(name: str, home: pathlib.Path) -> bool:
    """Returns whether the pip package's copy, TensorFlow's first choice, or the system's loads."""
    for place in [*sorted(home.glob(f"nvidia/*/lib/{name}")), name]:
        try:
            ctypes.CDLL(str(place))
            return True
        except OSError:
            continue
    return False


if __name__ == "__main__":  # make, before it installs: prints "gpu" where that extra is needed
    hide_gpus_for_cpu(sys.argv[1] if sys.argv[1:] else "auto")
    listed, failed = ([], "") if gpus_hidden() else ask_driver()
    if failed:
        sys.exit(f"error: {failed}")
    print("gpu" if listed else "")
