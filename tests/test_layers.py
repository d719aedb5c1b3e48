"""Imports run one way between the rooms, and what should start at once does not import TensorFlow."""

import ast
import importlib.metadata
import os
import pathlib
import subprocess
import sys

import keras
import pytest

import selectnet_tf

HOUSE = pathlib.Path(selectnet_tf.__file__).parent
BELOW = {  # room -> the rooms that it may import from; each may import from itself
    "commands": {"scale", "report", "runs", "data", "models", "recipes", "library"},
    "scale": {"runs", "data", "models", "recipes", "library"},
    "report": {"runs", "data", "models", "recipes", "library"},
    "runs": {"data", "models", "recipes", "library"},
    "data": {"recipes", "library"},
    "models": {"recipes", "library"},
    "recipes": {"library"},
    "library": set(),
}
EXCEPTIONS = {  # Pool.from_directory, the public names, `selectnet`, `python -m selectnet_tf.run`
    ("pool", "data"), ("selectnet_tf", "data"), ("selectnet_tf", "models"), ("__main__", "commands"), ("run", "commands"),
}  # fmt: skip


def imports(path, at_once=False):
    """The names that a module imports; at_once: outside functions, where a circle would fail."""
    tree = ast.parse(path.read_text())
    for node in tree.body if at_once else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room(parts):
    return parts[0] if parts[0] in BELOW else "library"


def test_imports_run_one_way():
    for path in HOUSE.rglob("*.py"):
        own = room(path.relative_to(HOUSE).parts)
        theirs = {
            room(name.split(".")[1:]) for name in imports(path) if name.startswith("selectnet_tf.")
        }
        place = path.parent.name if path.stem == "__init__" else path.stem
        excepted = {below for above, below in EXCEPTIONS if above == place}
        assert theirs - excepted <= {own, *BELOW[own]}, path


def test_no_two_modules_import_each_other():
    paths = [path for path in HOUSE.rglob("*.py") if path.stem != "__init__"]
    names = {".".join(path.relative_to(HOUSE.parent).with_suffix("").parts): path for path in paths}
    below = {}
    for name, path in names.items():
        found = set(imports(path, at_once=True))
        below[name] = (found | {full.rpartition(".")[0] for full in found}) & names.keys()
    while ground := {name for name, found in below.items() if not found & below.keys()}:
        below = {name: found for name, found in below.items() if name not in ground}
    assert not below


def test_the_tests_mirror_the_rooms():
    rooms = {p.name for p in HOUSE.iterdir() if (p / "__init__.py").exists()}
    assert {
        p.name
        for p in pathlib.Path(__file__).parent.iterdir()
        if p.is_dir() and p.name[0] not in "_."
    } <= rooms


def test_recipes_need_the_standard_library_only():
    names = {name for path in (HOUSE / "recipes").glob("*.py") for name in imports(path)}
    assert all(name.split(".")[0] in {*sys.stdlib_module_names, "selectnet_tf"} for name in names)


def test_help_and_reports_import_neither_tensorflow_nor_ray():
    modules = (
        "__main__",
        "run",
        "report.page",
        *(f"commands.{c}" for c in ("train", "sweep", "doctor", "score", "pick", "report")),
    )
    code = f"import sys, {', '.join(f'selectnet_tf.{m}' for m in modules)}; sys.exit(sum(m in sys.modules for m in ('tensorflow', 'keras', 'ray', 'pyarrow')))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_public_names_exist():
    assert {"Pool", "Selection", "SelectNet", "fit"} <= set(dir(selectnet_tf))
    assert all(getattr(selectnet_tf, name).__doc__ for name in selectnet_tf.__all__)


def run_code(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


@pytest.mark.slow
def test_the_library_needs_no_fcntl():
    """Windows has none."""
    code = "import sys; sys.modules['fcntl'] = None; import selectnet_tf as sn; [getattr(sn, n) for n in ('Checkpoint', 'fit', 'Pool')]"
    assert run_code(code).returncode == 0


def test_another_backend_is_one_line(monkeypatch):
    monkeypatch.setattr(keras.config, "backend", lambda: "torch")
    with pytest.raises(ImportError, match="runs on torch: set KERAS_BACKEND=tensorflow$") as caught:
        selectnet_tf.SelectNet  # noqa: B018
    assert "\n" not in str(caught.value)


def test_the_version_is_that_of_the_package():
    assert selectnet_tf.__version__ == importlib.metadata.version("selectnet_tf")


def test_type_checkers_see_every_public_name_where_it_comes_from():
    told = {
        name.removeprefix("selectnet_tf.")
        for name in imports(HOUSE / "__init__.py")
        if name.startswith("selectnet_tf.")
    }
    assert told == {f"{home}.{name}" for name, home in selectnet_tf._HOME.items()}
