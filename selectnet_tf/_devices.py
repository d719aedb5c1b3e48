"""What this machine computes on, as its driver says and as TensorFlow finds it.

Standard library only, until TensorFlow is asked.
"""

import ctypes
import functools
import json
import math
import os
import pathlib
import shutil
import subprocess
import sys

CHOICES = ("auto", "cpu")  # what --device may be
CURE = "python -m pip install 'tensorflow[and-cuda]'"
WITHOUT = "or go on without cards by --device=cpu (make: DEVICE=cpu)"
LIMIT = 5  # seconds that nvidia-smi may take
CGROUPS, OWN_CGROUP = pathlib.Path("/sys/fs/cgroup"), pathlib.Path("/proc/self/cgroup")
# CUDA's major version -> what TensorFlow opens by name when it looks for cards; cuDNN's has its own
# version
LIBRARIES = {
    "12": (
        "libcudart.so.12",
        "libcublas.so.12",
        "libcublasLt.so.12",
        "libcufft.so.11",
        "libcusolver.so.11",
        "libcusparse.so.12",
    ),
    "13": (
        "libcudart.so.13",
        "libcublas.so.13",
        "libcublasLt.so.13",
        "libcufft.so.12",
        "libcusolver.so.12",
        "libcusparse.so.12",
    ),
}
COUNT = "import tensorflow as tf; print(len(tf.config.list_physical_devices('GPU')))"


@functools.cache
def ask_driver() -> tuple[list[str], str]:
    """Asks nvidia-smi, once a process, for the NVIDIA cards.

    Returns their names, none where there is no nvidia-smi, and how it failed, with the cure (""
    where it answered).
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
        asked.kill()  # and isn't waited for: a driver that hangs may hold it for ever
        return [], f"nvidia-smi gave no answer in {LIMIT} s: {cure}"
    except OSError as error:
        return [], f"nvidia-smi can't be started ({error.strerror}): {cure}"
    found = [line.partition(": ")[2] for line in said.splitlines() if line.startswith("GPU ")]
    if asked.returncode and not found:
        first = (said.strip().splitlines() or ["no output"])[0]
        return [], f"nvidia-smi fails (exit {asked.returncode}): {first}: {cure}"
    return [name.partition(" (UUID")[0].strip() or "unnamed" for name in found], ""


def gpus_hidden() -> bool:
    """Whether CUDA_VISIBLE_DEVICES hides every card."""
    return "CUDA_VISIBLE_DEVICES" in os.environ and not visible_gpus()


def visible_gpus() -> list[str]:
    """The cards as CUDA_VISIBLE_DEVICES names them:

    Those that it leaves visible, or all that the driver lists.
    """
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [gpu for gpu in given.split(",") if gpu.strip() not in ("", "-1")]
    return [str(i) for i in range(len(ask_driver()[0]))]


def cores() -> int:
    """Returns how many cores this process may use:

    By its affinity and by its container's CPU quota, rounded up.
    """
    own = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(own, max(1, math.ceil(min(_quotas(), default=own))))


def _quotas() -> list[float]:
    """Returns the CPUs that each cgroup (version 2) around this process allows, where it has a
    limit.
    """
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
    """Hides the cards from this process and its children under --device=cpu.

    Before TensorFlow is imported.
    """
    if device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"


def find_problem() -> str:
    """Why nothing should be trained here, one line with the cure; empty where nothing stands
    against it.

    Cards that TensorFlow does not find, or that a failing driver does not list, would leave a run
    to the CPU, silently, for days. A process that has TensorFlow asks its own, another one asks a
    child.
    """
    if (several := check_tf_config()) or gpus_hidden():
        return several
    names, failed = ask_driver()
    if failed or not names or count_gpus():
        return failed
    return (
        f"nvidia-smi lists {', '.join(names)}, but TensorFlow finds no card: {CURE} (doctor says"
        f" more), {WITHOUT}"
    )


def environment_of_job(slot: int, jobs: int) -> dict[str, str]:
    """The environment that gives one of several children its share:

    Its own GPUs where there are several, or threads.
    """
    if jobs == 1:
        return {}
    if gpus := visible_gpus():
        growth = {"TF_FORCE_GPU_ALLOW_GROWTH": "true"} if jobs > len(gpus) else {}
        return {"CUDA_VISIBLE_DEVICES": ",".join(gpus[slot % len(gpus) :: jobs]), **growth}
    return threads(max(1, cores() // jobs))


def threads(count: int) -> dict[str, str]:
    """The environment in which TensorFlow computes with so many threads."""
    return dict.fromkeys(
        ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"), str(count)
    )


def default_jobs() -> int:
    """How many runs at once:

    One a GPU; on CPUs two, which together are faster than one with all cores (`make bench`).
    """
    return len(visible_gpus()) or min(2, cores())


def count_gpus() -> int:
    """How many cards TensorFlow finds."""
    if "tensorflow" in sys.modules:
        import tensorflow as tf

        return len(tf.config.list_physical_devices("GPU"))
    found = subprocess.run(
        [sys.executable, "-c", COUNT], capture_output=True, text=True, check=False
    ).stdout.split()
    return int(found[-1]) if found and found[-1].isdigit() else 0


def check_tf_config() -> str:
    """Why TF_CONFIG is in the way, with the cure; empty where it names one machine at most."""
    try:
        cluster = json.loads(os.environ.get("TF_CONFIG") or "{}").get("cluster", {})
        workers = sum(len(cluster.get(kind, ())) for kind in ("chief", "master", "worker"))
    except (ValueError, AttributeError, TypeError):
        return ""  # no TensorFlow reads it either
    if workers < 2:
        return ""
    return (
        f"TF_CONFIG asks for one training over {workers} machines, which Keras 3 on TensorFlow"
        " can't do (keras#20585): unset it, and share many runs out over the machines instead"
        " (docs/machines.md)"
    )


def missing_cuda_libraries(cuda: str, cudnn: str, home: pathlib.Path) -> list[str]:
    """The CUDA libraries that can't be loaded, by name.

    cuda, cudnn: the versions that TensorFlow was built with. home: the folder that holds the
    packages tensorflow and nvidia.
    """
    names = LIBRARIES.get(cuda.partition(".")[0], ())
    return [
        name
        for name in (*names, f"libcudnn.so.{cudnn.partition('.')[0]}")
        if not _can_load(name, home)
    ]


def _can_load(name: str, home: pathlib.Path) -> bool:
    """Whether the pip package's copy, which TensorFlow looks for first, or else the system's can be
    loaded.
    """
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
