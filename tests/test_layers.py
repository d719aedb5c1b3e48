"""Imports run one way between the wings, and what should start at once does not import TensorFlow."""

import ast
import importlib.metadata
import os
import pathlib
import subprocess
import sys

import selectnet_tf

HOUSE = pathlib.Path(selectnet_tf.__file__).parent
BELOW = {  # wing -> the wings that it may import from; each may import from itself
    "scale": {"experiment", "data", "networks", "library"},
    "report": {"experiment", "data", "networks", "library"},
    "experiment": {"data", "networks", "library"},
    "data": {"library"},
    "networks": {"library"},
    "library": set(),
}
COMMANDS = {"run", "table", "predict", "doctor", "score", "pick"}  # in front beside the library, and above all wings
EXCEPTIONS = {("pool", "data"), ("selectnet_tf", "data"), ("selectnet_tf", "networks")}  # Pool.from_directory; the public names


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def wing(parts):
    return parts[0] if parts[0] in BELOW else "command" if parts[0] in COMMANDS else "library"


def test_imports_run_one_way():
    for path in HOUSE.rglob("*.py"):
        own = wing(path.relative_to(HOUSE).with_suffix("").parts)
        theirs = {wing(name.split(".")[1:]) for name in imports(path) if name.startswith("selectnet_tf.")} - {own}
        allowed = BELOW.keys() if own == "command" else BELOW[own]
        place = path.parent.name if path.stem == "__init__" else path.stem
        assert {w for w in theirs if (place, w) not in EXCEPTIONS} <= allowed, path.name


def test_the_tests_mirror_the_wings():
    modules = {p.stem for p in HOUSE.rglob("*.py")}
    for path in pathlib.Path(__file__).parent.glob("*/test_*.py"):
        subject = path.stem.removeprefix("test_")
        assert subject not in modules or (HOUSE / path.parent.name / f"{subject}.py").exists(), path.name


def test_recipes_need_the_standard_library_only():
    names = {name for module in ("recipes", "archs", "ranges", "checks", "presets") for name in imports(HOUSE / f"{module}.py")}
    assert all(name.split(".")[0] in {*sys.stdlib_module_names, "selectnet_tf"} for name in names)


def test_help_and_reports_do_not_import_tensorflow():
    modules = ("run", "table", "doctor", "score", "pick", "report.__main__", "report.page")
    code = (
        f"import sys, {', '.join(f'selectnet_tf.{m}' for m in modules)}; sys.exit(sum(m in sys.modules for m in ('tensorflow', 'keras')))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_public_names_exist():
    assert {"Pool", "Selection", "SelectNet", "fit"} <= set(dir(selectnet_tf))
    assert all(getattr(selectnet_tf, name).__doc__ for name in selectnet_tf.__all__)


def run_code(code, **environment):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **environment})


def test_the_library_needs_no_fcntl():
    """Windows has none."""
    code = "import sys; sys.modules['fcntl'] = None; import selectnet_tf as sn; [getattr(sn, n) for n in ('Checkpoint', 'fit', 'Pool')]"
    assert run_code(code).returncode == 0


def test_another_backend_is_one_line(tmp_path):
    """A jax that is there by name only: Keras goes as far as to say which backend it would use."""
    code = """
import keras
keras.config.backend = lambda: "jax"
import selectnet_tf as sn
try:
    sn.SelectNet
except ImportError as error:
    print(error)
"""
    said = run_code(code).stdout.strip()
    assert said == "selectnet_tf needs Keras on TensorFlow, and this one runs on jax: set KERAS_BACKEND=tensorflow"


def test_the_version_is_that_of_the_package():
    assert selectnet_tf.__version__ == importlib.metadata.version("selectnet_tf")


def test_type_checkers_see_every_public_name_where_it_comes_from():
    told = {name.removeprefix("selectnet_tf.") for name in imports(HOUSE / "__init__.py") if name.startswith("selectnet_tf.")}
    assert told == {f"{home}.{name}" for name, home in selectnet_tf._HOME.items()}
