import numpy as np
import pandas as pd
import pytest

from selectnet_tf.data import columns, frames
from selectnet_tf.data.encoder import Encoder

Y = np.array([0] * 30 + [1] * 10)


def report(**given):
    table = frames.read(pd.DataFrame(given), labeled=False)
    return columns.lines(Encoder([table]), table, Y)


def test_a_line_a_column():
    rng = np.random.default_rng(0)
    lines = report(noise=rng.normal(size=40), code=["u", "v"] * 19 + ["u", None], same=[3] * 40, odd=[*map(str, range(38)), "?", ""])
    assert [line.split() for line in lines[:4]] == [
        ["column", "kind", "distinct", "missing"],
        ["noise", "number", "40", "0"],
        ["code", "text", "2", "1"],
        ["same", "constant", "1", "0", "left", "out"],
    ]
    assert "1 cell is no number, such as '?': missing" in lines[4]


@pytest.mark.parametrize("leak", [np.arange(40), -np.arange(40.0), ["no"] * 30 + ["yes"] * 10])
def test_a_column_that_tells_the_answer_is_named(leak):
    lines = report(noise=np.random.default_rng(0).normal(size=40), leak=leak)
    assert "warning: alone it ranks the classes (AUC 1.000): does it tell the answer? --ignore_columns=leak" in lines[2]
    assert "warning" not in lines[1]


def test_texts_that_come_once_are_no_leak():
    lines = report(name=[f"n{i}" for i in range(40)], noise=np.random.default_rng(0).normal(size=40))
    assert "warning" not in "".join(lines)


def test_of_many_columns_only_what_there_is_to_say():
    rng = np.random.default_rng(0)
    lines = report(**{f"c{i}": rng.normal(size=40) for i in range(60)}, leak=Y)
    assert len(lines) == 3 and "leak" in lines[1] and lines[2] == "  and 60 columns more, with nothing to say about them"


def test_area_is_that_of_scikit_learn():
    from sklearn.metrics import roc_auc_score

    values = np.random.default_rng(0).integers(0, 9, 40)
    assert columns.area(values, Y == 1) == pytest.approx(roc_auc_score(Y, values))


def test_equal_rows_have_equal_numbers_over_all_parts():
    a, b = np.array([[1, 2], [0, 3], [1, 2]], np.float32), np.array([[-0.0, 3], [9, 9]], np.float32)
    first, second = columns.equal_rows(a, b)
    assert first[0] == first[2] != first[1] == second[0] and second[1] not in first
    assert [len(part) for part in columns.equal_rows(a, b[:0], b)] == [3, 0, 2]


def test_near_equal_classes_are_named():
    assert columns.near_classes(["Yes", "no", "yes", "+", "-"]) == ["  warning: are 'Yes' and 'yes' one class?"]
