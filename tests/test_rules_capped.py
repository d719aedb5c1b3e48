import pickle

import numpy as np
import pytest

from selectnet_tf.rules import Capped, Context, Scores, SelectNet

TAKEN = (1000, 125, 8)  # unlabeled picks of the classes 0, 1, 2; class 3 is major
CLASSES = np.repeat([0, 1, 2, 3], (*TAKEN, 5))
N = len(CLASSES)


def scores_of(classes=CLASSES, labeled=()):
    """The predicted class gets a probability that falls from 0.99 with the place, so that the first are the surest."""
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
        (
            {"alpha": 1 / 3},
            [215, 53, 8],
        ),  # 1000 (10 / 1000) ** (1 / 3) is 215.4, 125 (10 / 125) ** (1 / 3) is 53.9
        ({"alpha": 1.0, "least": 200}, [200, 125, 8]),
        ({"alpha": 1.0, "least": 1}, [8, 8, 8]),
        ({"alpha": 0.0, "most": 100}, [100, 100, 8]),
        ({"alpha": 1 / 3, "most": 100}, [100, 53, 8]),
    ],
)
def test_what_each_class_keeps(options, expected):
    scores = scores_of()
    assert counts(Capped(everything, **options)(scores), scores) == expected


def test_the_surest_stay_in_any_order():
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
    assert counts(Capped(everything, alpha=1.0, minor=[0, 1, 2])(scores), scores)[:2] == [10, 10]


def test_no_candidate_no_pick_and_nothing_that_the_rule_did_not_pick():
    nobody = scores_of(np.full(5, 3))
    assert not (Capped(everything)(nobody) & nobody.candidate).any()
    scores = scores_of()
    assert not (Capped(Context(0.1), alpha=0.1)(scores) & ~Context(0.1)(scores)).any()


def test_weights_stay_weights():
    scores = scores_of()
    weights = np.linspace(0.1, 1, N)
    capped = Capped(lambda s: weights, alpha=1.0)(scores)
    assert (
        capped.dtype == float
        and set(capped) <= {0.0, *weights}
        and (capped[:10] == weights[:10]).all()
    )
    assert weights.all()  # the rule's own array stays as it was


@pytest.mark.parametrize("around", [Capped, lambda rule: Capped(Capped(rule))])
def test_an_inner_rule_that_returns_places_is_told_so(around):
    scores = scores_of()
    with pytest.raises(
        ValueError,
        match=r"the rule returned int64 \[3\], but has to return a mask.*np.isin\(np.arange\(1138\), places\)",
    ):
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
