"""--review never harms a picture: its copies are new files, one for each pick, whatever the names are."""

import errno
import os

import pytest

from selectnet_tf import recipes
from selectnet_tf.data import decisions
from selectnet_tf.experiment import review, runs
from selectnet_tf.files import digest


@pytest.fixture
def picked(tmp_path):
    """(run's folder, {file: bytes}): three picks whose last three parts are the same, one of a name that is no UTF-8, a very long one."""
    names = [f"day{i}/cam1/DCIM/IMG_0001.JPG" for i in range(3)] + [os.fsdecode(b"caf\xe9.jpg"), "x" * 250 + ".png"]
    content = {tmp_path / "pool" / name: f"picture {i}".encode() for i, name in enumerate(names)}
    for path, bytes in content.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes)
    lines = [(path, "lynx", "0.99996") for path in content]
    (tmp_path / "run").mkdir()
    runs.write_csv(tmp_path / "run" / "selected.csv", [("file", "pseudo_label", "score"), *lines])
    return tmp_path / "run", content


@pytest.mark.parametrize("links", [None, "hard", "symbolic"])
def test_every_pick_is_there_and_no_original_changes(picked, links, tmp_path):
    folder, content = picked
    assert review.review(folder, tmp_path / "look", links) == (5, [])
    made = list((tmp_path / "look" / "lynx").iterdir())
    assert sorted(p.read_bytes() for p in made) == sorted(content.values())
    assert {path: path.read_bytes() for path in content} == content
    assert {p.is_symlink() for p in made} == {links == "symbolic"} and {os.stat(p).st_nlink for p in made} == {2 if links == "hard" else 1}


def test_an_edit_of_a_copy_does_not_reach_the_original(picked, tmp_path):
    folder, content = picked
    review.review(folder, tmp_path / "look")
    for path in (tmp_path / "look" / "lynx").iterdir():
        path.write_bytes(b"edited")
    assert {path: path.read_bytes() for path in content} == content


def test_what_is_already_there_is_never_written_to(picked, tmp_path):
    folder, content = picked
    original = next(iter(content))
    (tmp_path / "look" / "lynx").mkdir(parents=True)
    os.link(original, tmp_path / "look" / "lynx" / "1.0000_cam1_DCIM_IMG_0001.JPG")
    with pytest.raises(FileExistsError, match="look is not an empty folder: give --review a new one"):
        review.review(folder, tmp_path / "look")
    assert original.read_bytes() == content[original] and len(list((tmp_path / "look").rglob("*.*"))) == 1
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    assert review.review(folder, tmp_path / "link") == (5, []) and len(list((tmp_path / "empty" / "lynx").iterdir())) == 5


def test_a_full_disk_leaves_no_half_of_a_review(picked, tmp_path, monkeypatch):
    folder, _ = picked
    real, put = review._put, []

    def full(*given):
        put.append(given)
        if len(put) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*given)

    with monkeypatch.context() as patch:
        patch.setattr(review, "_put", full)
        with pytest.raises(OSError, match="No space"):
            review.review(folder, tmp_path / "look")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pool", "run"]
    assert review.review(folder, tmp_path / "look") == (5, [])


def test_a_missing_picture_is_named_and_the_rest_is_done(picked, tmp_path):
    folder, content = picked
    first, second, *_ = content
    first.unlink()
    second.unlink()
    os.mkfifo(second)
    count, problems = review.review(folder, tmp_path / "look")
    assert count == 3 and problems == [f"{first}: No such file or directory", f"{second}: not a file"]


def test_the_folder_remembers_what_was_offered(picked, tmp_path):
    folder, content = picked
    review.review(folder, tmp_path / "look")
    assert decisions.offered(tmp_path / "look") == {digest(bytes) for bytes in content.values()}
    assert decisions.offered(tmp_path) is None


def test_a_run_that_picked_nothing_leaves_an_empty_folder(tmp_path):
    assert review.review(tmp_path, tmp_path / "look") == (0, []) and decisions.offered(tmp_path / "look") == set()


@pytest.mark.parametrize(
    ("target", "links", "changes", "said"),
    [
        (None, "hard", {}, "--review_links says how --review fills its folder"),
        ("new", None, {"method": "oversampling"}, "method oversampling picks nothing to review"),
        ("full", None, {}, "full is not an empty folder: give --review a new one"),
        ("pool/look", None, {}, "lies in .*pool, where the next run would find every pick twice"),
        ("labeled/look", None, {}, "lies in .*labeled, where the next run would"),
    ],
)
def test_a_review_that_can_t_work_is_refused_before_training(target, links, changes, said, tmp_path):
    (tmp_path / "full" / "a").mkdir(parents=True)
    recipe = recipes.make(
        **{"dataset": "folder", "labeled_dir": str(tmp_path / "labeled"), "unlabeled_dir": f"elsewhere, {tmp_path / 'pool'}", **changes}
    )
    with pytest.raises(ValueError, match=said):
        review.check(target and str(tmp_path / target), links, recipe)
    review.check(str(tmp_path / "new"), "hard", recipes.make(dataset="folder", labeled_dir="a", unlabeled_dir="b"))
    with pytest.raises(ValueError, match="--review is for --dataset=folder"):
        review.check("look", None, recipes.make())
