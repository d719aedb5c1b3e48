"""Tables -> inputs: literal values."""

import json
import re
import zipfile

import keras
import numpy as np
import pandas as pd
import pytest

from selectnet_tf.data import frames
from selectnet_tf.data.encoder import LIMIT, Encoder


def table(**columns):
    return frames.read(pd.DataFrame(columns), labeled=False)


def encoded(*tables, **options):
    made = Encoder(tables, **options)
    return made, made(tables[0])


def test_numbers_are_normalized_and_texts_become_one_hot():
    given = table(age=[20, 30, np.nan, 50], town=["Ulm", None, "Bonn", "Ulm"], member=[True, False, True, True], empty=[None] * 4)
    made, x = encoded(given)
    assert [(c.name, c.kind) for c in made.columns] == [("age", "number"), ("town", "text"), ("member", "text"), ("empty", "empty")]
    assert made.columns[1].categories == ("Bonn", "Ulm", "(missing)") and made.columns[2].categories == ("False", "True")
    age = (np.array([20, 30, 30, 50]) - 100 / 3) / np.std([20, 30, 50])
    np.testing.assert_allclose(x[:, 0], age, rtol=1e-6)
    assert x[:, 1:].tolist() == [[0, 1, 0, 0, 1], [0, 0, 1, 1, 0], [1, 0, 0, 0, 1], [0, 1, 0, 0, 1]] and x.dtype == np.float32
    new = made(table(age=["no number"], town=["Rome"], member=[False], empty=[1], more=[1]))
    assert new[0, 1:].tolist() == [0, 0, 0, 1, 0] and new[0, 0] == x[1, 0]


def test_a_few_texts_among_numbers_are_missing_and_counted():
    pool = table(a=[*map(str, range(30)), "?", "$12", "NA", ""])
    made = Encoder([table(a=[1.5, 2.5]), pool])
    assert made.columns[0].kind == "number" and made.columns[0].fill == 13.5
    assert (made.seen[0].missing, made.seen[0].coerced, made.seen[0].example) == (2, 2, "?")
    assert made.doubts(table(a=["7", "unknown", None])) == [
        "the table: 1 cells of 'a' are no number, such as 'unknown': missing"
    ]  # an empty cell is nothing to doubt


def test_numbers_among_texts_are_texts_everywhere():
    made, x = encoded(table(code=["1", "2", "1.0"]), table(code=["A7", "B", "1"]))
    assert made.columns[0].categories == ("1", "2", "A7", "B") and x.tolist() == [[1, 0, 0, 0], [0, 1, 0, 0], [1, 0, 0, 0]]
    made, x = encoded(table(code=[1, 2, 1]), text=("code",))
    assert x.tolist() == [[1, 0], [0, 1], [1, 0]]


@pytest.mark.parametrize(
    "values",
    [
        [1e12, 1e12 + 1, 1e12 + 2, 1e12 + 3],
        [1e19, 2e19, 3e19, -1e19],
        [1e30, -1e30, 5e29, 0.0],
        [1e308, -1e308, 1e308, 0.0],
        [0.0, 1.0, np.inf, -np.inf],
        [1e-300, 2e-300, 3e-300, 0.0],
        ["1e400", "1", "2", "3"] * 5 + ["1"] * 40,
    ],
)
def test_numbers_of_any_size_become_small_finite_ones(values):
    made, x = encoded(table(a=values))
    assert np.isfinite(x).all() and abs(x).max() <= LIMIT and x.std() > 0.4
    far = made(table(a=[1e300, -1e300, 1e19, np.inf, -np.inf, np.nan]))
    assert np.isfinite(far).all() and abs(far).max() <= LIMIT


def test_one_absurd_number_takes_nothing_from_the_others():
    made, x = encoded(table(a=[*np.arange(100.0), 1e15]))
    clean = Encoder([table(a=np.arange(100.0))])(table(a=np.arange(100.0)))
    np.testing.assert_allclose(x[:100], clean, rtol=1e-5)
    assert x[100, 0] == LIMIT


