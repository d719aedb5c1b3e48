import collections
import os
import re
import shutil
import subprocess
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import COLOURS, blobs, picture

from selectnet_tf import recipes
from selectnet_tf._csv_files import read_csv, write_csv
from selectnet_tf.data import load
from selectnet_tf.runs import resume, store


def git(folder, *words):
    subprocess.run(
        ["git", "-C", folder, "-c", "user.name=a", "-c", "user.email=a@b.c", *words],
        check=True,
        capture_output=True,
    )


def make_package(folder):
    (folder / "selectnet_tf").mkdir(parents=True)
    (folder / "selectnet_tf" / "__init__.py").touch()
    return folder / "selectnet_tf"


def test_the_commit_is_of_this_package_s_repository_alone(tmp_path):
    own = make_package(tmp_path / "own")
    git(tmp_path / "own", "init")
    assert resume.read_commit(own) == "unknown"  # nothing is committed
    git(tmp_path / "own", "add", ".")
    git(tmp_path / "own", "commit", "-m", "a")
    commit = resume.read_commit(own)
    assert re.fullmatch("[0-9a-f]{7,}", commit)
    for name in ("results/runs.csv", "selectnet_tf/notes.py"):  # written by runs, and by nobody yet
        (tmp_path / "own" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "own" / name).touch()
    git(tmp_path / "own", "add", "results")
    assert resume.read_commit(own) == commit
    (own / "__init__.py").write_text("x = 1")
    assert resume.read_commit(own) == f"{commit}-dirty"
    git(tmp_path / "own", "add", "selectnet_tf/__init__.py")
    assert resume.read_commit(own) == f"{commit}-dirty"
    installed = make_package(tmp_path / "own" / ".venv")  # in a repository of the user's
    assert resume.read_commit(installed) == "unknown"
    assert resume.read_commit(make_package(tmp_path / "none")) == "unknown"


def test_without_git_the_commit_is_unknown(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert resume.read_commit() == "unknown"


def test_the_environment_names_what_the_last_bits_depend_on(monkeypatch):
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "3")
    found = resume.read_environment()
    assert list(found) == ["python", "tensorflow", "keras", "threads", "onednn", "device", "commit"]
    assert found["threads"] == "3"


def task(**changes):
    (x, y), (x_test, y_test), (pool, _) = blobs(20), blobs(8, seed=1), blobs(12, seed=2)
    given = {
        "x_labeled": x,
        "y_labeled": y,
        "x_unlabeled": pool,
        "x_test": x_test,
        "y_test": y_test,
        "names": ("a", "b"),
        "minor": (1,),
    }
    return SimpleNamespace(**{**given, **changes})


@pytest.mark.parametrize(
    ("field", "change", "said"),
    [
        ("x_unlabeled", lambda x: x[:-1], "started: unlabeled data;"),
        ("x_unlabeled", lambda x: x[::-1], "started: unlabeled data;"),
        (
            "x_labeled",
            lambda x: x ^ np.eye(20, 1, dtype=np.uint8)[..., None, None],
            "started: labeled data;",
        ),  # one bit
        ("y_labeled", lambda y: y[::-1], "started: labeled data;"),
        ("y_test", lambda y: y[::-1], "started: test data;"),
        ("names", lambda names: names[::-1], "started: classes;"),
        ("minor", lambda minor: (0,), "started: classes;"),
    ],
)
def test_other_data_are_named(field, change, said):
    state = resume.Fingerprint(task(), 1).get_state()
    resume.Fingerprint(task(), 1).set_state(state)
    with pytest.raises(ValueError, match=said):
        resume.Fingerprint(task(**{field: change(getattr(task(), field))}), 1).set_state(state)


def test_each_change_of_the_environment_is_kept(monkeypatch):
    state = None
    for threads in ("2", "2", "1", "2"):
        monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", threads)
        made = resume.Fingerprint(task(), 1)
        if state:
            made.set_state(state)
        state = made.get_state()
    assert made.changed == "threads 2 > 1 > 2" == made.row()["changed"]
    assert made.first["threads"] == "2"
    assert made.notices == [
        "  resuming in another environment (threads 1 > 2): the last bits may differ from an uninterrupted run's"
    ]


@pytest.fixture
def start(tree):
    """A function that makes the task and checks it, as a run does; a state file says that the run has begun."""
    recipe = recipes.make(
        dataset="folder",
        labeled_dir=str(tree / "labeled"),
        unlabeled_dir=str(tree / "pool"),
        image_size=16,
    )
    folder = tree / "run"
    folder.mkdir()

    def start():
        resume.check_same_images(folder, load.make_task(recipe, cache_dir=tree / "cache"))
        (folder / "state.npz").touch()
        return folder, recipe

    return start


