import os

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import Killed, blobs, small_model

from selectnet_tf import checkpoint
from selectnet_tf.checkpoint import Checkpoint, Stopped
from selectnet_tf.loop import fit
from selectnet_tf.pool import Pool
from selectnet_tf.rules import Context, SelectNet
from selectnet_tf.selection import Selection

X, Y = blobs(200)


class At(keras.callbacks.Callback):
    def __init__(self, epoch, batch, act):
        super().__init__()
        self.place, self.act, self.epoch = (epoch, batch), act, None

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == self.place:
            self.act()


def session(path, spy=None, epochs=6, strategy=None, header=None):
    """One process's worth of a run: build, restore, train. Returns (model, selection, history)."""
    keras.utils.set_random_seed(5)
    pool = Pool(X[:80], Y[:80], X[80:], [2, 3])
    selection = Selection(pool, SelectNet(1.0, 0.5, epochs=3), every=2, on_round=lambda round: None)
    if strategy:
        with strategy.scope():
            model = small_model(norm=True, dropout=0.3)
    else:
        model = small_model(norm=True, dropout=0.3)
    saver = Checkpoint(path, {"selection": selection}, header or {"recipe": "a"})
    epoch, batch = saver.restore(model)
    callbacks = [spy, saver] if spy else [saver]
    with saver.signals():
        history = fit(
            model,
            selection,
            epochs=epochs,
            batch_size=8,
            callbacks=callbacks,
            initial_epoch=epoch,
            initial_batch=batch,
            verbose=0,
        )
    return model, selection, history


def state(model, selection):
    arrays = [v.numpy() for v in [*model.variables, *model.optimizer.variables]]
    return [
        *arrays,
        *(
            np.asarray(v)
            for k, v in sorted(selection.get_state().items())
            if not k.endswith("seconds")
        ),
    ]


def same(a, b):
    return len(a) == len(b) and all(
        np.array_equal(x, y, equal_nan=x.dtype.kind == "f") for x, y in zip(a, b, strict=True)
    )


def kill():
    raise Killed


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    model, selection, history = session(tmp_path_factory.mktemp("whole") / "state.npz")
    assert len(selection.history[-1].index) > 0
    return state(model, selection), history.history["loss"]


@pytest.mark.parametrize("place", [(0, 3), (1, 4), (3, 9), (5, 2)])
def test_a_killed_run_ends_bit_identical(place, tmp_path, undisturbed):
    with pytest.raises(Killed):
        session(tmp_path / "state.npz", At(*place, kill))
    model, selection, history = session(tmp_path / "state.npz")
    assert same(state(model, selection), undisturbed[0])
    assert history.history["loss"] == undisturbed[1][-len(history.history["loss"]) :]


def test_killed_in_selection_and_again_at_once(tmp_path, undisturbed, monkeypatch):
    select = Selection.select

    def dying(self, epoch):
        found = select(self, epoch)
        if epoch == 4:
            raise Killed
        return found

    monkeypatch.setattr(Selection, "select", dying)
    for _ in range(2):
        with pytest.raises(Killed):
            session(tmp_path / "state.npz")
    monkeypatch.undo()
    model, selection, _ = session(tmp_path / "state.npz")
    assert same(state(model, selection), undisturbed[0])


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_finishes_the_batch_and_loses_nothing(name, code, tmp_path, undisturbed):
    number = getattr(checkpoint.signal, name)
    with pytest.raises(Stopped) as stopped:
        session(tmp_path / "state.npz", At(2, 4, lambda: os.kill(os.getpid(), number)))
    assert stopped.value.code == code
    with np.load(tmp_path / "state.npz") as file:
        assert file["position"].tolist() == [2, 5]
    with pytest.raises(
        Killed
    ):  # killed again before the half epoch is over: it goes on from the same place
        session(tmp_path / "state.npz", At(2, 2, kill))
    model, selection, history = session(tmp_path / "state.npz")
    assert same(state(model, selection), undisturbed[0])
    assert history.history["loss"] == undisturbed[1][2:]  # the metrics of the split epoch too


