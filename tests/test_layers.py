"""Imports point down only, and what should start at once does not import TensorFlow."""

import ast
import pathlib
import subprocess
import sys

import selectnet_tf

HOUSE = pathlib.Path(selectnet_tf.__file__).parent
BELOW = {  # module -> those of ours that it may import
    "rules": set(), "images": set(), "pool": {"folders", "images"}, "augment": set(), "files": set(), "checkpoint": {"files"},
    "selection": {"images", "rules"}, "rounds": set(), "sampler": {"pool", "selection"}, "layers": set(),
    "data": set(), "folders": {"files"}, "splits": set(), "models": {"layers", "recipes"}, "metrics": set(), "recipes": set(), "losses": set(),
    "schedules": {"losses"},
    "record": {"gallery", "metrics", "files", "images", "rules", "runs", "selection"},
    "grids": {"recipes"}, "runs": {"files", "grids", "recipes"},
    "frames": set(), "tasks": {"data", "folders", "frames", "images", "splits"},
    "train": {"augment", "files", "metrics", "models", "record", "rules", "runs", "schedules", "tasks", "checkpoint", "pool", "recipes", "rounds", "selection"},
    "cli": set(), "predict": {"cli", "folders", "frames", "metrics"}, "run": {"cli", "recipes", "train", "record"}, "__init__": set(),
    "paper": {"grids", "recipes", "runs"}, "tables": {"files", "paper", "recipes", "runs"}, "figures": {"paper", "recipes", "runs"}, "gallery": set(),
    "page": {"data", "figures", "files", "gallery", "paper", "recipes", "runs", "tables"},
    "report": {"cli", "figures", "page", "paper", "recipes", "runs", "tables"},
    "estimate": {"recipes", "runs", "splits"}, "sweep": {"cli", "grids", "estimate", "files", "recipes", "report", "runs", "tables"},
}  # fmt: skip


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_imports_point_down():
    for path in HOUSE.glob("*.py"):
        ours = {name.split(".")[1] for name in imports(path) if name.startswith("selectnet_tf.")}
        assert ours <= BELOW[path.stem], path.name


def test_modules_stay_small():
    assert {p.name: n for p in HOUSE.glob("*.py") if (n := len(p.read_text().splitlines())) > 270} == {}


def test_recipes_need_the_standard_library_only():
    assert all(name.split(".")[0] in sys.stdlib_module_names for name in imports(HOUSE / "recipes.py"))


def test_help_and_reports_do_not_import_tensorflow():
    code = "import sys, selectnet_tf.run, selectnet_tf.report, selectnet_tf.page, selectnet_tf.sweep; sys.exit(sum(m in sys.modules for m in ('tensorflow', 'keras')))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_public_names_exist():
    assert {"Pool", "Selection", "SelectNet", "fit"} <= set(dir(selectnet_tf))
    assert all(getattr(selectnet_tf, name).__doc__ for name in selectnet_tf.__all__)
