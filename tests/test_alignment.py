import functools
import threading

import keras
import numpy as np
import pytest
from conftest import Traced, blobs, small_model

import selectnet_tf as sn
from selectnet_tf import alignment

X, Y = blobs(240)


def pool_of(labeled=80, minor=(2, 3), total=240):
    return sn.Pool(X[:labeled], Y[:labeled], X[labeled:total], minor)


def two_of_the_pool(minor=(1, 2)):
    """A pool of two labeled images and two unlabeled ones, and their probabilities over the classes 0, 1, 2."""
    pool = sn.Pool(X[1:3], Y[1:3], X[4:6], minor)
    return pool, np.array(
        [[0.2, 0.4, 0.4], [0.8, 0.1, 0.1], [0.1, 0.7, 0.2], [0.7, 0.1, 0.2]], np.float32
    )


def test_a_minor_class_that_the_pool_is_rarely_taken_for_is_raised_and_the_other_lowered():
    # the pool's mean is 0.4 of class 1 and 0.2 of class 2, and 0.3 is wanted of both
    pool, probs = two_of_the_pool()
    aligned = alignment.AlignMinors(root=1.0)(probs, pool)
    assert aligned.dtype == np.float32
    np.testing.assert_allclose(aligned[0], np.array([0.2, 0.3, 0.6]) / 1.1, rtol=1e-6)
    np.testing.assert_allclose(aligned[2], np.array([0.1, 0.525, 0.3]) / 0.925, rtol=1e-6)
    half = alignment.AlignMinors(root=0.5)(probs, pool)
    np.testing.assert_allclose(half[0, 1:] / half[0, 0], [2 * 0.75**0.5, 2 * 1.5**0.5], rtol=1e-6)
    np.testing.assert_allclose(alignment.AlignMinors(root=0.0)(probs, pool), probs, rtol=1e-6)


def test_the_mean_moves_from_round_to_round():
    pool, probs = two_of_the_pool()
    align = alignment.AlignMinors(root=1.0, momentum=0.5)
    align(probs, pool)
    even = np.tile(np.float32([0.2, 0.4, 0.4]), (4, 1))
    aligned = align(even, pool)  # the mean is now 0.4 and 0.3: 0.35 is wanted
    wanted = [2 * 0.35 / 0.4, 2 * 0.35 / 0.3]
    np.testing.assert_allclose(aligned[0, 1:] / aligned[0, 0], wanted, rtol=1e-6)
    fresh = alignment.AlignMinors(root=1.0, momentum=0.5)
    fresh.set_state(align.get_state())
    assert np.array_equal(fresh(probs, pool), align(probs, pool))
    align.reset()
    assert np.array_equal(align(probs, pool), alignment.AlignMinors(root=1.0)(probs, pool))
    assert not alignment.AlignMinors().get_state()


def test_a_column_is_multiplied_by_no_more_than_clip():
    pool, _ = two_of_the_pool()
    probs = np.tile(np.float32([0.5, 0.499999, 1e-6]), (4, 1))
    aligned = alignment.AlignMinors(root=1.0, clip=10)(probs, pool)
    assert aligned[0, 2] / aligned[0, 0] == pytest.approx(2e-5, rel=1e-3)
    never = np.tile(np.float32([0.5, 0.5, 0]), (4, 1))
    assert alignment.AlignMinors(root=1.0)(never, pool)[0, 2] == 0


def test_where_the_pool_s_shares_are_known_they_are_aimed_at():
    pool, probs = two_of_the_pool()
    align = alignment.AlignMinors(root=1.0, pool_prior=[0.5, 0.4, 0.1])
    aligned = align(probs, pool)  # 0.4 and 0.2 were found
    np.testing.assert_allclose(aligned[0], np.array([0.2, 0.4, 0.2]) / 0.8, rtol=1e-6)
    with pytest.raises(ValueError, match="share of each of the 3 classes"):
        alignment.AlignMinors(pool_prior=[0.5, 0.5])(probs, pool)
    for wrong in ([450, 450, 100], [0.5, 0.6, -0.1], [0.5, np.nan, 0.5], []):
        words = "shares from 0 that sum to 1.*divide counts by their sum"
        with pytest.raises(ValueError, match=words):
            alignment.AlignMinors(pool_prior=wrong)


@pytest.mark.parametrize("options", [{"root": -1}, {"root": 2}, {"momentum": 1.0}, {"clip": 0.5}])
def test_bad_options_of_the_alignment_are_refused(options):
    with pytest.raises(ValueError, match="root has to be in"):
        alignment.AlignMinors(**options)


