"""The selection with any scikit-learn classifier, by scikit-learn's and imbalanced-learn's conventions. Needs no TensorFlow."""

import copy
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from imblearn.base import BaseSampler
from imblearn.over_sampling import RandomOverSampler
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.utils import _safe_indexing, check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from selectnet_tf import strategies
from selectnet_tf.capped import Capped
from selectnet_tf.ranges import check_whole
from selectnet_tf.rules import Context, Scores, picks
from selectnet_tf.strategies import Strategy
from selectnet_tf.unlabeled import given, like

ARGUMENTS = """
    Args:
        estimator: a classifier with `predict_proba`; it is cloned, never changed.
        rule: a callable from Scores to a mask, such as SelfPaced, Context or SelectNet; it is copied, never changed.
            None: Context(0.6 ln(m) / ln(10)) for m classes. It sees the sorted classes as 0 to m - 1; Capped's `minor` names them.
        sampling_strategy: the minor classes: a list of them, "minority" for the smallest alone, or "auto" for all that have fewer
            samples than the largest ("not majority"), "not minority", "all". Classes of one size are alike, where imbalanced-learn
            takes one of them. Or how many of them to have at most: a dict from class to number, a callable from y to that, or, for
            two classes, the ratio of the smaller to the larger.
        rounds: how often to fit, score and select.
        random_state: int, RandomState or None: of the first round's balance.
"""


class Selected(NamedTuple):
    """One selection: candidates: size of D'; index, target, loss: [k] positions in X, the classes trained on, nats."""

    candidates: int
    index: np.ndarray  # type: ignore[assignment]  # tuple has a method of this name
    target: np.ndarray
    loss: np.ndarray


class SelectionSampler(BaseSampler):
    __doc__ = f"""Adds those unlabeled samples to the labeled ones that a classifier takes for a minor class and a rule trusts.

    Algorithm 1 with a classifier that is fitted anew each round: first on D, balanced with replacement, from then on on D
    and what was picked. Unlabeled samples have the class -1, as in scikit-learn's semi-supervised estimators, NaN or None.
    {ARGUMENTS}
    Attributes:
        sample_indices_: [k] positions in X of the samples that `fit_resample` returned.
        sampling_strategy_: from each minor class to how many of it there are to be at most, None without a limit.
        rule_: the rule as it was after the last round.
        history_: the Selected of each round.
    """

    _sampling_type = "bypass"  # BalancedBaggingClassifier and its kind leave sampling_strategy alone

    def __init__(
        self, estimator: Any, rule: Callable[[Scores], np.ndarray] | None = None, *, sampling_strategy: Strategy = "auto",
        rounds: int = 1, random_state: Any = 0,
    ) -> None:  # fmt: skip
        self.estimator, self.rule = estimator, rule
        self.sampling_strategy, self.rounds, self.random_state = sampling_strategy, rounds, random_state

    def fit(self, X: Any, y: Any) -> "SelectionSampler":
        """Selects, and keeps what was selected in `sample_indices_`."""
        self.fit_resample(X, y)
        return self

    def fit_resample(self, X: Any, y: Any) -> tuple[Any, Any]:
        """X: [n, ...] samples (array, data frame, list or sparse); y: [n] classes, -1, NaN or None where unlabeled.

        Returns:
            (X, y) of D and behind it D_add, [k, ...] and [k]: what `sample_indices_` names, with the classes to train on;
            each of the kind that was given.

        Raises:
            ValueError: X and y of different lengths, one class alone, or a minor class without a labeled sample.
        """
        rows, codes, classes, give_back = given(X, y)
        self._note_features(X, rows)
        check_whole("rounds", self.rounds)
        minor = strategies.minor(self.sampling_strategy, classes, codes[codes >= 0])
        self.sampling_strategy_ = {classes[code]: most for code, most in minor.items()}
        places, targets = self._select(rows, codes, classes, minor)
        self.sample_indices_ = places
        return like(X, _safe_indexing(rows, places)), give_back(places, targets)

    def _select(self, rows: Any, codes: np.ndarray, classes: np.ndarray, minor: dict[int, int | None]) -> tuple[np.ndarray, np.ndarray]:
        """(positions in X, codes of classes) of D and of what was picked in the last round."""
        labeled = np.flatnonzero(codes >= 0)
        self.history_: list[Selected] = []
        if len(labeled) == len(codes):
            warnings.warn("nothing is unlabeled (of class -1, NaN or None), so there is nothing to select from", stacklevel=3)
            return labeled, codes
        if not minor:
            raise ValueError("no class is minor, as where all have as many labeled samples: name the minor ones in sampling_strategy")
        self.rule_ = _fresh(self.rule, classes)
        balance = RandomOverSampler(random_state=check_random_state(self.random_state))
        places = np.ravel(balance.fit_resample(labeled[:, None], codes[labeled])[0])
        targets = codes[places]
        for round in range(self.rounds):
            model = clone(self.estimator).fit(_safe_indexing(rows, places), classes[targets])
            probs = np.zeros((len(codes), len(classes)), np.float32)
            own = getattr(model, "classes_", classes)  # the columns, in whatever order
            probs[:, np.searchsorted(classes, own)] = model.predict_proba(rows)
            found = self._round(probs, codes, minor, round)
            self.history_.append(found._replace(target=classes[found.target]))
            places, targets = np.concatenate([labeled, found.index]), np.concatenate([codes[labeled], found.target])
        return places, targets

    def _round(self, probs: np.ndarray, codes: np.ndarray, minor: dict[int, int | None], round: int) -> Selected:
        predicted = probs.argmax(1)
        loss = -np.log(np.clip(probs.max(1), 1e-7, 1)).astype(np.float32)  # eq. (3), of the predicted class
        candidate = np.isin(predicted, list(minor))
        scores = Scores(probs, loss, codes >= 0, candidate, round)
        mask = picks(self.rule_(scores), scores)
        if mask.dtype != bool:
            raise ValueError("the rule gives weights, but samples are picked or not: use one that returns a mask")
        target = np.where(codes >= 0, codes, predicted)
        index = np.flatnonzero(mask)
        for c, most in minor.items():
            here = index[target[index] == c]
            if most is not None:
                room = max(most - int((codes == c).sum()), 0)
                index = np.setdiff1d(index, here[np.argsort(loss[here], kind="stable")[room:]])
        return Selected(int(candidate.sum()), index, target[index], loss[index])

    def _note_features(self, X: Any, rows: Any) -> None:
        names = getattr(X, "columns", None)
        self.n_features_in_ = int(rows.shape[1]) if len(rows.shape) > 1 else 1
        if names is not None and all(isinstance(name, str) for name in names):
            self.feature_names_in_ = np.asarray(names, dtype=object)
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_

    def _fit_resample(self, X: Any, y: Any) -> tuple[Any, Any]:
        return self.fit_resample(X, y)

    def _more_tags(self) -> dict[str, Any]:
        return {**super()._more_tags(), "sample_indices": True}

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.sampler_tags.sample_indices = True
        tags.input_tags.allow_nan = tags.input_tags.string = True
        return tags


