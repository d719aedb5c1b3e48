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


def test_paths_are_shown_without_what_could_move_the_cursor():
    assert _files.printable("a\x1b[2J\n/caf\udce9é.jpg") == "a\\x1b[2J\\n/caf\\xe9é.jpg"


def test_several_paths_are_told_from_one_with_a_comma(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a, b.csv").touch()
    assert _files.split_paths("~/a, b.csv") == [f"{tmp_path}/a, b.csv"] and _files.split_paths(
        "~/a, ~/c.csv ,"
    ) == [f"{tmp_path}/a", f"{tmp_path}/c.csv"]
    assert _files.split_paths("") == []