def test_a_signal_in_the_last_batch_saves_the_whole_epoch(tmp_path):
    with pytest.raises(Stopped):
        session(
            tmp_path / "state.npz", At(0, 9, lambda: os.kill(os.getpid(), checkpoint.signal.SIGINT))
        )
    with np.load(tmp_path / "state.npz") as file:
        assert file["position"].tolist() == [1, 0]


@pytest.mark.slow
def test_two_replicas_resume_bit_identical(tmp_path, two_replicas):
    whole = state(*session(tmp_path / "whole.npz", epochs=3, strategy=two_replicas)[:2])
    with pytest.raises(Stopped):
        stop = At(1, 3, lambda: os.kill(os.getpid(), checkpoint.signal.SIGTERM))
        session(tmp_path / "state.npz", stop, epochs=3, strategy=two_replicas)
    assert same(state(*session(tmp_path / "state.npz", epochs=3, strategy=two_replicas)[:2]), whole)


def test_a_finished_state_trains_nothing_more(tmp_path):
    model, selection, _ = session(tmp_path / "state.npz", epochs=2)
    again, other, history = session(tmp_path / "state.npz", epochs=2)
    assert same(state(model, selection), state(again, other))


@pytest.mark.parametrize("cut", [0, 10, 1000, -10])
def test_a_torn_state_is_refused_with_the_cure(cut, tmp_path):
    path = tmp_path / "state.npz"
    session(path, epochs=1)
    content = path.read_bytes()
    path.write_bytes(content[:cut])
    with pytest.raises(ValueError, match=r"damaged.*: delete .*state.npz to start this run again"):
        session(path, epochs=1)
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 255
    path.write_bytes(flipped)
    with pytest.raises(ValueError, match="damaged"):
        session(path, epochs=1)


def test_any_changed_byte_is_noticed_or_changes_nothing(tmp_path):
    path = tmp_path / "state.npz"
    saver = Checkpoint(path, {}, {"recipe": "a"})
    saver.set_model(small_model())
    saver.save(1)
    content, whole = path.read_bytes(), saver.file.read()
    for place in np.random.default_rng(0).choice(len(content), 400, replace=False):
        changed = bytearray(content)
        changed[place] ^= 1 << (place % 8)
        path.write_bytes(changed)
        try:
            found = saver.file.read()
        except ValueError as error:
            assert str(path) in str(error)
        else:
            assert found.keys() == whole.keys() and all(
                np.array_equal(found[k], v) for k, v in whole.items()
            ), place


def test_a_state_of_another_run_or_version_is_refused_with_the_cure(tmp_path, monkeypatch):
    path = tmp_path / "state.npz"
    session(path, epochs=1)
    with pytest.raises(
        ValueError, match=r'its recipe is "a", this run\'s is "b".*or delete .*state.npz to start'
    ):
        session(path, epochs=1, header={"recipe": "b"})
    monkeypatch.setattr(checkpoint, "VERSION", 99)
    with pytest.raises(ValueError, match="another release .*its version is 3, this run's is 99"):
        session(path, epochs=1)


def small(path, monitors=(), epochs=3, spy=None, one_hot=False, model=None, x=X, y=Y, restore=True):
    """A cheaper session, with Keras's own callbacks. Returns (model, history)."""
    keras.utils.set_random_seed(5)
    pool = Pool(x[:40], np.eye(4)[y[:40]] if one_hot else y[:40], x[40:80], [2, 3])
    selection = Selection(pool, Context(1.2), every=1, on_round=None)
    if model is None:
        model = small_model()
        if one_hot:
            model.compile(
                "sgd", "categorical_crossentropy", metrics=["accuracy"], jit_compile=False
            )
    saver = Checkpoint(path, {"selection": selection})
    epoch, batch = saver.restore(model) if restore else (0, 0)
    with saver.signals():
        called = [saver, *monitors, *([spy] if spy else [])]  # fit moves it to the end
        history = fit(
            model,
            selection,
            epochs=epochs,
            batch_size=8,
            callbacks=called,
            initial_epoch=epoch,
            initial_batch=batch,
            verbose=0,
        )
    return model, history


