"""A training that was killed or stopped anywhere goes on to the same bits: by fit, as a run, by command."""

import contextlib
import os
import re
import resource
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import (
    QUICK,
    At,
    Killed,
    blobs,
    dies,
    read_bits,
    selectnet,
    small_model,
    train_small,
)

import selectnet_tf as sn
from selectnet_tf.checkpoint import Checkpoint, Stopped
from selectnet_tf.runs import log, store
from selectnet_tf.selection import Selection

X, Y = blobs(200)


def kill():
    raise Killed


def stop(number=signal.SIGTERM):
    os.kill(os.getpid(), number)


def session(path, *callbacks, parts="selectnet", epochs=6, strategy=None, **options):
    """One process's worth of a training by fit. Returns (model, selection, history)."""
    keras.utils.set_random_seed(5)
    with strategy.scope() if strategy else contextlib.nullcontext():
        model = small_model(norm=True, dropout=0.3)
    rule, labeled = sn.SelectNet(1.0, 0.5, epochs=3), np.arange(80)
    if parts == "robust":
        labeled = labeled[np.isin(Y[:80], [0, 1]) | (labeled < 16)]
        rule, options["adjust"] = sn.Capped(sn.Context(1.2), alpha=0.5, least=5), sn.AlignMinors()
        model.compile(
            model.optimizer, sn.PriorCrossentropy(), metrics=["accuracy"], jit_compile=False
        )
    pool = sn.Pool(X[labeled], Y[labeled], X[80:], [2, 3])
    selection = Selection(pool, rule, every=2, on_round=None, **options)
    given = {"batch_size": 8, "verbose": 0, "callbacks": callbacks, "checkpoint": path}
    return model, selection, sn.fit(model, selection, epochs=epochs, **given)


def values(model):
    return [keras.ops.convert_to_numpy(v).astype(np.float32) for v in model.variables]


def state(model, selection, _):
    found = [v.numpy() for v in [*model.variables, *model.optimizer.variables]]
    kept = sorted(selection.get_state().items())
    return [*found, *(np.asarray(v) for k, v in kept if not k.endswith("seconds"))]


def same(a, b):
    return len(a) == len(b) and all(
        np.array_equal(x, y, equal_nan=x.dtype.kind == "f") for x, y in zip(a, b, strict=True)
    )


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """{parts: (final state, losses)} of trainings that nothing disturbed."""
    found = {}
    for parts in ("selectnet", "robust"):
        whole = session(tmp_path_factory.mktemp("whole") / "state.npz", parts=parts)
        assert len(whole[1].history[-1].index) > 0
        found[parts] = state(*whole), whole[2].history["loss"]
    return found


@pytest.mark.parametrize(
    ("parts", "place"),
    [
        ("selectnet", (0, 3)),
        ("selectnet", (3, 9)),
        ("selectnet", (5, 2)),
        ("robust", (1, 2)),
        ("robust", (5, 3)),
    ],
)
def test_a_killed_training_ends_bit_identical(parts, place, tmp_path, undisturbed):
    with pytest.raises(Killed):
        session(tmp_path / "state.npz", At(*place, kill), parts=parts)
    again = session(tmp_path / "state.npz", parts=parts)
    expected, losses = undisturbed[parts]
    assert same(state(*again), expected)
    assert again[2].history["loss"] == losses[place[0] :]


def test_killed_in_selection_and_again_at_once(tmp_path, undisturbed, monkeypatch):
    with monkeypatch.context() as patch:
        dies(patch, Selection, "select", 4)
        for _ in range(2):
            with pytest.raises(Killed):
                session(tmp_path / "state.npz")
    assert same(state(*session(tmp_path / "state.npz")), undisturbed["selectnet"][0])


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_finishes_the_batch_and_loses_nothing(number, code, tmp_path, undisturbed):
    path = tmp_path / "state.npz"
    with pytest.raises(Stopped) as stopped:
        session(path, At(2, 4, lambda: stop(number)))
    assert stopped.value.code == code
    with np.load(path) as file:
        assert file["position"].tolist() == [2, 5]
    with pytest.raises(Killed):  # before the half epoch is over: it goes on from the same place
        session(path, At(2, 2, kill))
    again = session(path)
    assert same(state(*again), undisturbed["selectnet"][0])
    assert again[2].history["loss"] == undisturbed["selectnet"][1][2:]  # the split epoch's, too


