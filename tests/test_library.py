"""Any compiled Keras model, any usual callback, any rule: the library as a user calls it."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import blobs, small_model
from PIL import Image

import selectnet_tf as sn

X, Y = blobs(120)


class Subclassed(keras.Model):
    def __init__(self, activation):
        super().__init__()
        self.flat, self.hidden = keras.layers.Flatten(), keras.layers.Dense(8, activation="relu")
        self.classes = keras.layers.Dense(4, activation=activation, dtype="float32")

    def call(self, x, training=False):
        return self.classes(self.hidden(self.flat(tf.cast(x, self.compute_dtype) / 255)))


def network(kind, activation="softmax"):
    if kind == "subclassed":
        return Subclassed(activation)
    layers = [
        keras.layers.Rescaling(1 / 255),
        keras.layers.Flatten(),
        keras.layers.Dense(8, activation="relu"),
    ]
    layers.append(keras.layers.Dense(4, activation=activation, dtype="float32"))
    if kind == "sequential":
        return keras.Sequential(layers)
    images = x = keras.Input((4, 4, 1), dtype="uint8")
    for layer in layers:
        x = layer(x)
    return keras.Model(images, x)


def select(model, y=Y, rule=None, callbacks=(), epochs=4, **options):
    pool = sn.Pool(X[:60], y[:60], X[60:], minor=[2, 3])
    selection = sn.Selection(
        pool, rule or sn.Context(1.2), every=2, on_round=lambda _: None, **options
    )
    history = sn.fit(model, selection, epochs=epochs, batch_size=10, callbacks=callbacks, verbose=0)
    return selection, history


@pytest.mark.parametrize(
    ("kind", "labels", "output"),
    [
        ("functional", "sparse", "softmax"),
        ("sequential", "one-hot", "logits"),
        ("subclassed", "sparse", "logits"),
    ],
)
def test_models_labels_and_outputs_of_every_kind(kind, labels, output):
    keras.utils.set_random_seed(0)
    logits = output == "logits"
    loss = (
        keras.losses.SparseCategoricalCrossentropy
        if labels == "sparse"
        else keras.losses.CategoricalCrossentropy
    )(from_logits=logits)
    model = network(kind, "linear" if logits else "softmax")
    model.compile(keras.optimizers.Adam(0.05), loss, metrics=["accuracy"], jit_compile=False)
    inputs = "probs+loss" if kind == "subclassed" else "penultimate+loss"
    rule = sn.SelectNet(1.2, 0.5, inputs=inputs, epochs=5)
    selection, history = select(model, Y if labels == "sparse" else np.eye(4)[Y], rule)
    assert len(selection.history) == 2 and len(history.history["loss"]) == 4
    assert history.history["accuracy"][-1] > 0.5 and selection.history[-1].candidates > 10
    assert np.array_equal(selection.pool.labels[:60], Y[:60])


def test_mixed_precision():
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy("mixed_float16")
    try:
        model = network("functional")
        model.compile(
            keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy", jit_compile=False
        )
        selection, _ = select(model)
    finally:
        keras.mixed_precision.set_dtype_policy(before)
    assert len(selection.history) == 2 and selection.history[0].score.dtype == np.float32


def test_extra_losses_are_trained():
    keras.utils.set_random_seed(0)
    hidden = keras.layers.Dense(8, activation="relu", kernel_regularizer=keras.regularizers.L2(1.0))
    model = keras.Sequential(
        [
            keras.Input((4, 4, 1)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
            hidden,
            keras.layers.Dense(4, "softmax"),
        ]
    )
    model.compile(keras.optimizers.SGD(0.02), "sparse_categorical_crossentropy", jit_compile=False)
    before = float(keras.ops.sum(hidden.kernel**2))
    _, history = select(model, rule=lambda scores: np.zeros(120, bool))
    after = float(keras.ops.sum(hidden.kernel**2))
    assert after < before / 2 and history.history["loss"][0] > after + 1


def test_a_rule_is_any_function_of_scores():
    keras.utils.set_random_seed(0)
    selection, _ = select(small_model(), rule=top_k, epochs=8)
    last = selection.history[-1]
    assert set(last.predicted) <= {2, 3} and len(last.index) > 0
    assert (np.bincount(last.target, minlength=4) <= 3).all()


def top_k(scores, k=3):  # the surest k of each minor class
    rank = np.full(len(scores.loss), np.inf)
    for c in np.unique(scores.probs.argmax(1)[scores.candidate]):
        places = np.flatnonzero(scores.candidate & ~scores.labeled & (scores.probs.argmax(1) == c))
        rank[places[scores.loss[places].argsort()]] = np.arange(len(places))
    return rank < k


def test_usual_callbacks_see_one_run(tmp_path):
    callbacks = {
        "early": keras.callbacks.EarlyStopping("loss", patience=3),
        "best": keras.callbacks.ModelCheckpoint(
            tmp_path / "best.keras", "loss", save_best_only=True
        ),
        "board": keras.callbacks.TensorBoard(tmp_path / "board"),
        "plateau": keras.callbacks.ReduceLROnPlateau("loss", patience=1, min_delta=1e9),
        "csv": keras.callbacks.CSVLogger(tmp_path / "log.csv"),
    }
    model = small_model()
    _, history = select(model, callbacks=list(callbacks.values()), epochs=6)
    lines = (tmp_path / "log.csv").read_text().splitlines()
    assert len(lines) == 1 + 6 == 1 + len(history.history["loss"])
    # reduced after every epoch but the first
    assert float(model.optimizer.learning_rate) < 0.1 * 1e-4
    assert keras.saving.load_model(tmp_path / "best.keras").output_shape == (None, 4)
    assert len(list((tmp_path / "board" / "train").iterdir())) == 1
    assert callbacks["early"].stopped_epoch == 0


def test_a_pool_of_datasets_takes_no_label_of_the_unlabeled():
    labeled = tf.data.Dataset.from_tensor_slices((X[:60], np.eye(4)[Y[:60]]))
    unlabeled = tf.data.Dataset.from_tensor_slices((X[60:], Y[60:]))
    pool = sn.Pool.from_dataset(labeled.batch(7), unlabeled.batch(7), minor=[2, 3])
    assert np.array_equal(pool.images[:], X) and pool.one_hot == 4
    assert np.array_equal(pool.labels, np.where(np.arange(120) < 60, Y, -1))


SERIES, ROWS, TOKENS = (
    np.arange(8 * 5 * 3, dtype=np.float32).reshape(8, 5, 3), np.arange(8 * 3, dtype=np.float64).reshape(8, 3), np.arange(24).reshape(8, 3),
)  # fmt: skip
CLASSES = np.array([0, 1, 2, 0, 1])


@pytest.mark.parametrize("batch", [None, 2])
def test_a_dataset_s_weights_are_the_pool_s(batch):
    """They were left out without a word."""
    weights = np.array([1, 50, 1, 50, 1], np.float32)
    labeled = tf.data.Dataset.from_tensor_slices((ROWS[:5], CLASSES, weights))
    pool = sn.Pool.from_dataset(labeled.batch(batch) if batch else labeled, ALONE, minor=[2])
    assert pool.sample_weight.tolist() == [1, 50, 1, 50, 1, 1, 1, 1]
    assert pool.weights.tolist() == weights.tolist()


@pytest.mark.parametrize(
    "x",
    [SERIES, ROWS, TOKENS, SERIES[..., 0]],
    ids=["series", "rows", "tokens", "as many values as classes"],
)
@pytest.mark.parametrize(
    "y",
    [CLASSES, CLASSES[:, None], np.eye(3)[CLASSES], np.eye(5, dtype=np.float32)[[0, 1, 2, 0, 1]]],
)
@pytest.mark.parametrize("batch", [None, {"batch_size": 5, "drop_remainder": True}])
def test_a_pool_of_datasets_of_anything(x, y, batch):
    labeled, unlabeled = (
        tf.data.Dataset.from_tensor_slices((x[:5], y)),
        tf.data.Dataset.from_tensor_slices(x[5:]),
    )
    if batch:
        labeled, unlabeled = labeled.batch(**batch), unlabeled.batch(2)
    pool = sn.Pool.from_dataset(labeled, unlabeled, minor=[2])
    assert np.array_equal(pool.images[:], x) and pool.images.dtype == x.dtype
    assert pool.labels.tolist() == [0, 1, 2, 0, 1, -1, -1, -1]


PAIRS, ALONE = (
    tf.data.Dataset.from_tensor_slices((ROWS[:5], CLASSES)),
    tf.data.Dataset.from_tensor_slices(ROWS[5:]),
)


@pytest.mark.parametrize(
    ("labeled", "unlabeled", "words"),
    [
        (PAIRS.repeat(), ALONE, "labeled never ends"),
        (PAIRS, ALONE.repeat(), "unlabeled never ends, .* take\\(n\\)"),
        (ALONE, ALONE, "has to give \\(image, class\\) pairs"),
        (PAIRS.map(lambda x, y: ({"a": x}, y)), ALONE, "different inputs: give both a dict"),
        (PAIRS.map(lambda x, y: ({"a": {"b": x}}, y)), ALONE, "of arrays: map it to that"),
        (PAIRS.map(lambda x, y: (x, y, "name")), ALONE, "sample_weight is"),
        (PAIRS.map(lambda x, y: (x, y, 1.0, y)), ALONE, r"\(image, class, weight\), of arrays: map it to that"),
        (PAIRS, ALONE.map(lambda x: {"a": x}), "different inputs"),
        (PAIRS, ALONE.map(lambda x: ({"a": {"b": x}}, 0)), "unlabeled has to give images, of arrays"),
        (PAIRS, tf.data.Dataset.from_generator(lambda: iter([np.zeros(3)]), output_types=tf.float64), "unlabeled gives .* output_signature"),
        (PAIRS.take(0), ALONE, "no labeled image"),
        (PAIRS, ALONE.map(lambda x: tf.zeros([4])), "several shapes or types"),
        (tf.data.Dataset.from_generator(lambda: iter([(np.zeros(2), 0)]), output_types=(tf.float32, tf.int32)), ALONE, "output_signature"),
        (
            tf.data.Dataset.from_generator(
                lambda: iter([(np.zeros(2), 0), (np.zeros(3), 1)]), output_signature=(tf.TensorSpec([None], tf.float32), tf.TensorSpec([], tf.int32))
            ),
            ALONE,
            "several shapes: resize images, pad series and tokens",
        ),
    ],
)  # fmt: skip
def test_datasets_that_no_pool_can_hold_are_refused(labeled, unlabeled, words):
    with pytest.raises(ValueError, match=words):
        sn.Pool.from_dataset(labeled, unlabeled, [2])


TOKENS = np.arange(480, dtype=np.int32).reshape(120, 4) % 7


def two_inputs(kind=dict):
    images, tokens = keras.Input((4, 4, 1), name="image"), keras.Input((4,), name="tokens")
    flat = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(images))
    hidden = keras.layers.Dense(8)(keras.layers.Concatenate()([flat, tokens]))
    inputs = {"image": images, "tokens": tokens} if kind is dict else (images, tokens)
    model = keras.Model(inputs, keras.layers.Dense(4, "softmax")(keras.layers.Dropout(0.3)(hidden)))
    model.compile("adam", "sparse_categorical_crossentropy", jit_compile=False)
    return model


def parts(kind, places):
    arrays = {"image": X[places], "tokens": TOKENS[places]}
    return arrays if kind is dict else tuple(arrays.values())


@pytest.mark.parametrize("kind", [dict, tuple])
def test_several_inputs_are_read_augmented_scored_and_resumed_together(kind, tmp_path):
    given = []

    def roll(images, seed):
        given.append(images.shape)
        return tf.roll(images, 1, 1)

    def run(path, epochs):
        keras.utils.set_random_seed(0)
        pool = sn.Pool(parts(kind, slice(60)), Y[:60], parts(kind, slice(60, None)), [2, 3])
        rule = sn.SelectNet(2.0, 0.1, inputs="penultimate+loss", epochs=1)
        selection = sn.Selection(pool, rule, every=1, on_round=None)
        model, name = two_inputs(kind), "image" if kind is dict else 0
        options = {"batch_size": 10, "verbose": 0, "augment": {name: roll}}
        sn.fit(model, selection, epochs=epochs, checkpoint=path, **options)
        return model, pool, selection

    run(tmp_path / "state.npz", 1)
    resumed, *_ = run(tmp_path / "state.npz", 3)
    model, pool, selection = run(tmp_path / "whole.npz", 3)
    for a, b in zip(resumed.get_weights(), model.get_weights(), strict=True):
        assert np.array_equal(a, b)
    assert {tuple(shape[1:]) for shape in given} == {(4, 4, 1)} and selection.history[-1].candidates
    expected = model.predict(parts(kind, slice(None)), verbose=0)
    np.testing.assert_allclose(selection.score().probs, expected, atol=1e-6)
    batch, labels = next(iter(pool.dataset(10)))
    tokens = np.asarray(batch["tokens" if kind is dict else 1])
    places = pool._pass[0][:10]
    assert np.array_equal(tokens, TOKENS[places]) and np.array_equal(labels, pool._pass[1][:10])
    other = {"image": X[:60], "tokens": TOKENS[:60] + 1}
    other = other if kind is dict else tuple(other.values())
    changed = sn.Pool(other, Y[:60], parts(kind, slice(60, None)), [2, 3])
    with pytest.raises(ValueError, match="the state is of other images"):
        changed.set_state(pool.get_state())


def test_a_pool_of_datasets_of_several_inputs():
    labeled = tf.data.Dataset.from_tensor_slices((parts(dict, slice(60)), Y[:60])).batch(7)
    unlabeled = tf.data.Dataset.from_tensor_slices(parts(dict, slice(60, None)))
    pool = sn.Pool.from_dataset(labeled, unlabeled, [2])
    assert np.array_equal(pool.images[[1, 70]]["tokens"], TOKENS[[1, 70]])
    assert np.array_equal(pool.images[:]["image"], X)


@pytest.mark.parametrize(
    ("unlabeled", "words"),
    [
        ({"image": X[60:]}, "different inputs: give both a dict of the same keys"),
        (X[60:], "different inputs"),
        ({"image": X[60:], "tokens": TOKENS[61:]}, "inputs of several lengths"),
        ({"image": X[60:], "tokens": TOKENS[60:, :3]}, "input 'tokens': images of several shapes"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(unlabeled, words):
    with pytest.raises(ValueError, match=words):
        sn.Pool(parts(dict, slice(60)), Y[:60], unlabeled, [2])


@pytest.mark.parametrize("augment", [sn.shift_flip(), {"picture": sn.shift_flip()}])
def test_an_augmentation_names_its_input(augment):
    pool = sn.Pool(parts(dict, slice(60)), Y[:60], parts(dict, slice(60, None)), [2])
    with pytest.raises(ValueError, match=r"which of the inputs \['image', 'tokens'\] it is for"):
        sn.fit(two_inputs(), sn.Selection(pool), epochs=1, batch_size=10, augment=augment)


def test_a_pool_of_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for i, name in enumerate(["cat", "dog", "cat", "dog"]):
        (tmp_path / "labeled" / name).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (60 * i, 0, 0)).save(tmp_path / "labeled" / name / f"{i}.png")
    (tmp_path / "pool").mkdir()
    Image.new("RGB", (8, 8), "lime").save(tmp_path / "pool" / "a.png")
    pool = sn.Pool.from_directory(
        tmp_path / "labeled", tmp_path / "pool", ["dog"], image_size=4, cache_dir="~/cache"
    )
    assert (tmp_path / "cache").is_dir()
    assert pool.names == ("cat", "dog")
    assert pool.minor.tolist() == [1]
    assert pool.labels.tolist() == [0, 0, 1, 1, -1]
    assert pool.images.shape == (5, 4, 4, 3) and pool.files[-1] == str(tmp_path / "pool" / "a.png")
    folders = tmp_path / "labeled", tmp_path / "pool"
    for minor, words in ((["lynx"], "'lynx' is none of cat, dog"), (1, "a list of classes")):
        with pytest.raises(ValueError, match=words):
            sn.Pool.from_directory(*folders, minor, cache_dir=tmp_path / "cache")
    with pytest.raises(FileNotFoundError, match="~nobody's"):
        sn.Pool.from_directory("~nobody's/a", tmp_path / "pool", ["dog"])


@pytest.mark.parametrize(
    ("folders", "number", "words"),
    [
        (["2", "10"], 1, ""),
        (["1", "2"], 1, "minor class 1 is folder '1', or class 1, which is '2': give its name"),
    ],
)
def test_a_number_that_is_another_folder_s_name_is_refused(folders, number, words, tmp_path):
    for i, name in enumerate([*folders, "pool"]):
        folder = tmp_path / ("" if name == "pool" else "labeled") / name
        folder.mkdir(parents=True)
        Image.new("RGB", (8, 8), (60 * i, 0, 0)).save(folder / "a.png")

    def pool_of(minor):
        folders = tmp_path / "labeled", tmp_path / "pool"
        return sn.Pool.from_directory(*folders, minor, 4, tmp_path / "cache")

    names = pool_of([folders[0]]).names
    assert [names[c] for c in pool_of([folders[0]]).minor] == [folders[0]]  # a name is a name
    if words:
        with pytest.raises(ValueError, match=words):
            pool_of([number])
    else:
        assert pool_of([number]).minor.tolist() == [number]