def test_a_constant_is_no_input_and_may_change_later():
    made, x = encoded(table(a=[5, 5, 5], b=["x"] * 3, c=[1, 2, 3]))
    assert [c.kind for c in made.columns] == ["constant", "constant", "number"] and x.shape == (3, 1)
    assert made(table(a=[1e12], b=["new"], c=[2])).tolist() == [[0.0]]


def test_dates_are_days_and_ambiguous_ones_are_refused():
    made, x = encoded(table(a=["2021-01-01", "2021/01/03", "2021-01-02T12:00:00", None]))
    assert made.columns[0].kind == "date" and made.columns[0].mean == pytest.approx(18628 + 3.5 / 3) and made.columns[0].fill == 18629.5
    assert Encoder([table(a=pd.to_datetime(["2021-01-01", "2021-01-03"]))]).columns[0].mean == 18629.0
    with pytest.raises(ValueError, match=r"column 'when' holds dates such as 03.04.2021.*--ignore_columns=when"):
        Encoder([table(when=["03.04.2021", "13.04.2021"])])


def test_decimal_commas_are_named_or_read():
    given = table(a=["1,5", "1.002,5"], b=[1, 2])
    with pytest.raises(ValueError, match=r"column 'a' holds numbers such as 1,5: give --decimal=, --thousands=\. \(or --text_columns=a\)"):
        Encoder([given])
    made = Encoder([given], decimal=",", thousands=".")
    assert made.columns[0].mean == pytest.approx(502.0)


