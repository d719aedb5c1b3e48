import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import Traced, blobs, small_model

from selectnet_tf.loop import fit
from selectnet_tf.models.losses import PriorCrossentropy
from selectnet_tf.pool import Pool
from selectnet_tf.rules import Context
from selectnet_tf.selection import Selection

X, Y = blobs(240)


def make(rule=None, every=1, unlabeled=160, **options):
    keras.utils.set_random_seed(0)
    pool = Pool(X[: 240 - unlabeled], Y[: 240 - unlabeled], X[240 - unlabeled :], [2, 3])
    return Selection(pool, rule, every=every, on_round=None, **{"init": "none"} | options)


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
    assert steps.hooks == ["begin", "end"]
    assert history.epoch == [0, 1, 2, 3, 4]
    assert len(history.history["loss"]) == 5


def test_train_step_is_traced_once_for_the_whole_run():
    inner = small_model()
    model = Traced(inner.inputs[0], inner.outputs[0])
    model.compile("sgd", "sparse_categorical_crossentropy", jit_compile=False)
    Traced.traces = 0
    selection = make(Context(1.2))
    fit(model, selection, epochs=6, batch_size=8, verbose=0)
    sizes = {len(round.index) for round in selection.history}
    assert Traced.traces == 1 and len(selection.history) == 6 and len(sizes) > 1


def test_users_callbacks_see_the_selection_of_their_epoch():
    seen = []
    selection = make(Context(), every=2)
    spy = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append(len(selection.history))
    )
    fit(small_model(), selection, epochs=4, batch_size=8, callbacks=[spy], verbose=0)
    assert seen == [0, 1, 1, 2] and [round.epoch for round in selection.history] == [2, 4]


def test_progress_bar_counts_the_whole_run(capsys):
    fit(small_model(), make(every=1), epochs=3, batch_size=8, verbose=2)
    screen = capsys.readouterr().out
    assert [f"Epoch {i}/3" in screen for i in (1, 2, 3)] == [True] * 3


@pytest.mark.parametrize(("batch", "words"), [(9, "use 8 or 10"), (1, "use 2")])
def test_a_batch_that_replicas_cannot_share_is_refused(batch, words, two_replicas):
    with two_replicas.scope():
        model = small_model()
    with pytest.raises(ValueError, match=words):
        fit(model, make(), epochs=1, batch_size=batch)


class Inside(keras.layers.Layer):
    """A layer that hides its BatchNormalization."""

    def __init__(self):
        super().__init__()
        self.norm = keras.layers.BatchNormalization(momentum=0.5)

    def call(self, x, training=None):
        return self.norm(x, training=training)


def test_a_normalization_inside_a_custom_layer_is_synchronized(two_replicas):
    with two_replicas.scope():
        model = keras.Sequential(
            [
                keras.Input((4, 4, 1)),
                keras.layers.Flatten(),
                Inside(),
                keras.layers.Dense(4, "softmax"),
            ]
        )
        model.compile("sgd", "sparse_categorical_crossentropy", jit_compile=False)
    fit(model, make(), epochs=1, batch_size=8, verbose=0)
    for variable in model.variables:
        copies = [v.numpy() for v in two_replicas.experimental_local_results(variable.value)]
        assert np.array_equal(copies[0], copies[1]), variable.path
    assert not model.layers[1].norm.synchronized


def one_hot():
    return Selection(Pool(X[:80], np.eye(4)[Y[:80]], X[80:], [2, 3]), Context(), every=1)


def binary(rule=None, y=Y % 2):
    return Selection(Pool(X[:80], y[:80], X[80:], [1]), rule or Context(9.0), every=1)


def other(loss="sparse_categorical_crossentropy", units=4, activation="softmax", scale=1.0):
    model = keras.Sequential(
        [
            keras.Input((4, 4, 1)),
            keras.layers.Rescaling(scale),
            keras.layers.Flatten(),
            keras.layers.Dense(units, activation),
        ]
    )
    model.compile("sgd", loss, jit_compile=False)
    return model


def nested(loss):
    inner, images = other(units=1, activation="sigmoid"), keras.Input((4, 4, 1))
    model = keras.Model(images, inner(images))
    model.compile("sgd", loss, jit_compile=False)
    return model