def stop(path, *monitors, **options):
    """A `small` session that SIGTERM ends after three batches of its second epoch."""
    with pytest.raises(Stopped):
        small(
            path,
            monitors,
            spy=At(1, 2, lambda: os.kill(os.getpid(), checkpoint.signal.SIGTERM)),
            **options,
        )


def halfway(path):
    """(model, selection, Checkpoint) of such a session, not yet restored."""
    stop(path)
    selection = Selection(
        Pool(X[:40], Y[:40], X[40:80], [2, 3]), Context(1.2), every=1, on_round=None
    )
    return small_model(), selection, Checkpoint(path, {"selection": selection})


def test_one_hot_labels_go_on_from_mid_epoch(tmp_path):
    whole, history = small(tmp_path / "whole.npz", one_hot=True)
    stop(tmp_path / "state.npz", one_hot=True)
    again, rest = small(tmp_path / "state.npz", one_hot=True)
    assert same([v.numpy() for v in whole.variables], [v.numpy() for v in again.variables])
    assert {k: v[1:] for k, v in history.history.items()} == rest.history  # accuracy too


class Unbuilt(keras.Model):
    def __init__(self):
        super().__init__()
        self.flat, self.classes = (
            keras.layers.Flatten(),
            keras.layers.Dense(4, activation="softmax"),
        )

    def call(self, x):
        return self.classes(self.flat(keras.ops.cast(x, "float32") / 255))


def unbuilt():
    keras.utils.set_random_seed(5)
    model = Unbuilt()
    model.compile(
        keras.optimizers.SGD(0.1, 0.9),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        jit_compile=False,
    )
    return model


def test_a_model_that_was_never_called_goes_on(tmp_path):
    whole, _ = small(tmp_path / "whole.npz", model=unbuilt())
    with pytest.raises(Killed):
        small(tmp_path / "state.npz", spy=At(2, 1, kill), model=unbuilt())
    again, rest = small(tmp_path / "state.npz", model=unbuilt())
    assert (
        same([v.numpy() for v in whole.variables], [v.numpy() for v in again.variables])
        and len(rest.epoch) == 1
    )
    with pytest.raises(
        ValueError,
        match=r"the model is not compiled: call model.compile\(optimizer, loss\) before restore",
    ):
        Checkpoint(tmp_path / "state.npz", {}).restore(Unbuilt())
    with pytest.raises(ValueError, match=r"no weights yet.*call it on one batch before restore"):
        Checkpoint(tmp_path / "state.npz", {}).restore(unbuilt())


@pytest.mark.parametrize("change", ["fewer", "labels", "pixels"])
def test_a_state_of_other_data_is_refused(change, tmp_path):
    path = tmp_path / "state.npz"
    small(path, epochs=1)
    x, y = (
        (X[:79], Y)
        if change == "fewer"
        else (X, np.roll(Y, 1))
        if change == "labels"
        else (X[::-1], Y)
    )
    what = {
        "fewer": r"it has \[40, 40\] and this pool \[40, 39\]",
        "labels": "other labels",
        "pixels": "other images",
    }[change]
    with pytest.raises(ValueError, match=f"of another run .*{what}.*delete"):
        small(path, x=x, y=y)


def monitors(folder):
    return [
        keras.callbacks.ModelCheckpoint(
            folder / "best.weights.h5",
            "loss",
            save_best_only=True,
            save_weights_only=True,
            mode="max",
        ),
        keras.callbacks.EarlyStopping(
            "loss", mode="max", patience=4, restore_best_weights=True
        ),  # the loss falls: only epoch 1 is best
        keras.callbacks.ReduceLROnPlateau(
            "loss", mode="max", patience=2, factor=0.5, cooldown=1, min_delta=1e9
        ),
    ]


