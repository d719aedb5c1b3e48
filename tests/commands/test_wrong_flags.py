"""A wrong command line is one line that names the cure, ends with 2 (usage) or 1, and leaves nothing."""

import errno
import os
import subprocess
import sys
import zipfile
from unittest.mock import Mock

import pytest
import tensorflow as tf

import selectnet_tf

SCORE = ("--model=nowhere.keras", "--images=a", "--out=b")
PICK = ("--scores=a", "--images=b", "--minor=c", "--out=d")


@pytest.mark.parametrize(
    ("command", "flags", "code", "words"),
    [
        ("train", ["--method=bagging"], 2, "self_paced|context|selectnet"),
        ("train", ["context"], 2, "--name=value"),
        ("train", ["--minor=²,1"], 2, "class numbers such as 0,2,6,7"),
        ("train", ["--treshold=0.5"], 2, "threshold"),
        ("train", ["--epochs=many"], 2, "epochs"),
        ("train", ["--noaccumulate=3"], 2, "accumulate"),
        ("train", ["--dry_run"], 2, "--dry_run is for --dataset=folder"),
        ("train", ["--cache_dir=a"], 2, "--cache_dir is for --dataset=folder or --freeze"),
        ("train", ["--labeled_dir=a", "--unlabeled_dir=b", "--data_dir=c"], 2, "--data_dir is for benchmarks"),
        ("train", ["--epochs=5", "--method=context"], 2, "use --every=2 or less"),
        ("sweep", ["table1", "--dry", "--archs=resnet2"], 2, "there is no resnet2"),
        ("sweep", ["table1", "--dry", "more"], 2, "unexpected 'more'"),
        ("sweep", ["table1", "--dry", "--datasets=folder"], 2, "for images of your own, selectnet train"),
        ("sweep", ["table1", "--data_dir=nowhere"], 1, "nowhere has neither folder nor archive"),
        ("train", ["--unlabeled_dir=a"], 2, "--labeled_dir"),
        ("train", ["--results_dir=/dev/null"], 1, "--results_dir: expected a folder"),
        ("report", [], 2, ""),
        ("report", ["diff", "--preset=mine"], 2, "preset"),
        ("report", ["compare", "a"], 2, ""),
        ("report", ["tables", "--strict"], 2, "--strict is for report diff: leave it out"),
        ("report", ["tables", "--out=x.csv"], 2, "--out is for report diff: leave it out"),
        ("report", ["diff", "tables", "--data_dir=a"], 2, "--data_dir is for report html: leave it out"),
        ("report", ["compare", "a", "b"], 1, "no folder results"),
        ("predict", ["nothing.keras", "a.png"], 1, "expected the model.keras of a run"),
        ("score", [], 2, "give --model, --images and --out"),
        ("score", [*SCORE, "--shard=0"], 2, "shard"),
        ("score", SCORE, 1, "--model: expected the model.keras of a run"),
        ("report", ["diff", "--results_dir=~nobody's/a"], 1, "received ~nobody's/a, but there is no such home: write ./~nobody's/a"),
        ("sweep", ["table1", "--data_dir=~nobody's/a"], 1, "received ~nobody's/a, but there is no such home"),
        ("train", ["--data_dir=~nobody's/a"], 1, "~nobody's/a has neither folder nor archive"),
        ("pick", [], 2, "give --scores, --images, --minor and --out"),
        ("pick", PICK, 1, "--scores: expected a folder or Parquet file, received a"),
    ],
)  # fmt: skip
def test_a_wrong_flag_is_one_line(
    command, flags, code, words, run_here, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    found, (out, said) = run_here(command, *flags), capsys.readouterr()
    assert (found, out) == (code, ""), said
    assert said.startswith("error: ") and said.count("\n") == 1
    assert words in said and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-h"], "selectnet COMMAND [FLAGS]"),
        (["--version"], f"selectnet {selectnet_tf.__version__}\n"),
        (["train", "-h"], "Trains one run: selectnet train"),
        (["report", "-h"], "Compares runs with the paper"),
        (["doctor", "-h"], "usage: selectnet doctor"),
    ],
)
def test_help_and_the_version_have_their_usual_flags(words, said, run_here, capsys):
    assert run_here(*words) == 0
    out, error = capsys.readouterr()
    assert out.lstrip().startswith(said) and error == ""


PLACES = {  # a command that would work: where in it an error is raised, its words
    "train": ("commands.train._look_at_data", ["--dataset=digits-4minor"]),
    "predict": ("commands.predict.list_files", ["model.keras", "a.png"]),
    "report": ("commands.report.write", ["tables", "--results_dir=."]),
    "sweep": ("runs.sweep.Sweep.plan", ["table1", "--dry"]),
    "score": ("scale.scoring.score", ["--model=model.keras", "--images=.", "--out=b"]),
    "pick": ("scale.picking.pick", ["--scores=.", "--images=.", "--minor=c", "--out=d"]),
    "doctor": ("commands.doctor.examine", []),
}
STOPPED = {
    "train": "stopped before the first epoch was saved: run the same command to start again",
    "score": "interrupted: run the same command again to score the missing images",
}


@pytest.mark.parametrize("command", PLACES)
@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), 141, None),
        (KeyboardInterrupt(), 130, "interrupted"),
        (ValueError("--minor=a is none of the 3 classes"), 2, "--minor=a is none of the 3 classes"),
        (ValueError("scores are damaged"), 1, "scores are damaged"),
        (OSError(errno.EACCES, "Permission denied", "a/b"), 1, "a/b: Permission denied"),
        (OSError(errno.ENOSPC, "No space left", "a/b"), 1, "the disk is full: free some space and run the same command again"),
        (tf.errors.NotFoundError(None, None, "there is no a/b"), 1, "there is no a/b"),
    ],
)  # fmt: skip
def test_every_command_ends_alike(
    command, error, code, words, run_here, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    zipfile.ZipFile("model.keras", "w").close()
    place, given = PLACES[command]
    monkeypatch.setattr(f"selectnet_tf.{place}", Mock(side_effect=error))
    assert run_here(command, *given) == code
    if code == 130:
        words = STOPPED.get(command, words)
    assert capsys.readouterr().err == (f"error: {words}\n" if words else "")


def test_an_unexpected_error_has_its_traceback_and_with_verbose_any(run_here, monkeypatch):
    place, given = PLACES["train"]
    for error, flags in ((TypeError, []), (ValueError, ["--verbose"])):
        monkeypatch.setattr(f"selectnet_tf.{place}", Mock(side_effect=error))
        with pytest.raises(error):
            run_here("train", *given, *flags)


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["report", "--help"],
        ["train", "--helpfull"],
        ["report", "diff", "--results_dir=."],
        ["sweep", "table1", "--print", "--methods=context"],
    ],
)
def test_a_reader_that_leaves_early_is_no_error(words, tmp_path):
    """`selectnet report --help | head` ended with a traceback."""
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "selectnet_tf", *words]
    found = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    os.close(write)
    assert (found.returncode, found.stderr) == (141, "")