def test_more_epochs_go_on_from_a_finished_training(tmp_path, undisturbed):
    path = tmp_path / "state.npz"
    assert session(path, epochs=4)[2].epoch == [0, 1, 2, 3]
    again = session(path)
    assert again[2].epoch == [4, 5] and same(state(*again), undisturbed["selectnet"][0])
    assert session(path)[2].epoch == []


@pytest.mark.slow
def test_two_replicas_resume_bit_identical(tmp_path, two_replicas):
    options = {"epochs": 3, "strategy": two_replicas}
    whole = state(*session(tmp_path / "whole.npz", **options))
    with pytest.raises(Stopped):
        session(tmp_path / "state.npz", At(1, 3, stop), **options)
    assert same(state(*session(tmp_path / "state.npz", **options)), whole)


def test_fine_tuning_in_two_phases_resumes_in_each(tmp_path):
    def script(folder, *callbacks):
        model, selection, first = session(folder / "frozen.npz", epochs=2)
        hidden = next(layer for layer in model.layers if isinstance(layer, keras.layers.Dense))
        hidden.trainable = False
        model.compile("adam", "sparse_categorical_crossentropy", jit_compile=False)
        options = {"batch_size": 8, "verbose": 0, "initial_epoch": 2, "callbacks": callbacks}
        options["checkpoint"] = folder / "whole.npz"
        second = sn.fit(model, selection, epochs=5, **options)
        return state(model, selection, second), first.epoch, second.epoch

    for name in "ab":
        (tmp_path / name).mkdir()
    whole, *epochs = script(tmp_path / "a")
    assert epochs == [[0, 1], [2, 3, 4]]
    with pytest.raises(Killed):
        script(tmp_path / "b", At(4, 1, kill))
    again, *epochs = script(tmp_path / "b")
    assert epochs == [[], [4]] and same(whole, again)


def small(path, *callbacks, model=small_model, epochs=3):
    """A cheaper session. Returns (model, history)."""
    keras.utils.set_random_seed(5)
    made = model()
    labels = np.eye(4)[Y[:40]] if model is one_hot else Y[:40]
    pool = sn.Pool(X[:40], labels, X[40:80], [2, 3])
    selection = Selection(pool, sn.Context(1.2), every=1, on_round=None)
    given = {"batch_size": 8, "verbose": 0, "callbacks": callbacks, "checkpoint": path}
    return made, sn.fit(made, selection, epochs=epochs, **given)


def one_hot():
    model = small_model()
    model.compile("sgd", "categorical_crossentropy", metrics=["accuracy"], jit_compile=False)
    return model


class Unbuilt(keras.Model):
    """As a user's own, whose weights there are after its first call."""

    def __init__(self):
        super().__init__()
        self.classes = keras.layers.Dense(4, activation="softmax")
        loss = "sparse_categorical_crossentropy"
        self.compile("sgd", loss, metrics=["accuracy"], jit_compile=False)

    def call(self, x):
        return self.classes(keras.ops.reshape(keras.ops.cast(x, "float32") / 255, (-1, 16)))


class OwnStep(keras.Model):
    """As in Keras's guide to custom training steps."""

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            loss = keras.losses.sparse_categorical_crossentropy(y, self(x, training=True))
            loss = tf.reduce_mean(loss)
        weights = self.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return {"loss": loss}


def own_step():
    inner = small_model()
    model = OwnStep(inner.inputs, inner.outputs)
    model.compile(keras.optimizers.SGD(0.1), jit_compile=False)
    return model


class Noise(keras.layers.Layer):
    """Random when it predicts, too: what fit tries before the first epoch may draw nothing."""

    def __init__(self):
        super().__init__()
        self.seeds = keras.random.SeedGenerator(1)

    def call(self, x):
        return x + 0.1 * keras.random.normal(keras.ops.shape(x), seed=self.seeds)


def noisy():
    images = keras.Input((4, 4, 1), dtype="uint8")
    x = keras.layers.Flatten()(Noise()(keras.layers.Rescaling(1 / 255)(images)))
    model = keras.Model(images, keras.layers.Dense(4, activation="softmax")(x))
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"], jit_compile=False)
    return model


def bfloat16():
    keras.config.set_dtype_policy("bfloat16")
    try:
        return small_model()
    finally:
        keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize("model", [one_hot, Unbuilt, own_step, noisy, bfloat16])