def test_what_keras_s_callbacks_remember_is_kept(tmp_path):
    """The best epoch is the first one: a run that goes on without knowing it would overwrite it, and stop later."""
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    whole, history = small(tmp_path / "whole.npz", monitors(tmp_path / "whole"), epochs=20)
    assert len(history.epoch) == 5
    with pytest.raises(Killed):
        small(tmp_path / "state.npz", monitors(tmp_path / "parts"), epochs=20, spy=At(3, 1, kill))
    again, rest = small(tmp_path / "state.npz", monitors(tmp_path / "parts"), epochs=20)
    assert (
        rest.epoch == [3, 4]
        and rest.history["learning_rate"] == history.history["learning_rate"][3:]
    )
    assert same(
        [v.numpy() for v in whole.variables], [v.numpy() for v in again.variables]
    )  # of the best epoch
    models = [small_model(), small_model()]
    for model, name in zip(models, ("whole", "parts"), strict=True):
        model.load_weights(tmp_path / name / "best.weights.h5")
    assert same([v.numpy() for v in models[0].weights], [v.numpy() for v in models[1].weights])
    stopped, nothing = small(
        tmp_path / "state.npz", monitors(tmp_path / "parts"), epochs=20
    )  # what was stopped stays so
    assert nothing.epoch == [] and nothing.history == {}
    assert same(
        [v.numpy() for v in whole.variables], [v.numpy() for v in stopped.variables]
    )  # of the best epoch again


