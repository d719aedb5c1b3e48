"""The command: its errors are one line, and it starts at once."""

import functools
import sys
import zipfile

import keras
import pyarrow.parquet as pq
import pytest
from conftest import selectnet

score = functools.partial(selectnet, "score")


def test_a_wrong_pool_costs_no_import(tmp_path):
    for name in ("tensorflow", "keras", "ray", "pyarrow"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError")
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as file:
        file.writestr("config.json", "{}")
    found = score("--model=model.keras", "--images=pol", "--out=b", cwd=tmp_path)
    assert found.returncode == 1
    assert found.stderr == (
        f"error: --images: expected a folder or Parquet file, received {tmp_path / 'pol'}\n"
    )


def test_help_names_the_flags():
    found = score("--help")
    assert found.returncode == 0 and "--out" in found.stdout and found.stderr == ""


@pytest.mark.parametrize("name", ["pyarrow", "ray"])
def test_without_ray_data_the_extra_is_named(name, tmp_path):
    (tmp_path / f"{name}.py").write_text("raise ImportError('none')")
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save(tmp_path / "model.keras")
    found = score("--model=model.keras", "--images=.", "--out=b", cwd=tmp_path)
    assert found.returncode == 1
    cure = f"{sys.executable} -m pip install -e '.[scale]'"
    assert found.stderr == f"error: score needs Ray Data (none): {cure}\n"


@pytest.mark.slow
def test_a_folder_is_scored(tree):
    model = keras.Sequential(
        [
            keras.Input((16, 16, 3), dtype="uint8"),
            keras.layers.Flatten(),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )
    model.save(tree / "model.keras")
    found = score(
        "--model=model.keras",
        "--images=pool",
        "--out=sc ores%20#",
        "--shard=9",
        "--actors=1",
        cwd=tree,
    )
    assert found.returncode == 0 and found.stderr == "", found.stderr
    assert found.stdout.endswith("holds 31, 1 of them unreadable\n")
    table = pq.read_table(tree / "sc ores%20#")
    assert len(set(table["id"].to_pylist())) == 31