def weighted():
    return Selection(
        Pool(X[:80], Y[:80], X[80:], [2, 3], sample_weight=np.ones(80)), Context(), every=1
    )


HALVES = {"class_weight": dict.fromkeys(range(4), 0.5)}
NOISY = keras.losses.CategoricalGeneralizedCrossEntropy()
LOGITS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
LOGITS_OF_ONE_HOT = keras.losses.CategoricalCrossentropy(from_logits=True)
ONE_HOT_LOSS = keras.losses.CategoricalCrossentropy(name="mine")
SIGMOID = keras.losses.BinaryCrossentropy(from_logits=True)


@pytest.mark.parametrize(
    ("model", "selection", "arguments", "words"),
    [
        (small_model, make, {"steps_per_epoch": 3}, "takes no steps_per_epoch: data and steps are the pool's"),
        (small_model, make, {"batch_size": 0}, "batch_size is 0"),
        (small_model, make, {"epochs": 2.5}, "epochs is 2.5, but has to be a whole number from 0"),
        (small_model, make, {"batch_size": 8.0}, "batch_size is 8.0, but has to be a whole number"),
        (small_model, make, {"initial_epoch": -1}, "initial_epoch is -1"),
        (small_model, make, {"initial_batch": 10}, "initial_batch is 10, but the epoch has 10 batches"),
        (small_model, lambda: make(Context(), init="balanced"), {"batch_size": 81}, "80 training images don't fill one batch"),
        (small_model, make, {"callbacks": [keras.callbacks.CSVLogger]}, "is no callback of Keras: make one of a class"),
        (small_model, make, {"augment": lambda x, seed: x // 255}, "it has to keep the range"),
        (small_model, lambda: Selection, {}, "has to be a Selection, as in"),
        (lambda: keras.Model, make, {}, "the model is a class Model"),
        (lambda: keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten()]), make, {}, "the model is not compiled"),
        (lambda: tf.Module(), make, {}, "Module, but has to be a keras.Model of Keras 3: import keras, not tf_keras"),
        (lambda: other(scale=np.inf), lambda: make(Context()), {}, "not finite before training: scale its inputs"),
        # labels that the loss does not take
        (small_model, one_hot, {}, "labels are one-hot, and sparse_categorical_crossentropy wants integer classes"),
        (lambda: other("categorical_crossentropy"), make, {}, "use sparse_categorical_crossentropy"),
        (lambda: other(ONE_HOT_LOSS), make, {}, "use sparse_categorical_crossentropy"),
        (lambda: other([keras.losses.categorical_crossentropy]), make, {}, "use sparse_categorical_crossentropy"),
        (lambda: other(PriorCrossentropy), make, {}, r"the loss is the class PriorCrossentropy: make an instance"),
        (lambda: other("MeanSquaredError"), make, {}, "mean_squared_error wants one-hot ones: give one-hot labels to the Pool"),
        (lambda: other(NOISY), one_hot, {}, "one-hot, and categorical_generalized_cross_entropy wants integer classes"),
        # outputs that are no probabilities of the classes
        (lambda: other(units=3), make, {}, r"output is \[3\], .* end it in Dense\(4, activation='softmax'\)"),
        (lambda: other(units=1), lambda: make(Context()), {}, "wants an output for each class"),
        (lambda: other("binary_crossentropy", 1, "sigmoid"), one_hot, {}, "labels are one-hot, and the model has one output"),
        (lambda: other("binary_crossentropy", 1, None), binary, {}, "output is from .*, no probability: end it in a sigmoid"),
        (lambda: other(SIGMOID, 1, "sigmoid"), binary, {}, "already returns probabilities"),
        (lambda: nested(SIGMOID), binary, {}, "already returns probabilities"),
        (lambda: other(activation=None), make, {}, "no probabilities .*from_logits=True"),
        (lambda: other([PriorCrossentropy()], activation=None), make, {}, "no probabilities .*from_logits=True"),
        (lambda: other("binary_crossentropy", activation="sigmoid"), one_hot, {}, "no probabilities"),
        (lambda: other(LOGITS), make, {}, "already returns probabilities: leave out from_logits=True, in the loss"),
        (small_model, lambda: make(Context(), from_logits=True), {}, "already returns probabilities: leave out from_logits=True"),
        # class weights beside other weights
        (small_model, lambda: make(Context(), loss_norm="separate"), HALVES, r"multiply it into Pool\(sample_weight=\)"),
        (small_model, lambda: make(lambda s: s.probs.max(1)), HALVES, "class_weight is given beside sample weights"),
        (small_model, weighted, HALVES, "class_weight is given beside sample weights"),
        # rules that return neither a mask nor weights
        (small_model, lambda: make(lambda s: np.flatnonzero(s.loss < 9)), {}, r"the rule returned int64 .* np.isin\(np.arange\(240\)"),
        (small_model, lambda: make(lambda s: (s.loss < 9)[:-1]), {}, r"bool \[239\], but has to return a mask, bool \[240\]"),
        (small_model, lambda: make(lambda s: None), {}, "the rule returned object"),
        (small_model, lambda: make(lambda s: s.loss * 100), {}, "weights from .* but they have to be from 0 to 1"),
        (small_model, lambda: make(lambda s: s.loss * np.nan), {}, "weights from nan to nan"),
    ],
)  # fmt: skip
def test_what_can_be_known_is_said_before_the_first_epoch(model, selection, arguments, words):
    steps = Steps()
    with pytest.raises(ValueError, match=words):
        fit(
            model(),
            selection(),
            **{"epochs": 2, "batch_size": 8, "callbacks": [steps], "verbose": 0} | arguments,
        )
    assert steps.epochs == []


