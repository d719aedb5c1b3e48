import keras
import numpy as np
import pytest

from selectnet_tf import recipes
from selectnet_tf.models import networks, optimizers


def compiled(**changes):
    recipe = recipes.make(**changes)
    balanced = recipe.selection.method == "class_balanced"
    activation = "linear" if balanced else "softmax"
    model = networks.build("resnet8", (12, 12, 1), 10, activation)
    optimizers.compile_model(model, recipe.training, np.repeat(np.arange(10), 5), 10, balanced)
    return model


def test_sgd_decays_by_inverse_time_a_step():
    optimizer = compiled().optimizer
    assert float(optimizer.learning_rate) == pytest.approx(0.01)
    assert optimizer.momentum == 0.9
    assert not optimizer.nesterov
    optimizer.iterations.assign(250_000)
    assert float(optimizer.learning_rate) == pytest.approx(0.01 / 1.25)


@pytest.mark.parametrize(
    ("epoch", "share"), [(0, 1), (80, 1), (81, 0.1), (121, 0.01), (161, 1e-3), (181, 0.5e-3)]
)
def test_keras_steps_are_strictly_after(epoch, share):
    assert optimizers.keras_share(epoch) == share
    optimizer = compiled(training="keras").optimizer
    assert isinstance(optimizer, keras.optimizers.Adam)
    assert float(optimizer.learning_rate) == pytest.approx(1e-3)


def test_adam_is_constant_and_cosine_falls_by_the_epoch_alone():
    optimizer = compiled(training="adam").optimizer
    assert isinstance(optimizer, keras.optimizers.Adam)
    assert float(optimizer.learning_rate) == pytest.approx(1e-3)
    assert not optimizers.callbacks(recipes.make(training="adam").training, FakePool())
    for training, lr in (("sgd", 0.01), ("adam", 1e-3), ("keras_cnn", 1e-4)):
        recipe = recipes.make(training=training, lr_schedule="cosine", epochs=40)
        (schedule,) = optimizers.callbacks(recipe.training, FakePool())
        model = compiled(training=training, lr_schedule="cosine", epochs=40)
        schedule.set_model(model)
        rates = []
        for epoch in (0, 10, 20, 39):
            schedule.on_epoch_begin(epoch)
            rates.append(float(model.optimizer.learning_rate) / lr)
        assert rates == pytest.approx([1, 0.853553, 0.5, 0.00154133], rel=1e-4)


def test_keras_cnn_is_keras_2_s_rmsprop():
    """Keras 2.2.4: w -= lr g / (sqrt(v) + 1e-7), v = 0.1 g^2 after one step. A gradient of 1e-4 tells: Keras 3's own epsilon would shorten its step to a tenth."""
    training = recipes.make(training="keras_cnn").training
    optimizer = compiled(training="keras_cnn").optimizer
    assert isinstance(optimizer, keras.optimizers.RMSprop)
    assert (
        training.lr,
        training.shift,
        training.decay,
    ) == (1e-4, 0.1, 1e-6)
    weight = keras.Variable(np.zeros(1, np.float32))
    optimizer = optimizers.make_optimizer(training)
    optimizer.build([weight])
    optimizer.apply([np.full(1, 1e-4, np.float32)])
    assert float(weight[0]) == pytest.approx(-1e-4 * 1e-4 / (np.sqrt(0.1 * 1e-8) + 1e-7), rel=1e-2)
    optimizer.iterations.assign(250_000)
    assert float(optimizer.learning_rate) == pytest.approx(1e-4 / 1.25)


class FakePool:
    index = np.zeros(1280)


def rate(epoch, batch, steps=10):
    model = compiled(training="cui")
    (warm_up,) = optimizers.callbacks(recipes.make(training="cui").training, FakePool())
    warm_up.set_model(model)
    warm_up.set_params({"steps": steps})
    warm_up.on_epoch_begin(epoch)
    warm_up.on_train_batch_begin(batch)
    return float(model.optimizer.learning_rate.numpy())


@pytest.mark.parametrize(
    ("epoch", "batch", "expected"),
    [
        (0, 0, 0.1 / 50),
        (0, 9, 0.02),
        (4, 9, 0.1),
        (5, 0, 0.1),
        (159, 0, 0.1),
        (160, 0, 1e-3),
        (180, 0, 1e-5),
    ],
)
def test_cui_warms_up_by_steps_and_drops(epoch, batch, expected):
    assert rate(epoch, batch) == pytest.approx(expected)


def test_a_resumed_epoch_warms_up_from_where_it_was():
    assert rate(1, 2, steps=6) == pytest.approx(
        rate(1, 6, steps=10)
    )  # 4 of 10 batches were done before


def test_weight_decay_is_half_the_squares_of_the_layer_s_weights():
    training = recipes.make(freeze=True, weights="a.keras", weight_decay=0.1).training
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(10, "softmax")])
    optimizers.compile_model(model, training, np.arange(10), 10)
    squares = float((model.layers[-1].kernel.numpy() ** 2).sum())
    assert [float(loss) for loss in model.losses] == pytest.approx([0.05 * squares], rel=1e-5)


def test_cui_regularizes_everything_but_the_last_bias():
    model = compiled(method="class_balanced")
    squares = sum(float((v.numpy() ** 2).sum()) for v in model.trainable_variables[:-1])
    assert sum(float(loss) for loss in model.losses) == pytest.approx(1e-4 * squares, rel=1e-5)
    free = [v.path for v in model.trainable_variables if v.regularizer is None]
    assert free == ["classes/bias"]
    np.testing.assert_allclose(model.layers[-1].bias.numpy(), -np.log(9), rtol=1e-6)
