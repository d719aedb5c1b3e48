"""Imports run one way between the wings, and what should start at once does not import TensorFlow."""

import ast
import pathlib
import subprocess
import sys

import selectnet_tf

HOUSE = pathlib.Path(selectnet_tf.__file__).parent
BELOW = {  # wing -> the wings that it may import from; each may import from itself
    "report": {"experiment", "data", "networks", "library"},
    "experiment": {"data", "networks", "library"},
    "data": {"library"},
    "networks": {"library"},
    "library": set(),
}
COMMANDS = {"run", "table", "predict"}  # in front beside the library, and above all wings
EXCEPTION = ("pool", "data")  # Pool.from_directory reads folders of pictures


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
        assert {w for w in theirs if (path.stem, w) != EXCEPTION} <= allowed, path.name


def test_modules_stay_small():
    assert {p.name: n for p in HOUSE.rglob("*.py") if (n := len(p.read_text().splitlines())) > 250} == {}


def test_the_tests_mirror_the_wings():
    modules = {p.stem for p in HOUSE.rglob("*.py")}
    for path in pathlib.Path(__file__).parent.glob("*/test_*.py"):
        subject = path.stem.removeprefix("test_")
        assert subject not in modules or (HOUSE / path.parent.name / f"{subject}.py").exists(), path.name


def test_recipes_need_the_standard_library_only():
    names = {name for module in ("recipes", "archs", "ranges") for name in imports(HOUSE / f"{module}.py")}
    assert all(name.split(".")[0] in {*sys.stdlib_module_names, "selectnet_tf"} for name in names)


def test_help_and_reports_do_not_import_tensorflow():
    modules = ("run", "table", "report.__main__", "report.page")
    code = (
        f"import sys, {', '.join(f'selectnet_tf.{m}' for m in modules)}; sys.exit(sum(m in sys.modules for m in ('tensorflow', 'keras')))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_public_names_exist():
    assert {"Pool", "Selection", "SelectNet", "fit"} <= set(dir(selectnet_tf))
    assert all(getattr(selectnet_tf, name).__doc__ for name in selectnet_tf.__all__)
