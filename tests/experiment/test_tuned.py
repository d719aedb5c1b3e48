"""--threshold=auto: when lambda stays, changes, or gives way to the labeled rows alone."""

import itertools

import numpy as np
import pandas as pd
import pytest
from conftest import TABLE

from selectnet_tf import estimators, recipes
from selectnet_tf.experiment import fitted, runs, train, tuned
from selectnet_tf.pool import Pool

RECIPE = recipes.make(**TABLE, threshold="auto")


def pool(rare=8):
    x = np.random.default_rng(0).normal(size=(100, 2)).astype(np.float32)
    y = (np.arange(60) < rare).astype(np.int32)
    x[:60, 0] += 3 * y
    return Pool(x[:60], y, x[60:], [1])


@pytest.mark.parametrize(
    ("scores", "answer", "method"),
    [
        ([[0.5, 0.6, 0.4], [0.6, 0.5, 0.5], [0.5, 0.5, 0.5], [0.5, 0.5, 0.5]], "0.6", "self_paced"),
        ([[0.5, 0.6, 0.9], [0.6, 0.7, 0.6], [0.5, 0.6, 0.5], [0.5, 0.6, 0.5]], "0.35", "self_paced"),
        ([[0.5, 0.5, 0.9], [0.6, 0.5, 0.9], [0.5, 0.5, 0.9], [0.5, 0.5, 0.9]], "none", "imbalanced"),
        ([[0.5, 0.5, 0.9], [0.5, 0.5, 0.5], [0.5, 0.5, 0.5], [0.5, 0.5, 0.5]], "0.6", "self_paced"),  # within a standard error
    ],
)
def test_lambda_stays_unless_another_answer_is_better_by_a_standard_error(scores, answer, method, tmp_path, monkeypatch, capsys):
    given = itertools.chain.from_iterable(scores)
    monkeypatch.setattr(tuned, "_precision", lambda recipe, *part: next(given))
    recipe, found = tuned.choose(RECIPE, pool(), tmp_path)
    assert (found, recipe.method) == (answer, method) and recipe.threshold == (0.35 if answer == "0.35" else 0.6)
    table = pd.read_csv(tmp_path / "lambdas.csv", dtype={"lambda": str}, keep_default_na=False)
    assert table["lambda"].tolist() == ["0.6", "0.35", "none"] and table.loc[table["chosen"], "lambda"].tolist() == [answer]
    assert table["average_precision"].tolist() == pytest.approx(np.mean(scores, axis=0).round(4)) and set(table["folds"]) == {4}
    said = "no rule helps here, so the labeled rows alone are trained on" if answer == "none" else f"lambda is {answer}"
    assert capsys.readouterr().out.startswith(f"  {said} (average precision of the minor classes in 4 folds: 0.6 ")


def test_every_fold_keeps_the_unlabeled_rows_and_tests_on_labeled_ones():
    whole = pool()
    parts = tuned._parts(RECIPE, whole, 4)
    assert [(part.labeled.sum(), len(rows), truth.sum()) for part, rows, truth in parts] == [(45, 15, 2)] * 4
    assert all(np.array_equal(np.sort(part.images[45:], 0), np.sort(whole.images[60:], 0)) for part, _, _ in parts)


def test_one_labeled_row_of_a_class_leaves_lambda_as_it_is(tmp_path, capsys):
    recipe, answer = tuned.choose(RECIPE, pool(rare=1), tmp_path)
    assert (recipe.threshold, answer) == (0.6, "0.6") and "can't be divided into folds" in capsys.readouterr().out


def two_rounds(folder):
    """The recipe of a run of 100 labeled rows and 50 others, in files that it writes."""
    rng = np.random.default_rng(0)
    rare = np.arange(150) % 10 == 0
    frame = pd.DataFrame(rng.normal(size=(150, 2)), columns=list("uv")).assign(kind=np.where(rare, "rare", "usual"))
    frame["u"] += 4 * rare
    frame[:100].to_csv(folder / "a.csv", index=False)
    frame[100:].drop(columns="kind").to_csv(folder / "b.csv", index=False)
    given = {**TABLE, "labeled_csv": str(folder / "a.csv"), "unlabeled_csv": str(folder / "b.csv"), "label_column": "kind"}
    return recipes.make(**given, threshold="auto", epochs=2)


def test_a_run_records_what_was_chosen_and_is_the_same_each_time(tmp_path, monkeypatch):
    monkeypatch.setattr(estimators, "TREES", 5)
    recipe = two_rounds(tmp_path)
    rows = [train.train(recipe, results_dir=tmp_path / name, verbose=0) for name in "xy"]
    assert rows[0]["threshold"] == "auto" and rows[0]["chosen"] in ("0.6", "0.35", "none")
    first, second = (tmp_path / name / "runs" / recipe.name for name in "xy")
    assert (first / "lambdas.csv").read_bytes() == (second / "lambdas.csv").read_bytes()
    assert (first / "classes.csv").read_bytes() == (second / "classes.csv").read_bytes()
    assert runs.read(tmp_path / "x") == ([runs.read(tmp_path / "x")[0][0]], [])
    again = train.train(recipe, results_dir=tmp_path / "x", verbose=0)  # the same command, of a run that is finished
    assert again["name"] == recipe.name and again["chosen"] == rows[0]["chosen"]


def test_a_run_that_was_stopped_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(estimators, "TREES", 5)
    recipe = two_rounds(tmp_path)

    def stop(*_):
        raise SystemExit(143)

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(fitted.Classifier, "fit", stop)
        patch.setattr(tuned, "_precision", lambda *_: 0.5)
        train.train(recipe, results_dir=tmp_path, verbose=0)
    assert (tmp_path / "runs" / recipe.name / "state.npz").exists()
    assert train.train(recipe, results_dir=tmp_path, verbose=0)["threshold"] == "auto"