def test_logits_of_a_model_that_has_learned_nothing_are_logits():
    model = other(LOGITS, activation=None)
    model.layers[-1].kernel.assign(np.zeros((16, 4)))
    fit(model, make(Context()), epochs=1, batch_size=8, verbose=0)


def test_logits_of_one_unit_may_look_like_probabilities():
    model = other(SIGMOID, 1, None)
    model.layers[-1].kernel.assign(np.full((16, 1), 1e-4))
    assert 0 < model.predict(X, verbose=0).min() < model.predict(X, verbose=0).max() < 1
    fit(model, binary(), epochs=1, batch_size=8, verbose=0)


def sparse_categorical_crossentropy(y, logits):
    """Of a user, and called as Keras's."""
    return keras.ops.mean(logits**2, -1)


@pytest.mark.parametrize(
    ("loss", "activation"), [(sparse_categorical_crossentropy, None), ("mse", "sigmoid"), ([LOGITS_OF_ONE_HOT], None)]
)  # fmt: skip
def test_without_a_rule_the_output_may_be_what_the_loss_wants(loss, activation):
    selection = Selection(Pool(X[:80], np.eye(4)[Y[:80]], X[80:], [2, 3]), every=1)
    model = other(loss, activation=activation)
    assert fit(model, selection, epochs=1, batch_size=8, verbose=0).epoch == [0]


@pytest.mark.parametrize("shape", [dict, list])
def test_one_output_in_a_dict_or_a_list_is_one(shape):
    inner = other()
    output = {"classes": inner.outputs[0]} if shape is dict else [inner.outputs[0]]
    model = keras.Model(inner.inputs[0], output)
    model.compile("sgd", "sparse_categorical_crossentropy", jit_compile=False)
    selection = make(Context())
    fit(model, selection, epochs=1, batch_size=8, verbose=0)
    assert selection.history[0].candidates > 0


class OneUnit(keras.Model):
    def __init__(self, activation):
        super().__init__()
        self.flat, self.unit = keras.layers.Flatten(), keras.layers.Dense(1, activation)

    def call(self, x):
        return self.unit(self.flat(keras.ops.cast(x, "float32") / 255))


@pytest.mark.parametrize(
    "loss", [NOISY, keras.losses.SparseCategoricalCrossentropy, "crossentropy"]
)
def test_a_loss_may_be_for_noisy_labels_a_class_or_the_one_that_fits(loss):
    model = other(loss, scale=1 / 255)
    history = fit(model, make(Context()), epochs=2, batch_size=8, verbose=0)
    assert np.isfinite(history.history["loss"]).all() and len(history.epoch) == 2


