"""State files: what is saved when, and which are refused. test_exact_resume.py proves that runs go on exactly."""

import os
import signal

import keras
import numpy as np
import pytest
from conftest import At, blobs, small_model

from selectnet_tf import checkpoint
from selectnet_tf.checkpoint import Checkpoint, Stopped
from selectnet_tf.loop import fit
from selectnet_tf.pool import Pool
from selectnet_tf.rules import Context, SelectNet
from selectnet_tf.selection import Selection

X, Y = blobs(80)


def stop(number=signal.SIGTERM):
    os.kill(os.getpid(), number)


def make(path, rule=None, every=1):
    """(model, selection, Checkpoint), not restored."""
    keras.utils.set_random_seed(5)
    pool = Pool(X[:40], Y[:40], X[40:], [2, 3])
    selection = Selection(pool, rule or Context(1.2), every=every, on_round=None)
    return small_model(), selection, Checkpoint(path, {"selection": selection})


def go(parts, *callbacks, epochs=3, batch_size=8, **place):
    """Trains a `make`, at a place or from where it restores to."""
    model, selection, saver = parts
    if not place:
        place = dict(zip(("initial_epoch", "initial_batch"), saver.restore(model), strict=True))
    options = {"epochs": epochs, "batch_size": batch_size, "verbose": 0, **place}
    with saver.signals():
        return fit(model, selection, callbacks=[saver, *callbacks], **options)


def position(path):
    with np.load(path) as file:
        return file["position"].tolist()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state.npz"


@pytest.fixture
def halfway(path):
    """A `make` whose state file is of three batches of the second epoch."""
    with pytest.raises(Stopped):
        go(make(path), At(1, 2, stop))
    return make(path)


@pytest.fixture
def saved(path):
    """The Checkpoint of a state file that was written without a training."""
    saver = Checkpoint(path, {}, {"recipe": "a"})
    saver.set_model(small_model())
    saver.save(1)
    return saver


def test_a_signal_in_the_last_batch_saves_the_whole_epoch(path):
    with pytest.raises(Stopped):
        go(make(path), At(0, 4, lambda: stop(signal.SIGINT)))
    assert position(path) == [1, 0]


def test_a_signal_after_the_last_epoch_stops_the_script(path):
    """It was forgotten, and the script went on."""
    spy = keras.callbacks.LambdaCallback(on_train_end=lambda logs: stop(signal.SIGINT))
    with pytest.raises(Stopped) as stopped:
        go(make(path), spy, epochs=1)
    assert stopped.value.code == 130 and go(make(path), epochs=1).epoch == []


def test_a_stop_that_was_dealt_with_stops_once(path):
    saver = Checkpoint(path, {})
    with saver.signals():
        stop(signal.SIGINT)
        with pytest.raises(Stopped):
            saver.heed_signal()
    assert saver.heed_signal() is None


def test_several_steps_an_execution_finish_the_epoch(path):
    model, *others = make(path)
    loss = "sparse_categorical_crossentropy"
    model.compile("sgd", loss, steps_per_execution=2, jit_compile=False)
    seen = []
    spy = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(batch) or stop()
    )
    with pytest.raises(Stopped):
        go((model, *others), spy)
    assert position(path) == [1, 0] and len(seen) > 1


def test_a_torn_state_is_refused_with_the_cure(saved, path):
    content = path.read_bytes()
    for cut in (0, 10, 1000, -10):
        path.write_bytes(content[:cut])
        with pytest.raises(ValueError, match=r"damaged.*: delete .*state.npz to start this run"):
            saved.restore(small_model())


def test_any_changed_byte_is_noticed_or_changes_nothing(saved, path):
    content, whole = path.read_bytes(), saved.read()
    for place in np.random.default_rng(0).choice(len(content), 400, replace=False):
        changed = bytearray(content)
        changed[place] ^= 1 << (place % 8)
        path.write_bytes(changed)
        try:
            found = saved.read()
        except ValueError as error:
            assert str(path) in str(error) and "\n" not in str(error)
        else:
            assert found.keys() == whole.keys(), place
            assert all(np.array_equal(found[k], v) for k, v in whole.items()), place


def test_a_state_of_another_run_or_version_is_refused_with_the_cure(saved, path, monkeypatch):
    words = r'its recipe is "a", this run\'s is "b".*or delete .*state.npz to start'
    with pytest.raises(ValueError, match=words):
        Checkpoint(path, {}, {"recipe": "b"}).restore(small_model())
    words = f"another release .*its version is {checkpoint.VERSION}, this run's is 99"
    monkeypatch.setattr(checkpoint, "VERSION", 99)
    with pytest.raises(ValueError, match=words):
        saved.restore(small_model())


def test_another_network_s_state_is_refused(saved):
    with pytest.raises(ValueError, match="another model"):
        saved.restore(small_model(norm=True))


