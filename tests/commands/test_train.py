"""The command line as a user meets it, in processes of its own."""

import os
import re
import subprocess
import sys
from unittest.mock import Mock

import numpy as np
import pytest
from conftest import QUICK, read_bits

from selectnet_tf import recipes
from selectnet_tf.runs import outputs, train


def run(*flags, **options):
    command = [sys.executable, "-m", "selectnet_tf.run", *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, **options)


def test_minor_classes_of_folders_are_names(tmp_path):
    code = "import sys; from selectnet_tf.commands import train; train.define_flags(); train.FLAGS(sys.argv); print(train.recipe_from_flags().data.minor)"
    flags = ["--dataset=folder", "--labeled_dir=a", "--unlabeled_dir=b", "--minor=007, 1"]
    found = subprocess.run([sys.executable, "-c", code, *flags], capture_output=True, text=True)
    assert found.stdout == "('007', '1')\n", found.stderr


@pytest.mark.slow
def test_two_folders_are_all_that_a_dry_run_needs_and_it_leaves_nothing(tree):
    before = sorted(tree.rglob("*"))
    found = run("--labeled_dir=labeled", "--unlabeled_dir=pool", "--dry_run", cwd=tree)
    assert found.returncode == 0 and found.stderr == "" and sorted(tree.rglob("*")) == before
    lines = found.stdout.splitlines()
    assert (
        lines[0]
        == "44 labeled images of 3 classes, about a fifth of them held out as test set; 31 unlabeled"
    )
    assert "  by class: emu 4 (minor), cat 20, dog 20" in lines
    assert "  chosen from these folders: --image_size=16 --arch=resnet8 --epochs=200" in lines
    assert any(line.startswith("  decoding takes 0 MB in results/cache (") for line in lines)
    assert "35 labeled images, 9 test images, 27 unlabeled" in lines
    assert lines[-1].endswith(": 200 epochs of up to 48 images, estimated from a few steps")


def test_help_groups_the_flags_and_helpfull_has_them_all():
    code = "from selectnet_tf.commands import train; train.define_flags()"
    code += "; print(*(flag.name for flag in train.FLAGS.get_flags_for_module(train.__name__)))"
    command = [sys.executable, "-c", code]
    known = subprocess.run(command, capture_output=True, text=True).stdout.split()
    shown = {}
    for flag in ("--help", "--helpfull"):
        found = run(flag)
        assert found.returncode == 0 and found.stderr == ""
        shown[flag] = re.findall(r"^  --(?:\[no\])?(\w+):", found.stdout, re.MULTILINE)
        headings = re.findall(r"^([a-z ]+):$", found.stdout, re.MULTILINE)
        assert ",".join(headings) == (
            "data,selection,training,readings of the paper,hardware,output"
        )
    assert len(shown["--help"]) < 25 and set(shown["--help"]) < set(shown["--helpfull"])
    assert sorted(shown["--helpfull"]) == sorted(known)


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (["--data_dir=nowhere"], 1, "cifar10 not found"),
        (["--labeled_dir=labeled", "--unlabeled_dir=pol"], 1, "--unlabeled_dir"),
        (["--labeled_dir=labeled", "--unlabeled_dir=pool", "--boxes=md.json"], 2, "none of the 1"),
    ],
)
def test_missing_data_is_one_line_and_costs_no_import_of_tensorflow(flags, code, words, tree):
    (tree / "md.json").write_text('{"images": [{"file": "a.jpg", "detections": []}]}')
    for name in ("tensorflow", "keras"):
        (tree / f"{name}.py").write_text("raise RuntimeError")
    found = run(*flags, cwd=tree)
    assert found.returncode == code and found.stdout == "" and len(found.stderr.splitlines()) == 1
    assert found.stderr.startswith("error: ") and words in found.stderr
    assert not (tree / "results").exists()


@pytest.mark.parametrize(
    ("position", "row", "said"),
    [
        (None, False, "stopped before the first epoch was saved: run the same command to start again"),
        ([3, 0], False, "stopped: epoch 3 of 20 saved; run the same command{} to resume"),
        ([3, 7], False, "stopped: epoch 3 of 20 and 7 batches saved; run the same command{} to resume"),
        ([20, 0], False, "stopped while writing the results: all epochs are saved; run the same command{} to finish"),
        (None, True, "stopped after training: run the same command{} to write the remaining files"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("force", [False, True])
def test_who_stops_a_run_is_told_what_was_saved(
    position, row, said, force, run_here, tmp_path, monkeypatch, capsys
):
    """--force would delete it. A finished run that --force has not replaced yet is not that run."""
    recipe = recipes.make(dataset="digits-4minor", epochs=20)
    folder = tmp_path / "runs" / recipe.name
    folder.mkdir(parents=True)
    if position:
        np.savez(folder / "state.npz", position=np.array(position))
    if row:
        (folder / "row.json").touch()
    words = ["train", "--dataset=digits-4minor", "--epochs=20", f"--results_dir={tmp_path}"]
    words += ["--force"] * force
    trained = Mock(return_value={"name": recipe.name}) if row else Mock(side_effect=SystemExit(143))
    monkeypatch.setattr(train, "train", trained)
    monkeypatch.setattr(outputs, "format_results", Mock(side_effect=SystemExit(143)))
    assert run_here(*words) == 143
    said = f"error: {said.format(', without --force,' * force)}\n"
    assert capsys.readouterr().err == said
    if row and force:
        trained.side_effect = KeyboardInterrupt
        assert run_here(*words) == 130
        assert "before the first epoch was saved" in capsys.readouterr().err


def test_who_stops_a_dry_run_is_told_of_no_run(run_here, monkeypatch, capsys):
    stop = Mock(side_effect=KeyboardInterrupt)
    monkeypatch.setattr("selectnet_tf.commands.train._look_at_data", stop)
    assert run_here("train", "--labeled_dir=a", "--unlabeled_dir=b", "--dry_run") == 130
    assert capsys.readouterr().err == "error: interrupted\n"


@pytest.mark.slow
@pytest.mark.parametrize("how", ["ascii", "closed streams", "no git"])
def test_output_decides_nothing_about_a_training(how, tmp_path, quick_bits):
    """And neither does a machine without git."""
    command = f"{sys.executable} -m selectnet_tf.run {' '.join(QUICK)} --results_dir={tmp_path}"
    end = ">&- 2>&- <&-" if how == "closed streams" else ""
    environment = {"ascii": {"PYTHONIOENCODING": "ascii"}, "no git": {"PATH": "/nowhere"}}.get(
        how, {}
    )
    found = subprocess.run(
        ["/bin/bash", "-c", f"{command} {end}"], env=os.environ | environment, capture_output=True
    )
    assert found.returncode == 0 and found.stderr == b""
    bits = read_bits(tmp_path)
    assert bits.keys() == quick_bits.keys()
    changed = {name for name in bits if bits[name] != quick_bits[name]}
    assert changed <= ({"row", "recipe.json"} if how == "no git" else set())  # they hold the commit