def test_a_model_of_any_kind_goes_on_from_mid_epoch(model, tmp_path):
    whole, history = small(tmp_path / "whole.npz", model=model)
    with pytest.raises(Stopped):
        small(tmp_path / "state.npz", At(1, 2, stop), model=model)
    again, rest = small(tmp_path / "state.npz", model=model)
    assert rest.epoch == [1, 2] and same(values(whole), values(again))
    assert {name: of_epoch[1:] for name, of_epoch in history.history.items()} == rest.history


def monitors(folder):
    """Callbacks to which the first epoch is the best one: the loss falls, and they want it high."""
    folder.mkdir(exist_ok=True)
    saved = {"save_best_only": True, "save_weights_only": True}
    plateau = {"patience": 2, "factor": 0.5, "cooldown": 1, "min_delta": 1e9}
    return [
        keras.callbacks.ModelCheckpoint(folder / "best.weights.h5", "loss", mode="max", **saved),
        keras.callbacks.EarlyStopping("loss", mode="max", patience=4, restore_best_weights=True),
        keras.callbacks.ReduceLROnPlateau("loss", mode="max", **plateau),
    ]


def test_what_keras_s_callbacks_remember_is_kept(tmp_path):
    """A run that goes on without knowing the best epoch would overwrite it, and stop later."""
    path = tmp_path / "state.npz"
    whole, history = small(tmp_path / "whole.npz", *monitors(tmp_path / "whole"), epochs=20)
    assert len(history.epoch) == 5
    with pytest.raises(Killed):
        small(path, *monitors(tmp_path / "parts"), At(3, 1, kill), epochs=20)
    again, rest = small(path, *monitors(tmp_path / "parts"), epochs=20)
    rates = history.history["learning_rate"]
    assert rest.epoch == [3, 4] and rest.history["learning_rate"] == rates[3:]
    assert same(values(whole), values(again))  # of the best epoch
    models = [small_model(), small_model()]
    for model, name in zip(models, ("whole", "parts"), strict=True):
        model.load_weights(tmp_path / name / "best.weights.h5")
    assert same(*map(values, models))
    stopped, nothing = small(path, *monitors(tmp_path / "parts"), epochs=20)
    assert nothing.epoch == [] and nothing.history == {}  # what was stopped stays so
    assert same(values(whole), values(stopped))  # of the best epoch again


def test_a_finished_run_ends_with_its_best_weights_again(tmp_path):
    def best():
        options = {"mode": "max", "patience": 9, "restore_best_weights": True}
        return keras.callbacks.EarlyStopping("loss", **options)

    path = tmp_path / "state.npz"
    once, _ = small(path, best(), model=bfloat16)
    again, history = small(path, best(), model=bfloat16)
    plain, _ = small(path, model=bfloat16)
    assert history.epoch == [] and same(values(once), values(again))
    assert not same(values(once), values(plain))
    longer, history = small(path, best(), model=bfloat16, epochs=4)
    whole, _ = small(tmp_path / "whole.npz", best(), model=bfloat16, epochs=4)
    assert history.epoch == [3]  # goes on from the last epoch's weights, not from the best ones
    assert same(values(longer), values(whole))


class FromTheEpoch(keras.callbacks.Callback):
    """A rate that follows from the epoch, and another one before it."""

    def on_train_begin(self, logs=None):
        self.model.optimizer.learning_rate.assign(0.5)

    def on_epoch_begin(self, epoch, logs=None):
        self.model.optimizer.learning_rate.assign(0.1 * 0.5**epoch)

    def on_epoch_end(self, epoch, logs=None):
        logs["learning_rate"] = float(self.model.optimizer.learning_rate)


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        (lambda: keras.callbacks.LearningRateScheduler(lambda _, rate: rate / 2), [0.025, 0.0125]),
        (FromTheEpoch, [0.05, 0.025]),
    ],
    ids=["from the last rate", "from the epoch"],
)
def test_a_half_epoch_goes_on_at_its_own_rate(schedule, rates, tmp_path):
    """A schedule that goes by the last rate was taken twice."""
    with pytest.raises(Stopped):
        small(tmp_path / "state.npz", schedule(), At(1, 2, stop))
    rest = small(tmp_path / "state.npz", schedule())[1]
    assert rest.epoch == [1, 2] and rest.history["learning_rate"] == pytest.approx(rates)


