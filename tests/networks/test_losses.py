import numpy as np
import pytest
import tensorflow as tf

from selectnet_tf.networks.losses import ClassBalancedFocal, class_weights


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
    assert float(loss(tf.constant(y), tf.constant(logits))) == pytest.approx(expected.mean(), rel=1e-5)


def test_huge_logits_stay_finite_with_a_gradient():
    logits = tf.Variable([[-200.0, 200.0]])
    with tf.GradientTape() as tape:
        loss = ClassBalancedFocal([3, 3], 0.9)(tf.constant([0]), logits)
    gradient = tape.gradient(loss, logits).numpy()
    assert np.isfinite(loss) and np.isfinite(gradient).all() and gradient[0, 0] < 0 < gradient[0, 1]
