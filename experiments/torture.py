"""Tries kills, signals, full disks, damaged bytes and bad inputs on short runs.

`make torture` writes the table in docs/tested.md, in about ten minutes on two cores. It counts how
often each trial was made, and how often it ended cleanly: in the bits of an uninterrupted run, or
in one line that names the file and the cure. A damaged file that is read without a word is not
clean. The exit code is 1 if any trial did not end cleanly.
"""

import argparse
import contextlib
import csv
import hashlib
import io
import json
import os
import pathlib
import pickle
import random
import resource
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator

import numpy as np

PAGE = pathlib.Path(__file__).parents[1] / "docs" / "tested.md"
START, END = "<!-- written by `make torture` -->", "<!-- end -->"
TRAIN = ("--dataset=digits-4minor", "--method=context", "--epochs=12", "--every=3", "--lr=0.03")
BAD = {  # flags -> exit code
    "--method=bagging": 2,
    "--treshold=0.5": 2,
    "--epochs=many": 2,
    "--epochs=0": 2,
    "--noaccumulate=3": 2,
    "--minor=a": 2,
    "--minor=3,12": 2,
    "--lambda_schedule=up": 2,
    "context": 2,
    "--arch=resnet57": 2,
    "--arch=resnet٢٠": 2,
    "--every=300": 2,
    "--lr=nan": 2,
    "--seed=-1": 2,
    "--dataset=folder": 2,
    "--data_dir=/nowhere": 1,
    "--dataset=digits-4minor --method=context --epochs=10 --batch_size=900": 1,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--times",
        type=int,
        default=6,
        help="how often a run is killed, stopped, and given a full disk",
    )
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # of what is imported here to look at damaged files
    chance = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as name:
        work = pathlib.Path(name)
        lines = [("what", "tried", "clean", "clean is")]
        whole = work / "whole"
        began = time.monotonic()
        if run(whole).returncode:
            raise SystemExit("the undisturbed run failed")
        seconds = time.monotonic() - began
        for line in tried(work, whole, seconds, chance, given.times):
            print("  ".join(map(str, line)), flush=True)
            lines.append(line)
    write(lines)
    return int(any(line[1] != line[2] for line in lines[1:]))


def tried(
    work: pathlib.Path, whole: pathlib.Path, seconds: float, chance: random.Random, times: int
) -> Iterator[tuple]:
    """Yields the table's lines: (trial, times tried, times clean, meaning of clean)."""
    same = "the run resumes and ends with the same bits as an undisturbed one"
    for what, number in (("kill -9 at a random moment", 9), ("SIGTERM", 15), ("Ctrl-C", 2)):
        clean = sum(
            stopped(work / f"{number}-{i}", whole, chance.uniform(0.2, 1) * seconds, number)
            for i in range(times)
        )
        yield (
            what,
            times,
            clean,
            same
            + (
                ""
                if number == 9
                else f"; exit code {128 + number} and one line that says what is saved"
            ),
        )
    clean = sum(limited(work / f"full-{i}", whole, 2 ** (10 + 2 * i)) for i in range(times))
    yield (
        "no file may grow beyond 1 KiB, 4 KiB, ... (as on a full disk)",
        times,
        clean,
        f"one line; then {same}",
    )
    one_line = "one line that names the file and the cure, or no effect"
    for what, flips in damages(work, whole, chance):
        yield f"{what}: one flipped bit", len(flips), sum(flips), one_line
    ends = [bad(command, code) for command, code in BAD.items()]
    yield (
        "invalid command lines",
        len(ends),
        sum(ends),
        "exit code 2 (1 where the data say so), one line, nothing written",
    )
    for what, end, environment in (
        ("a terminal that is not UTF-8", "", {"PYTHONIOENCODING": "ascii"}),
        ("closed streams", ">&- 2>&- <&-", {}),
        ("no git", "", {"PATH": "/nowhere"}),
    ):
        results = work / what.replace(" ", "-")
        command = (
            f"{sys.executable} -m selectnet_tf.run {' '.join(TRAIN)} --results_dir={results} {end}"
        )
        code = subprocess.run(
            ["/bin/bash", "-c", command], env=os.environ | environment, capture_output=True
        ).returncode
        yield what, 1, int(code == 0 and bits(results) == bits(whole)), "the undisturbed run's bits"


def run(results: pathlib.Path, *more: str, **options: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "selectnet_tf.run", *TRAIN, f"--results_dir={results}", *more]
    return subprocess.run(command, capture_output=True, text=True, **options)


def bits(results: pathlib.Path) -> dict[str, object]:
    """Returns the contents of a run's files, without times."""
    (folder,) = (results / "runs").iterdir()
    found: dict[str, object] = {
        name: (folder / name).read_bytes()
        for name in ("epochs.csv", "selection.csv", "classes.csv", "picks.csv")
    }
    for name in ("selected.npz", "split.npz"):
        with np.load(folder / name) as arrays:
            found |= {f"{name}/{key}": arrays[key].tobytes() for key in arrays.files}
    with open(results / "runs.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    return found | {
        key: value
        for key, value in row.items()
        if key not in ("seconds", "selection_seconds", "commit", "changed")
    }


def begin(results: pathlib.Path, **streams: object) -> subprocess.Popen:
    command = [sys.executable, "-m", "selectnet_tf.run", *TRAIN, f"--results_dir={results}"]

    def heed() -> None:  # which a shell's background jobs don't
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    return subprocess.Popen(command, text=True, preexec_fn=heed, **streams)


