"""What a table's file holds, read rightly or refused in one line."""

import bz2
import gzip
import lzma
import zipfile

import numpy as np
import pandas as pd
import pytest

from selectnet_tf.data import cells, frames

ROWS = "a,town,kind\n1,Ulm,x\n2.5,Köln,y\n"


def read(tmp_path, content, column="kind", encoding="utf-8", name="t.csv", **options):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return frames.read(path, column, **options)


def test_a_file_is_features_labels_and_lines(tmp_path):
    table = read(tmp_path, ROWS)
    assert table.frame["a"].tolist() == [1.0, 2.5] and table.texts("town").tolist() == ["Ulm", "Köln"]
    assert table.labels.tolist() == ["x", "y"] and table.lines.tolist() == [2, 3] and list(table.frame) == ["a", "town"]
    assert list(table.rows()) == [f"{tmp_path / 't.csv'}:2", f"{tmp_path / 't.csv'}:3"]
    pool = read(tmp_path, ROWS, labeled=False)
    assert pool.labels is None and list(pool.frame) == ["a", "town"]


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (ROWS.replace(",", ";"), "utf-8"),
        (ROWS.replace(",", "\t"), "utf-8"),
        (ROWS.replace(",", "|"), "utf-8"),
        (ROWS, "utf-8-sig"),
        (ROWS, "latin-1"),
        (ROWS.replace("\n", "\r\n"), "utf-8"),
        ("\n" + ROWS + "\n\n", "utf-8"),
    ],
)
def test_separator_and_encoding_are_found(content, encoding, tmp_path):
    table = read(tmp_path, content, encoding=encoding)
    assert table.frame["a"].tolist() == [1.0, 2.5] and table.texts("town").tolist() == ["Ulm", "Köln"]
    assert any("is not UTF-8: read as cp1252" in line for line in table.says) == (encoding == "latin-1")


def test_a_semicolon_separates_where_commas_are_decimal(tmp_path):
    table = read(tmp_path, "a;b;kind\n1,5;1.234,5;x\n2,5;7,0;y\n", decimal=",", thousands=".")
    assert table.frame["a"].tolist() == [1.5, 2.5] and table.frame["b"].tolist() == [1234.5, 7.0]


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_packed_files_are_unpacked_and_damaged_ones_named(pack, tmp_path):
    packed = pack(ROWS.encode())
    assert read(tmp_path, packed).labels.tolist() == ["x", "y"]
    with pytest.raises(ValueError, match=r"t\.csv is damaged: "):
        read(tmp_path, packed[:-12])


def test_zip_parquet_excel_and_data_frames(tmp_path):
    with zipfile.ZipFile(tmp_path / "t.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("inside.csv", ROWS)
    assert frames.read(tmp_path / "t.zip", "kind").labels.tolist() == ["x", "y"]
    whole = (tmp_path / "t.zip").read_bytes()
    with pytest.raises(ValueError, match=r"t\.zip is damaged"):
        read(tmp_path, whole[:60], name="t.zip")
    for names, said in ((["a.csv", "b.csv"], "holds 2 files"), (["[Content_Types].xml", "x"], "is an Excel file: save it as CSV")):
        with zipfile.ZipFile(tmp_path / "u.zip", "w") as file:
            for name in names:
                file.writestr(name, ROWS)
        with pytest.raises(ValueError, match=said):
            frames.read(tmp_path / "u.zip", "kind")
    with pytest.raises(ValueError, match="parquet"):
        read(tmp_path, b"PAR1 and no more")
    for kinds in (pd.array(["x", None], "string"), pd.array([1, None], "Int64"), ["x", None]):
        with pytest.raises(ValueError, match="the table:1: no label in column 'kind'"):
            frames.read(pd.DataFrame({"a": [1, 2], "kind": kinds}), "kind")
    table = frames.read(pd.DataFrame({"a": [1, 2], "kind": [1.0, None]}).astype({"kind": "Int64"}).fillna(3), "kind")
    assert table.labels.tolist() == ["1", "3"] and table.name == "the table"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a,b\n1,x\n", "has no column 'kind', only a, b: give --label_column"),
        ("a,kind\n1,x\n2,\n", "t.csv:3: no label in column 'kind': move unlabeled rows to --unlabeled_csv"),
        ('a,kind\n"1\n2",x\n3,  \n', "t.csv:4: no label"),
        ("a,kind\n", "has no row"),
        ("", "is no CSV table: it is empty"),
        ('a,kind\n"1,x\n', "t.csv:2: 1 cells, but the header has 2"),
        ("a,kind\n1,x\n2,y,\n3,z\n", "t.csv:3: 3 cells, but the header has 2, separated by ','"),
        ("a,b,kind\n1,2,x\n3,y\n", "t.csv:3: 2 cells, but the header has 3"),
        ("a,kind\n0,1,x\n1,2,y\n", "t.csv:2: 3 cells"),
        ("a,a,kind\n1,2,x\n", "has two columns 'a'"),
        ("1,2,3\n4,5,6\n", "begins with a line of numbers, 1, 2, 3: put a line with the columns' names before it"),
        (ROWS.encode("utf-16"), "is UTF-16 or no text at all: save it as CSV in UTF-8"),
        (ROWS.encode("utf-16-le"), "is UTF-16 or no text at all"),
    ],
)
def test_bad_tables_are_named(content, said, tmp_path):
    with pytest.raises(ValueError) as found:
        read(tmp_path, content)
    assert said in str(found.value) and "\n" not in str(found.value)


