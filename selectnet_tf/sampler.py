"""The selection with any scikit-learn classifier, as a resampler by imbalanced-learn's conventions."""

import numpy as np
from imblearn.utils import check_sampling_strategy
from sklearn.base import BaseEstimator, clone
from sklearn.utils import _safe_indexing

from selectnet_tf.pool import Pool
from selectnet_tf.selection import Selection


class SelectionSampler(BaseEstimator):
    """Adds those unlabeled samples to the labeled ones that a classifier takes for a minor class and a rule trusts.

    Algorithm 1 with a classifier that is fitted anew each round: first on D, balanced with replacement, from then on on D
    and what was picked. Unlabeled samples have the class -1, as in scikit-learn's semi-supervised estimators.

    Args:
        estimator: a classifier with `predict_proba`; it is cloned, never changed.
        rule: a callable from Scores to a mask, such as SelfPaced, Context or SelectNet.
        sampling_strategy: the minor classes: a list of them, "minority" for the smallest alone, or "auto" for all that
            have fewer samples than the largest ("not majority").
        rounds: how often to fit, score and select.
        random_state: int, seed of the first round's balance.

    Attributes:
        sample_indices_: [k] positions in X of the samples that `fit_resample` returned.
        history_: the Round of each selection; its positions count D first.
    """

    def __init__(self, estimator, rule, *, sampling_strategy="auto", rounds=1, random_state=0):
        self.estimator, self.rule = estimator, rule
        self.sampling_strategy, self.rounds, self.random_state = sampling_strategy, rounds, random_state

    def fit_resample(self, X, y):
        """X: [n, ...] samples (array, data frame or sparse); y: [n] classes, -1 where unlabeled.

        Returns:
            (X, y) of D and behind it D_add, [k, ...] and [k]: what `sample_indices_` names, with the classes to train on.

        Raises:
            ValueError: nothing unlabeled, or a minor class without a labeled sample.
        """
        y = np.asarray(y)
        unlabeled = y.astype(str) == "-1"
        places = np.concatenate([np.flatnonzero(~unlabeled), np.flatnonzero(unlabeled)])  # of the pool, in X
        classes, labels = np.unique(y[~unlabeled], return_inverse=True)
        minor = [self._class(classes, c) for c in self._minor(y[~unlabeled])]
        pool = Pool(places[: len(labels)], labels, places[len(labels) :], minor, self.random_state or 0)
        selection = Selection(pool, self.rule, every=1, from_logits=False, on_round=lambda _: None)
        selection.reset()
        self.history_ = []
        for round in range(self.rounds):
            rows = places[pool.index]
            classifier = clone(self.estimator).fit(_safe_indexing(X, rows), classes[pool.targets])
            probs = np.asarray(classifier.predict_proba(_safe_indexing(X, places)), np.float32)
            selection.scorer = lambda probs=probs: (probs, None)
            self.history_.append(selection.select(round + 1))
        self.sample_indices_ = places[pool.index]
        return _safe_indexing(X, self.sample_indices_), classes[pool.targets]

    def _minor(self, y):
        if not isinstance(self.sampling_strategy, str):
            return list(self.sampling_strategy)
        return [c for c, missing in check_sampling_strategy(self.sampling_strategy, y, "over-sampling").items() if missing]

    @staticmethod
    def _class(classes, wanted):
        found = np.flatnonzero(classes == wanted)
        if not len(found):
            raise ValueError(f"minor class {wanted!r} has no labeled sample: the classes are {', '.join(map(str, classes))}")
        return int(found[0])
