import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import small_model

from selectnet_tf.models.losses import ClassBalancedFocal, PriorCrossentropy, class_weights


def test_weights_are_one_over_the_effective_number_and_sum_to_m():
    weights = class_weights([5000, 50], 0.9999)
    effective = (1 - 0.9999 ** np.array([5000, 50])) / (1 - 0.9999)
    np.testing.assert_allclose(weights, 2 * (1 / effective) / (1 / effective).sum(), rtol=1e-6)
    np.testing.assert_allclose(class_weights([7, 900], 0.0), [1, 1])  # beta 0: every class alike


@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.0])
def test_loss_against_its_definition(gamma):
    logits, y = np.array([[2.0, -1.0, 0.5], [0.1, 0.2, -3.0]], np.float32), np.array([0, 2])
    weights = class_weights([9, 5, 2], 0.9)
    p = 1 / (1 + np.exp(-logits))
    truth = np.eye(3)[y]
    right = np.where(truth, p, 1 - p)
    expected = weights[y] * (-((1 - right) ** gamma) * np.log(right)).sum(1)
    loss = ClassBalancedFocal([9, 5, 2], 0.9, gamma)
    np.testing.assert_allclose(loss.call(tf.constant(y), tf.constant(logits)), expected, rtol=1e-5)
    assert float(loss(tf.constant(y), tf.constant(logits))) == pytest.approx(
        expected.mean(), rel=1e-5
    )


def test_huge_logits_stay_finite_with_a_gradient():
    logits = tf.Variable([[-200.0, 200.0]])
    with tf.GradientTape() as tape:
        loss = ClassBalancedFocal([3, 3], 0.9)(tf.constant([0]), logits)
    gradient = tape.gradient(loss, logits).numpy()
    assert np.isfinite(loss) and np.isfinite(gradient).all() and gradient[0, 0] < 0 < gradient[0, 1]


P = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]], np.float32)
# p_y n_y / sum of p_k n_k over the classes k of counts 900, 90, 9: for class 0 of row 1, and class 2 of row 2
ADJUSTED = [-np.log(630 / (630 + 18 + 0.9)), -np.log(5.4 / (90 + 27 + 5.4))]


def prior_loss(counts=(900, 90, 9), **options):
    loss = PriorCrossentropy(**options)
    loss.set_counts(np.array(counts))
    return loss


@pytest.mark.parametrize(
    "y", [[0, 2], [[0], [2]], np.eye(3)[[0, 2]]], ids=["sparse", "column", "one-hot"]
)
@pytest.mark.parametrize("from_logits", [False, True])
def test_prior_crossentropy_weighs_each_probability_by_its_class_s_count(y, from_logits):
    output = np.log(P) + 5 if from_logits else P
    np.testing.assert_allclose(
        prior_loss(from_logits=from_logits).call(tf.constant(y), tf.constant(output)),
        ADJUSTED,
        rtol=1e-5,
    )
    np.testing.assert_allclose(
        prior_loss(from_logits=from_logits)(np.array(y), output), np.mean(ADJUSTED), rtol=1e-5
    )


def test_tau_is_the_exponent_of_the_count():
    p, n = P[1], np.array([900, 90, 9]) ** 0.5
    assert float(prior_loss(tau=0.5)(np.array([2]), P[1:])) == pytest.approx(
        -np.log(p[2] * n[2] / (p * n).sum()), rel=1e-5
    )


@pytest.mark.parametrize("counts", [None, (7, 7, 7)])
def test_it_is_the_plain_crossentropy_until_it_is_told_and_where_the_classes_are_even(counts):
    loss = PriorCrossentropy()
    if counts:
        loss.set_counts(np.array(counts))
    assert float(loss(np.array([0, 2]), P)) == pytest.approx(-np.log([0.7, 0.6]).mean(), rel=1e-5)


def test_a_class_without_an_image_counts_as_one():
    for counts in ((90,), (90, 0), (90, 0, 0), (90, 1, 1)):
        assert float(prior_loss(counts)(np.array([0]), P[:1])) == pytest.approx(
            -np.log(63 / 63.3), rel=1e-4
        )


def test_a_probability_of_almost_nothing_still_has_its_gradient():
    """Keras clips probabilities at 1e-7, below which a sample would teach nothing."""
    logits = tf.Variable([[30.0, 0.0, 0.0]])
    with tf.GradientTape() as tape:
        loss = prior_loss((1, 1, 1))(np.array([1]), tf.nn.softmax(logits))
    np.testing.assert_allclose(tape.gradient(loss, logits).numpy(), [[1.0, -1.0, 0.0]], atol=1e-3)


def test_xla_compiles_it_with_counts_that_change():
    loss = PriorCrossentropy()
    compiled = tf.function(loss.call, jit_compile=True)
    for counts in ((900, 90, 9), (9, 90)):
        loss.set_counts(np.array(counts))
        np.testing.assert_allclose(
            compiled(tf.constant([0, 2]), tf.constant(P)),
            loss.call(tf.constant([0, 2]), tf.constant(P)),
            rtol=1e-5,
        )


def test_a_negative_tau_is_refused():
    with pytest.raises(ValueError, match="tau is -1, but has to be a finite number of at least 0"):
        PriorCrossentropy(-1)


def test_a_model_with_it_is_saved_and_loaded(tmp_path):
    model = small_model()
    model.compile("sgd", PriorCrossentropy(0.5))
    model.save(tmp_path / "model.keras")
    loss = keras.models.load_model(tmp_path / "model.keras").loss
    assert isinstance(loss, PriorCrossentropy) and loss.tau == 0.5