def stopped(results: pathlib.Path, whole: pathlib.Path, after: float, number: int) -> bool:
    """Whether a run that is signalled after so many seconds resumes to the same bits."""
    child = begin(results, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(after)
    child.send_signal(number)
    said = child.communicate(timeout=120)[1]
    early = child.returncode in (0, -number)  # it was done, or Python was still reading the program
    spoke = (
        child.returncode == 128 + number
        and said.startswith("error: stopped")
        and said.count("\n") == 1
    )
    return (early or spoke) and run(results).returncode == 0 and bits(results) == bits(whole)


def limited(results: pathlib.Path, whole: pathlib.Path, size: int) -> bool:
    """Whether a run whose files may not outgrow a size ends in one line, and resumes."""
    first = run(results, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)))
    one_line = first.returncode == 0 or (
        first.stderr.startswith("error: ") and first.stderr.count("\n") == 1
    )
    return one_line and run(results).returncode == 0 and bits(results) == bits(whole)


def damages(
    work: pathlib.Path, whole: pathlib.Path, chance: random.Random
) -> Iterator[tuple[str, list[bool]]]:
    """Yields (file, whether each flip was clean) for the files that are read again."""
    from selectnet_tf.checkpoint import Checkpoint
    from selectnet_tf.data import cifar
    from selectnet_tf.models import safe_load
    from selectnet_tf.runs import store

    half = begin(work / "half", stdout=subprocess.PIPE)
    next(line for line in half.stdout if "round 1/" in line)
    half.terminate()
    half.communicate()
    (state,) = (work / "half").glob("runs/*/state.npz")
    with np.load(state) as file:
        header = json.loads(str(file["header"]))
    del header["version"]  # the file's own
    checkpoint = Checkpoint(state, {}, header)
    yield (
        "state.npz",
        flips(state, lambda: {k: v.tobytes() for k, v in checkpoint.read().items()}, chance, 300),
    )

    (model,) = whole.glob("runs/*/model.keras")

    def read_model() -> dict[str, bytes]:
        safe_load.check(model)
        with zipfile.ZipFile(model) as file:
            return {name: file.read(name) for name in file.namelist()}

    yield "model.keras", flips(model, read_model, chance, 300)

    (own,) = whole.glob("runs/*/row.json")
    (whole / "runs.csv").unlink()  # so that the row is in row.json alone

    def read_row() -> store.Rows:
        found, damaged = store.read_rows(whole)
        if damaged:
            raise ValueError(*damaged.values())
        return found

    yield "row.json", flips(own, read_row, chance, 1000)
    store.build_table(whole)

    folder, name = "cifar-10-batches-py", "data_batch_1"
    batch = work / folder / name
    batch.parent.mkdir()
    batch.write_bytes(
        pickle.dumps(
            {b"data": np.arange(6144, dtype=np.uint8).reshape(2, 3072), b"labels": [1, 2]}, 2
        )
    )
    cifar.MD5[f"{folder}/{name}"] = hashlib.md5(
        batch.read_bytes()
    ).hexdigest()  # as if it were the official one

    def read_batch() -> list[bytes]:
        contents, said = cifar._read_files(work / folder, folder, [name])
        found = [
            part.tobytes()
            for part in cifar._batch(contents[f"{folder}/{name}"], str(batch), "cifar10")
        ]
        if said:
            raise ValueError(f"{batch}: {said[0]}")
        return found

    yield "a CIFAR batch", flips(batch, read_batch, chance, 1000)
    archive = work / "cifar-10-python.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        info = tarfile.TarInfo("a")
        info.size = 20_000
        tar.addfile(
            info,
            io.BytesIO(np.random.default_rng(0).integers(0, 60, info.size, np.uint8).tobytes()),
        )
    yield "a CIFAR archive", flips(archive, lambda: cifar.read_members(archive, ["a"]), chance, 500)


def flips(
    path: pathlib.Path, read: Callable[[], object], chance: random.Random, times: int
) -> list[bool]:
    """Whether each of so many flipped bits of a file is one line that names it, or no effect."""
    whole, clean = path.read_bytes(), []
    right = read()
    for _ in range(times):
        content = bytearray(whole)
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        path.write_bytes(content)
        try:
            clean.append(read() == right)
        except ValueError as error:
            clean.append(str(path) in str(error) and "\n" not in str(error))
        except Exception:
            clean.append(False)
    path.write_bytes(whole)
    return clean


def bad(flags: str, code: int) -> bool:
    with tempfile.TemporaryDirectory() as place:
        command = [sys.executable, "-m", "selectnet_tf.run", *flags.split()]
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(PAGE.parents[1]), os.environ.get("PYTHONPATH", "")])
        }
        found = subprocess.run(command, capture_output=True, text=True, cwd=place, env=environment)
        left = [
            path
            for path in pathlib.Path(place).rglob("*")
            if path.is_file() and ".lock" not in str(path)
        ]
        return (
            found.returncode == code
            and found.stderr.startswith("error: ")
            and found.stderr.count("\n") == 1
            and not left
        )


def write(lines: list[tuple]) -> None:
    """Writes the table between the page's marks."""
    before, rest = PAGE.read_text(encoding="utf-8").split(START)
    head, *body = ["| " + " | ".join(map(str, line)) + " |" for line in lines]
    table = "\n".join([head, "|---|---:|---:|---|", *body])
    PAGE.write_text(f"{before}{START}\n{table}\n{END}{rest.split(END)[1]}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
