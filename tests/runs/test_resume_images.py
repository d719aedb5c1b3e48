import os
import shutil

import pytest
from conftest import COLOURS, picture

from selectnet_tf import recipes
from selectnet_tf._csv_files import read_csv, write_csv
from selectnet_tf.data import load
from selectnet_tf.runs import resume, store


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
    assert len(rows) == 75 and list(next(iter(rows.values()))) == [
        "file",
        "digest",
        "part",
        "class",
        "why",
    ]
    parts = [row["part"] for row in rows.values()]
    assert [parts.count(part) for part in ("labeled", "test", "unlabeled", "left out")] == [
        34,
        10,
        27,
        4,
    ]
    assert (
        rows[str(tree / "pool" / "0" / "00.png")]["why"] == "a duplicate of a labeled or test image"
    )
    torn = rows[str(tree / "pool" / "torn.jpg")]
    assert (
        torn["part"] == "left out"
        and torn["why"] == "no image of a supported format"
        and torn["digest"] == ""
    )


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
    assert (
        resume.describe_new_images(folder, recipe) == "there are 2 new images"
        and resume.describe_new_images(tree, recipe) == ""
    )


def test_a_finished_run_is_finished_without_its_images(start, tree, capsys):
    folder, recipe = start()
    (folder / "epochs.csv").touch()
    store.write_row(folder.parent.parent, folder.name, {"name": folder.name, "accuracy": 0.5})
    shutil.rmtree(tree / "pool")
    assert resume.find_finished_row(recipe, folder.parent.parent, folder)["accuracy"] == "0.5"
    said = capsys.readouterr().out
    assert (
        "is finished, but can't check for new images (--unlabeled_dir: expected a folder" in said
        and said.count("\n") == 1
    )


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
    assert resume.describe_new_images(folder, recipe) == "there are 1 new image and 2 new decisions"
