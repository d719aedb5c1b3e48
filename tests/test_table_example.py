"""The examples of tables and several inputs, and experiments/tables.py, on one split."""

import pathlib
import re

import numpy as np
import pandas as pd
import pytest
from conftest import load_script

HOME = pathlib.Path(__file__).parent.parent


@pytest.mark.slow
def test_the_example_compares_four_classifiers(capsys):
    load_script("examples/table.py").main(seeds=1)
    found = re.findall(r"^(.+?) +(0\.\d+) \(std 0\.000, n=1\)$", capsys.readouterr().out, re.M)
    names = [
        "SelectionClassifier",
        "the forest, no pool",
        "HistGradientBoosting",
        "balanced forest",
    ]
    assert [name for name, _ in found] == names and all(float(value) > 0.8 for _, value in found)


@pytest.mark.slow
def test_the_example_of_several_inputs_compares_with_and_without_the_pool(capsys):
    load_script("examples/several_inputs.py").main(epochs=5)
    found = re.findall(
        r": recall (\d\.\d+) .*, (\d\.\d+) with (\d+) added", capsys.readouterr().out
    )
    assert len(found) == 2 and all(0 <= float(recall) <= 1 for recall in found[0][:2])


@pytest.fixture(scope="module")
def benchmark():
    return load_script("experiments/tables.py")


@pytest.mark.parametrize("rare", [8, 100])
def test_the_benchmark_s_parts_share_no_row_and_hold_what_they_say(benchmark, rare):
    _, x, y = next(benchmark.tables())
    labeled, unlabeled, test = benchmark.parts(y, rare, seed=0)
    assert (y[labeled] == "rare").sum() == rare and (y[labeled] == "usual").sum() == 200
    assert len(np.unique(np.concatenate([labeled, unlabeled, test]))) == len(x)
    assert (y[test] == "rare").any() and (y[unlabeled] == "rare").any()


def test_the_oracle_is_above_the_forest_without_a_pool_and_no_cell_sees_the_test(benchmark):
    _, x, y = next(benchmark.tables())
    methods = ("no pool", "random", "oracle")
    rows = {m: benchmark.cell(x, y, 8, 0, m) for m in methods}
    found = {m: row["average_precision"] for m, row in rows.items()}
    assert 0.8 < found["no pool"] < found["oracle"] <= 1 and found["random"] > 0.8
    assert 0 < rows["random"]["right"] <= rows["random"]["picked"]
    test = benchmark.parts(y, 8, seed=0)[2]
    other = np.random.default_rng(1).permutation(y[test])
    model_sees = y.copy()
    model_sees[test] = other  # classes of test rows that say nothing
    assert benchmark.cell(x, model_sees, 8, 0, "oracle")["average_precision"] < 0.7


def test_the_page_s_numbers_are_those_measured(benchmark):
    found = benchmark.means(pd.read_csv(HOME / "results" / "tables.csv"))
    page = (HOME / "docs" / "scikit-learn.md").read_text(encoding="utf-8")
    lines = [line for line in benchmark.page(found) if line.startswith("| `")]
    assert lines and [line for line in page.splitlines() if line.startswith("| `")] == lines
