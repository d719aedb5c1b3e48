import copy
import pickle

import numpy as np
import pytest

from selectnet_tf.rules import (
    Capped,
    Context,
    Random,
    Scores,
    SelectNet,
    SelfPaced,
    apply_rule,
    linear,
)
from selectnet_tf.scoring import compute_losses

SCORES = Scores(
    probs=np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.1, 0.9], [0.45, 0.55]], np.float32),
    loss=np.array([0.105, 0.511, 0.223, 0.105, 0.598], np.float32),  # -log of the larger one
    labeled=np.array([False, False, True, True, False]),
    candidate=np.array([False, True, True, True, True]),
)


def random_scores(n=3000, labeled_loss="predicted", seed=0):
    """What a half-trained classifier says: 5 classes, of which 0 and 1 are minor, a third of the samples labeled."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 5, n)
    logits = rng.normal(0, 1.2, (n, 5)) + 2.0 * np.eye(5)[labels]
    probs = (np.exp(logits) / np.exp(logits).sum(1, keepdims=True)).astype(np.float32)
    labeled = rng.random(n) < 1 / 3
    loss = compute_losses(probs, labels, labeled, labeled_loss)
    return Scores(probs, loss, labeled, np.isin(probs.argmax(1), [0, 1])), labels


def test_self_paced_takes_confident_unlabeled_candidates():
    assert SelfPaced(0.6)(SCORES).tolist() == [False, True, False, False, True]
    assert SelfPaced(0.55)(SCORES).tolist() == [False, True, False, False, False]


def test_context_takes_labeled_ones_too():
    assert Context(0.6)(SCORES).tolist() == [False, True, True, True, True]
    assert Context(0.2)(SCORES).tolist() == [False, False, False, True, False]


def test_random_takes_as_many_candidates_as_context_others_each_round_the_same_from_a_seed():
    scores, _ = random_scores()
    first = Random()(scores)
    assert first.sum() == Context()(scores).sum() and not (first & ~scores.candidate).any()
    assert np.array_equal(first, Random()(scores))
    assert (first != Random()(scores._replace(round=1))).any()
    assert (first != Random(seed=1)(scores)).any()
    assert (first & (scores.loss > 0.6)).any()  # whatever its loss
    assert not Random()(scores._replace(candidate=np.zeros(3000, bool))).any()


def test_with_the_true_loss_context_never_picks_a_wrongly_predicted_labeled_sample():
    """Its loss is at least ln 2 > 0.6."""
    scores, labels = random_scores(labeled_loss="true")
    wrong = scores.labeled & (scores.probs.argmax(1) != labels)
    assert wrong.any() and not (Context(0.6)(scores) & wrong).any()
    predicted, _ = random_scores(labeled_loss="predicted")
    assert (Context(0.6)(predicted) & wrong).any()


def test_a_threshold_can_follow_the_rounds():
    schedule = linear(0.4, 0.6, 20)
    assert [schedule(0), schedule(19), schedule(30)] == pytest.approx([0.4, 0.6, 0.6])
    assert schedule(10) - schedule(9) == pytest.approx(0.2 / 19)
    assert Context(linear(0.2, 0.6, 2))(SCORES).sum() == 1
    assert Context(linear(0.2, 0.6, 2))(SCORES._replace(round=1)).sum() == 4


def test_selectnet_tends_to_context_when_it_sees_the_loss():
    """Eq. (5) is linear in f: with the loss as input its minimum is 1[L < lambda]."""
    scores, _ = random_scores()
    agree = Context()(scores)[scores.candidate] == SelectNet(epochs=40)(scores)[scores.candidate]
    assert agree.mean() > 0.95


@pytest.mark.parametrize("inputs", ["probs", "probs+loss", "penultimate", "penultimate+loss"])
def test_selectnet_minimizes_eq_5_whatever_it_sees(inputs):
    scores, _ = random_scores()
    scores = scores._replace(features=np.log(scores.probs[:, :4]))
    rule = SelectNet(inputs=inputs)
    rule(scores)
    objective = np.mean(rule.output[scores.candidate] * (scores.loss[scores.candidate] - 0.6))
    all_or_nothing = min(0.0, np.mean(scores.loss[scores.candidate] - 0.6))
    assert objective < all_or_nothing - 0.005
    assert rule.features == inputs.startswith("penultimate")


def test_selectnet_without_candidates_picks_nothing():
    rule = SelectNet()
    assert not rule(SCORES._replace(candidate=np.zeros(5, bool))).any() and rule.get_state() == {}


def test_selectnet_goes_on_from_its_last_weights_and_its_state_can_be_moved():
    scores, _ = random_scores(400)
    rule, other = SelectNet(epochs=1), SelectNet(epochs=1)
    rule(scores)
    first = rule.output.copy()
    other.set_state(rule.get_state())
    for each in (rule, other):
        each(scores._replace(round=1))
    assert not np.array_equal(rule.output, first) and np.array_equal(rule.output, other.output)
    rule.reset()
    rule(scores)
    assert np.array_equal(rule.output, first)


def test_released_settings_differ_as_they_should():
    scores, _ = random_scores(500)
    normal = SelectNet(inputs="probs", init="normal", fit_on="all", epochs=1, learning_rate=1e-9)
    normal(scores)
    # N(0, 0.05) and hardly trained: a flat 0.5
    np.testing.assert_allclose(normal.output, 0.5, atol=0.01)
    assert normal._net.weights.shape == (3, 5 * 8 + 8 + 8 * 4 + 4 + 4 + 1)


def test_beta_is_the_output_that_a_pick_needs():
    scores, _ = random_scores(500)
    low, high = SelectNet(beta=0.1), SelectNet(beta=0.9)
    assert low(scores).sum() > high(scores).sum() > 0
    assert np.array_equal(high(scores), scores.candidate & (high.output > 0.9))
    moving = SelectNet(linear(0.2, 0.6, 2))  # beta is lambda, and moves with it
    for round, least in ((0, 0.2), (1, 0.6)):
        mask = moving(scores._replace(round=round))
        assert np.array_equal(mask, scores.candidate & (moving.output > least))


@pytest.mark.parametrize("options", [{"inputs": "logits"}, {"fit_on": "some"}, {"init": "he"}])
def test_unknown_options_are_refused(options):
    with pytest.raises(ValueError, match="has to be"):
        SelectNet(**options)


@pytest.mark.parametrize(
    "options",
    [
        *({"batch_size": 0}, {"epochs": 0}, {"epochs": 2.5}, {"seed": -1}, {"seed": 0.5}),
        *({"learning_rate": -1.0}, {"learning_rate": "x"}),
    ],
)
def test_numbers_that_train_nothing_are_refused(options):
    """A batch of none never ended."""
    name = next(iter(options))
    words = f"{name} is .*, but has to be a (whole number from [01]|number above 0)"
    with pytest.raises(ValueError, match=words):
        SelectNet(**options)


def test_what_a_rule_returns_is_a_mask_or_weights_of_candidates():
    scores = random_scores(300)[0]
    n = len(scores.loss)
    assert np.array_equal(apply_rule(np.ones(n, bool), scores), scores.candidate)
    found = apply_rule(np.full(n, 0.3), scores)
    assert found.dtype == np.float32
    assert np.array_equal(found, np.where(scores.candidate, np.float32(0.3), 0))


def test_a_soft_selector_gives_what_it_computes():
    scores = random_scores(300)[0]
    hard, soft = SelectNet(0.6, epochs=3), SelectNet(0.6, epochs=3, soft=True)
    mask, weights = hard(scores), soft(scores)
    assert weights.dtype == np.float32 and np.array_equal(weights, hard.output)
    assert np.array_equal(mask, scores.candidate & (weights > 0.6))


def test_a_lambda_that_nothing_exceeds_is_refused():
    for wrong in ({"threshold": 2.0}, {"beta": 2.0}):
        with pytest.raises(ValueError, match="beta .* is 2.0, .*: give a beta below 1"):
            SelectNet(**wrong)
    for fine in ({"beta": 0.5}, {"soft": True}):
        SelectNet(threshold=2.0, **fine)


def test_a_fitted_selector_can_be_copied_and_pickled():
    scores = random_scores(300)[0]
    net = SelectNet(0.6, epochs=3)
    net(scores)
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert np.array_equal(other.output, net.output)
        for name, value in net.get_state().items():
            assert np.array_equal(other.get_state()[name], value)
    assert copy.deepcopy(SelectNet()).get_state() == {}
    twin = copy.deepcopy(net)
    assert np.array_equal(twin(scores), net(scores)) and np.array_equal(twin.output, net.output)


TAKEN = (1000, 125, 8)  # unlabeled picks of the classes 0, 1, 2; class 3 is major
CLASSES = np.repeat([0, 1, 2, 3], (*TAKEN, 5))
N = len(CLASSES)


def scores_of(classes=CLASSES, labeled=()):
    """The predicted class gets a probability that falls from 0.99 with the place, so that the first are the most confident."""
    n = len(classes)
    probs = np.full((n, 4), 0.003, np.float32)
    probs[np.arange(n), classes] = np.linspace(0.99, 0.6, n)
    loss = -np.log(probs.max(1))
    return Scores(probs, loss, np.isin(np.arange(n), labeled), np.isin(classes, [0, 1, 2]))


def everything(scores):
    return np.ones(len(scores.loss), bool)


def counts(mask, scores):
    return np.bincount(scores.probs.argmax(1)[mask & scores.candidate], minlength=3).tolist()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"alpha": 0.0}, [1000, 125, 8]),
        ({"alpha": 1.0}, [10, 10, 8]),
        # 1000 (10 / 1000) ** (1 / 3) is 215.4, 125 (10 / 125) ** (1 / 3) is 53.9
        ({"alpha": 1 / 3}, [215, 53, 8]),
        ({"alpha": 1.0, "least": 200}, [200, 125, 8]),
        ({"alpha": 1.0, "least": 1}, [8, 8, 8]),
        ({"alpha": 0.0, "most": 100}, [100, 100, 8]),
        ({"alpha": 1 / 3, "most": 100}, [100, 53, 8]),
    ],
)
def test_what_each_class_keeps(options, expected):
    scores = scores_of()
    assert counts(Capped(everything, **options)(scores), scores) == expected


def test_the_most_confident_stay_in_any_order():
    order = np.random.default_rng(0).permutation(N)
    scores = scores_of()
    mixed = Scores(scores.probs[order], scores.loss[order], scores.labeled, scores.candidate[order])
    for found, places in ((scores, np.arange(N)), (mixed, order)):
        mask = Capped(everything, alpha=1.0)(found) & found.candidate
        assert sorted(places[mask]) == [*range(10), *range(1000, 1010), *range(1125, 1133)]


def test_labeled_picks_stay_and_count_for_nothing():
    scores = scores_of(labeled=range(0, 1000, 2))
    mask = Capped(everything, alpha=1.0)(scores)
    assert mask[0:1000:2].all() and mask[1:1000:2].sum() == 10


def test_a_minor_class_that_nothing_is_picked_as_counts_where_the_minors_are_given():
    scores = scores_of(np.repeat([0, 1], (1000, 125)))
    assert counts(Capped(everything, alpha=1.0)(scores), scores)[:2] == [125, 125]
    for minor in ([0, 1, 2], {0, 1, 2}):
        assert counts(Capped(everything, alpha=1.0, minor=minor)(scores), scores)[:2] == [10, 10]
    for minor in (["cat"], "cat", [4], []):
        with pytest.raises(ValueError, match="Capped's minor is .*, but has to hold classes from"):
            Capped(everything, minor=minor)(scores)


def test_no_candidate_no_pick_and_nothing_that_the_rule_did_not_pick():
    nobody = scores_of(np.full(5, 3))
    assert not (Capped(everything)(nobody) & nobody.candidate).any()
    scores = scores_of()
    assert not (Capped(Context(0.1), alpha=0.1)(scores) & ~Context(0.1)(scores)).any()


def test_weights_stay_weights():
    scores = scores_of()
    weights = np.linspace(0.1, 1, N)
    capped = Capped(lambda s: weights, alpha=1.0)(scores)
    assert capped.dtype == float
    assert set(capped) <= {0.0, *weights}
    assert (capped[:10] == weights[:10]).all()
    assert weights.all()  # the rule's own array stays as it was


@pytest.mark.parametrize("around", [Capped, lambda rule: Capped(Capped(rule))])
def test_an_inner_rule_that_returns_places_is_told_so(around):
    scores = scores_of()
    words = r"the rule returned int64 \[3\], but has to return a mask.*np.isin\(np.arange\(1138\), places\)"
    with pytest.raises(ValueError, match=words):
        around(lambda s: np.array([1, 2, 3]))(scores)


def test_what_else_is_asked_is_the_rule_s():
    inner = SelectNet(0.7, inputs="penultimate")
    rule = Capped(inner)
    assert (rule.threshold, rule.features, rule.output) == (0.7, True, None)
    assert rule.get_state() == {} and not hasattr(Capped(everything), "get_state")
    assert pickle.loads(pickle.dumps(Capped(Context(0.3)))).threshold == 0.3


@pytest.mark.parametrize("options", [{"alpha": 1.5}, {"alpha": -0.1}, {"least": 0}, {"most": 0}])
def test_bad_options_are_refused(options):
    with pytest.raises(ValueError, match=r"alpha has to be in \[0, 1\]"):
        Capped(everything, **options)
