import os

import pytest
from conftest import Killed

from selectnet_tf import _files
from selectnet_tf._files import replacing


def test_replacing_is_all_or_nothing(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("old")
    with pytest.raises(Killed), replacing(path) as beside:
        beside.write_text("ne")
        raise Killed
    assert path.read_text() == "old" and len(list(tmp_path.iterdir())) == 1
    with replacing(path) as beside:
        beside.write_text("new")
    assert path.read_text() == "new" and len(list(tmp_path.iterdir())) == 1


def test_two_writers_of_one_number_do_not_share_a_file(tmp_path, monkeypatch):
    """As in two containers."""
    monkeypatch.setattr(_files.os, "getpid", lambda: 7)
    path = tmp_path / "rows.csv"
    with replacing(path) as first:
        first.write_text("1")
        with replacing(path) as second:
            second.write_text("2")
    assert path.read_text() == "1" and len(list(tmp_path.iterdir())) == 1


def test_an_error_names_the_file_that_was_to_be_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    for folder in ("no", "file"):
        with pytest.raises(OSError, match=f": '{folder}/rows.csv'$"):
            _files.write_json(f"{folder}/rows.csv", {})
    with pytest.raises(OSError) as other, replacing("rows.csv"):
        raise OSError(2, "text", "other.csv")
    assert other.value.filename == "other.csv"


def test_leftovers_are_those_of_replacing(tmp_path):
    """Also of a former process with this one's number."""
    kept = ["rows.csv", ".rows.csv", ".notes.2026.txt", ".lock", ".rows.12-no.csv"]
    left = [".rows.12-89ef0123.csv", ".a.b.12-0123abcd.npz", f".rows.{os.getpid()}-0123abcd"]
    for name in kept + left:
        (tmp_path / name).touch()
    _files.remove_leftovers(tmp_path, "a.b")
    assert not (tmp_path / left[1]).exists() and (tmp_path / left[0]).exists()
    _files.remove_leftovers(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {*kept}


def test_paths_are_shown_without_what_could_move_the_cursor():
    assert _files.printable("a\x1b[2J\n/caf\udce9é.jpg") == "a\\x1b[2J\\n/caf\\xe9é.jpg"


def test_several_paths_are_told_from_one_with_a_comma(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a, b.csv").touch()
    assert _files.split_paths("~/a, b.csv") == [f"{tmp_path}/a, b.csv"]
    assert _files.split_paths("~/a, ~/c.csv ,") == [f"{tmp_path}/a", f"{tmp_path}/c.csv"]
    assert _files.split_paths("") == []