@pytest.mark.parametrize(
    ("cells", "given", "words"),
    [
        (["53,7", "52", "51", "50"], {}, "numbers such as 53,7: give --decimal=, (or"),  # whole ones hid the commas, and all became texts
        (["9,271", "808", "7"], {}, "numbers such as 9,271: give --thousands=, or --decimal=, (or"),
        (["9,271", "8.5"], {}, "give --thousands=, (or"),
        (["9,271", "8.5"], {"decimal": ",", "thousands": "."}, "give --decimal=. --thousands=, (or"),
        (["51.494", "634", "1.234.567"], {}, "numbers such as 51.494: give --decimal=, --thousands=. (or"),
        (["51.494", "634", "1.234.567"], {"decimal": ","}, "--thousands=. "),
        (["1 234,5", "12,5"], {"decimal": ","}, 'give --thousands=" " (or'),
        (["1'234", "5'678", "12"], {"decimal": ","}, """give --thousands="'" (or"""),
        (["3,0", "3.1", "3,2", "4"], {}, "3,0 beside others with a point: write them alike, or give --decimal=, (or --text_columns=a)"),
        (["k.A.", *["12,5"] * 20], {}, "numbers such as 12,5: give --decimal=, (or"),
        ([2.5, 3.0, 3.1, "2,5", "2,0"], {}, "numbers such as 2,5: give --decimal=, (or"),
        (["1'234.50", "12.00", "7"], {}, """give --thousands="'" (or"""),
        (
            ["51.494", "634", "12,5", *["12,5"] * 20, "k.A."],
            {"decimal": ","},
            "column 'a' holds 51.494: give --thousands=. if it means 51494",
        ),
        (["1,009,271", "808"], {}, "give --thousands=, (or"),
        (["9,271.5", "808"], {}, "give --thousands=, (or"),
        (["1.563,98", "12,5"], {"decimal": ","}, "numbers such as 1.563,98: give --thousands=. (or --text_columns=a)"),
        (["51.494", "634", "12,5"], {"decimal": ","}, "column 'a' holds 51.494: give --thousands=. if it means 51494, or write it with"),
    ],
)
def test_numbers_that_would_be_texts_or_a_thousand_times_too_small_are_refused(cells, given, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        Encoder([table(a=cells, b=[*range(len(cells))])], **given)


@pytest.mark.parametrize(
    ("cells", "given", "kind"),
    [
        (["3.5", "51.494", "2,5"], {"decimal": ","}, "number"),  # 3.5 says what the points are
        (["51.494", "634"], {"decimal": ",", "thousands": "."}, "number"),
        (["0.125", "0.250", "-0.375", "1.500"], {"decimal": ","}, "number"),  # no group of thousands begins with 0
        (["1,3,4", "b", "2"], {}, "text"),
        (["1.2.3", "1.10.0", "2.0.1"], {}, "text"),
        (["٣٤", "٥", "٦"], {}, "text"),
        (["1" * 400, "2" * 400], {}, "text"),
        ([".250", ".500", *["1.125"] * 20], {"decimal": ","}, "number"),
        (["1.5e-3", *["51.494"] * 20], {"decimal": ","}, "number"),
        ([51.494, *[1.125] * 20, "k.A."], {"decimal": ","}, "number"),
        (["10.0.0.1", "10.0.0.2"], {"decimal": ","}, "text"),
        (["1,5", "none", "low"], {}, "text"),
    ],
)
def test_what_is_clear_or_no_number_is_read(cells, given, kind):
    assert Encoder([table(a=cells)], **given).columns[0].kind == kind


def test_identifiers_and_missing_columns_are_refused():
    with pytest.raises(ValueError, match=r"'id' has more than 1000 different texts.*--id_column=id or --ignore_columns=id"):
        Encoder([table(id=[f"n{i}" for i in range(2000)])])
    with pytest.raises(ValueError, match="the table has no column 'b', which the labeled table has"):
        Encoder([table(a=[1.0, 2.0], b=[2.0, 3.0])])(table(a=[1.0]))
    with pytest.raises(ValueError, match="has no column 'b'"):
        Encoder([table(a=[1.0, 2.0], b=[2.0, 3.0]), table(a=[1.0])])
    with pytest.raises(ValueError, match="no column besides the label that holds more than one value"):
        Encoder([table(a=[None, None])])


def test_people_see_texts_where_the_encoder_does_and_nothing_else_is_read_again():
    made = Encoder([table(self=["007", "a"], n=[1, 2], same=[3, 3])])
    given = table(self=[7, 8], n=[1, 2], same=[3, 3])
    reread = []
    shown = made.named(given._replace(reread=lambda column: reread.append(column) or pd.Series(["007", "8"])))
    assert shown.frame["self"].tolist() == ["007", "8"] and reread == ["self"] and given.frame["self"].tolist() == [7, 8]


def test_columns_may_have_any_name():
    made, x = encoded(table(**{"od280/od315": [1.0, 2.0], "größe (cm)": ["a", "b"], "": [3.0, 4.0]}))
    assert x.shape == (2, 4)


def test_an_encoder_travels_in_a_model_s_file_and_runs_no_code(tmp_path):
    given = table(age=[20, 30, np.nan, 50], town=["Ulm", None, "Bonn", "Ulm"], day=["2021-01-01", "2021-01-02"] * 2)
    made = Encoder([given], ignore=("x",), id_column="id")
    path = tmp_path / "model.keras"
    keras.Sequential([keras.Input((5,)), keras.layers.Dense(1)]).save(path)
    assert Encoder.of(path) is None
    made.save_into(path)
    again = Encoder.of(path)
    assert np.array_equal(again(given), made(given)) and (again.columns, again.reading) == (made.columns, made.reading)
    assert keras.saving.load_model(path).output_shape == (None, 1)
    with zipfile.ZipFile(path) as file:
        assert json.loads(file.read("table.json"))["columns"][1]["categories"] == ["Bonn", "Ulm", "(missing)"]


def test_a_model_of_version_0_1_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as file:
        file.writestr("columns.json", "{}")
    with pytest.raises(ValueError, match=r"written by version 0.1.*train it again"):
        Encoder.of(tmp_path / "model.keras")


def test_a_table_without_a_header_is_named_where_its_columns_are_missed():
    made, _ = encoded(table(a=[1, 2], b=[3, 4]))
    with pytest.raises(ValueError, match="the table begins with a line of numbers, 5.5, 7: put a line with the columns' names before it"):
        made(table(**{"5.5": [1], "7": [2]}))
    with pytest.raises(ValueError, match="the table has no column 'b', which the labeled table has"):
        made(table(a=[1], c=[2]))
    counted, _ = encoded(frames.read(pd.DataFrame(np.eye(3)), labeled=False))
    assert [column.name for column in counted.columns] == ["0", "1", "2"]