def test_another_kind_of_optimizer_is_refused(path):
    model, loss = small_model(), "sparse_categorical_crossentropy"
    saver = Checkpoint(path, {})
    model.compile(keras.optimizers.RMSprop(), loss)
    model.optimizer.build(model.trainable_variables)
    saver.set_model(model)
    saver.save(1)
    model.compile(keras.optimizers.SGD(momentum=0.9), loss)
    words = r"another optimizer \(RMSprop, not SGD\): use the same, or delete .*state.npz to start"
    with pytest.raises(ValueError, match=words):
        saver.restore(model)


def test_a_model_that_is_not_compiled_or_built_is_refused(saved):
    model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(4, "softmax")])
    with pytest.raises(ValueError, match=r"call model.compile\(optimizer, loss\) before restore"):
        saved.restore(model)
    model.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(ValueError, match=r"no weights yet.*call it on one batch before restore"):
        saved.restore(model)


def test_weights_that_are_not_finite_are_not_saved(path):
    def diverging(last):
        parts = make(path, every=2)

        def diverge(epoch, logs):
            if epoch == last:
                parts[0].layers[-1].bias.assign(np.full(4, np.nan))

        with pytest.raises(ValueError, match="diverged"):
            go(parts, keras.callbacks.LambdaCallback(on_epoch_begin=diverge), epochs=6)

    with pytest.warns(UserWarning, match=r"after 1 epochs are .*\(no state\): .* learning rate$"):
        diverging(0)
    words = (
        r"after 3 epochs are not finite .*state.npz keeps .* by keras.callbacks.Learn.*: 1e-4\)$"
    )
    with pytest.warns(UserWarning, match=words):
        diverging(2)
    again = make(path, every=2)
    assert go(again, keras.callbacks.LearningRateScheduler(lambda epoch: 1e-4)).epoch == [2]
    assert all(np.isfinite(w).all() for w in again[0].get_weights())
    assert float(again[0].optimizer.learning_rate) == pytest.approx(1e-4)


def test_a_run_that_was_not_restored_is_not_overwritten(path):
    """Nor is its log."""
    log = path.with_name("log.csv")
    go(make(path), keras.callbacks.CSVLogger(log), epochs=1)
    before = path.read_bytes(), log.read_bytes()
    words = r"holds a run that this one would overwrite: call restore\(model\) before fit"
    with pytest.raises(ValueError, match=words):
        go(make(path), keras.callbacks.CSVLogger(log), initial_epoch=0)
    assert (path.read_bytes(), log.read_bytes()) == before


def test_a_state_that_was_put_back_is_gone_on_from_where_it_was_saved(path):
    first = make(path)
    assert go(first).epoch == [0, 1, 2]
    before = path.read_bytes()
    other = make(path)
    assert other[2].restore(other[0]) == (3, 0)
    words = "continues elsewhere .*: give fit initial_epoch=3, initial_batch=0, as restore"
    for each in (first, other):
        for epoch, batch in ((0, 0), (2, 0), (3, 1)):
            with pytest.raises(ValueError, match=words):
                go(each, initial_epoch=epoch, initial_batch=batch)
        assert go(each, initial_epoch=3).epoch == [] and path.read_bytes() == before


def test_without_a_state_file_a_checkpoint_forgets_what_it_had_put_back(path):
    early = lambda: keras.callbacks.EarlyStopping("loss", mode="max", patience=1)  # noqa: E731
    assert go(make(path), early()).epoch == [0, 1]
    model, _, saver = parts = make(path)
    assert go(parts, early()).epoch == [] and saver.stopped
    path.unlink()
    with pytest.raises(Stopped):
        go(parts, At(1, 2, stop))
    assert saver.restore(model) == (1, 3) == saver.position and not saver.stopped
    path.unlink()
    assert go(parts).epoch == [0, 1, 2]  # neither from mid-epoch, nor ended by the former signal


def test_only_early_stopping_ends_a_run_for_good(path, capsys):
    def run(callback, epochs=3):
        model, selection, _ = make(path)
        selection.rule = None
        options = {"epochs": epochs, "batch_size": 8, "callbacks": [callback]}
        return fit(model, selection, checkpoint=path, **options).epoch

    limit = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: setattr(limit.model, "stop_training", True)
    )
    assert [run(limit), run(limit)] == [[0], [1]]
    assert "resumes after 1 of 3 epochs" in capsys.readouterr().out
    early = keras.callbacks.EarlyStopping("loss", mode="max", patience=1)
    assert run(early, 6) == [2, 3]
    assert run(early, 6) == []
    words = f"{path}: a callback ended this run after 4 of 6 epochs: delete the file to train again"
    assert words in capsys.readouterr().out