class SelectionClassifier(ClassifierMixin, MetaEstimatorMixin, BaseEstimator):
    __doc__ = f"""A classifier of labeled and unlabeled samples together: what is fitted on D and what SelectionSampler adds.

    What SelfTrainingClassifier is for every class, this is for the minor ones: unlabeled samples have the class -1, NaN or None.
    {ARGUMENTS}
    Attributes:
        estimator_: the fitted classifier. sampler_: the SelectionSampler, with its `sample_indices_` and `history_`.
        classes_: [m] the classes.
    """

    def __init__(
        self, estimator: Any, rule: Callable[[Scores], np.ndarray] | None = None, *, sampling_strategy: Strategy = "auto",
        rounds: int = 1, random_state: Any = 0,
    ) -> None:  # fmt: skip
        self.estimator, self.rule = estimator, rule
        self.sampling_strategy, self.rounds, self.random_state = sampling_strategy, rounds, random_state

    def fit(self, X: Any, y: Any) -> "SelectionClassifier":
        """X: [n, ...] samples; y: [n] classes, -1, NaN or None where unlabeled."""
        options = {"sampling_strategy": self.sampling_strategy, "rounds": self.rounds, "random_state": self.random_state}
        self.sampler_ = SelectionSampler(self.estimator, self.rule, **options)
        rows, classes = self.sampler_.fit_resample(X, y)
        self.estimator_ = clone(self.estimator).fit(rows, classes)
        self.classes_ = getattr(self.estimator_, "classes_", np.unique(classes))
        for name in ("n_features_in_", "feature_names_in_"):
            self.__dict__.pop(name, None)  # of an earlier fit
            if hasattr(self.sampler_, name):
                setattr(self, name, getattr(self.sampler_, name))
        return self

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import get_tags  # of 1.6 on, which alone asks

        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = get_tags(self.estimator).input_tags.sparse
        return tags

    def predict(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        return np.asarray(self.estimator_.predict(X))

    def predict_proba(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        return np.asarray(self.estimator_.predict_proba(X))

    @available_if(lambda self: hasattr(self.estimator, "decision_function"))  # type: ignore[untyped-decorator]
    def decision_function(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        return np.asarray(self.estimator_.decision_function(X))


def _fresh(rule: Callable[[Scores], np.ndarray] | None, classes: np.ndarray) -> Any:
    """A copy of the rule that has learned nothing yet, and whose minor classes are codes."""
    if rule is not None and not callable(rule):
        raise ValueError(f"rule is {rule!r}, but has to be a callable from Scores to a mask, such as Context()")
    found: Any = Context(0.6 * np.log(len(classes)) / np.log(10)) if rule is None else copy.deepcopy(rule)
    inner = found
    while isinstance(inner, Capped):
        if inner.minor is not None:
            inner.minor = strategies.codes_of(inner.minor, classes)
        inner = inner.rule
    if getattr(inner, "features", False):
        cure = "give inputs='probs+loss'" if "inputs" in vars(inner) else "take another rule"
        raise ValueError(f"{type(inner).__name__} reads a network's features, which a scikit-learn classifier has none of: {cure}")
    if hasattr(found, "reset"):
        found.reset()
    return found
