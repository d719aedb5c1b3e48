"""The fused layer against Keras's own: outputs, gradients, moving statistics, files, replicas."""

import json
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import blobs

from selectnet_tf.models import networks
from selectnet_tf.models.layers import BatchNormalization

STOCK = keras.layers.BatchNormalization
X = np.random.default_rng(0).normal(3, 2, (8, 5, 5, 4)).astype("float32")


def pair(**options):
    """A stock and a fused layer with the same odd weights."""
    both = STOCK(**options), BatchNormalization(**options)
    for layer in both:
        layer.build(X.shape)
        for i, weight in enumerate(layer.weights):
            weight.assign(np.linspace(0.5, 1.5, weight.shape[0]) + 0.1 * i)
    return both


def step(layer, x, training):
    """Outputs, the gradients of a weighted sum of them, and the weights afterwards."""
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=training)
        loss = tf.reduce_mean(
            tf.cast(y, "float32") * tf.reshape(tf.sin(tf.range(float(np.prod(y.shape)))), y.shape)
        )
    found = [
        y,
        *tape.gradient(loss, [x, *[w.value for w in layer.trainable_weights]]),
        *[w.value for w in layer.weights],
    ]
    return [np.asarray(v, np.float32) for v in found], y.dtype


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    "options",
    [
        {}, {"momentum": 0.9, "epsilon": 1e-5 + 1e-6}, {"epsilon": 1e-7}, {"center": False}, {"scale": False},
        {"axis": 1}, {"trainable": False}, {"dtype": "mixed_float16"},
    ],
)  # fmt: skip
def test_it_is_keras_s_own_to_rounding(options, training):
    axis = options.get("axis", -1)
    x = X if axis in (-1, 3) else np.moveaxis(X, -1, axis).copy()
    stock, fused = STOCK(**options), BatchNormalization(**options)
    (expected, kind), (found, kind2) = (step(layer, x, training) for layer in (stock, fused))
    assert kind == kind2 and len(expected) == len(found)
    for a, b in zip(expected, found, strict=True):
        np.testing.assert_allclose(
            b, a, rtol=1e-5, atol=1e-5 if "16" not in options.get("dtype", "") else 2e-2
        )


def test_the_fused_kernel_is_what_runs():
    for training in (True, False):
        layer = pair()[1]
        call = tf.function(lambda x, layer=layer, training=training: layer(x, training=training))
        operations = {
            op.type
            for op in call.get_concrete_function(tf.TensorSpec(X.shape)).graph.get_operations()
        }
        assert "FusedBatchNormV3" in operations and "Rsqrt" not in operations


def test_one_value_a_channel_has_no_variance():
    stock, fused = pair()
    x = X[:1, :1, :1]
    for a, b in zip(step(stock, x, True)[0], step(fused, x, True)[0], strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-5)


def test_masks_and_other_ranks_go_to_keras():
    flat = [kind()(X.reshape(200, 4), training=True) for kind in (STOCK, BatchNormalization)]
    np.testing.assert_allclose(*flat, rtol=1e-5, atol=1e-5)
    masked = [layer(X, training=True, mask=np.ones((8, 5, 5), bool)) for layer in pair()]
    np.testing.assert_allclose(*masked, rtol=1e-5, atol=1e-5)


def test_a_file_of_it_is_one_of_keras(tmp_path):
    model = networks.build("resnet8", (16, 16, 3), 4)
    model.save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as file:
        config = json.loads(file.read("config.json"))["config"]["layers"]
    assert {c["module"] for c in config if c["class_name"] == "BatchNormalization"} == {
        "keras.layers"
    }
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    kinds = {type(layer) for layer in loaded.layers if isinstance(layer, STOCK)}
    assert kinds == {STOCK} and [w.path for w in loaded.weights] == [w.path for w in model.weights]
    x = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), np.uint8)
    np.testing.assert_allclose(
        loaded.predict(x, verbose=0), model.predict(x, verbose=0), rtol=1e-5, atol=1e-5
    )


def trained(kind, strategy, synchronized):
    with strategy.scope():
        keras.utils.set_random_seed(0)
        layer = kind(momentum=0.5, synchronized=synchronized)
        model = keras.Sequential(
            [
                keras.Input((4, 4, 1)),
                layer,
                keras.layers.Flatten(),
                keras.layers.Dense(4, activation="softmax"),
            ]
        )
        model.compile(
            keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy", jit_compile=False
        )
    x, y = blobs(32)
    model.fit(x.astype("float32") / 255, y, batch_size=16, epochs=2, shuffle=False, verbose=0)
    return [w.numpy() for w in model.weights]


@pytest.mark.slow
@pytest.mark.parametrize("synchronized", [True, False])
def test_two_replicas_train_as_with_keras_s_own(synchronized, two_replicas):
    for a, b in zip(
        *(trained(kind, two_replicas, synchronized) for kind in (STOCK, BatchNormalization)),
        strict=True,
    ):
        np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-5)
