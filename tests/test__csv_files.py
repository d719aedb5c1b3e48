"""CSV: any text is one cell, formulas are disarmed, damage is named."""

import csv

import pandas as pd
import pytest

from selectnet_tf import _csv_files

NAMES = ("a,b", 'a"b', "a\rb", "a\nb", "a\r\nb", "\udcff", "a=b", "", "-5", "'a")
FORMULAS = ("=1+1", "\t=1", "\r=1", "-a", "@a", "'=1+1", "''-5")


@pytest.mark.parametrize("frame", [False, True])
def test_any_text_is_one_cell(frame, tmp_path):
    lines = [("=file", "score"), *((name, i / 3) for i, name in enumerate(NAMES + FORMULAS))]
    path = tmp_path / "a.csv"
    if frame:
        _csv_files.write_frame(path, pd.DataFrame(lines[1:], columns=lines[0], dtype=object))
    else:
        _csv_files.write_csv(path, lines)
    assert [(row["=file"], float(row["score"])) for row in _csv_files.read_csv(path)] == lines[1:]
    with open(path, newline="", errors="surrogateescape") as file:
        cells = [row[0] for row in csv.reader(file)]
    assert cells == ["'=file", *NAMES, *(f"'{formula}" for formula in FORMULAS)]
    assert path.read_bytes().startswith(b'\'=file,score\n"a,b",0.0\n')


def test_a_path_is_no_formula():
    cells = [
        _csv_files.as_cell(path)
        for path in ("=1+1.png", "-a", "\t=1", "\r=1", "\n@a", "a=b", "/a/=b")
    ]
    assert cells == ["./=1+1.png", "./-a", "./\t=1", "./\r=1", "./\n@a", "a=b", "/a/=b"]


def test_a_run_that_picked_nothing_has_a_header_and_no_line(tmp_path):
    path = tmp_path / "picks.csv"
    path.write_text("epoch,label\n")
    assert _csv_files.read_numbers(path, ("epoch", "label"), (), empty=True) == []
    for content, empty, said in (
        ("epoch,label\n", False, f"{path}: the file has no line"),
        ("epoch\n", True, f"{path}:1: no column label"),
        ("", True, f"{path}: the file has no line"),
    ):
        path.write_text(content)
        with pytest.raises(ValueError, match=f"^{said}$"):
            _csv_files.read_numbers(path, ("epoch", "label"), (), empty=empty)