def selecting(adjust, rule=None):
    keras.utils.set_random_seed(0)
    rule = rule or (lambda scores: np.ones(240, bool))
    selection = sn.Selection(pool_of(), rule, every=2, adjust=adjust)
    selection.set_model(small_model())
    selection.reset()
    return selection


def test_candidates_loss_and_pseudo_labels_follow_from_what_adjust_returns():
    seen = []
    selection = selecting(
        lambda probs, pool: np.tile(np.float32([0.1, 0.1, 0.1, 0.7]), (len(probs), 1)),
        lambda s: seen.append(s) or np.ones(240, bool),
    )
    round = selection.select(2)
    assert round.candidates == 240 and (round.predicted == 3).all()
    assert (round.target[round.index >= 80] == 3).all()
    np.testing.assert_allclose(seen[0].loss, -np.log(0.7), rtol=1e-6)
    assert (selection.pool.targets[-160:] == 3).all()


@pytest.mark.parametrize(
    ("adjust", "words"),
    [
        (alignment.AlignMinors(pool_prior=[0.5, 0.5]), "share of each of the 4 classes"),
        (lambda probs, pool: probs[:, :3], r"returned \[240, 3\]"),
        (lambda probs, pool: probs / 2, "sum to 0.5"),
        (lambda probs, pool: probs.fill(0), "read-only"),
    ],
)
def test_an_adjust_is_tried_before_the_first_epoch(adjust, words):
    seen = []
    spy = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: seen.append(epoch))
    for rule in (sn.Context(), sn.SelectNet()):
        with pytest.raises(ValueError, match=words):
            selection = sn.Selection(pool_of(), rule, every=2, adjust=adjust)
            sn.fit(small_model(), selection, epochs=2, batch_size=8, callbacks=[spy], verbose=0)
    assert seen == []


def test_to_try_an_adjust_teaches_it_nothing():
    tried = selecting(alignment.AlignMinors())
    tried.rehearse()
    assert not tried.adjust.get_state()
    uncopied = lambda lock, probs, pool: probs  # noqa: E731
    selecting(functools.partial(uncopied, threading.Lock())).rehearse()


def test_fading_classes_are_under_half_of_their_best_round_or_a_twentieth_of_the_largest():
    pool = sn.Pool(X[:8], Y[:8], X[8:], [0, 1, 2])

    def picks(counts):  # of the pool, and one labeled image that does not count
        targets = np.array([0, *np.repeat([0, 1, 2], counts)])
        return np.array([0, *range(8, 8 + sum(counts))]), targets

    def found(*rounds):
        return [names.tolist() for names in alignment.find_fading(pool, [*map(picks, rounds)])]

    assert found((4, 4, 4)) == [[], []]
    assert found((10, 10, 10), (5, 4, 12)) == [[], [1]]
    assert found((10, 10, 10), (4, 9, 9), (5, 0, 10)) == [[1], []]
    assert found((100, 5, 4)) == [[], [2]]
    assert found((0, 0, 0)) == [[0, 1, 2], []]


def test_a_fading_class_is_a_warning_of_the_round():
    picks = iter([range(100, 140), range(100, 119)])
    selection = selecting(None, lambda scores: np.isin(np.arange(240), next(picks)))
    # everything is predicted as class 2, more or less surely
    selection.model.layers[-1].bias.assign([0, 0, 3, 0])
    for _ in range(2):
        selection.history.append(selection.select(2))
    first, second = selection.history
    assert first.warning == "no pseudo-labels for 3"
    assert second.warning == "no pseudo-labels for 3; too few pseudo-labels for 2"
    assert second.fading.tolist() == [2]
    assert second._replace(unpicked=[], fading=["frog"]).warning == "too few pseudo-labels for frog"


class Told(keras.losses.SparseCategoricalCrossentropy):
    def __init__(self):
        super().__init__()
        self.told = []

    def set_counts(self, counts):
        self.told.append(counts.tolist())


def test_a_loss_that_asks_is_told_what_each_epoch_trains_on():
    model, loss = small_model(), Told()
    model.compile("sgd", loss)
    rule = lambda scores: np.isin(np.arange(240), [range(80, 90), []][scores.round])  # noqa: E731
    selection = sn.Selection(pool_of(), rule, every=1, on_round=lambda round: None)
    model.layers[-1].kernel.assign(np.zeros((8, 4)))
    model.layers[-1].kernel.trainable, model.layers[-1].bias.trainable = False, False
    model.layers[-1].bias.assign([0, 0, 9, 0])
    sn.fit(model, selection, epochs=2, batch_size=8, verbose=0)
    assert loss.told == [[20, 20, 20, 20], [20, 20, 30, 20], [1]]  # even ones in the end


