"""What is trained beside a table's run."""

import numpy as np
import pandas as pd
import pytest

from selectnet_tf import recipes
from selectnet_tf.data import tasks
from selectnet_tf.experiment import baselines, record


def test_a_selecting_run_has_the_same_classifier_without_a_pool_beside_it():
    given = {"dataset": "csv", "labeled_csv": "a", "unlabeled_csv": "b", "label_column": "kind", "epochs": 20}
    for arch, without in (("mlp", "oversampling"), ("forest", "imbalanced")):
        found = baselines.beside(recipes.make(method="context", arch=arch, **given))
        assert found == [recipes.make(method=method, arch=arch, **given) for method in (without, "random")]
    assert baselines.beside(recipes.make(method="imbalanced", **given)) == []
    assert baselines.beside(recipes.make(threshold="auto", **given)) == baselines.beside(recipes.make(**given))


def test_balanced_classifiers_of_the_labeled_rows_are_measured(tmp_path):
    rng = np.random.default_rng(0)
    y = np.arange(200) % 10 == 0
    table = pd.DataFrame({"u": rng.normal(size=200) + 4 * y, "v": rng.normal(size=200), "kind": np.where(y, "rare", "usual")})
    table.to_csv(tmp_path / "a.csv", index=False)
    task = tasks.make(recipes.make(dataset="csv", labeled_csv=str(tmp_path / "a.csv"), label_column="kind", method="imbalanced"))
    baselines.write(tmp_path, task)
    found = pd.read_csv(tmp_path / "baselines.csv")
    assert found["method"].tolist() == ["balanced forest", "balanced logistic"] and (found["minor_average_precision"] > 0.8).all()
    assert baselines.lines(tmp_path)[0].startswith("balanced forest of the labeled rows alone: minor average precision ")
    assert baselines.lines(tmp_path / "nothing") == []


@pytest.mark.parametrize(("dataset", "last"), [("csv", "minor average precision"), ("folder", "macro f1")])
def test_the_closing_table_of_tables_shows_average_precision(dataset, last):
    numbers = dict.fromkeys(("accuracy", "minor_accuracy", "major_accuracy", "macro_f1", "minor_average_precision"), 0.5)
    lines = record.table([{"dataset": dataset, "method": "context", **numbers}]).splitlines()
    assert lines[0].endswith(last) and len(lines[0]) == len(lines[1]) and lines[1].endswith("0.5000")