def test_files_csv_says_what_each_file_is(start, tree):
    folder, _ = start()
    rows = {row["file"]: row for row in read_csv(folder / "files.csv")}
    first = next(iter(rows.values()))
    assert len(rows) == 75 and list(first) == ["file", "digest", "part", "class", "why"]
    parts = collections.Counter(row["part"] for row in rows.values())
    assert parts == {"labeled": 35, "test": 9, "unlabeled": 27, "left out": 4}
    assert (
        rows[str(tree / "pool" / "0" / "00.png")]["why"] == "a duplicate of a labeled or test image"
    )
    torn = rows[str(tree / "pool" / "torn.jpg")]
    assert torn["part"] == "left out"
    assert torn["why"] == "no image of a supported format"
    assert torn["digest"] == ""


def test_the_same_images_resume(start, tree):
    start()
    (tree / "pool" / "notes.txt").write_text("no picture")
    for path in (tree / "pool").rglob("*.png"):
        os.utime(path, (1, 1))
    start()


def test_changed_images_are_counted(start, tree):
    start()
    (tree / "pool" / "1" / "05.png").unlink()
    picture(tree / "pool" / "1" / "09.png", COLOURS["cat"], 999)
    for i in range(2):
        picture(tree / "pool" / "new" / f"{i}.png", COLOURS["dog"], 800 + i)
    with pytest.raises(
        ValueError,
        match=r"images have changed since this run started \(1 missing, 2 new, 1 with other content; .*restore them to resume, or pass --force",
    ):
        start()


def test_a_finished_run_says_how_many_are_new(start, tree):
    folder, recipe = start()
    assert resume.describe_new_images(folder, recipe) == ""
    for i in range(2):
        picture(tree / "pool" / "new" / f"{i}.png", COLOURS["dog"], 800 + i)
    assert resume.describe_new_images(folder, recipe) == "there are 2 new images"
    assert resume.describe_new_images(tree, recipe) == ""


def test_a_finished_run_is_finished_without_its_images(start, tree, capsys):
    folder, recipe = start()
    (folder / "epochs.csv").touch()
    store.write_row(folder.parent.parent, folder.name, {"name": folder.name, "accuracy": 0.5})
    shutil.rmtree(tree / "pool")
    assert resume.find_finished_row(recipe, folder.parent.parent, folder)["accuracy"] == "0.5"
    said = capsys.readouterr().out
    assert "is finished, but can't check for new images (--unlabeled_dir: expected a folder" in said
    assert said.count("\n") == 1


def test_a_finished_run_says_how_many_decisions_are_new(start, tree):
    folder, recipe = start()
    rows = [row for row in read_csv(folder / "files.csv") if row["part"] == "unlabeled"]
    decided = [
        (row["file"], row["digest"], *what)
        for row, what in zip(rows, [("right", "emu"), ("wrong", ""), ("", "")], strict=False)
    ]
    header = ("file", "digest", "decision", "label")
    write_csv(tree / "decisions.csv", [header, *decided])
    recipe = recipes.make(**recipe.flat() | {"decisions": str(tree / "decisions.csv")})
    assert resume.describe_new_images(folder, recipe) == "there are 2 new decisions"
    (folder / "state.npz").unlink()
    resume.check_same_images(folder, load.make_task(recipe, cache_dir=tree / "cache"))
    assert resume.describe_new_images(folder, recipe) == ""
    write_csv(
        tree / "decisions.csv",
        [
            header,
            (rows[0]["file"], rows[0]["digest"], "corrected", "cat"),
            (rows[2]["file"], rows[2]["digest"], "wrong", ""),
        ],
    )
    picture(tree / "pool" / "new" / "0.png", COLOURS["dog"], 800)
    assert resume.describe_new_images(folder, recipe) == "there are 1 new image and 3 new decisions"


def test_a_finished_run_says_how_many_decisions_about_labels_are_new(start, tree):
    folder, recipe = start()
    rows = [row for row in read_csv(folder / "files.csv") if row["part"] == "labeled"]
    header = ("digest", "decision", "label")
    right, corrected, wrong = rows[0]["class"], "emu" if rows[1]["class"] != "emu" else "cat", ""
    recipe = recipes.make(**recipe.flat() | {"decisions": str(tree / "decisions.csv")})

    def decide(*labels):
        kinds = ("right", "corrected", "wrong")
        lines = [
            (row["digest"], kind, label)
            for row, kind, label in zip(rows, kinds, labels, strict=False)
        ]
        write_csv(tree / "decisions.csv", [header, *lines])
        return resume.describe_new_images(folder, recipe)

    assert decide(right, corrected, wrong) == "there are 2 new decisions"
    (folder / "state.npz").unlink()
    resume.check_same_images(folder, load.make_task(recipe, cache_dir=tree / "cache"))
    assert decide(right, corrected, wrong) == ""
    assert decide(right) == "there are 2 new decisions"  # the other two are withdrawn
