"""Classifiers of scikit-learn: made by name, asked in chunks, kept without code."""

import zipfile

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.neighbors import KNeighborsClassifier

from selectnet_tf import estimators


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3)).astype(np.float32)
    return x, (x[:, 0] > 0.5).astype(np.int32)


@pytest.mark.parametrize("arch", ["forest", "boosting", "logistic"])
def test_what_has_a_name_weighs_classes_and_comes_back_from_its_file(arch, rows, tmp_path, monkeypatch):
    monkeypatch.setattr(estimators, "TREES", 5)
    model = estimators.fit(estimators.make(arch, 7), *rows)
    assert model.get_params().get("n_jobs") is None
    assert str(model.get_params()["class_weight"]).startswith("balanced")
    assert arch == "logistic" or model.get_params()["random_state"] == 7
    estimators.save(tmp_path / "model.skops", [model, model])
    again = estimators.load(tmp_path / "model.skops")
    assert np.array_equal(again[1].predict_proba(rows[0]), model.predict_proba(rows[0]))


def test_the_mean_over_the_models_has_the_same_bits_in_chunks_of_any_size(rows, monkeypatch):
    x, y = rows
    models = [RandomForestClassifier(4, random_state=seed).fit(x, y) for seed in (0, 1)]
    whole = estimators.probabilities(models, x, 2)
    expected = (models[0].predict_proba(x) + models[1].predict_proba(x)) / 2
    assert np.array_equal(whole, expected.astype(np.float32)) and whole.dtype == np.float32
    monkeypatch.setattr(estimators, "CHUNK", 7)
    assert np.array_equal(estimators.probabilities(models, x, 2), whole)
    assert estimators.probabilities(models, x, 4)[:, 2:].max() == 0  # a class that was not fitted has no chance


def test_classifiers_of_one_s_own_are_classes_or_functions(tmp_path, monkeypatch):
    made = estimators.make("estimator", 3, "sklearn.ensemble:ExtraTreesClassifier")
    assert type(made).__name__ == "ExtraTreesClassifier" and made.random_state == 3
    (tmp_path / "mine_of_test.py").write_text(
        "from sklearn.pipeline import make_pipeline\nfrom sklearn.ensemble import *\nfrom sklearn.preprocessing import StandardScaler\n"
        "def model():\n    return make_pipeline(StandardScaler(), RandomForestClassifier(9))\n"
    )
    monkeypatch.chdir(tmp_path)
    assert estimators.make("estimator", 3, "mine_of_test:model").get_params()["randomforestclassifier__random_state"] == 3


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ("sklearn.svm:LinearSVC", "has no predict_proba, without which nothing can be selected"),
        ("sklearn.svm:Nothing", r"can't be made \(AttributeError: .*give package.module:Class"),
        ("nowhere:Model", r"can't be made \(ModuleNotFoundError: "),
        ("sklearn.ensemble", r"can't be made \(AttributeError: "),
    ],
)
def test_what_is_no_classifier_is_said(own, said):
    with pytest.raises(ValueError, match=said):
        estimators.make("estimator", 0, own)


def test_a_file_with_other_types_needs_trust(rows, tmp_path):
    path = tmp_path / "model.skops"
    estimators.save(path, [KNeighborsClassifier(3).fit(*rows)])
    with pytest.raises(
        ValueError, match=r"holds sklearn\.\S+, which may run code of its own: if you made the file, --trust=sklearn\."
    ) as found:
        estimators.load(path)
    trust = str(found.value).partition("--trust=")[2].split(",")
    assert np.array_equal(estimators.load(path, trust)[0].predict(rows[0]), KNeighborsClassifier(3).fit(*rows).predict(rows[0]))
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("schema.json", "{}")
    with pytest.raises(ValueError, match=r"can't be read by skops \(\w+\): take the model.skops that a run left"):
        estimators.load(path)
