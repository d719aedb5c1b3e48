import pickle

import numpy as np
import pytest
from sklearn.base import clone

from selectnet_tf.capped import Capped
from selectnet_tf.foreign import Foreign, distances
from selectnet_tf.rules import Context, Scores, SelectNet

# class 0 lies around 0, class 1 around 100; class 2 is major
FEATURES = np.array(
    [[0, 0], [0, 1], [0, 3], [100, 0], [104, 0], [50, 50], [0, 4.5], [2, 0], [0, 5.5], [100, 3], [100, 4.5], [0, 9]], np.float32
)
LABELS = np.array([0, 0, 0, 1, 1, 2, -1, -1, -1, -1, -1, -1])
PREDICTED = np.array([0, 0, 0, 1, 1, 2, 0, 0, 0, 1, 1, 2])


def scores_of(predicted=PREDICTED, round=0):
    probs = np.full((12, 3), 0.05, np.float32)
    probs[np.arange(12), predicted] = 0.9
    return Scores(probs, -np.log(probs.max(1)), LABELS >= 0, predicted < 2, round, FEATURES)


def everything(scores):
    return np.ones(12, bool)


def test_what_is_farther_than_the_labeled_ones_from_each_other_is_left_out():
    """Of class 0, the nearest others lie at 1, 1 and 2; of class 1, at 4 and 4."""
    rule = Foreign(everything, LABELS, share=1.0)
    assert rule(scores_of()).tolist() == [True] * 8 + [False, True, False, True]  # the last is no candidate, and no rule's business
    assert rule.left_out == {8: (0, 2.5, 2.0), 10: (1, 4.5, 4.0)} and rule.count == 2


@pytest.mark.parametrize(("share", "limit"), [(1.0, 2.0), (0.75, 1.5), (0.5, 1.0)])
def test_the_share_sets_the_limit(share, limit):
    far, found = distances(FEATURES[:3], FEATURES[6:9], share)
    assert far.tolist() == [1.5, 2.0, 2.5] and found == limit


def test_a_class_of_one_picture_keeps_everything():
    rule = Foreign(everything, np.where(np.arange(12) == 4, -1, LABELS), 1.0)
    assert rule(scores_of())[9:11].all() and list(rule.left_out) == [8]


def test_labeled_ones_stay_and_nothing_is_added():
    rule = Foreign(lambda scores: scores.labeled, LABELS, share=0.01)
    assert rule(scores_of()).tolist() == (LABELS >= 0).tolist() and not rule.left_out


def test_weights_stay_weights():
    weights = np.linspace(0.1, 1, 12)
    found = Foreign(lambda scores: weights, LABELS, share=1.0)(scores_of())
    assert found[8] == found[10] == 0 and found[9] == weights[9] and weights.all()


def test_each_round_counts_anew_and_the_last_reason_stays():
    rule = Foreign(everything, LABELS, share=1.0)
    rule(scores_of())
    rule(scores_of(np.where(np.arange(12) == 8, 1, 0 * PREDICTED), 1))
    assert rule.left_out[8][0] == 1 and rule.left_out[10][0] == 0 and rule.count == 4  # 9 and 11 too, far from class 0


@pytest.mark.parametrize("inner", [Context(0.6), SelectNet(0.6, seed=3, epochs=2)], ids=["context", "selectnet"])
def test_its_state_and_the_inner_rule_s_come_back(inner):
    rule, other = Foreign(inner, LABELS, 1.0), Foreign(pickle.loads(pickle.dumps(inner)), LABELS, 1.0)
    rule(scores_of())
    other.set_state(rule.get_state())
    assert other.left_out == rule.left_out and np.array_equal(rule(scores_of(round=1)), other(scores_of(round=1)))
    rule.reset()
    assert not rule.left_out and not getattr(inner, "get_state", dict)()


def test_a_clone_leaves_out_the_same():
    rule = clone(Foreign(everything, LABELS, 1.0))
    assert rule(scores_of()).sum() == 10 and rule.left_out.keys() == {8, 10}
    assert clone(Capped(rule, most=3)).rule.share == 1.0


def test_what_else_is_asked_is_the_rule_s():
    rule = Capped(Foreign(SelectNet(0.7), LABELS))
    assert (rule.threshold, rule.features, rule.output, rule.share) == (0.7, True, None, 0.99)
    with pytest.raises(ValueError, match="share is 0, but has to be above 0"):
        Foreign(everything, LABELS, 0)
