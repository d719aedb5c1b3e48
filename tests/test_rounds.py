import csv

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import blobs, small_model

from selectnet_tf.pool import Pool
from selectnet_tf.rounds import fit
from selectnet_tf.rules import Context
from selectnet_tf.selection import Selection

X, Y = blobs(240)


def make(rule=None, every=1, unlabeled=160, **options):
    keras.utils.set_random_seed(0)
    pool = Pool(X[: 240 - unlabeled], Y[: 240 - unlabeled], X[240 - unlabeled :], [2, 3])
    return Selection(pool, rule, every=every, init=options.pop("init", "none"), on_round=lambda round: None, **options)


class Steps(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.epochs, self.hooks = [], []

    def on_train_begin(self, logs=None):
        self.hooks.append("begin")

    def on_train_end(self, logs=None):
        self.hooks.append("end")

    def on_epoch_begin(self, epoch, logs=None):
        self.epochs.append(0)

    def on_train_batch_end(self, batch, logs=None):
        self.epochs[-1] += 1


class Traced(keras.Model):
    traces = 0

    def train_step(self, *args, **kwargs):
        Traced.traces += 1
        return super().train_step(*args, **kwargs)


def test_epochs_run_as_many_batches_as_their_training_set_has():
    """Inside one Keras fit these sizes run as 10 10 11 5 11 batches (keras_facts)."""
    sizes = iter([80, 320, 40, 320, 80])

    class Resize(Selection):
        def on_epoch_end(self, epoch, logs=None):
            self.pool.train_on(np.arange(size := next(sizes)) % 80, np.resize(Y[:80], size))

    selection = make()
    selection = Resize(selection.pool, None, every=1, init="none")
    steps = Steps()
    history = fit(small_model(), selection, epochs=5, batch_size=8, callbacks=[steps], verbose=0)
    assert steps.epochs == [10, 10, 40, 5, 40]
    assert steps.hooks == ["begin", "end"] and history.epoch == [0, 1, 2, 3, 4] and len(history.history["loss"]) == 5


def test_train_step_is_traced_once_for_the_whole_run():
    inner = small_model()
    model = Traced(inner.inputs[0], inner.outputs[0])
    model.compile("sgd", "sparse_categorical_crossentropy", jit_compile=False)
    Traced.traces = 0
    selection = make(Context(1.2))
    fit(model, selection, epochs=6, batch_size=8, verbose=0)
    sizes = {len(round.index) for round in selection.history}
    assert Traced.traces == 1 and len(selection.history) == 6 and len(sizes) > 1


def test_rounds_without_a_swap_equal_one_fit(tmp_path):
    """Weights, history, CSV, and what LearningRateScheduler and ReduceLROnPlateau do, bit for bit."""
    found = []
    for every in (2, 100):
        log = tmp_path / f"{every}.csv"
        callbacks = [
            keras.callbacks.LearningRateScheduler(lambda epoch, lr: 0.1 / (1 + epoch)),
            keras.callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=1.0),
            keras.callbacks.CSVLogger(log),
        ]
        selection = make(every=every)
        model = small_model(dropout=0.3, norm=True)
        history = fit(model, selection, epochs=7, batch_size=8, callbacks=callbacks, verbose=0)
        found.append((history.history, [v.numpy() for v in model.variables], log.read_bytes()))
    assert found[0][0] == found[1][0] and found[0][2] == found[1][2]
    assert all(np.array_equal(a, b) for a, b in zip(found[0][1], found[1][1], strict=True))
    assert [row["epoch"] for row in csv.DictReader(log.open())] == list("0123456")


def test_early_stopping_counts_over_rounds_and_ends_the_run():
    stop = keras.callbacks.EarlyStopping("loss", min_delta=100, patience=3)
    history = fit(small_model(), make(Context(), every=2), epochs=20, batch_size=8, callbacks=[stop], verbose=0)
    assert stop.stopped_epoch == 3 and len(history.epoch) == 4


def test_tensorboard_writes_one_file_for_the_run(tmp_path):
    board = keras.callbacks.TensorBoard(tmp_path, write_graph=False)
    fit(small_model(), make(every=1), epochs=3, batch_size=8, callbacks=[board], verbose=0)
    assert len(list((tmp_path / "train").iterdir())) == 1


def test_the_last_scoring_comes_after_the_last_epoch():
    selection = make(Context(), every=3)
    fit(small_model(), selection, epochs=6, batch_size=8, verbose=0)
    assert [round.epoch for round in selection.history] == [3, 6]


def test_users_callbacks_see_the_selection_of_their_epoch():
    seen = []
    selection = make(Context(), every=2)
    spy = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(len(selection.history)))
    fit(small_model(), selection, epochs=4, batch_size=8, callbacks=[spy], verbose=0)
    assert seen == [0, 1, 1, 2]


def test_validation_data_goes_to_keras():
    history = fit(small_model(), make(every=1), epochs=2, batch_size=8, verbose=0, validation_data=(X[:20], Y[:20]))
    assert len(history.history["val_accuracy"]) == 2


def test_progress_bar_counts_the_whole_run(capsys):
    fit(small_model(), make(every=1), epochs=3, batch_size=8, verbose=2)
    screen = capsys.readouterr().out
    assert [f"Epoch {i}/3" in screen for i in (1, 2, 3)] == [True] * 3


def train(strategy, epochs=3):
    selection = make(Context(1.2), every=1)
    with strategy.scope():
        keras.utils.set_random_seed(1)
        model = small_model(norm=True)
    history = fit(model, selection, epochs=epochs, batch_size=16, verbose=0)
    return model, selection, history


def test_one_and_two_replicas_agree(two_replicas):
    """Weights, batch statistics, losses and picks: which replica a row falls on must not matter."""
    one, first, a = train(tf.distribute.get_strategy())
    two, second, b = train(two_replicas)
    np.testing.assert_allclose(a.history["loss"], b.history["loss"], rtol=1e-4)
    for v, w in zip(one.variables, two.variables, strict=True):
        np.testing.assert_allclose(v.numpy(), w.numpy(), rtol=2e-3, atol=2e-4, err_msg=v.path)
    assert any(len(r.index) for r in first.history)
    assert [r.index.tolist() for r in first.history] == [r.index.tolist() for r in second.history]
    for variable in two.variables:  # all replicas hold the same values, moving statistics included
        copies = [v.numpy() for v in two_replicas.experimental_local_results(variable.value)]
        assert all(np.array_equal(copies[0], copy) for copy in copies)
    assert not any(getattr(layer, "synchronized", False) for layer in two.layers)


@pytest.mark.parametrize(("batch", "words"), [(9, "use 8 or 10"), (1, "use 2")])
def test_a_batch_that_replicas_cannot_share_is_refused(batch, words, two_replicas):
    with two_replicas.scope():
        model = small_model()
    with pytest.raises(ValueError, match=words):
        fit(model, make(), epochs=1, batch_size=batch)


def test_a_call_inside_a_scope_and_use_ema_are_refused(two_replicas):
    selection = make()
    with two_replicas.scope():
        model = small_model()
        with pytest.raises(ValueError, match="outside strategy.scope"):
            fit(model, selection, epochs=1)
    model = small_model()
    model.compile(keras.optimizers.SGD(0.1, use_ema=True), "sparse_categorical_crossentropy")
    with pytest.raises(ValueError, match="use_ema"):
        fit(model, selection, epochs=1)


def test_backup_and_restore_is_refused(tmp_path):
    with pytest.raises(ValueError, match="use Checkpoint"):
        fit(small_model(), make(), epochs=1, callbacks=[keras.callbacks.BackupAndRestore(tmp_path)])