def test_a_finished_run_ends_with_its_best_weights_again(tmp_path):
    def best():
        options = {"mode": "max", "patience": 9, "restore_best_weights": True}
        return [keras.callbacks.EarlyStopping("loss", **options)]

    once, _ = small(tmp_path / "state.npz", best())
    again, history = small(tmp_path / "state.npz", best())
    plain, _ = small(tmp_path / "state.npz")
    assert (
        history.epoch == []
        and same(once.get_weights(), again.get_weights())
        and not same(once.get_weights(), plain.get_weights())
    )
    longer, history = small(
        tmp_path / "state.npz", best(), epochs=4
    )  # goes on from the last epoch's, not from the best
    whole, _ = small(tmp_path / "whole.npz", best(), epochs=4)
    assert history.epoch == [3] and same(longer.get_weights(), whole.get_weights())


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    path = tmp_path / "state.npz"

    class Diverge(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                self.model.layers[-1].bias.assign(np.full(4, np.nan))

    said = pytest.warns(UserWarning, match="after 3 epochs are not finite and not saved")
    with said, pytest.raises(ValueError, match="diverged"):
        session(path, Diverge(), epochs=6)
    model, _, history = session(path, epochs=3)
    assert history.epoch == [2] and all(np.isfinite(w).all() for w in model.get_weights())


def resuming(path, epochs=6, spy=(), **options):
    """One process's worth of a run by fit's argument. Returns (model, selection, history)."""
    keras.utils.set_random_seed(5)
    pool = Pool(X[:80], Y[:80], X[80:], [2, 3])
    selection = Selection(pool, SelectNet(1.0, 0.5, epochs=3), every=2, on_round=None)
    model = small_model(norm=True, dropout=0.3)
    given = {"batch_size": 8, "verbose": 0, "callbacks": spy, "checkpoint": path, **options}
    return model, selection, fit(model, selection, epochs=epochs, **given)


def test_a_run_resumes_by_one_argument(tmp_path, undisturbed, capsys):
    path = tmp_path / "state.npz"
    with pytest.raises(Stopped):
        resuming(path, spy=At(2, 3, lambda: os.kill(os.getpid(), checkpoint.signal.SIGTERM)))
    assert resuming(path, epochs=4)[2].epoch == [2, 3]
    model, selection, history = resuming(path, verbose=2)  # a few more
    assert history.epoch == [4, 5] and "resumes after 4 of 6 epochs" in capsys.readouterr().out
    assert same(state(model, selection), undisturbed[0])
    assert resuming(path)[2].epoch == []


def test_fine_tuning_in_two_phases_resumes_in_each(tmp_path):
    def script(folder, spy=()):
        model, selection, first = resuming(folder / "frozen.npz", 2)
        hidden = next(layer for layer in model.layers if isinstance(layer, keras.layers.Dense))
        hidden.trainable = False
        model.compile("adam", "sparse_categorical_crossentropy", jit_compile=False)
        options = {"batch_size": 8, "verbose": 0, "initial_epoch": 2, "callbacks": spy}
        options["checkpoint"] = folder / "whole.npz"
        second = fit(model, selection, epochs=5, **options)
        return state(model, selection), first.epoch, second.epoch

    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    whole, *epochs = script(tmp_path / "a")
    assert epochs == [[0, 1], [2, 3, 4]]
    with pytest.raises(Killed):
        script(tmp_path / "b", [At(4, 1, kill)])
    again, *epochs = script(tmp_path / "b")
    assert epochs == [[], [4]] and same(whole, again)


def test_a_run_that_was_not_restored_is_not_overwritten(tmp_path):
    path = tmp_path / "state.npz"
    small(path, epochs=1)
    before = path.read_bytes()
    with pytest.raises(
        ValueError,
        match=r"state.npz holds a run that this one would overwrite: call restore\(model\) before fit",
    ):
        small(path, epochs=1, restore=False)
    assert path.read_bytes() == before


def test_a_state_that_was_put_back_is_gone_on_from_where_it_was_saved(tmp_path):
    pool = Pool(X[:40], Y[:40], X[40:80], [2, 3])
    selection, model = Selection(pool, Context(1.2), every=1, on_round=None), small_model()
    saver = Checkpoint(tmp_path / "state.npz", {"selection": selection})

    def go(saver, **place):
        return fit(
            model, selection, epochs=3, batch_size=8, callbacks=[saver], verbose=0, **place
        ).epoch

    assert saver.restore(model) == (0, 0) and go(saver) == [0, 1, 2]
    before = (tmp_path / "state.npz").read_bytes()
    other = Checkpoint(tmp_path / "state.npz", {"selection": selection})
    assert other.restore(model) == (3, 0)
    for each in (saver, other):
        for place in ({}, {"initial_epoch": 2}, {"initial_epoch": 3, "initial_batch": 1}):
            with pytest.raises(
                ValueError,
                match="state.npz continues elsewhere .*: give fit initial_epoch=3, initial_batch=0, as restore",
            ):
                go(each, **place)
        assert go(each, initial_epoch=3) == [] and (tmp_path / "state.npz").read_bytes() == before


def test_without_a_state_file_a_checkpoint_forgets_what_it_had_put_back(tmp_path):
    path = tmp_path / "state.npz"
    pool = Pool(X[:40], Y[:40], X[40:80], [2, 3])
    selection, model = Selection(pool, Context(1.2), every=1, on_round=None), small_model()

    def go(saver, *others):
        epoch, batch = saver.restore(model)
        with saver.signals():
            called = [*others, saver]
            return fit(
                model,
                selection,
                epochs=4,
                batch_size=8,
                callbacks=called,
                initial_epoch=epoch,
                initial_batch=batch,
                verbose=0,
            ).epoch

    early = lambda: keras.callbacks.EarlyStopping("loss", mode="max", patience=1)  # noqa: E731
    assert go(Checkpoint(path, {"selection": selection}), early()) == [0, 1]
    saver = Checkpoint(path, {"selection": selection})
    assert go(saver, early()) == [] and saver.stopped
    path.unlink()
    with pytest.raises(Stopped):
        go(saver, At(1, 2, lambda: os.kill(os.getpid(), checkpoint.signal.SIGTERM)))
    assert saver.restore(model) == (1, 3) and saver.position == (1, 3) and not saver.stopped
    path.unlink()
    assert go(saver) == [0, 1, 2, 3]  # neither from mid-epoch, nor ended by the signal of before


def test_a_signal_after_the_last_epoch_stops_the_script(tmp_path):
    """It was forgotten, and the script went on."""

    class AtTheEnd(keras.callbacks.Callback):
        def on_train_end(self, logs=None):
            os.kill(os.getpid(), checkpoint.signal.SIGINT)

    with pytest.raises(Stopped) as stopped:
        small(tmp_path / "state.npz", spy=AtTheEnd(), epochs=1)
    assert stopped.value.code == 130 and small(tmp_path / "state.npz", epochs=1)[1].epoch == []


def test_where_there_is_no_state_fit_begins_at_the_first_epoch(tmp_path):
    model = small_model()
    selection = Selection(Pool(X[:16], Y[:16], X[16:], [2, 3]), every=1)
    saver = Checkpoint(tmp_path / "state.npz", {"selection": selection})
    assert saver.position is None and saver.restore(model) == (0, 0) == saver.position
    with pytest.raises(ValueError, match="give fit initial_epoch=0, initial_batch=0, as restore"):
        fit(model, selection, epochs=4, batch_size=8, callbacks=[saver], initial_epoch=2, verbose=0)


def test_a_schedule_that_goes_by_the_last_rate_is_not_taken_twice(tmp_path):
    """A run stopped in mid-epoch went on at half the rate."""
    halve = lambda: keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)  # noqa: E731
    whole = small(tmp_path / "whole.npz", (halve(),))[1].history["learning_rate"]
    stop(tmp_path / "state.npz", halve())
    rest = small(tmp_path / "state.npz", (halve(),))[1]
    assert rest.epoch == [1, 2] and rest.history["learning_rate"] == whole[1:] == pytest.approx(
        [0.025, 0.0125]
    )


