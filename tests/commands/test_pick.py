"""The command: its errors are one line, and what it writes is what the next run takes."""

import functools

import pytest
from conftest import selectnet

from selectnet_tf._csv_files import read_csv

pick = functools.partial(selectnet, "pick")


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        ([], 2, "give --scores, --images, --minor and --out"),
        (["scores"], 2, "--name=value"),
        (["--scores=a", "--images=b", "--minor=c", "--out=d", "--cap=2"], 2, "cap"),
        (
            ["--scores=a", "--images=b", "--minor=c", "--out=d"],
            1,
            "a is not there: give a folder or a Parquet file",
        ),
    ],
)
def test_a_wrong_flag_is_one_line(flags, code, words, tmp_path):
    found = pick(*flags, cwd=tmp_path)
    assert found.returncode == code and found.stdout == "" and not list(tmp_path.iterdir())
    assert (
        found.stderr.startswith("error: ")
        and words in found.stderr
        and found.stderr.count("\n") == 1
    )


@pytest.mark.slow
def test_score_pick_and_train_on_it(tree):
    """The whole way: a run, its model's scores of the pool, picks, and a run that also trains on these."""

    def command(name, *flags):
        found = selectnet(name, *flags, cwd=tree)
        assert found.returncode == 0, found.stderr
        return found.stdout

    common = [
        "--dataset=folder",
        "--unlabeled_dir=pool",
        "--image_size=16",
        "--arch=simple",
        "--epochs=30",
        "--every=10",
        "--batch_size=8",
    ]
    command(
        "train",
        *common,
        "--labeled_dir=labeled",
        "--method=oversampling",
        "--results_dir=one",
        "--lr=0.03",
    )
    (model,) = tree.glob("one/runs/*/model.keras")
    command("score", f"--model={model}", "--images=pool", "--out=scores")
    said = command(
        "pick",
        "--scores=scores",
        "--images=pool",
        "--minor=emu,dog",
        "--max_per_class=5",
        "--out=picks",
    )
    assert "images in picks (emu: " in said
    images = list((tree / "picks").rglob("*.png"))
    assert 0 < len(images) <= 10
    picks = ["--unlabeled_dir=picks", "--decisions=picks/decisions.csv"]
    common.remove("--unlabeled_dir=pool")
    command(
        "train",
        *common,
        *picks,
        "--labeled_dir=labeled",
        "--method=imbalanced",
        "--results_dir=two",
    )
    (files,) = tree.glob("two/runs/*/files.csv")
    parts = {row["part"] for row in read_csv(files) if row["file"].startswith("picks/")}
    assert "labeled" in parts <= {"labeled", "left out"}  # decisions.csv itself, copies
