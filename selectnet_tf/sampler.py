"""A sampler, a classifier and folds for unlabeled samples, by scikit-learn's conventions."""

import copy
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pandas as pd
from imblearn.base import BaseSampler
from imblearn.utils import check_sampling_strategy, check_target_type
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from sklearn.utils import _safe_indexing, check_consistent_length, column_or_1d, get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from selectnet_tf._validate import check_callable, check_whole
from selectnet_tf.rules import Capped, Rule, Scores, SelfPaced, apply_rule

Limits = dict[int, int | None]  # of a minor class's code: its largest number, or None
Strategy = str | float | Sequence[Any] | Mapping[Any, int] | Callable[..., Mapping[Any, int]]


ARGUMENTS = """
    Args:
        estimator: a classifier with `predict_proba`; it is cloned.
        rule: a callable from Scores to a mask, such as SelfPaced, Context or SelectNet; it is
            copied. It sees the sorted classes as 0 to m - 1, but Capped's `minor` takes the classes
            themselves. Context and SelectNet also add labeled candidates once more. None: each
            minor class gains the samples most probable of it, as many as are labeled, but at most
            to half the size of the largest class, and at most those that its share of the labeled
            samples makes expected among the unlabeled ones.
        sampling_strategy: the minor classes: a list, "minority" for the smallest, "auto" or "not
            majority" for all but the largest, "not minority", or "all". Unlike imbalanced-learn, it
            treats classes of one size alike. Or the largest number of each: a dict from class to
            number, a callable from y to one, or, for two classes, the ratio of the smaller to the
            larger; unlabeled samples fill it first.
        rounds: the number of rounds: fit, score, select.
"""


class _Options:
    """The parameters of the sampler and of the classifier."""

    def __init__(
        self,
        estimator: Any,
        rule: Rule | None = None,
        *,
        sampling_strategy: Strategy = "auto",
        rounds: int = 1,
    ) -> None:
        self.estimator, self.rule = estimator, rule
        self.sampling_strategy, self.rounds = sampling_strategy, rounds


class Selected(NamedTuple):
    """One selection of SelectionSampler.

    Attributes:
        candidates: the number of samples predicted as a minor class.
        index: [k] positions in X.
        target: [k] the classes trained on.
        loss: [k] float32, nats.
    """

    candidates: int
    index: np.ndarray  # type: ignore[assignment]  # tuple has a method of this name
    target: np.ndarray
    loss: np.ndarray


