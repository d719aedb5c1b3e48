"""A run with a classifier of scikit-learn: the same files as a network's, and the same bits after a kill."""

import io
import json

import numpy as np
import pandas as pd
import pytest
from conftest import Killed

from selectnet_tf import estimators, predict, recipes
from selectnet_tf.experiment import runs, train
from selectnet_tf.statefile import StateFile

FILES = {"row.json", "recipe.json", "epochs.csv", "classes.csv", "confusion.csv", "thresholds.csv", "calibration.csv", "selected.npz"}
FILES |= {"split.npz", "model.skops", "selection.csv", "selected.csv", "picks.csv", ".lock"}


@pytest.fixture
def given(tmp_path, monkeypatch):
    """Recipe fields of a table whose rare class lies apart from the others, 8 of 90 rows, and a pool of 60."""
    monkeypatch.setattr(estimators, "TREES", 12)
    rng = np.random.default_rng(0)
    rare = np.arange(210) % 10 == 0
    frame = pd.DataFrame(rng.normal(size=(210, 3)), columns=list("uvw")).assign(kind=np.where(rare, "rare", "usual"))
    frame["u"] += 4 * rare
    for name, part in (("a", frame[:90]), ("b", frame[90:150].drop(columns="kind")), ("t", frame[150:])):
        part.to_csv(tmp_path / f"{name}.csv", index=False)
    places = {f"{kind}_csv": str(tmp_path / f"{name}.csv") for kind, name in (("labeled", "a"), ("unlabeled", "b"), ("test", "t"))}
    return {"dataset": "csv", "label_column": "kind", **places}


def run(results, given, **changes):
    row = train.train(recipes.make(**{**given, **changes}), results_dir=results, verbose=0)
    return row, results / "runs" / row["name"]


def ask(folder, given, **wanted):
    """(what predict prints of the test rows, as a data frame; what it says)."""
    out, errors = io.StringIO(), io.StringIO()
    assert predict.predict(folder / "model.skops", [given["test_csv"]], out, errors, predict.Wanted(**wanted)) == 0
    return pd.read_csv(io.StringIO(out.getvalue())), errors.getvalue()


def files(folder):
    """All that a run leaves but clocks, and what its model says."""
    found = {name: (folder / name).read_bytes() for name in ("epochs.csv", "classes.csv", "picks.csv", "thresholds.csv", "selection.csv")}
    found |= {(name, k): v.tobytes() for name in ("selected.npz", "split.npz") for k, v in np.load(folder / name).items()}
    row = json.loads((folder / "row.json").read_text())
    models = estimators.load(folder / "model.skops")
    said = [model.predict_proba(np.eye(3, dtype=np.float32)).tobytes() for model in models]
    return found | {"row": {k: v for k, v in row.items() if "seconds" not in k}, "model": said}


def test_a_run_leaves_the_files_of_any_run_and_predict_reads_its_model(given, tmp_path):
    row, folder = run(tmp_path / "results", given)
    assert row["name"].startswith("csv_forest_self_paced_paper_s0_") and row["minor_average_precision"] > 0.8
    assert {path.name for path in folder.iterdir()} == FILES
    assert [line["epoch"] for line in runs.read_csv(folder / "epochs.csv")] == ["1", "2", "3", "4"]
    audit = runs.read_csv(folder / "selection.csv")
    assert len(audit) == 4 and int(audit[-1]["as_0"]) > 0 and audit[0]["unlabeled_right"] == ""
    assert len(estimators.load(folder / "model.skops")) == 8
    found, _ = ask(folder, given)
    assert list(found) == ["row", "class", "probability"] and len(found) == 60
    truth = pd.read_csv(given["test_csv"])["kind"]
    assert (found["class"] == truth).mean() == pytest.approx(row["accuracy"])
    assert runs.read(tmp_path / "results")[1] == []


def test_predict_takes_a_precision_and_carries_columns_through(given, tmp_path):
    _, folder = run(tmp_path / "results", given, method="imbalanced", epochs=1, ignore_columns="w")
    truth = pd.read_csv(given["test_csv"])
    found, said = ask(folder, given, of="rare", precision=0.8, columns=("kind", "w"))
    assert list(found) == ["row", "class", "probability", "p(rare)", "kind", "w"]
    assert (found["kind"] == "rare").mean() >= 0.8 and len(found) < 20 and said.startswith("rare from a probability of 0.")
    threshold = float(said.split("probability of ")[1].split(" on")[0])
    assert found["p(rare)"].min() >= threshold and f"{(found['kind'] == 'rare').sum()} of {len(found)} were right" in said
    places = found["row"].str.rpartition(":")[2].astype(int) - 2
    assert found["w"].tolist() == truth["w"][places].tolist()
    assert list(ask(folder, given, columns=("all",))[0]) == ["row", "class", "probability", "u", "v"]
    with pytest.raises(ValueError, match="--precision is a class's, and stands for a threshold"):
        ask(folder, given, precision=0.8)
    out, errors = io.StringIO(), io.StringIO()
    wanted = predict.Wanted(columns=("z",))
    assert predict.predict(folder / "model.skops", [given["test_csv"]], out, errors, wanted) == 1
    assert "has no column 'z', only u, v, w, kind: correct --columns" in errors.getvalue()


@pytest.mark.parametrize("method", ["self_paced", pytest.param("selectnet", marks=pytest.mark.slow)])
def test_a_killed_run_ends_with_the_same_bits(method, given, tmp_path, monkeypatch):
    _, whole = run(tmp_path / "whole", given, method=method)
    write = StateFile.write

    def dies(self, arrays, epoch, batch=0):
        if epoch == 2:
            raise Killed
        write(self, arrays, epoch, batch)

    with monkeypatch.context() as patch:
        patch.setattr(StateFile, "write", dies)
        with pytest.raises(Killed):
            run(tmp_path / "killed", given, method=method)
    assert len(runs.read_csv(tmp_path / "killed" / "runs" / whole.name / "epochs.csv")) == 2
    _, again = run(tmp_path / "killed", given, method=method)
    assert files(again) == files(whole)


def test_without_a_rule_the_rounds_are_one_forest_of_the_labeled_rows(given, tmp_path):
    row, folder = run(tmp_path, given, method="imbalanced")
    models = estimators.load(folder / "model.skops")
    assert len(models) == 8 and len({model.random_state for model in models}) == 8 and row["images"] == 4 * 90
    assert not (folder / "selection.csv").exists()


@pytest.mark.parametrize("changes", [{"arch": "boosting"}, {"estimator": "sklearn.naive_bayes:GaussianNB"}, {"align": 0.5, "cap": 1 / 3}])
def test_other_classifiers_select_too_and_so_do_the_parts_around_a_rule(changes, given, tmp_path):
    row, folder = run(tmp_path, given, **{"epochs": 2, **changes})
    assert len(runs.read_csv(folder / "selection.csv")) == 2 and row["minor_average_precision"] > 0.5
