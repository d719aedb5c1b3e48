"""scikit-learn's classifiers, imbalanced-learn's conventions."""

import numpy as np
import pandas
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import selectnet_tf as sn

DIGITS, CLASSES = load_digits(return_X_y=True)


def semi_supervised(seed=0):
    """Digits with 8 labeled zeros and sixes, the others' labels -1, in a random order; (X, y, true classes)."""
    xl, yl, xu, yu = sn.make_imbalance(DIGITS[:1000], CLASSES[:1000], sampling_strategy={0: 8, 6: 8}, random_state=seed)
    order = np.random.default_rng(1).permutation(len(yl) + len(yu))
    y = np.concatenate([yl, np.full(len(yu), -1)])[order]
    return np.concatenate([xl, xu])[order], y, np.concatenate([yl, yu])[order]


def sampler(**options):
    options = {"sampling_strategy": [0, 6], "rounds": 3} | options
    return sn.SelectionSampler(make_pipeline(StandardScaler(), LogisticRegression(max_iter=300)), sn.Context(0.6), **options)


@pytest.mark.parametrize("frame", [False, True])
def test_it_adds_unlabeled_samples_of_the_minor_classes(frame):
    x, y, truth = semi_supervised()
    made = sampler()
    more, classes = made.fit_resample(pandas.DataFrame(x) if frame else x, y)
    index = made.sample_indices_
    assert isinstance(more, pandas.DataFrame) == frame and np.array_equal(np.asarray(more), x[index])
    labeled = y[index] >= 0
    assert np.array_equal(classes[labeled], y[index][labeled])
    assert set(index[labeled]) == set(np.flatnonzero(y >= 0))  # all of D stays
    added = classes[~labeled]
    assert len(added) > 100 and set(added) == {0, 6} and (added == truth[index][~labeled]).mean() > 0.95
    assert len(made.history_) == 3


def test_a_seed_decides_and_the_estimator_stays_unfitted():
    x, y, _ = semi_supervised()
    a, b = sampler(random_state=1), clone(sampler(random_state=1))
    a.fit_resample(x, y)
    b.fit_resample(x, y)
    assert np.array_equal(a.sample_indices_, b.sample_indices_)
    assert not hasattr(a.estimator[-1], "coef_")


def test_minor_classes_by_imbalanced_learn_s_words():
    x, y, _ = semi_supervised()
    names = np.array([*"abcdefghij"])[y].astype(object)
    names[y < 0] = -1
    made = sampler(sampling_strategy=["g"], rounds=1)
    _, classes = made.fit_resample(x, names)
    assert set(classes[np.asarray(y)[made.sample_indices_] < 0]) == {"g"}
    made = sampler(sampling_strategy="auto", rounds=1)
    made.fit_resample(x, y)
    assert len(set(made.history_[0].target)) > 2  # all but the largest class
    with pytest.raises(ValueError, match="minor class 77 has no labeled sample"):
        sampler(sampling_strategy=[77]).fit_resample(x, y)
    with pytest.raises(ValueError, match="no unlabeled"):
        sampler().fit_resample(x[y >= 0], y[y >= 0])


def test_make_imbalance_keeps_what_it_is_told_and_pools_the_rest():
    y = np.repeat([0, 1, 2], 10)
    x = np.arange(30)[:, None]
    xl, yl, xu, yu = sn.make_imbalance(x, y, sampling_strategy={1: 3}, random_state=2)
    assert np.bincount(yl).tolist() == [10, 3, 10] and yu.tolist() == [1] * 7
    assert sorted([*xl[:, 0], *xu[:, 0]]) == list(range(30)) and np.array_equal(y[xl[:, 0]], yl)
    again = sn.make_imbalance(x, y, sampling_strategy=lambda y: {1: 3}, random_state=2)
    other = sn.make_imbalance(x, y, sampling_strategy={1: 3}, random_state=3)
    assert np.array_equal(again[0], xl) and not np.array_equal(other[0], xl)
    for wrong in ({1: 11}, {5: 1}, {0: 0}):
        with pytest.raises(ValueError, match="sampling_strategy asks for"):
            sn.make_imbalance(x, y, sampling_strategy=wrong)