class Wrapped(keras.losses.Loss):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def call(self, true, found):
        return self.inner(true, found)


def enclosing(inner):
    return lambda true, found: inner(true, found) + keras.ops.mean(found)


def half_closed(inner):
    def loss(true, found):
        return inner(true, found) if unlikely else later(true, found)

    unlikely = True
    if not unlikely:
        later = None
    return loss


@pytest.mark.parametrize(
    "wrap", [Wrapped, enclosing, half_closed, lambda inner: Wrapped(enclosing(inner))]
)
def test_a_loss_inside_another_is_told_too(wrap):
    model, loss = small_model(), sn.PriorCrossentropy()
    model.compile("sgd", wrap(loss))
    counts = []
    spy = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: counts.append(np.exp(loss._log_counts))
    )
    selection = sn.Selection(pool_of(), init="none")
    sn.fit(model, selection, epochs=1, batch_size=8, callbacks=[spy], verbose=0)
    assert alignment.find_counted_losses(model) == [loss]
    assert np.allclose(counts, 20)


def test_a_prior_leaves_val_loss_comparable_and_retraces_nothing():
    small = small_model()
    model = Traced(small.inputs, small.outputs)
    Traced.traces = 0
    model.compile(keras.optimizers.SGD(0.0), sn.PriorCrossentropy())
    rule = lambda scores: (np.arange(240) >= 80) & (scores.round == 1)  # noqa: E731
    selection = sn.Selection(pool_of(), rule, every=1, on_round=None)
    data = X[:80], Y[:80]
    options = {"batch_size": 8, "verbose": 0, "validation_data": data}
    history = sn.fit(model, selection, epochs=3, **options).history
    plain = keras.losses.sparse_categorical_crossentropy(Y[:80], model(X[:80]))
    after = model.evaluate(*data, verbose=0)
    assert np.allclose([*history["val_loss"], after], np.mean(plain), atol=1e-5)
    assert Traced.traces == 1


def robust(*callbacks, one_hot=False, policy=None, loss=None):
    """A training with all three parts. Returns (model, selection, history)."""
    keras.utils.set_random_seed(3)
    labels = np.eye(4)[Y[:80]] if one_hot else Y[:80]
    uneven = np.r_[0:80][np.isin(Y[:80], [0, 1]) | (np.arange(80) < 16)]
    pool = sn.Pool(X[uneven], labels[uneven], X[80:], [2, 3])
    rule = sn.Capped(sn.Context(1.2), alpha=0.5, least=5)
    selection = sn.Selection(
        pool, rule, every=2, init="none", adjust=sn.AlignMinors(), on_round=None
    )
    inner = small_model(norm=True, dropout=0.2) if policy is None else mixed(policy)
    model, loss = Traced(inner.inputs[0], inner.outputs[0]), loss or sn.PriorCrossentropy()
    model.compile(keras.optimizers.SGD(0.1, 0.9), loss, metrics=["accuracy"], jit_compile=False)
    options = {"epochs": 4, "batch_size": 8, "verbose": 0, "callbacks": callbacks}
    return model, selection, sn.fit(model, selection, **options)


def mixed(policy):
    keras.config.set_dtype_policy(policy)
    try:
        return small_model()
    finally:
        keras.config.set_dtype_policy("float32")


def test_the_loss_is_told_at_each_swap_and_compiled_once():
    traces, counts, prior = [], [], sn.PriorCrossentropy()
    spy = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: counts.append(prior._log_counts.numpy())
    )
    # a first step that makes the optimizer's variables is traced twice
    for loss in ("sparse_categorical_crossentropy", prior):
        Traced.traces = 0
        _, selection, _ = robust(spy, loss=loss)
        traces.append(Traced.traces)
    first, last = selection.history
    assert traces[0] == traces[1] <= 2 and len(first.index) > 0
    known = selection.pool.labels[selection.pool.labeled]
    trained = np.bincount(np.concatenate([known, first.target]))
    np.testing.assert_allclose(counts[-1], np.log(trained), rtol=1e-6)


def test_with_one_hot_labels_and_with_half_precision():
    sparse, _, history = robust()
    one_hot, _, other = robust(one_hot=True)
    np.testing.assert_allclose(history.history["loss"], other.history["loss"], rtol=1e-4)
    losses = robust(policy="mixed_float16")[2].history["loss"]
    assert np.isfinite(losses).all() and losses[1] < losses[0]