class FromTheEpoch(keras.callbacks.Callback):
    """A rate that follows from the epoch, and another one before it."""

    def on_train_begin(self, logs=None):
        self.model.optimizer.learning_rate.assign(0.5)

    def on_epoch_begin(self, epoch, logs=None):
        self.model.optimizer.learning_rate.assign(0.1 * 0.5**epoch)

    def on_epoch_end(self, epoch, logs=None):
        logs["rate"] = float(self.model.optimizer.learning_rate)


def test_a_rate_that_follows_from_the_epoch_stays(tmp_path):
    stop(tmp_path / "state.npz", FromTheEpoch())
    assert small(tmp_path / "state.npz", (FromTheEpoch(),))[1].history["rate"] == pytest.approx(
        [0.05, 0.025]
    )


def test_a_rate_that_was_changed_after_the_restore_stays(tmp_path):
    model, selection, saver = halfway(tmp_path / "state.npz")
    epoch, batch = saver.restore(model)
    model.optimizer.learning_rate.assign(0.001)
    fit(
        model,
        selection,
        epochs=3,
        batch_size=8,
        callbacks=[saver],
        initial_epoch=epoch,
        initial_batch=batch,
        verbose=0,
    )
    assert float(model.optimizer.learning_rate) == pytest.approx(0.001)


def test_a_stop_that_was_dealt_with_stops_once(tmp_path):
    saver = Checkpoint(tmp_path / "state.npz", {})
    with saver.signals():
        os.kill(os.getpid(), checkpoint.signal.SIGINT)
        with pytest.raises(Stopped):
            saver.heed_signal()
    assert saver.heed_signal() is None


class OwnStep(keras.Model):
    """As in Keras's guide to custom training steps."""

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(
                keras.losses.sparse_categorical_crossentropy(y, self(x, training=True))
            )
        self.optimizer.apply_gradients(
            zip(
                tape.gradient(loss, self.trainable_variables), self.trainable_variables, strict=True
            )
        )
        return {"loss": loss}


def own_step():
    keras.utils.set_random_seed(5)
    inner = small_model()
    model = OwnStep(inner.inputs, inner.outputs)
    model.compile(keras.optimizers.SGD(0.1), jit_compile=False)
    return model


def test_a_model_of_its_own_step_and_no_loss_goes_on_from_mid_epoch(tmp_path):
    whole = small(tmp_path / "whole.npz", model=own_step())[0]
    stop(tmp_path / "state.npz", model=own_step())
    again, rest = small(tmp_path / "state.npz", model=own_step())
    assert rest.epoch == [1, 2] and same(
        [v.numpy() for v in whole.variables], [v.numpy() for v in again.variables]
    )


