import keras
import numpy as np
import pytest
from conftest import Killed, dies

from selectnet_tf import recipes
from selectnet_tf._csv_files import read_csv
from selectnet_tf.checkpoint import Checkpoint
from selectnet_tf.data import load
from selectnet_tf.models import networks
from selectnet_tf.report import review_page
from selectnet_tf.runs import frozen, train


@pytest.fixture
def recipe(tree):
    """A frozen run on the coloured pictures, from an untrained network that stands for a pretrained one."""
    keras.utils.set_random_seed(3)
    networks.build("resnet8", (16, 16, 3), 5).save(tree / "other.keras")
    places = {
        "labeled_dir": str(tree / "labeled"),
        "unlabeled_dir": str(tree / "pool"),
        "image_size": 16,
    }
    fields = {
        "method": "context",
        "epochs": 20,
        "every": 10,
        "batch_size": 8,
        "threshold": 0.9,
        "lr": 0.05,
    }
    return recipes.make(
        dataset="folder", weights=str(tree / "other.keras"), freeze=True, **places, **fields
    )


def test_pictures_are_embedded_once(recipe, tree, monkeypatch):
    task = load.make_task(recipe, cache_dir=tree / "cache")
    first, network = frozen.embed(task, recipe.training, tree / "cache")
    assert first.x_labeled.shape == (35, 64)
    assert first.x_test.shape == (9, 64)
    assert first.x_labeled.dtype == np.float32
    np.testing.assert_allclose(
        first.x_labeled[5],
        network.predict_on_batch(task.x_labeled[np.array([5])])[0],
        rtol=1e-4,
        atol=1e-5,
    )
    monkeypatch.setattr(keras.Model, "predict_on_batch", lambda *_: pytest.fail("embedded again"))
    again, _ = frozen.embed(task, recipe.training, tree / "cache")
    assert np.array_equal(again.x_labeled, first.x_labeled)
    assert np.array_equal(again.x_unlabeled, first.x_unlabeled)


def test_a_stop_keeps_what_is_embedded_and_a_damaged_cache_begins_anew(recipe, tree, monkeypatch):
    task = load.make_task(recipe, cache_dir=tree / "cache")
    embed, calls = frozen._embed, []

    def stopped(*given):
        calls.append(given)
        if len(calls) == 2:
            raise SystemExit(143)
        return embed(*given)

    with monkeypatch.context() as patch:
        patch.setattr(frozen, "_embed", stopped)
        with pytest.raises(SystemExit):
            frozen.embed(task, recipe.training, tree / "cache")
    (kept,) = (tree / "cache").glob("embeddings-*.npz")
    assert len(frozen._load(kept)) == 35
    left = kept.with_name(f".{kept.stem}.7-0123abcd.npz")  # of a kill while it was written
    left.touch()
    whole, _ = frozen.embed(task, recipe.training, tree / "cache")
    assert not left.exists()
    kept.write_bytes(kept.read_bytes()[:-200])
    anew, _ = frozen.embed(task, recipe.training, tree / "cache")
    np.testing.assert_allclose(anew.x_unlabeled, whole.x_unlabeled, rtol=1e-4, atol=1e-5)
    assert len(frozen._load(kept)) == 71


def test_a_frozen_run_saves_one_model_of_pictures(recipe, tree):
    row = train.train(recipe, results_dir=tree / "results", verbose=0)
    model = keras.saving.load_model(tree / "results" / "runs" / row["name"] / "model.keras")
    task = load.make_task(recipe, cache_dir=tree / "results" / "cache")
    probs = model.predict(np.stack(list(task.x_test[np.arange(9)])), verbose=0)
    assert model.input_shape == (None, 16, 16, 3)
    assert np.mean(probs.argmax(1) == task.y_test) == pytest.approx(row["accuracy"])
    assert row["accuracy"] > 0.5


@pytest.mark.slow
def test_a_stopped_run_leaves_the_lists_of_one_that_was_not(recipe, tree, monkeypatch):
    recipe = recipes.make(**recipe.flat() | {"ask": 4})
    options = {"verbose": 0, "finish": review_page.write}
    row = train.train(recipe, results_dir=tree / "results", **options)
    folder = tree / "results" / "runs" / row["name"]
    asked, picked = (
        {line["file"] for line in read_csv(folder / f"{name}.csv")} for name in ("ask", "selected")
    )
    assert len(asked) == 4 and picked and not picked & asked

    with monkeypatch.context() as patch:
        dies(patch, Checkpoint, "save", 12)
        with pytest.raises(Killed):
            train.train(recipe, results_dir=tree / "again", **options)
    train.train(recipe, results_dir=tree / "again", **options)
    for name in ("ask.csv", "selected.csv", "selection.csv"):
        assert (tree / "again" / "runs" / row["name"] / name).read_bytes() == (
            folder / name
        ).read_bytes(), name


def test_a_network_for_images_of_another_size_is_refused(recipe):
    with pytest.raises(
        ValueError,
        match=r"other.keras takes images of \(16, 16, 3\), but these are \(32, 32, 3\): change --image_size",
    ):
        frozen.backbone(recipe.training, (32, 32, 3))


def test_imagenet_without_a_network_is_one_line(monkeypatch):
    def offline(*_, **__):
        raise OSError("URL fetch failure")

    monkeypatch.setattr(keras.applications, "MobileNetV2", offline)
    with pytest.raises(
        ValueError,
        match=r"ImageNet's weights of MobileNetV2 could not be downloaded \(OSError\): give --weights a file",
    ):
        networks.build("MobileNetV2", (32, 32, 3), 2, weights="imagenet")


def test_a_model_file_is_looked_through_first(recipe, tree):
    """As by predict: Keras would build, and so run, whatever it names."""
    model = keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            keras.layers.Flatten(),
            keras.layers.GaussianNoise(0.1),
            keras.layers.Dense(2),
        ]
    )
    model.save(tree / "other.keras")
    with pytest.raises(
        ValueError,
        match=r"other.keras names keras.layers.GaussianNoise, which no model of this package has",
    ):
        frozen.backbone(recipe.training, (16, 16, 3))
