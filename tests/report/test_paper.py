"""The paper's numbers: of recipes that there are, and consistent with each other where they are."""

import csv
import pathlib

import numpy as np
import pytest
from sklearn.metrics import f1_score

from selectnet_tf import recipes
from selectnet_tf.report import paper

PAPER = pathlib.Path(__file__).parent.parent.parent / "results" / "paper"


def rows(name):
    with open(PAPER / f"{name}.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("name", ["table1", "table2", "table3", "table4", "figure2"])
def test_keys_are_recipes(name):
    for r in rows(name):
        changes = {k: r[k] for k in ("dataset", "arch", "method", "lambda_schedule") if k in r}
        assert recipes.make(**changes).data.dataset == r["dataset"] and r["source"]


@pytest.mark.parametrize("seed", range(3))
def test_accuracy_range_holds_the_truth(seed):
    rng = np.random.default_rng(seed)
    m = int(rng.integers(2, 11))
    truth = np.repeat(np.arange(m), 50)
    predicted = np.where(
        rng.random(len(truth)) < rng.random(),
        truth,
        rng.choice(m, len(truth), p=rng.dirichlet(np.ones(m))),
    )
    low, high = paper.accuracy_range(f1_score(truth, predicted, average=None).round(2))
    assert low - 1e-9 <= (truth == predicted).mean() <= high + 1e-9


def test_accuracy_range_is_tight():
    assert paper.accuracy_range([1, 1, 1], rounding=0) == pytest.approx((1, 1))
    assert paper.accuracy_range([0.5, 0.5], rounding=0) == pytest.approx(
        (0.5, 0.5)
    )  # r = (1 + p) / 4, and the p sum to 2
    assert paper.accuracy_range([2 / 3, 0], rounding=1e-9) == pytest.approx(
        (0.5, 0.5)
    )  # all predicted as the first class
    low, high = paper.accuracy_range([0.5, 0.5, 0.2], rounding=0)
    assert low < high
    with pytest.raises(
        ValueError, match="no confusion matrix"
    ):  # what the second class misses would be taken for the first
        paper.accuracy_range([1, 0.5], rounding=0)


def test_table_2_contradicts_table_1_for_oversampling():
    found = {
        method: (accuracy, *allowed)
        for method, accuracy, allowed in paper.agreements(paper.cells(PAPER.parent, []))
    }
    accuracy, low, high = found.pop("oversampling")
    assert accuracy == 0.5744 and high < 0.52
    assert set(found) == {"self_paced", "selectnet"}
    assert all(low <= accuracy <= high for accuracy, low, high in found.values())