class Noise(keras.layers.Layer):
    """Random when it predicts, too."""

    def __init__(self):
        super().__init__()
        self.seeds = keras.random.SeedGenerator(1)

    def call(self, x):
        return x + 0.1 * keras.random.normal(keras.ops.shape(x), seed=self.seeds)


def noisy():
    keras.utils.set_random_seed(5)
    images = keras.Input((4, 4, 1), dtype="uint8")
    x = Noise()(keras.layers.Rescaling(1 / 255)(images))
    model = keras.Model(
        images, keras.layers.Dense(4, activation="softmax")(keras.layers.Flatten()(x))
    )
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"], jit_compile=False)
    return model


def test_what_is_tried_before_the_first_epoch_draws_nothing_from_the_run(tmp_path):
    whole = small(tmp_path / "whole.npz", model=noisy())[0]
    small(tmp_path / "state.npz", model=noisy(), epochs=1)
    stop(tmp_path / "state.npz", model=noisy())
    again = small(tmp_path / "state.npz", model=noisy())[0]
    assert same([v.numpy() for v in whole.variables], [v.numpy() for v in again.variables])


def test_weights_of_16_bits_are_kept(tmp_path):
    keras.config.set_dtype_policy("bfloat16")
    try:
        whole = small(tmp_path / "whole.npz", epochs=2)[0]
        early = keras.callbacks.EarlyStopping("loss", restore_best_weights=True)
        small(tmp_path / "state.npz", (early,), epochs=1)
        again = small(
            tmp_path / "state.npz", (keras.callbacks.EarlyStopping("loss", patience=9),), epochs=2
        )[0]
    finally:
        keras.config.set_dtype_policy("float32")
    kept = [
        [keras.ops.convert_to_numpy(v).astype(np.float32) for v in model.variables]
        for model in (whole, again)
    ]
    assert {v.dtype for v in again.trainable_variables} == {"bfloat16"} and same(*kept)


def test_a_half_epoch_goes_on_with_its_own_batches(tmp_path):
    model, selection, saver = halfway(tmp_path / "state.npz")
    assert saver.restore(model) == (1, 3) and saver.batch_size == 8
    with pytest.raises(
        ValueError,
        match="is of a half epoch of batches of 8: use batch_size=8, at least to the end of the epoch",
    ):
        fit(
            model,
            selection,
            epochs=3,
            batch_size=4,
            callbacks=[saver],
            initial_epoch=1,
            initial_batch=3,
            verbose=0,
        )


def test_a_state_of_another_rule_is_refused(tmp_path):
    for inputs in ("probs+loss", "probs"):
        pool, model = Pool(X[:40], Y[:40], X[40:80], [2, 3]), small_model()
        selection = Selection(pool, SelectNet(inputs=inputs), every=1, on_round=None)
        saver = Checkpoint(tmp_path / "state.npz", {"selection": selection})
        if inputs == "probs":
            with pytest.raises(
                ValueError,
                match=r"of another run \(its selector's inputs are probs\+loss, this run's probs\): use the same",
            ):
                saver.restore(model)
        else:
            saver.restore(model)
            fit(model, selection, epochs=1, batch_size=8, callbacks=[saver], verbose=0)


def test_a_state_may_have_any_name(tmp_path):
    small(tmp_path / "state", epochs=1)
    assert [p.name for p in tmp_path.iterdir()] == ["state"]
    assert small(tmp_path / "state", epochs=1)[1].epoch == []


def test_a_state_that_may_not_be_read_is_not_called_damaged(tmp_path, monkeypatch):
    path = tmp_path / "state.npz"
    path.write_bytes(b"")

    def refuse(*_):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(PermissionError):
        Checkpoint(path, {}).restore(small_model())


def test_several_steps_an_execution_finish_the_epoch(tmp_path):
    model, seen = small_model(), []
    model.compile(
        "sgd", "sparse_categorical_crossentropy", steps_per_execution=2, jit_compile=False
    )
    spy = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(batch) or os.kill(os.getpid(), 15)
    )
    with pytest.raises(Stopped):
        small(tmp_path / "state.npz", spy=spy, model=model)
    with np.load(tmp_path / "state.npz") as file:
        assert file["position"].tolist() == [1, 0] and len(seen) > 1


