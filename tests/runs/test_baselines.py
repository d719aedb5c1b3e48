import pathlib
import re
import subprocess
import sys

import keras
import numpy as np
import pytest
from conftest import Killed

from selectnet_tf import recipes
from selectnet_tf._csv_files import write_csv
from selectnet_tf._locks import lock
from selectnet_tf.data import load
from selectnet_tf.models import networks
from selectnet_tf.report import compare, page
from selectnet_tf.runs import baselines, outputs, store, train


@pytest.fixture
def recipe(tree):
    """A frozen run of two epochs, from an untrained network that stands for a pretrained one."""
    keras.utils.set_random_seed(3)
    networks.build("resnet8", (16, 16, 3), 5).save(tree / "other.keras")
    places = {"labeled_dir": str(tree / "labeled"), "unlabeled_dir": str(tree / "pool")}
    network = {"weights": str(tree / "other.keras"), "freeze": True, "image_size": 16}
    return recipes.make(dataset="folder", **places, **network, epochs=2, every=1, batch_size=8)


@pytest.mark.slow
def test_a_frozen_run_has_five_baselines_also_when_killed_in_between(recipe, tree, monkeypatch):
    results, cache = tree / "results", tree / "results" / "cache"
    row = train.train(recipe, results_dir=results, verbose=0)
    folder = results / "runs" / row["name"]
    epochs = (folder / "epochs.csv").read_bytes()

    def compare_all():
        found = baselines.train_all(recipe, results, cache, verbose=0)
        return compare.write_baselines(results, row["name"], row["method"], found)

    with monkeypatch.context() as patch:

        def die(*_):
            raise Killed

        patch.setattr(outputs, "write_predictions", die)
        with pytest.raises(Killed):
            compare_all()
    rows = compare_all()
    kinds = ("logistic regression", "logistic regression with picks")
    names = [f"{kind}, frozen features" for kind in kinds]
    names += ["logit_adjusted", "random", "selectnet"]
    assert [row["name"] for row in rows] == ["this run: candidates", *names]
    report = page.write(results, store.read_runs(results)[0]).read_text()
    report = re.sub("</?code>", "", report)
    assert all(line in report for line in compare.advise(rows))
    table = (folder / "baselines.csv").read_bytes()
    assert compare_all() == rows and (folder / "baselines.csv").read_bytes() == table
    assert (folder / "epochs.csv").read_bytes() == epochs

    task = load.make_task(recipe, cache_dir=cache)
    images = task.x_test[np.arange(len(task.y_test))]
    for row in rows:  # each model is there, and is the one of the table
        model = keras.saving.load_model(row["model"])
        right = model.predict(images, verbose=0).argmax(1) == task.y_test
        assert f"{right.mean():.4f}" == row["all_accuracy"]

    other = pathlib.Path(rows[-1]["model"]).with_name("files.csv")
    assert not other.with_name("selected.csv").exists()  # of the review page, which it has not
    lines = other.read_text().splitlines()
    other.write_text("\n".join(lines[:1] + lines[2:]))
    found = baselines.train_all(recipe, results, cache, others=False)
    assert [bool(each.folder) for each in found] == [True, True, True, True, False]
    assert "images differ (1 missing)" in found[4].why


@pytest.mark.parametrize("classes", [2, 3])
def test_the_regression_finds_what_tells_the_classes_apart(classes):
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(classes), (40, 4, 4)[:classes])
    rows = (np.eye(classes, 6)[y] * 4 + rng.normal(0, 1, (len(y), 6))).astype(np.float32)
    weights, biases = baselines._fit(rows, y, baselines._choose_decay(rows, y))
    assert weights.shape == (6, classes) and biases.shape == (classes,)
    assert np.mean((rows @ weights + biases).argmax(1) == y) > 0.95