@pytest.mark.parametrize(
    ("kind", "subclassed", "logits"),
    [(bool, False, False), (int, True, True), (float, False, True)],
)
def test_one_sigmoid_unit_is_two_classes(kind, subclassed, logits):
    activation = None if logits else "sigmoid"
    model = OneUnit(activation) if subclassed else other(units=1, activation=activation)
    loss = keras.losses.BinaryCrossentropy(from_logits=logits)
    model.compile("sgd", loss, metrics=["accuracy"], jit_compile=False)
    selection = binary(y=(Y % 2).astype(kind))
    fit(model, selection, epochs=1, batch_size=8, verbose=0)
    scores = selection.score()
    output = model.predict(X, verbose=0)
    second = 1 / (1 + np.exp(-output)) if logits else output
    np.testing.assert_allclose(scores.probs, np.hstack([1 - second, second]), atol=1e-6)
    assert np.array_equal(scores.candidate, second[:, 0] > 0.5)


def test_a_model_of_a_fixed_batch_is_scored_and_trained_in_it():
    layers = [keras.layers.Flatten(), keras.layers.Dense(4, "softmax")]
    layers.insert(0, keras.layers.Lambda(lambda x: keras.ops.reshape(x, (32, 4, 4, 1))))
    model = keras.Sequential([keras.Input(batch_shape=(32, 4, 4, 1)), *layers])
    model.compile("sgd", "sparse_categorical_crossentropy", jit_compile=False)
    selection = make(Context(9.0))
    fit(model, selection, epochs=1, batch_size=32, verbose=0)
    assert selection.score().probs.shape == (240, 4)


def test_weights_of_a_rule_are_there_from_the_first_epoch():
    batches = []

    class Unpacking(keras.Sequential):
        def train_step(self, data):
            batches.append(len(data))
            return super().train_step(data)

    model = Unpacking(small_model().layers)
    model.compile("sgd", "sparse_categorical_crossentropy", jit_compile=False)
    fit(model, make(lambda scores: scores.probs[:, 2], every=2), epochs=4, batch_size=8, verbose=0)
    assert batches == [3]  # traced once


def test_class_weights_and_a_mask_go_together():
    plain, halved = (
        fit(small_model(), make(Context()), epochs=2, batch_size=8, verbose=0, **more).history["loss"][0] for more in ({}, HALVES)
    )  # fmt: skip
    assert halved < 0.7 * plain


def test_no_callbacks_one_callback_and_no_report_are_fine():
    selection = make(Context(1.2))
    fit(small_model(), selection, epochs=1, batch_size=8, callbacks=None, verbose=0)
    steps = Steps()
    fit(small_model(), selection, epochs=1, batch_size=8, callbacks=steps, verbose=0)
    assert steps.epochs == [10] and len(selection.history) == 1


def test_a_run_that_ends_before_its_first_selection_is_a_warning():
    with pytest.warns(UserWarning, match="epochs is 1 and every is 10, so nothing is selected"):
        fit(small_model(), make(Context(), every=10), epochs=1, batch_size=8, verbose=0)


def test_a_run_that_a_callback_ends_before_it_trains_on_picks_is_a_warning():
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == self.last

    for last, wanted in ((0, True), (1, True), (2, False)):
        stop, selection = Stop(), make(Context(9.0), every=2)
        stop.last = last
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            fit(small_model(), selection, epochs=8, batch_size=8, callbacks=[stop], verbose=0)
        assert any("before any selected" in str(w.message) for w in said) == wanted


def test_with_a_state_file_a_warning_comes_once_and_names_the_user_s_line(tmp_path):
    layers = [keras.layers.Reshape((4, 4)), keras.layers.LSTM(2, stateful=True)]
    model = keras.Sequential([keras.Input(batch_shape=(8, 4, 4, 1)), *layers])
    model.add(keras.layers.Dense(4, "softmax"))
    model.compile("sgd", "sparse_categorical_crossentropy", jit_compile=False)
    options = {"batch_size": 8, "verbose": 0, "checkpoint": tmp_path / "state.npz"}
    with pytest.warns(UserWarning) as said:
        fit(model, make(Context(), every=2), epochs=1, **options)
    ours = [w for w in said if w.category is UserWarning]
    assert [str(w.message).split()[0] for w in ours] == ["layer", "epochs"]
    assert {w.filename for w in ours} == {__file__}


