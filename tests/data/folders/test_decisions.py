import pytest

from selectnet_tf.data.folders import decisions


def write(path, *lines):
    path.write_text("\n".join(("file,digest,decision,label", *lines)) + "\n", encoding="utf-8-sig")
    return path


def test_accepted_corrected_and_rejected(tmp_path):
    path = write(
        tmp_path / "decisions.csv",
        "a.jpg,1a,right,cat",
        "b.jpg,2b,corrected,dog",
        "c.jpg,3c,wrong,",
        "d.jpg,4d,,cat",
        "a.jpg,1a,wrong,",
    )
    assert decisions.read_decisions(path, ("cat", "dog")) == (
        {"2b": "dog"},
        {"3c", "1a"},
    )  # what was decided twice: the last one counts


def test_of_several_reviews_the_last_decision_counts(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path / "a.csv", "a.jpg,1a,right,cat", "b.jpg,2b,wrong,", "c.jpg,3c,right,cat")
    write(tmp_path / "b.csv", "a.jpg,1a,wrong,", "b.jpg,2b,corrected,dog")
    assert decisions.read_decisions("~/a.csv, ~/b.csv", ("cat", "dog")) == (
        {"2b": "dog", "3c": "cat"},
        {"1a"},
    )
    with pytest.raises(ValueError, match=r"b\.csv:2: expected a label of emu, received 'cat'"):
        decisions.read_decisions(
            f"{write(tmp_path / 'b.csv', 'a.jpg,1a,right,cat')},~/a.csv", ("emu",)
        )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("a.jpg,1a,right,owl", r"decisions.csv:2: expected a label of cat, dog, received 'owl'"),
        (
            "a.jpg,1a,maybe,cat",
            r"decisions.csv:2: expected the decision right, corrected or wrong, received 'maybe'",
        ),
        ('"a.jpg,1a,wrong,\nb.jpg,2b,wrong,', "decisions.csv:3: unexpected end of data"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(line, said, tmp_path):
    with pytest.raises(ValueError, match=said):
        decisions.read_decisions(write(tmp_path / "decisions.csv", line), ("cat", "dog"))


def test_a_short_line_has_empty_cells(tmp_path):
    short = write(tmp_path / "a.csv", "a.jpg,1a,wrong", "b.jpg", "c.jpg,3c,corrected")
    with pytest.raises(ValueError, match=r"a.csv:4: expected a label of cat, dog, received ''"):
        decisions.read_decisions(short, ("cat", "dog"))
    short = write(tmp_path / "a.csv", "a.jpg,1a,wrong", "b.jpg")
    assert decisions.read_decisions(short, ("cat", "dog")) == ({}, {"1a"})


def test_another_file_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="--decisions: expected a CSV file .*nothing.csv"):
        decisions.read_decisions(tmp_path / "nothing.csv", ("cat",))
    for text in ("x,y\n1,2\n", "x,y\n", ""):
        (tmp_path / "a.csv").write_text(text)
        with pytest.raises(ValueError, match="has no digest, decision, label"):
            decisions.read_decisions(tmp_path / "a.csv", ("cat",))