class SelectionSampler(_Options, BaseSampler):
    __doc__ = f"""A sampler that adds unlabeled samples, predicted as minor and selected by a rule.

    Algorithm 1 with a classifier that is fitted from scratch each round: first on D as it is, so
    that the probabilities are at the classes' labeled shares, then on D and the added samples.
    Unlabeled samples have the class -1, as in scikit-learn's semi-supervised estimators, NaN or
    None. A warning names a class without added samples, or with over three times those expected.
    {ARGUMENTS}
    Attributes:
        sample_indices_: [k] positions in X of the samples that `fit_resample` returned.
        sampling_strategy_: dict from minor class to its largest number of samples, or None
            without a limit.
        rule_: the rule after the last round.
        history_: the Selected of each round.
    """

    # so that BalancedBaggingClassifier and its like leave sampling_strategy alone
    _sampling_type = "bypass"

    def fit(self, X: Any, y: Any) -> "SelectionSampler":
        """Selects, and stores the positions in `sample_indices_`. Returns self.

        Args:
            X: as in fit_resample.
            y: as in fit_resample.
        """
        self.fit_resample(X, y)
        return self

    def fit_resample(self, X: Any, y: Any, sample_weight: Any = None) -> tuple[Any, Any]:
        """Returns (X, y) of D and the added samples, [k, ...] and [k], in the types given.

        Args:
            X: [n, ...] samples: an array, a data frame, a list or a sparse matrix.
            y: [n] classes; -1, NaN or None where unlabeled.
            sample_weight: [n] weights for the estimator's `fit`, or None.

        Raises:
            ValueError: X and y of different lengths, fewer than two classes, or a minor class
                without a labeled sample.
        """
        rows, codes, classes, restore_labels = _parse_labels(X, y)
        validate_data(self, X, skip_check_array=True)  # sets the number and names of the features
        check_whole("rounds", self.rounds)
        check_consistent_length(rows, sample_weight)
        minor = _parse_strategy(self.sampling_strategy, classes, codes[codes >= 0])
        if self.rule is None:
            sizes = np.bincount(codes[codes >= 0])
            room = np.minimum(sizes, sizes.max() // 2 - sizes)
            full = sizes + np.clip(room, 0, _count_expected(codes))
            minor = {c: int(full[c]) if most is None else most for c, most in minor.items()}
        self.sampling_strategy_ = {classes[code]: most for code, most in minor.items()}
        places, targets = self._select(rows, codes, classes, minor, sample_weight)
        self.sample_indices_ = places
        return _restore_type(X, _safe_indexing(rows, places)), restore_labels(places, targets)

    def _select(
        self, rows: Any, codes: np.ndarray, classes: np.ndarray, minor: Limits, sample_weight: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns (positions in X, class codes) of D and the last round's picks."""
        labeled = np.flatnonzero(codes >= 0)
        places, targets = labeled, codes[labeled]
        self.history_: list[Selected] = []
        if len(labeled) == len(codes):
            warnings.warn(
                "y has no unlabeled sample (-1, NaN or None), so nothing is added: give some, or"
                " leave the sampler out",
                stacklevel=3,
            )
            return places, targets
        if not minor:
            raise ValueError(
                "no class is minor, as where all have equally many labeled samples: name the minor"
                " classes in sampling_strategy"
            )
        self.rule_ = _copy_rule(self.rule, classes)
        for round in range(self.rounds):
            chosen = _safe_indexing(rows, places)
            model = _fit(self.estimator, chosen, classes[targets], sample_weight, places)
            probs = np.zeros((len(codes), len(classes)), np.float32)
            own = getattr(model, "classes_", classes)  # the order of the columns
            probs[:, np.searchsorted(classes, own)] = model.predict_proba(rows)
            # by default a sample may be added that is likelier of a class than most, if not likely
            shares = np.bincount(targets) if self.rule is None else 1
            found = self._round(probs, (probs / shares).argmax(1), codes, minor, round)
            self.history_.append(found._replace(target=classes[found.target]))
            places = np.concatenate([labeled, found.index])
            targets = np.concatenate([codes[labeled], found.target])
        for c, most in minor.items():
            added, expected = (targets[codes[places] < 0] == c).sum(), _count_expected(codes)[c]
            if not added or (most is None and added > 3 * expected):
                warnings.warn(
                    f"class {classes[c]}: {added} unlabeled samples were added, but {expected} are"
                    " expected by its share of the labeled ones: give its largest number in"
                    " sampling_strategy, or another rule",
                    stacklevel=3,
                )
        return places, targets

    def _round(
        self, probs: np.ndarray, predicted: np.ndarray, codes: np.ndarray, minor: Limits, round: int
    ) -> Selected:
        """Returns one selection, with class codes as targets."""
        prob = np.take_along_axis(probs, predicted[:, None], 1)[:, 0]
        loss = -np.log(np.clip(prob, 1e-7, 1)).astype(np.float32)  # eq. (3), of `predicted`
        candidate = np.isin(predicted, list(minor))
        scores = Scores(probs, loss, codes >= 0, candidate, round)
        mask = apply_rule(self.rule_(scores), scores)
        if mask.dtype != bool:
            raise ValueError(
                "the rule returns weights, but has to return a mask here: use another rule, such as"
                " SelectNet(soft=False)"
            )
        target = np.where(codes >= 0, codes, predicted)
        index = np.flatnonzero(mask)
        for c, most in minor.items():
            here = index[target[index] == c]
            if most is not None:
                room = max(most - int((codes == c).sum()), 0)
                order = np.lexsort((loss[here], codes[here] >= 0))  # unlabeled ones first
                index = np.setdiff1d(index, here[order[room:]])
        return Selected(int(candidate.sum()), index, target[index], loss[index])

    def _fit_resample(self, X: Any, y: Any) -> tuple[Any, Any]:
        return self.fit_resample(X, y)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.sampler_tags.sample_indices = True
        tags.input_tags.allow_nan = tags.input_tags.string = True
        return tags


class SelectionClassifier(_Options, ClassifierMixin, MetaEstimatorMixin, BaseEstimator):
    __doc__ = f"""A classifier for labeled and unlabeled samples, fitted by SelectionSampler.

    Unlike SelfTrainingClassifier, it adds samples to the minor classes alone. Unlabeled samples
    have the class -1, NaN or None.
    {ARGUMENTS}
    Attributes:
        estimator_: the fitted classifier.
        sampler_: the SelectionSampler, with its `sample_indices_` and `history_`.
        classes_: [m] the classes.
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "SelectionClassifier":
        """Fits the sampler, and the estimator on its samples. Returns self.

        Args:
            X: [n, ...] samples.
            y: [n] classes; -1, NaN or None where unlabeled.
            sample_weight: [n] weights for the estimator's `fit`, or None.
        """
        self.sampler_ = SelectionSampler(**self.get_params(deep=False))
        rows, classes = self.sampler_.fit_resample(X, y, sample_weight)
        places = self.sampler_.sample_indices_
        self.estimator_ = _fit(self.estimator, rows, classes, sample_weight, places)
        self.classes_ = getattr(self.estimator_, "classes_", np.unique(classes))
        validate_data(self, X, skip_check_array=True)
        return self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = get_tags(self.estimator).input_tags.sparse
        return tags

    def predict(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        return np.asarray(self.estimator_.predict(X))

    def predict_proba(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        return np.asarray(self.estimator_.predict_proba(X))

    @available_if(lambda self: hasattr(self.estimator, "predict_log_proba"))  # type: ignore[untyped-decorator]
    def predict_log_proba(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        return np.asarray(self.estimator_.predict_log_proba(X))

    @available_if(lambda self: hasattr(self.estimator, "decision_function"))  # type: ignore[untyped-decorator]
    def decision_function(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        return np.asarray(self.estimator_.decision_function(X))


class LabeledFolds(StratifiedKFold):
    """Stratified folds with the unlabeled samples in every training part and in no test part.

    `n_splits`, `shuffle` and `random_state` are those of scikit-learn's StratifiedKFold.
    """

    __metadata_request__split: ClassVar = {"groups": True}  # as of GroupKFold

    def split(self, X: Any, y: Any, groups: Any = None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields (training positions, test positions) in X of each fold.

        Training scores (`return_train_score`) count the unlabeled samples as a class of their own.
        Warns of numbers in an array of objects, which scikit-learn's scores refuse, and of a y
        without unlabeled samples.

        Args:
            X: [n, ...] samples.
            y: [n] classes; -1, NaN or None where unlabeled.
            groups: [n] groups, each in one part alone, as in StratifiedGroupKFold, or None. Missing
                ones (NaN, None) are one group.
        """
        codes, classes = _parse_labels(X, y)[1:3]
        column = y.iloc[:, 0] if isinstance(y, pd.DataFrame) else y
        if np.dtype(object) == getattr(column, "dtype", None) and classes.dtype.kind not in "OSU":
            warnings.warn(
                "y holds numbers as objects, which no score accepts: give it a numeric dtype, -1 or"
                " NaN where unlabeled",
                stacklevel=2,
            )
        if (codes >= 0).all():
            warnings.warn(
                "y has no unlabeled sample (-1, NaN or None): StackingClassifier and others replace"
                ' -1 by a class, so fit its members before and give it cv="prefit"',
                stacklevel=2,
            )
        check_consistent_length(codes, groups)
        labeled = np.flatnonzero(codes >= 0)
        group = np.arange(len(codes))
        if groups is not None:
            group = pd.factorize(np.asarray(groups), sort=True, use_na_sentinel=False)[0]
        folds = super().split(labeled[:, None], codes[labeled])
        if groups is not None:
            state = self.random_state if self.shuffle else None
            kind = StratifiedGroupKFold(self.n_splits, shuffle=self.shuffle, random_state=state)
            folds = kind.split(labeled[:, None], codes[labeled], group[labeled])
        for _, test in folds:
            yield np.flatnonzero(~np.isin(group, group[labeled[test]])), labeled[test]


def _parse_labels(
    X: Any, y: Any
) -> tuple[Any, np.ndarray, np.ndarray, Callable[[np.ndarray, np.ndarray], Any]]:
    """Returns X with a shape, class codes [n] (-1: unlabeled), classes [m], the inverse mapping."""
    if y is None:
        raise ValueError("this requires y to be passed, but the target y is None")
    rows = X if hasattr(X, "shape") else _to_array(X)
    if sparse.issparse(X) and X.format not in ("csr", "csc"):
        rows = X.tocsr()
    flat = y.iloc[:, 0] if isinstance(y, pd.DataFrame) and y.shape[1] == 1 else y
    values: Any
    if isinstance(flat, pd.Series):
        values = flat.astype(object).where(flat.notna(), None).to_numpy()
    else:
        values = np.asarray(flat, object)
    one_hot = values.ndim == 2 and values.shape[1] > 1
    if one_hot:  # a row of zeros is unlabeled
        table = np.asarray(y)
        classes: Any = check_target_type(table)
        values = np.where(table.any(1), classes, np.array(None, object))
    values = column_or_1d(values, warn=True)
    if len(values) != rows.shape[0]:
        raise ValueError(f"X has {rows.shape[0]} samples, but y has {len(values)} classes")
    labeled = ~(pd.isna(values) | np.isin(values.astype(str), ("-1", "-1.0")))
    labels = np.array(values[labeled].tolist())
    if labels.dtype.kind == "U" and not all(isinstance(label, str) for label in values[labeled]):
        raise ValueError("y holds texts and numbers: give one kind, and -1, NaN or None for none")
    check_classification_targets(labels)
    classes, found = np.unique(labels, return_inverse=True)
    codes = np.full(len(values), -1)
    codes[labeled] = found

    def restore_labels(places: np.ndarray, targets: np.ndarray) -> Any:
        labels = classes[targets]
        if one_hot:
            table = np.asarray(y)
            rows = np.eye(table.shape[1], dtype=table.dtype)[labels.astype(int)]
            if isinstance(y, pd.DataFrame):
                return pd.DataFrame(rows, y.index[places], y.columns)
            return _restore_type(y, rows)
        if isinstance(y, (pd.Series, pd.DataFrame)):
            dtype = _label_dtype(classes, flat.dtype)
            series = pd.Series(labels, flat.index[places], dtype, flat.name)
            return series.to_frame() if isinstance(y, pd.DataFrame) else series
        if isinstance(y, (list, tuple)):
            return labels.tolist()
        return labels.astype(_label_dtype(classes, np.asarray(y).dtype))

    return rows, codes, classes, restore_labels


def _to_array(rows: Any) -> np.ndarray:
    """Returns a list of samples as an array, of objects for texts beside numbers."""
    found: np.ndarray = np.asarray([] if rows is None else rows)
    if found.dtype.kind not in "US":
        return found
    objects = np.asarray(rows, object)
    return found if len({type(cell) for cell in objects.flat}) < 2 else objects


def _label_dtype(classes: np.ndarray, given: Any) -> Any:
    """Returns the given dtype, or the classes' for numbers that were objects beside None."""
    return classes.dtype if np.dtype(object) == given and classes.dtype.kind not in "OSU" else given


def _restore_type(X: Any, found: Any) -> Any:
    """Returns `found` in the type of X."""
    if isinstance(X, (list, tuple)):
        return found.tolist()
    return found.asformat(X.format) if sparse.issparse(X) else found


def _parse_strategy(strategy: Strategy, classes: np.ndarray, codes: np.ndarray) -> Limits:
    """Returns {code of a minor class: its largest number of samples, None without a limit}.

    Args:
        strategy: the argument sampling_strategy.
        classes: [m] the sorted classes.
        codes: [n_labeled] codes of the labeled samples.
    """
    if len(classes) < 2:
        raise ValueError(
            f"labeled samples are of {len(classes)} class, but have to be of two or more: give some"
            " of another (-1 means unlabeled)"
        )
    y, wanted = classes[codes], dict[Any, int | None]()
    if isinstance(strategy, str):
        wanted = dict.fromkeys(_classes_by_size(strategy, classes, np.bincount(codes)))
    elif isinstance(strategy, (Mapping, float, int, np.number)) or callable(strategy):
        more = check_sampling_strategy(strategy, y, "over-sampling")
        wanted = {c: int(n) + int((y == c).sum()) for c, n in more.items()}
    else:
        wanted = dict.fromkeys(() if strategy is None else strategy)
    return dict(zip(_encode_classes(wanted, classes), wanted.values(), strict=True))


def _encode_classes(wanted: Iterable[Any], classes: np.ndarray) -> list[int]:
    """Returns the codes of classes, their positions in classes [m]."""
    unknown = [c for c in wanted if c not in classes]
    if unknown:
        raise ValueError(
            f"minor class {unknown[0]!r} has no labeled sample: the classes are"
            f" {', '.join(map(repr, classes.tolist()))}"
        )
    return [int(np.flatnonzero(classes == c)[0]) for c in wanted]


def _classes_by_size(word: str, classes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Returns the minor classes by a word; where all are of one size, only "all" names some.

    Args:
        word: a value of sampling_strategy.
        classes: [m].
        sizes: [m] labeled samples of each.
    """
    below, above = sizes < sizes.max(), sizes > sizes.min()
    named = {
        "auto": below,
        "not majority": below,
        "minority": below & ~above,
        "not minority": above,
        "all": sizes > 0,
    }
    if word not in named:
        raise ValueError(
            f"sampling_strategy is {word!r}, but has to be {', '.join(map(repr, named))} or a list"
            " of the minor classes"
        )
    return np.asarray(classes[named[word]])


def _count_expected(codes: np.ndarray) -> Any:
    """Returns [m] unlabeled samples of each class, if they have the labeled ones' shares."""
    sizes = np.bincount(codes[codes >= 0])
    return np.ceil(sizes / sizes.sum() * (codes < 0).sum()).astype(int)


def _fit(estimator: Any, rows: Any, y: Any, sample_weight: Any, places: np.ndarray) -> Any:
    """Returns a clone, fitted on rows, whose positions in sample_weight are places."""
    if sample_weight is None:
        return clone(estimator).fit(rows, y)
    return clone(estimator).fit(rows, y, sample_weight=np.asarray(sample_weight)[places])


def _copy_rule(rule: Rule | None, classes: np.ndarray) -> Any:
    """Returns a copy of the rule, reset, with class codes as Capped's minor classes."""
    check_callable("rule", rule, "sn.Context()")
    inner = found = SelfPaced(np.inf) if rule is None else copy.deepcopy(rule)
    while isinstance(inner, Capped):
        if (minor := inner.list_minor()) is not None:
            inner.minor = _encode_classes(minor, classes)
        inner = inner.rule
    if getattr(inner, "features", False):
        cure = "give inputs='probs+loss'" if "inputs" in vars(inner) else "use another rule"
        raise ValueError(
            f"{type(inner).__name__} reads a network's features, but a scikit-learn classifier has"
            f" none: {cure}"
        )
    if hasattr(found, "reset"):
        found.reset()
    return found