schedules = keras.optimizers.schedules


class InverseRoot(schedules.LearningRateSchedule):
    def __call__(self, step):
        return 0.1 * keras.ops.minimum(step**-0.5, step * 10**-1.5)


@pytest.mark.parametrize(  # 20 steps on D, 60 on D and U
    ("schedule", "rule", "wanted"),
    [
        (schedules.CosineDecay(0.1, 22), True, True),
        (schedules.PiecewiseConstantDecay([10, 15], [0.1, 0.01, 0.001]), True, True),
        (schedules.PiecewiseConstantDecay([30, 45], [0.1, 0.01, 0.001]), True, False),
        (schedules.CosineDecay(0.0, 10, warmup_target=0.1, warmup_steps=50), True, False),
        (schedules.ExponentialDecay(0.1, 1000, 0.96), True, False),
        (schedules.InverseTimeDecay(0.1, 1, 2e-4), True, False),
        (schedules.CosineDecay(0.1, 20), False, False),
        (InverseRoot(), True, False),
        (0.1, True, False),
    ],
)
def test_a_schedule_that_ends_before_the_run_is_a_warning(schedule, rule, wanted):
    model = small_model()
    model.compile(keras.optimizers.SGD(schedule), "sparse_categorical_crossentropy")
    selection = make(Context(9.0) if rule else None, every=2)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        fit(model, selection, epochs=2, batch_size=8, verbose=0)
    found = [str(w.message) for w in said if "schedule" in str(w.message)]
    assert bool(found) == wanted
    assert all("20 steps" in text and "up to 60" in text for text in found)


def test_nan_in_an_image_is_a_warning_before_the_first_epoch():
    """A ReLU may turn NaN into 0, and then nothing else would tell."""
    x = X.astype(np.float32)
    x[200, 0, 0] = np.nan
    selection = Selection(Pool(x[:80], Y[:80], x[80:], [2, 3]), None, every=1)
    words = r"image 200 of the pool \(labeled images come first\) holds NaN"
    with pytest.warns(UserWarning, match=words):
        fit(other(), selection, epochs=0, batch_size=8, verbose=0)


def test_plain_model_fit_is_refused():
    selection = make(Context())
    for data in ((X[:80], Y[:80]), (selection.pool.dataset(8),)):
        words = r"would never train on the added images: call sn.fit\(model, selection"
        with pytest.raises(ValueError, match=words):
            small_model().fit(*data, epochs=2, callbacks=[selection], verbose=0)
    options = {"callbacks": [selection], "epochs": 1, "batch_size": 8, "verbose": 0}
    with pytest.raises(ValueError, match="would never train"):
        fit(small_model(), make(), **options)  # beside the one that is driven


def test_weights_of_the_picks_are_those_of_the_loss():
    """A mean over D and the picks, each pick's loss times its weight."""
    found = []
    for weight in (1.0, 0.25):
        selection = make(lambda scores, w=weight: np.full(240, w, np.float32), init="none")
        model = other()
        model.layers[-1].kernel.assign(np.zeros((16, 4)))
        model.layers[-1].bias.assign([0, 0, 3, 0])  # everything is predicted as class 2
        selection.set_model(model)
        round = selection.select(1)
        assert round.weight.tolist() == [weight] * 240 and len(round.index) == 240
        selection.pool.begin_epoch(0)
        losses = [
            float(model.test_on_batch(x, y, sample_weight=w))
            for x, y, w in selection.pool.dataset(320)
        ]
        x, y = selection.pool.images[selection.pool.index], selection.pool.targets
        each = -np.log(np.clip(model.predict(x, verbose=0)[np.arange(320), y], 1e-7, 1))
        assert losses[0] == pytest.approx(
            (each[:80].sum() + weight * each[80:].sum()) / 320, rel=1e-4
        )
        found.append(losses[0])
    assert found[0] > found[1] > 0


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