@pytest.mark.parametrize(
    "changes",
    [
        {
            "method": "selectnet",
            "threshold": 0.5,
            "beta": 0.4,
            "selector_lr": 0.1,
            "accumulate": True,
        },
        {"prior_loss": 0.0, "minor": ("emu", "cat"), "seed": 3, "preset": "paper"},
        {"training": "adam"},
        {"training": "keras", "lr_schedule": "constant", "freeze": False, "weights": None},
        {"training": "cui", "minor": ("barn owl, white", 'so "called"', "cat")},
        {"method": "class_balanced"},
        {"method": "class_balanced", "training": "sgd"},
    ],
)
def test_the_command_of_a_baseline_trains_what_is_looked_for(recipe, changes):
    base, values = recipe.preset_values(), recipe.flat()
    given = {k: v for k, v in values.items() if v != base[k]} | {"dataset": "folder"}
    recipe = recipes.make(**given | changes)
    other = recipes.with_method(recipe, "random")
    code = (
        "import sys; from selectnet_tf.commands import train; train.define_flags();"
        " train.FLAGS(sys.argv); print(train.recipe_from_flags().name)"
    )
    command = [sys.executable, "-c", code, *other.flags()]
    found = subprocess.run(command, capture_output=True, text=True)
    assert found.stdout.strip() == other.name, found.stderr
    assert recipes.with_method(recipe, "logit_adjusted").training.prior_loss == 1


@pytest.mark.parametrize(
    ("changes", "methods"),
    [
        ({}, ["logit_adjusted", "random", "selectnet"]),
        ({"method": "random"}, ["logit_adjusted", "selectnet"]),
        ({"method": "imbalanced", "unlabeled_dir": None}, ["logit_adjusted"]),
        ({"method": "logit_adjusted", "unlabeled_dir": None}, []),
    ],
)
def test_baselines_are_other_methods_that_have_a_pool(changes, methods):
    places = {"labeled_dir": "a", "unlabeled_dir": "b"}
    recipe = recipes.make(**{"dataset": "folder", **places, "epochs": 20, **changes})
    assert baselines.list_methods(recipe) == methods


@pytest.mark.parametrize(
    ("picked", "names"), [(20, ["logistic", "logistic_picks"]), (10, ["logistic"])]
)
def test_the_last_round_counts_though_it_picked_nothing(picked, names, tmp_path):
    write_csv(tmp_path / "selection.csv", [("epoch",), (10,), (20,)])
    np.savez(tmp_path / "selected.npz", epoch=[10, picked], index=[1, 2], label=[0, 0])
    for name in ("logistic", "logistic_picks"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "predictions.npz").touch()
    found = baselines.fit_logistic(None, tmp_path, tmp_path)
    assert [place.name for place in found] == names


def test_nothing_is_written_beside_a_run_that_another_process_trains(tmp_path):
    recipe = recipes.make(dataset="folder", labeled_dir="a", unlabeled_dir="b")
    folder = tmp_path / "runs" / recipe.name
    folder.mkdir(parents=True)
    with lock(folder / ".lock"):
        first = baselines.train_all(recipe, tmp_path, tmp_path / "cache", others=False)[0]
        assert f"is already at work in {folder}: wait for it" in first.why
        with pytest.raises(BlockingIOError, match=f"is already at work in {folder}: wait for it"):
            compare.write_baselines(tmp_path, recipe.name, "candidates", [first])


@pytest.mark.parametrize("cut", [0, 10, 200, -200])
def test_a_damaged_list_of_picks_is_the_reason_of_no_regression(cut, tmp_path):
    recipe = recipes.make(dataset="folder", labeled_dir="a", unlabeled_dir="b")
    folder = tmp_path / "runs" / recipe.name
    folder.mkdir(parents=True)
    np.savez_compressed(folder / "selected.npz", epoch=np.arange(9), index=[1], label=[0])
    content = (folder / "selected.npz").read_bytes()
    (folder / "selected.npz").write_bytes(content[:cut])
    first = baselines.train_all(recipe, tmp_path, tmp_path / "cache", others=False)[0]
    assert first.why == f"{folder / 'selected.npz'} is damaged: train the run again with --force"
