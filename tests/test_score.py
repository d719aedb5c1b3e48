"""The command: its errors are one line, and it says what it did."""

import subprocess
import sys

import keras
import pytest


def score(*flags, **options):
    return subprocess.run([sys.executable, "-m", "selectnet_tf.score", *flags], capture_output=True, text=True, **options)


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        ([], 2, "Give --model, --images and --out"),
        (["model.keras"], 2, "--name=value"),
        (["--model=nowhere.keras", "--images=a", "--out=b"], 1, "nowhere.keras is no .keras file"),
        (["--model=nowhere.keras", "--images=a", "--out=b", "--shard=0"], 2, "shard"),
    ],
)
def test_a_wrong_flag_is_one_line(flags, code, words, tmp_path):
    found = score(*flags, cwd=tmp_path)
    assert found.returncode == code and found.stdout == "" and not list(tmp_path.iterdir())
    assert found.stderr.startswith("error: ") and words in found.stderr and found.stderr.count("\n") == 1


def test_without_pyarrow_the_extra_is_named(tmp_path):
    (tmp_path / "pyarrow.py").write_text("raise ImportError")
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save(tmp_path / "model.keras")
    found = score("--model=model.keras", "--images=a", "--out=b", cwd=tmp_path)
    assert found.returncode == 1 and "which need pyarrow: python -m pip install -e '.[scale]'" in found.stderr


def test_without_ray_the_extra_is_named(tmp_path):
    (tmp_path / "ray.py").write_text("raise ImportError")
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save(tmp_path / "model.keras")
    found = score("--model=model.keras", "--images=a", "--out=b", "--ray=auto", cwd=tmp_path)
    assert found.returncode == 1 and found.stderr == "error: scoring on a cluster needs Ray: python -m pip install -e '.[scale]'\n"


def test_a_folder_is_scored(tree):
    model = keras.Sequential([keras.Input((16, 16, 3), dtype="uint8"), keras.layers.Flatten(), keras.layers.Dense(3, activation="softmax")])
    model.save(tree / "model.keras")
    flags = [f"--model={tree / 'model.keras'}", f"--images={tree / 'pool'}", f"--out={tree / 'scores'}"]
    found = score(*flags)
    assert found.returncode == 0, found.stderr
    lines = found.stdout.splitlines()
    assert lines[0].startswith("part-000000.parquet: 31 images, ") and lines[0].endswith("a second, 1 unreadable")
    assert f"1 shards in {tree / 'scores'}: 0 were done; 31 images scored, 1 unreadable" in lines[1]