def test_other_metrics_for_a_half_epoch_are_named(tmp_path):
    with pytest.raises(Stopped):
        small(
            tmp_path / "state.npz",
            spy=At(0, 2, lambda: os.kill(os.getpid(), checkpoint.signal.SIGTERM)),
        )
    model = keras.Sequential(small_model().layers)
    model.compile(
        keras.optimizers.SGD(0.1, 0.9), "sparse_categorical_crossentropy", jit_compile=False
    )
    with pytest.raises(ValueError, match="other metrics: compile the model with the same ones"):
        small(tmp_path / "state.npz", model=model)


def test_the_field_in_which_headers_differ_is_named():
    mine, theirs = (
        {"recipe": {"seed": 1, "lr": 0.1}, "replicas": 1},
        {"recipe": {"seed": 2, "lr": 0.1}, "replicas": 1},
    )
    assert checkpoint._first_difference("", theirs, mine) == "its recipe seed is 2, this run's is 1"
    assert checkpoint._first_difference("", mine, mine) == ""


@pytest.mark.parametrize(
    ("parts", "header", "words"),
    [
        ({}, {"version": "1.2"}, "header has a 'version', which is the state file's own"),
        (
            {},
            {"lr": np.float32(0.1)},
            r"header can't be JSON \(Object of type float32 .*such as float\(x\)",
        ),
        ({}, {"lr": float("nan")}, "its lr is NaN, this run's is NaN"),
        (
            {"model": None},
            {},
            "a part is called 'model', but has to have no / and none of the reserved names model, optimizer",
        ),
        ({"callbacks": None}, {}, "rename it"),
        ({"a/b": None}, {}, "rename it"),
    ],
)
def test_what_could_never_be_read_back_is_refused_at_once(parts, header, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        Checkpoint(tmp_path / "state.npz", parts, header)


class Remembering:
    """A rule whose state is no array before its first round."""

    last = None

    def __call__(self, scores):
        return scores.candidate

    def get_state(self):
        return {"last": self.last}

    def set_state(self, state):
        self.last = state["last"]


def test_a_state_that_is_no_array_is_refused_before_the_first_epoch(tmp_path):
    selection = Selection(
        Pool(X[:40], Y[:40], X[40:80], [2, 3]), Remembering(), every=1, on_round=None
    )
    saver, seen = Checkpoint(tmp_path / "state.npz", {"selection": selection}), []
    spy = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: seen.append(epoch))
    with pytest.raises(
        ValueError,
        match="part 'selection' returns 'rule_last' as a NoneType: get_state has to return arrays of numbers or texts",
    ):
        fit(small_model(), selection, epochs=1, batch_size=8, callbacks=[saver, spy], verbose=0)
    assert seen == [] and not list(tmp_path.iterdir())


def test_a_state_s_folder_is_made_before_the_first_epoch(tmp_path):
    small(tmp_path / "a" / "b" / "state.npz", epochs=1)
    assert small(tmp_path / "a" / "b" / "state.npz", epochs=1)[1].epoch == []
    (tmp_path / "file").touch()
    seen = []
    with pytest.raises(OSError, match="file"):
        small(
            tmp_path / "file" / "state.npz",
            epochs=1,
            spy=keras.callbacks.LambdaCallback(on_epoch_begin=lambda *_: seen.append(1)),
        )
    assert seen == []


def test_another_network_s_state_is_refused(tmp_path):
    path = tmp_path / "state.npz"
    saver = Checkpoint(path, {}, {})
    saver.set_model(small_model())
    saver.save(1)
    with pytest.raises(ValueError, match="another model"):
        Checkpoint(path, {}, {}).restore(small_model(norm=True))


def test_a_full_disk_leaves_the_last_state(tmp_path, monkeypatch):
    path = tmp_path / "state.npz"
    session(path, epochs=1)
    before = path.read_bytes()

    def full(file, **arrays):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="No space left"):
        session(path, epochs=2)
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["state.npz"]
