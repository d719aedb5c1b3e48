"""The command: its errors are one line, and what it writes is what the next run takes."""

import shlex

import pytest
from conftest import selectnet

from selectnet_tf._csv_files import read_csv


@pytest.mark.slow
def test_score_pick_and_train_on_it(tree):
    """The whole way: a run, its model's scores of the pool, picks, and a run that also trains on these."""

    def command(name, *flags):
        found = selectnet(name, *flags, cwd=tree)
        assert found.returncode == 0, found.stderr
        return found.stdout

    common = ["--dataset=folder", "--image_size=16", "--arch=simple", "--epochs=30", "--every=10"]
    common += ["--batch_size=8", "--labeled_dir=labeled"]
    first = ["--unlabeled_dir=pool", "--method=oversampling", "--lr=0.03", "--results_dir=one"]
    command("train", *common, *first)
    (model,) = tree.glob("one/runs/*/model.keras")
    command("score", f"--model={model}", "--images=pool", "--out=scores")
    flags = ["--scores=scores", "--images=pool", "--minor=emu,dog", "--max_per_class=5"]
    none = selectnet("pick", *flags, "--threshold=0", "--out=picks", cwd=tree)
    assert none.returncode == 1 and none.stderr.endswith("--threshold=0.0: raise it\n")
    said = command("pick", *flags, "--out=my picks")
    assert "images in my picks (emu: " in said
    images = list((tree / "my picks").rglob("*.png"))
    assert 0 < len(images) <= 10
    picks = shlex.split(said.partition("give the next run ")[2].partition(", as")[0])
    command("train", *common, *picks, "--results_dir=two")
    (files,) = tree.glob("two/runs/*/files.csv")
    parts = {row["part"] for row in read_csv(files) if row["file"].startswith("my picks/")}
    assert "labeled" in parts <= {"labeled", "left out"}  # decisions.csv itself, copies