def test_columns_may_be_numbers_as_a_data_frame_counts_them(tmp_path):
    assert list(read(tmp_path, "0,1,2\n5,6,7\n", labeled=False).frame) == ["0", "1", "2"]
    assert list(read(tmp_path, "10,20\n5,6\n", labeled=False).frame) == ["10", "20"]
    assert frames.lacks("t.csv", ["0", "1"], ["a"], "give it") == "t.csv has no column 'a', give it"
    with pytest.raises(ValueError, match="begins with a line of numbers, 5, 5: put a line"):
        read(tmp_path, "5,5\n6,7\n", labeled=False)


def test_lines_of_separators_above_the_header_are_none(tmp_path):
    table = read(tmp_path, ";;\n\n; ;\na;town;kind\n1;Ulm;x\n;;\n2;Bonn;y\n".replace(";;\n2", "3;;z\n2"))
    assert table.frame["a"].tolist() == [1, 3, 2] and table.labels.tolist() == ["x", "z", "y"] and table.lines.tolist() == [5, 6, 7]
    assert table.texts("a").tolist() == ["1", "3", "2"]


def test_a_zip_that_can_t_be_unpacked_is_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "t.zip", "w") as file:
        file.writestr("inside.csv", ROWS)
    whole = (tmp_path / "t.zip").read_bytes()
    directory = whole.index(b"PK\x01\x02")
    for place, value, said in ((6, 1, "is encrypted"), (8, 9, "compression method is not supported")):
        changed = bytearray(whole)
        changed[place] = changed[directory + place + 2] = value
        with pytest.raises(
            ValueError, match=rf"t\.zip can't be unpacked: .*{said}.*: pack it anew, as \.gz or as \.zip without a password"
        ):
            read(tmp_path, bytes(changed), name="t.zip")


def test_columns_of_lists_are_named(tmp_path):
    frame = pd.DataFrame({"e": [[1, 2], [3, 4]], "kind": ["x", "y"]})
    frame.to_parquet(tmp_path / "t.parquet")
    for source in (frame, tmp_path / "t.parquet"):
        with pytest.raises(ValueError, match="column 'e' holds lists or the like, no numbers or texts: give --ignore_columns=e"):
            cells.kind("e", [frames.read(source, "kind").frame["e"]])


def test_no_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="is no file"):
        frames.read(tmp_path / "nothing.csv", "kind")


def test_lines_are_counted_over_texts_of_several_lines(tmp_path):
    table = read(tmp_path, 'a,kind\n"two\nlines",x\n\nb,y\n"q ""r""",z\n')
    assert table.lines.tolist() == [2, 5, 6] and table.texts("a").tolist() == ["two\nlines", "b", 'q "r"']


def test_classes_are_texts_whatever_they_are_called(tmp_path):
    table = read(tmp_path, "a,kind\n1,None\n2,NA\n3,null\n4, nan \n5,1.0\n6,1\n7,007\n8,1.50\n")
    assert table.labels.tolist() == ["None", "NA", "null", "nan", "1", "1", "007", "1.50"]


def test_texts_are_stripped_and_of_one_normal_form(tmp_path):
    table = read(tmp_path, "a,kind \n Ko\u0308ln ,Cafe\u0301\nKöln,Café\n,Café\n", "kind")
    assert table.texts("a").tolist() == ["Köln", "Köln", None] and set(table.labels) == {"Café"}