def test_a_callback_that_ends_a_run_within_an_epoch_loses_no_batch(path, halfway):
    def run(path, *callbacks):
        parts = make(path)
        go(parts, *callbacks)
        return parts[0]

    where = path.with_name("cut.npz")
    end = At(1, 2, lambda: setattr(end.model, "stop_training", True))
    run(where, end)
    assert position(where) == position(path) == [1, 3]
    whole = run(path.with_name("whole.npz")).get_weights()
    assert all(map(np.array_equal, run(where).get_weights(), whole))


def test_what_a_callback_remembers_is_found_beside_others(path):
    def remembered(*callbacks, epochs):
        best = []
        early = keras.callbacks.EarlyStopping("loss", patience=9)
        spy = keras.callbacks.LambdaCallback(on_epoch_begin=lambda *_: best.append(early.best))
        go(make(path), *callbacks, early, spy, epochs=epochs)
        return best[0], early.best

    saving = keras.callbacks.ModelCheckpoint(path.with_name("best.keras"), "loss")
    first = remembered(epochs=1)[1]
    second = remembered(saving, epochs=2)
    third = remembered(epochs=3)
    assert first == second[0] and second[1] == third[0]


def test_where_there_is_no_state_fit_begins_at_the_first_epoch(path):
    model, _, saver = parts = make(path)
    assert saver.position is None and saver.restore(model) == (0, 0) == saver.position
    with pytest.raises(ValueError, match="give fit initial_epoch=0, initial_batch=0, as restore"):
        go(parts, initial_epoch=2)


def test_a_rate_that_was_changed_after_the_restore_stays(halfway):
    model, _, saver = halfway
    epoch, batch = saver.restore(model)
    model.optimizer.learning_rate.assign(0.001)
    go(halfway, initial_epoch=epoch, initial_batch=batch)
    assert float(model.optimizer.learning_rate) == pytest.approx(0.001)


def test_a_half_epoch_goes_on_with_its_own_batches_and_metrics(halfway):
    with pytest.raises(ValueError, match="is of a half epoch of batches of 8: use batch_size=8"):
        go(halfway, batch_size=4)
    model, others = keras.Sequential(small_model().layers), halfway[1:]
    loss = "sparse_categorical_crossentropy"
    model.compile(keras.optimizers.SGD(0.1, 0.9), loss, jit_compile=False)
    with pytest.raises(ValueError, match="other metrics: compile the model with the same ones"):
        go((model, *others))


def test_a_state_of_another_rule_is_refused(path):
    go(make(path, SelectNet()), epochs=1)
    model, _, saver = make(path, SelectNet(inputs="probs"))
    words = r"\(its selector's inputs are probs\+loss, this run's probs\): use the same"
    with pytest.raises(ValueError, match=words):
        saver.restore(model)


def test_a_state_may_have_any_name_and_its_folder_is_made_before_the_first_epoch(tmp_path):
    path = tmp_path / "a" / "b" / "state"
    go(make(path), epochs=1)
    assert [p.name for p in path.parent.iterdir()] == ["state"]
    assert go(make(path), epochs=1).epoch == []
    (tmp_path / "file").touch()
    seen = []
    spy = keras.callbacks.LambdaCallback(on_epoch_begin=lambda *_: seen.append(1))
    with pytest.raises(OSError, match="file"):
        go(make(tmp_path / "file" / "state.npz"), spy)
    assert seen == []


def test_a_state_that_may_not_be_read_is_not_called_damaged(path, monkeypatch):
    path.write_bytes(b"")

    def refuse(*_):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(PermissionError):
        Checkpoint(path, {}).restore(small_model())


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
        ({}, {"lr": np.float32(0.1)}, r"header can't be JSON \(Object of type float32 .*such as float\(x\)"),
        ({}, {"lr": float("nan")}, r"header can't be JSON \(Out of range float"),
        ({"model": None}, {}, "a part is called 'model', but has to have no / and none of the reserved names"),
        ({"a/b": None}, {}, "rename it"),
    ],
)  # fmt: skip
def test_what_could_never_be_read_back_is_refused_at_once(parts, header, words, path):
    with pytest.raises(ValueError, match=words):
        Checkpoint(path, parts, header)


class Remembering:
    """A rule whose state is no array before its first round."""

    last = None

    def __call__(self, scores):
        return scores.candidate

    def get_state(self):
        return {"last": self.last}

    def set_state(self, state):
        self.last = state["last"]


def test_a_state_that_is_no_array_is_refused_before_the_first_epoch(path):
    seen = []
    spy = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: seen.append(epoch))
    words = "part 'selection' returns 'rule_last' as a NoneType: get_state has to return arrays"
    with pytest.raises(ValueError, match=words):
        go(make(path, Remembering()), spy)
    assert seen == [] and not path.exists()


def test_a_full_disk_leaves_the_last_state(path, monkeypatch):
    go(make(path), epochs=1)
    before = path.read_bytes()

    def full(file, **arrays):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="No space left"):
        go(make(path), epochs=2)
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]
