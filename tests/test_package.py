"""The package as others get it: a wheel that works outside its checkout, and types that flag a wrong argument."""

import importlib.util
import os
import pathlib
import shutil
import subprocess
import sys
import zipfile

import pytest
from conftest import selectnet

HOME = pathlib.Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from a copy of the sources, so that nothing is left in the checkout. Returns its path."""
    copy = tmp_path_factory.mktemp("sources")
    shutil.copytree(
        HOME / "selectnet_tf", copy / "selectnet_tf", ignore=shutil.ignore_patterns("__pycache__")
    )
    for name in ("setup.py", "README.md"):
        shutil.copy(HOME / name, copy)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        copy / "dist",
        copy,
    ]
    subprocess.run(command, check=True, capture_output=True)
    return next((copy / "dist").glob("*.whl"))


def test_the_wheel_holds_every_module_and_the_files_that_they_read(wheel):
    with zipfile.ZipFile(wheel) as file:
        names = set(file.namelist())
    sources = {p.relative_to(HOME).as_posix() for p in (HOME / "selectnet_tf").rglob("*.py")}
    read = {
        f"selectnet_tf/report/numbers/{table}.csv"
        for table in ("table1", "table2", "table3", "table4", "figure2")
    }
    read |= {"selectnet_tf/py.typed", "selectnet_tf/report/page.css", "selectnet_tf/report/page.js"}
    assert sources | read <= names and not [name for name in names if name.startswith("tests")]


def test_the_wheel_reports_in_an_empty_folder(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as file:
        file.extractall(tmp_path / "site")
    empty = tmp_path / "empty"
    empty.mkdir()

    def report(*arguments):
        places = os.environ | {"PYTHONPATH": str(tmp_path / "site")}
        return selectnet("report", *arguments, cwd=empty, env=places)

    assert "there is no folder results: train a run first" in report("diff").stderr
    (empty / "results").mkdir()
    found = report("diff", "html")
    assert found.returncode == 0
    assert "0.7424" in found.stdout
    assert (empty / "results" / "report.html").exists()


SCRIPT = """
import numpy as np
import selectnet_tf as sn

pool = sn.Pool(np.zeros((2, 4, 4, 1)), np.array([0, 1]), np.zeros((3, 4, 4, 1)), minor=[1])
pool.train_on(index=np.array([0]), target=np.array([0]))
sn.SelectNet(threshold="high")
"""


@pytest.mark.skipif(
    importlib.util.find_spec("mypy") is None, reason="mypy is not installed: make lint installs it"
)
def test_a_wrong_argument_of_a_user_s_script_is_flagged(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--config-file",
        HOME / "pyproject.toml",
        "--cache-dir",
        tmp_path / "cache",
        tmp_path / "script.py",
    ]
    said = subprocess.run(command, cwd=HOME, capture_output=True, text=True).stdout
    assert "script.py:6: error: Unexpected keyword argument" in said
    assert "script.py:7: error: Argument" in said
