"""A wrong command line is one line that names the cure, ends with 2 (usage) or 1, and leaves nothing."""

import os
import subprocess
import sys

import pytest
from conftest import selectnet

SCORE = ("--model=nowhere.keras", "--images=a", "--out=b")
PICK = ("--scores=a", "--images=b", "--minor=c", "--out=d")


@pytest.mark.parametrize(
    ("command", "flags", "code", "words"),
    [
        ("train", ["--method=bagging"], 2, "self_paced|context|selectnet"),
        ("train", ["context"], 2, "--name=value"),
        ("train", ["--minor=²,1"], 2, "class numbers such as 0,2,6,7"),
        ("train", ["--dry_run"], 2, "--dry_run is for --dataset=folder"),
        ("train", ["--epochs=5", "--method=context"], 2, "use --every=5 or less"),
        ("sweep", ["table1", "--dry", "--archs=resnet2"], 2, "there is no resnet2"),
        ("sweep", ["table1", "--dry", "more"], 2, "unexpected 'more'"),
        ("sweep", ["table1", "--data_dir=nowhere"], 1, "nowhere has neither folder nor archive"),
        ("train", ["--unlabeled_dir=a"], 2, "--labeled_dir"),
        ("train", ["--results_dir=/dev/null"], 1, "--results_dir: expected a folder"),
        ("report", [], 2, ""),
        ("report", ["diff", "--preset=mine"], 2, "preset"),
        ("report", ["compare", "a"], 2, ""),
        ("report", ["compare", "a", "b"], 1, "no folder results"),
        ("predict", ["nothing.keras", "a.png"], 1, "expected the model.keras of a run"),
        ("score", [], 2, "give --model, --images and --out"),
        ("score", [*SCORE, "--shard=0"], 2, "shard"),
        ("score", SCORE, 1, "--model: expected the model.keras of a run"),
        ("pick", [], 2, "give --scores, --images, --minor and --out"),
        ("pick", PICK, 1, "--scores: expected a folder or Parquet file, received a"),
    ],
)
def test_a_wrong_flag_is_one_line(command, flags, code, words, tmp_path):
    found = selectnet(command, *flags, cwd=tmp_path)
    assert (found.returncode, found.stdout) == (code, ""), found.stderr
    assert found.stderr.startswith("error: ") and found.stderr.count("\n") == 1
    assert words in found.stderr and not list(tmp_path.iterdir())


@pytest.mark.parametrize("words", [["--help"], ["report", "--help"], ["train", "--helpfull"]])
def test_a_reader_that_leaves_early_is_no_error(words):
    """`selectnet report --help | head` ended with a traceback."""
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "selectnet_tf", *words]
    found = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (found.returncode, found.stderr) == (141, "")
