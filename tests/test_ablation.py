"""The ablation's plan, choice and table, of made-up runs; and that it trains, on digits."""

import pathlib
import re
import subprocess
import sys

import pytest
from conftest import load_script, write_run
from matplotlib.image import imread

from selectnet_tf._csv_files import read_csv, write_csv

SCRIPT = pathlib.Path(__file__).parent.parent / "experiments" / "ablation.py"
ablation = load_script(SCRIPT)
OPTIONS = {"dataset": "cifar10-4minor", "arch": "simple", "epochs": 20, "every": 10}


def plan_of(results, seeds=(0, 1, 2)):
    return ablation.Plan(results, list(seeds), [10], 500, **OPTIONS)


def leave(results, recipe, last10):
    """A finished run of two rounds with its files."""
    write_run(results, 0.5, {"last10_accuracy": last10, "macro_f1": 0.4}, **recipe.flat())
    folder = results / "runs" / recipe.name
    folder.mkdir(parents=True, exist_ok=True)
    write_csv(
        folder / "epochs.csv",
        [
            ("epoch", "val_accuracy", "val_minor_accuracy"),
            *[(e, e / 100, e / 200) for e in range(1, 21)],
        ],
    )
    write_csv(
        folder / "selection.csv",
        [("epoch", "precision", "as_0", "as_2"), (10, 0.9, 30, 20), (20, 0.8, 40, 0)],
    )
    write_csv(
        folder / "classes.csv", [("class", "minor", "f1"), (0, 1, 0.6), (1, 0, 0.1), (2, 1, 0.2)]
    )


def test_what_is_chosen_on_is_another_split_and_never_the_test_set(monkeypatch):
    plan = plan_of(pathlib.Path("nowhere"))
    assert {(r.seed, r.data.validation, r.preset) for _, r in plan.choosing()} == {
        (10, 500, "paper")
    }
    monkeypatch.setattr(plan, "best", lambda: "together")
    reported = plan.reported()
    found = [(variant, recipe.seed) for variant, recipe in reported[6:]]
    assert found == [("paper", 1), ("together", 1), ("paper", 2), ("together", 2)]
    assert {r.data.validation for _, r in reported} == {0}
    assert [v for v, _ in reported[:6]] == list(ablation.VARIANTS)
    assert len({r.name for _, r in reported + plan.choosing()}) == 16
    with pytest.raises(ValueError, match="can't be chosen on seed 1, which is reported"):
        ablation.Plan(pathlib.Path("nowhere"), [0, 1], [10, 1], 500, **OPTIONS)


def test_the_best_is_that_of_the_held_out_images_and_only_once_all_are_known(tmp_path, capsys):
    plan = plan_of(tmp_path, [0])
    for i, (_, recipe) in enumerate(plan.choosing()):
        assert plan.best() is None
        leave(tmp_path, recipe, (0.3, 0.5, 0.6, 0.4, 0.2, 0.5)[i])
    for i, (_, recipe) in enumerate(plan.reported()):
        leave(
            tmp_path, recipe, i / 10
        )  # on the test set the last one is the best: that must not matter
    assert plan.best() == "prior_loss 1"
    ablation.write(plan)
    assert "best on images held out of seed 10: prior_loss 1\n" in capsys.readouterr().out
    rows = read_csv(tmp_path / "ablation.csv")
    assert len(rows) == 24 and [r["part"] for r in rows[::12]] == ["choose", "report"]
    first, last = rows[14:16]
    columns = ("variant", "prior_loss", "seed", "validation", "epoch", "accuracy", "minor_accuracy")
    assert ",".join(first[c] for c in columns) == "prior_loss 0.5,0.5,0,0,10,0.1,0.05"
    assert [first[c] for c in ("precision", "as_0", "as_2")] == ["0.9", "30", "20"]
    assert first["macro_f1"] == first["worst_minor_f1"] == ""
    assert (last["macro_f1"], last["worst_minor_f1"]) == ("0.4", "0.2")
    assert imread(tmp_path / "ablation.png").std() > 0.02

    ablation.check_table(plan, "ablation")  # all its lines would be written again
    with pytest.raises(ValueError, match=r"ablation.csv has 12 lines of other runs: give another"):
        ablation.check_table(plan_of(tmp_path, [3]), "ablation")


@pytest.mark.slow
def test_its_plan_and_a_wrong_command_line(tmp_path):
    def command(*flags):
        return subprocess.run(
            [sys.executable, SCRIPT, f"--results_dir={tmp_path}", "--dry", *flags],
            capture_output=True,
            text=True,
        )

    found = command("--device=cpu")
    assert found.returncode == 0 and re.search(r"^all +14 ", found.stdout, re.MULTILINE), (
        found.stderr
    )
    wrong = command("--choice_seeds=2")
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("error: the settings can't be chosen on seed 2")


@pytest.mark.slow
def test_it_runs_on_digits(tmp_path):
    flags = ["--dataset=digits-4minor", "--epochs=4", "--every=2", "--validation=20"]
    flags += ["--seeds=0", f"--results_dir={tmp_path}"]
    found = subprocess.run([sys.executable, SCRIPT, *flags], capture_output=True, text=True)
    assert found.returncode == 0 and "best on images held out of seed 10" in found.stdout, (
        found.stderr
    )
    rows = read_csv(tmp_path / "ablation.csv")
    assert len({(r["part"], r["variant"], r["seed"]) for r in rows}) == 12
    assert {r["epoch"] for r in rows} == {"2", "4"}
    assert all(0 <= float(r["accuracy"]) <= 1 for r in rows)
    assert (tmp_path / "ablation.png").exists()