@pytest.mark.parametrize(
    ("owner", "name", "when"),
    [
        (Selection, "select", 2),
        pytest.param(Selection, "on_epoch_begin", 2, marks=pytest.mark.slow),
        pytest.param(log.Log, "on_epoch_end", 1, marks=pytest.mark.slow),
        pytest.param(Checkpoint, "save", 4, marks=pytest.mark.slow),
        (store, "write_row", None),
    ],
    ids=["in selection", "in an epoch", "before the state", "after the last epoch", "before the row"],
)  # fmt: skip
def test_a_resumed_run_leaves_the_same_files(
    owner, name, when, tmp_path, monkeypatch, finished, tiny_cifar
):
    whole = read_bits(finished())
    with monkeypatch.context() as patch:
        if when:
            dies(patch, owner, name, when)
        else:
            patch.setattr(owner, name, lambda *_: kill())
        with pytest.raises(Killed):
            train_small(tmp_path)
    assert not (tmp_path / "runs.csv").exists()
    train_small(tmp_path)
    assert read_bits(tmp_path) == whole


ROBUST = {"preset": "robust", "align": 0.5, "cap": 1 / 3, "max_per_class": 20}


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"augment": "none", **ROBUST},
        {"precision": "mixed_float16"},
        {"precision": "mixed_bfloat16", "arch": "resnet8"},
    ],
    ids=["robust", "float16", "bfloat16"],
)
def test_a_resumed_run_of_other_settings_leaves_the_same_files(
    options, tmp_path, monkeypatch, tiny_cifar
):
    options = {"method": "context", **options}
    row = train_small(tmp_path / "whole", **options)
    with monkeypatch.context() as patch:
        dies(patch, Checkpoint, "save", 3)
        with pytest.raises(Killed):
            train_small(tmp_path / "killed", **options)
    train_small(tmp_path / "killed", **options)
    whole = read_bits(tmp_path / "whole")
    assert whole == read_bits(tmp_path / "killed")
    if "precision" not in options:
        assert len(whole["selected.npz/index"]) > 0
    else:
        path = tmp_path / "whole" / "runs" / row["name"] / "model.keras"
        model, half = keras.saving.load_model(path, compile=False), options["precision"]
        assert model.layers[2].compute_dtype == half.removeprefix("mixed_")
        assert model.output.dtype == "float32"


def begin(results):
    """`selectnet train QUICK` in a process of its own. Returns (the words after selectnet, the process)."""
    words = ["train", *QUICK, f"--results_dir={results}"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return words, subprocess.Popen([sys.executable, "-m", "selectnet_tf", *words], **pipes)


def wait_for(results, name, seconds=120):
    end = time.time() + seconds
    while not any(path.stat().st_size for path in results.glob(f"runs/*/{name}")):
        assert time.time() < end
        time.sleep(0.05)


@pytest.mark.slow
def test_a_command_killed_for_real_and_resumed(tmp_path, quick_bits):
    """kill -9 after the first epoch; meanwhile a second process is refused."""
    command, first = begin(tmp_path)
    wait_for(tmp_path, ".lock")  # until it has written who it is
    first.send_signal(signal.SIGSTOP)  # it shall not be finished before the second has started
    second = selectnet(*command)
    first.send_signal(signal.SIGCONT)
    assert second.returncode == 1 and f"process {first.pid} on" in second.stderr
    wait_for(tmp_path, "state.npz")
    first.send_signal(signal.SIGKILL)
    assert first.wait() == -9 and "tensorflow" not in first.stderr.read().lower()
    resumed = selectnet(*command)
    assert resumed.returncode == 0 and "resuming after epoch" in resumed.stdout
    assert read_bits(tmp_path) == quick_bits


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_stopped_command_says_what_is_saved_and_resumes(number, code, tmp_path, quick_bits):
    command, first = begin(tmp_path)
    wait_for(tmp_path, "state.npz")
    first.send_signal(number)
    said = first.communicate(timeout=60)[1]
    assert first.returncode == code
    words = r"error: stopped: epoch [1-9]\d* of 16( and \d+ batches)? saved; run the same command to resume\n"
    assert re.fullmatch(words, said)
    assert selectnet(*command).returncode == 0 and read_bits(tmp_path) == quick_bits


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 64])
def test_a_full_disk_is_one_line_and_then_the_command_resumes(size, tmp_path, quick_bits):
    """No file may grow beyond so many KiB."""
    command = ["train", *QUICK, f"--results_dir={tmp_path}"]
    limits = (size << 10, size << 10)
    found = selectnet(
        *command, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    )
    assert found.returncode == 1
    assert found.stderr.startswith("error: ") and found.stderr.count("\n") == 1
    assert selectnet(*command).returncode == 0 and read_bits(tmp_path) == quick_bits
