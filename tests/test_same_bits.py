"""Equal trainings are equal to the bit, and what must not matter changes nothing: rounds, replicas, hidden labels."""

import csv

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import blobs, load_blobs, read_bits, small_model, small_recipe, train_small

import selectnet_tf as sn
from selectnet_tf.data import cifar, splits

X, Y = blobs(240)


def make(every=1, rule=None, sample_weight=None, **options):
    keras.utils.set_random_seed(0)
    pool = sn.Pool(X[:80], Y[:80], X[80:], [2, 3], sample_weight=sample_weight)
    return sn.Selection(pool, rule, every=every, init="none", on_round=None, **options)


def test_rounds_without_a_swap_equal_one_fit(tmp_path):
    """Weights, history, CSV, and what LearningRateScheduler and ReduceLROnPlateau do."""
    found = []
    for every in (2, 100):
        log = tmp_path / f"{every}.csv"
        callbacks = [
            keras.callbacks.LearningRateScheduler(lambda epoch, lr: 0.1 / (1 + epoch)),
            keras.callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=1.0),
            keras.callbacks.CSVLogger(log),
        ]
        selection, model = make(every), small_model(dropout=0.3, norm=True)
        history = sn.fit(model, selection, epochs=7, batch_size=8, callbacks=callbacks, verbose=0)
        weights = [v.numpy().tobytes() for v in model.variables]
        found.append((history.history, weights, log.read_bytes()))
    assert found[0] == found[1]
    assert [row["epoch"] for row in csv.DictReader(log.open())] == list("0123456")


@pytest.mark.parametrize("weighted", [False, True])
def test_two_replicas_train_as_one(weighted, two_replicas):
    """Weights, batch statistics, losses and picks: which replica a row falls on must not matter."""
    found = []
    options = {"rule": sn.Capped(sn.Context(1.2)), "adjust": sn.AlignMinors()}
    loss = sn.PriorCrossentropy()
    if weighted:
        options = {"rule": sn.SelectNet(1.2, soft=True), "loss_norm": "separate"}
        options["sample_weight"] = np.linspace(0.1, 2, 80)
        loss = "sparse_categorical_crossentropy"
    for strategy in (tf.distribute.get_strategy(), two_replicas):
        selection = make(**options)
        with strategy.scope():
            keras.utils.set_random_seed(1)
            model = small_model(norm=True)
            model.layers[-1].kernel_regularizer = keras.regularizers.L2(0.01)
            model.compile(keras.optimizers.SGD(0.1, 0.9), loss, weighted_metrics=["accuracy"])
        history = sn.fit(model, selection, epochs=3, batch_size=16, verbose=0)
        found.append((model, selection, history))
    (one, first, a), (two, second, b) = found
    for name in ("loss", "accuracy"):
        np.testing.assert_allclose(a.history[name], b.history[name], rtol=1e-3)
    for v, w in zip(one.variables, two.variables, strict=True):
        np.testing.assert_allclose(v.numpy(), w.numpy(), rtol=2e-3, atol=2e-4, err_msg=v.path)
    assert any(len(r.index) for r in first.history)
    assert [r.index.tolist() for r in first.history] == [r.index.tolist() for r in second.history]
    counts = [] if weighted else [two.loss._log_counts]
    for variable in [*(v.value for v in two.variables), *counts]:
        copies = [v.numpy() for v in two_replicas.experimental_local_results(variable)]
        assert all(np.array_equal(copies[0], copy) for copy in copies)
    assert not any(getattr(layer, "synchronized", False) for layer in two.layers)


def test_a_run_s_bits_follow_from_its_recipe_and_not_from_hidden_labels(
    finished, tmp_path, monkeypatch
):
    """With other true labels in the pool only the audit of the picks differs."""
    found = load_blobs()
    split = splits.make_split(small_recipe().data, found.y, small_recipe().seed)
    y = found.y.copy()
    y[split[1]] = np.random.default_rng(0).permutation(y[split[1]])
    monkeypatch.setattr(cifar, "load", lambda *_: found._replace(y=y))
    monkeypatch.setattr(splits, "make_split", lambda *_: split)
    a = read_bits(finished())
    train_small(tmp_path)
    b = read_bits(tmp_path)
    assert len(a["selected.npz/index"]) > 100
    assert {name for name in a if a[name] != b[name]} == {"selection.csv"}
