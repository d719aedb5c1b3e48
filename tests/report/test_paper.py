"""results/paper against the paper's text, digit by digit: each row below is copied from its tables as they stand."""

import csv
import pathlib

import numpy as np
import pytest
from sklearn.metrics import f1_score

from selectnet_tf import recipes
from selectnet_tf.report import paper

PAPER = pathlib.Path(__file__).parent.parent.parent / "results" / "paper"
COLUMNS = [("cifar10-4minor", "simple"), ("cifar10-4minor", "resnet20"), ("cifar10-4minor", "resnet56"),
           ("cifar100-4minor", "resnet20"), ("cifar100-4minor", "resnet56"), ("cifar100-10minor", "resnet56")]  # fmt: skip
TABLE1 = {
    "imbalanced": "0.5617 0.5659 0.5672 0.5729 0.5806 0.589",
    "oversampling": "0.5744 0.6629 0.6897 0.5749 0.6128 0.6014",
    "self_paced": "0.6933 0.7894 0.7951 0.5971 0.5901 0.5974",
    "context": "0.7403 0.7881 0.7864 0.5889 0.6285 0.6165",
    "selectnet": "0.7424 0.7895 0.8011 0.5921 0.6290 0.6171",
}
TABLE2 = {
    "oversampling": "0.05 0.85 0.02 0.41 0.49 0.50 0.06 0.09 0.68 0.79",
    "self_paced": "0.71 0.90 0.20 0.52 0.71 0.64 0.52 0.72 0.86 0.86",
    "selectnet": "0.74 0.89 0.54 0.57 0.71 0.69 0.72 0.76 0.86 0.85",
}


def rows(name):
    with open(PAPER / f"{name}.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("method", TABLE1)
def test_table1(method):
    found = {(r["dataset"], r["arch"]): r["value"] for r in rows("table1") if r["method"] == method}
    assert [found[c] for c in COLUMNS] == TABLE1[method].split() and len(rows("table1")) == 30


@pytest.mark.parametrize("method", TABLE2)
def test_table2(method):
    found = {int(r["class"]): r["value"] for r in rows("table2") if r["method"] == method}
    assert [found[c] for c in range(10)] == TABLE2[method].split() and len(rows("table2")) == 30


def test_tables_3_and_4():
    found = {(r["dataset"], r["method"]): r["value"] for r in rows("table3")}
    assert found == {
        ("cifar10-lt", "class_balanced"): "0.7457", ("cifar100-lt", "class_balanced"): "0.3960",
        ("cifar10-lt", "selectnet"): "0.7576", ("cifar100-lt", "selectnet"): "0.4056",
    }  # fmt: skip
    assert {r["lambda_schedule"]: r["value"] for r in rows("table4")} == {
        "constant": "0.7424",
        "0.4:0.6": "0.7328",
        "0.6:0.4": "0.7109",
    }


FIGURE2 = {  # digitised: reference values read off the printed figure
    "labeled_confused": "1 8 8 67 215 265 315 180 288 271 239 137 288 160 50 38 29 105 41 91",
    "labeled_minor": "200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200",
    "unlabeled_confused": "4 9 22 69 186 262 369 445 520 589 627 647 756 756 780 804 804 856 856 883",
    "unlabeled_minor": "1130 3810 6470 10000 12430 14530 15460 16450 16970 18060 18060 18060 18630 18630 18630 19220 19220 19220 19220 19220",
}


@pytest.mark.parametrize("series", FIGURE2)
def test_figure2(series):
    found = {r["epoch"]: r["value"] for r in rows("figure2") if r["series"] == series}
    assert list(found) == [str(10 * i) for i in range(1, 21)]
    assert list(found.values()) == FIGURE2[series].split() and len(rows("figure2")) == 80
    assert sum("by eye" in r["source"] for r in rows("figure2")) == 8


@pytest.mark.parametrize("name", ["table1", "table2", "table3", "table4", "figure2"])
def test_keys_are_recipes(name):
    for r in rows(name):
        changes = {k: r[k] for k in ("dataset", "arch", "method", "lambda_schedule") if k in r}
        assert recipes.make(**changes).data.dataset == r["dataset"] and r["source"]


@pytest.mark.parametrize("seed", range(20))
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
    assert set(found) == {"self_paced", "selectnet"} and all(
        low <= accuracy <= high for accuracy, low, high in found.values()
    )