def test_leading_zeros_stay_where_numbers_are_names(tmp_path):
    table = read(tmp_path, "zip,flag,kind\n007,TRUE,x\n010,,x\n")
    assert table.texts("zip").tolist() == ["007", "010"] and table.texts("flag").tolist() == ["True", None]
    assert read(tmp_path, "flag,kind\nTRUE,x\nmaybe,y\n").texts("flag").tolist() == ["True", "maybe"]
    assert read(tmp_path, "zip,kind\n007,x\n010,x\n", text=("zip",)).frame["zip"].tolist() == ["007", "010"]


def test_an_unnamed_counting_column_is_an_index(tmp_path):
    table = read(tmp_path, ",a,kind\n7,1,x\n3,1,y\n")
    assert list(table.frame) == ["a"] and "the unnamed first column counts the rows: left out" in table.says[0]
    assert list(read(tmp_path, ",a,kind\n7,1,x\n7,2,y\n").frame) == ["Unnamed: 0", "a"]
    assert list(read(tmp_path, ",a,kind\n0.5,1,x\n1.5,2,y\n").frame) == ["Unnamed: 0", "a"]


def test_a_separator_at_each_line_s_end_is_no_column(tmp_path):
    assert list(read(tmp_path, "a,kind,\n1,x,\n2,y,\n").frame) == ["a"]


def test_names_of_rows_and_ignored_columns_are_no_features(tmp_path):
    table = read(tmp_path, "id,a,b,kind\n01,1,2,x\n02,3,4,y\n", id_column="id", ignore=("b",))
    assert table.ids.tolist() == ["01", "02"] and list(table.frame) == ["a"] and table.left_out == ["id", "b", "kind"]


def test_several_files_are_one_table(tmp_path):
    first, second = read(tmp_path, "a,kind\n007,x\n", name="a.csv"), read(tmp_path, "kind,a\ny,8\nz,9\n", name="b.csv")
    table = frames.join([first, second])
    assert table.frame["a"].tolist() == [7, 8, 9] and table.labels.tolist() == ["x", "y", "z"]
    assert [row.rpartition("/")[2] for row in table.rows()] == ["a.csv:2", "b.csv:2", "b.csv:3"]
    assert table.texts("a").tolist() == ["007", "8", "9"]
    with pytest.raises(ValueError, match="differ in column 'c'"):
        frames.join([first, read(tmp_path, "a,c,kind\n1,2,x\n")])


def test_numbers_of_several_files_are_as_each_file_has_them(tmp_path):
    """One cell that is none makes texts of a file's numbers, and of that file's alone."""
    how = {"decimal": ",", "thousands": "."}
    first, second = (
        read(tmp_path, "a;kind\n1,5;x\n-2;y\n", name="a.csv", **how),
        read(tmp_path, "a;kind\n1.003,5;x\n?;y\n", name="b.csv", **how),
    )
    found = frames.join([first, second]).frame["a"]
    assert np.array_equal(cells.numbers(found, **how), [1.5, -2, 1003.5, np.nan], equal_nan=True)
    assert np.isnan(cells.numbers(pd.Series([True, "x"], dtype=object))).all()
    assert cells.shown(found, ",") == ["1,5", "-2,0", "1.003,5", "?"]


def test_thousands_are_groups_of_three_digits(tmp_path):
    how = {"decimal": ",", "thousands": "."}
    table = read(tmp_path, "day;a;b;c;kind\n30.04.2021;1.234.567,5;1.5;7;x\n01.05.2021;-12;1.000;;y\n", **how)
    assert table.frame["a"].tolist() == [1234567.5, -12] and table.frame["b"].tolist() == ["1.5", "1.000"]
    assert np.array_equal(cells.numbers(table.frame["b"], **how), [np.nan, 1000], equal_nan=True) and table.frame["c"].sum() == 7
    with pytest.raises(ValueError, match=r"column 'day' holds dates such as 30\.04\.2021"):
        cells.kind("day", [table.frame["day"]], **how)
    assert read(tmp_path, "a;kind\n1,234.5;x\n", thousands=",").frame["a"].tolist() == [1234.5]


def test_a_long_text_costs_its_length_once(tmp_path):
    table = read(tmp_path, "a,kind\n" + "x" * 200_000 + ",x\n" + "b,y\n" * 1000)
    assert [len(text) for text in table.texts("a")[:2]] == [200_000, 1] and np.unique(table.labels).tolist() == ["x", "y"]
