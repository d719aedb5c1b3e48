"""Samples of which some are unlabeled, by scikit-learn's conventions: reading them, and folds that leave them in training."""

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
from imblearn.utils import check_target_type
from scipy import sparse
from sklearn.model_selection import StratifiedKFold
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import check_classification_targets


class LabeledFolds:
    """Stratified folds for cross-validation: unlabeled samples are in every training part and in no test part.

    Args:
        n_splits: how many folds. shuffle, random_state: as in scikit-learn's StratifiedKFold.
    """

    def __init__(self, n_splits: int = 5, *, shuffle: bool = False, random_state: Any = None) -> None:
        self.n_splits, self.shuffle, self.random_state = n_splits, shuffle, random_state

    def split(self, X: Any, y: Any, groups: Any = None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Pairs of positions in X, to train on and to test on. y: [n] classes, -1, NaN or None where unlabeled.

        Scores on the training parts (`return_train_score`) count the unlabeled samples as a class of their own.

        Numbers in an array of objects, which scikit-learn's scores refuse, are a warning.
        """
        codes, classes = given(X, y)[1:3]
        column = y.iloc[:, 0] if isinstance(y, pd.DataFrame) else y
        if np.dtype(object) == getattr(column, "dtype", None) and classes.dtype.kind not in "OSU":
            warnings.warn(
                "y holds numbers as objects, which no score takes: give it a numeric dtype, -1 or NaN where unlabeled", stacklevel=2
            )
        labeled, unlabeled = np.flatnonzero(codes >= 0), np.flatnonzero(codes < 0)
        folds = StratifiedKFold(self.n_splits, shuffle=self.shuffle, random_state=self.random_state)
        for train, test in folds.split(labeled[:, None], codes[labeled]):
            yield np.sort(np.concatenate([labeled[train], unlabeled])), labeled[test]

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        return self.n_splits

    def __repr__(self) -> str:
        return f"LabeledFolds(n_splits={self.n_splits}, shuffle={self.shuffle}, random_state={self.random_state})"


def given(X: Any, y: Any) -> tuple[Any, np.ndarray, np.ndarray, Callable[[np.ndarray, np.ndarray], Any]]:
    """(X as something with a shape, [n] codes of classes, -1 where unlabeled, [m] classes, what gives classes back as y came)."""
    if y is None:
        raise ValueError("this requires y to be passed, but the target y is None")
    rows = X if hasattr(X, "shape") else _array(X)
    if sparse.issparse(X) and X.format not in ("csr", "csc"):
        rows = X.tocsr()
    flat = y.iloc[:, 0] if isinstance(y, pd.DataFrame) and y.shape[1] == 1 else y
    values = flat.astype(object).where(flat.notna(), None).to_numpy() if isinstance(flat, pd.Series) else np.asarray(flat, object)
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
    check_classification_targets(labels)
    classes, found = np.unique(labels, return_inverse=True)
    codes = np.full(len(values), -1)
    codes[labeled] = found

    def give_back(places: np.ndarray, targets: np.ndarray) -> Any:
        if one_hot:
            return like(y, np.eye(np.shape(y)[1], dtype=np.asarray(y).dtype)[classes[targets].astype(int)])
        if isinstance(y, (pd.Series, pd.DataFrame)):
            series = pd.Series(classes[targets], flat.index[places], _kind(classes, flat.dtype), flat.name)
            return series.to_frame() if isinstance(y, pd.DataFrame) else series
        return classes[targets].tolist() if isinstance(y, (list, tuple)) else classes[targets].astype(_kind(classes, np.asarray(y).dtype))

    return rows, codes, classes, give_back


def _array(rows: Any) -> np.ndarray:
    """A list of samples as an array, of objects where texts and numbers stand side by side."""
    found: np.ndarray = np.asarray([] if rows is None else rows)
    if found.dtype.kind not in "US":
        return found
    objects = np.asarray(rows, object)
    return found if len({type(cell) for cell in objects.flat}) < 2 else objects


def _kind(classes: np.ndarray, given: Any) -> Any:
    """The dtype that classes go back in: as given, but for numbers that were objects only because some were None or NaN."""
    return classes.dtype if np.dtype(object) == given and classes.dtype.kind not in "OSU" else given


def like(X: Any, found: Any) -> Any:
    """`found` as the kind of thing that X is."""
    if isinstance(X, (list, tuple)):
        return found.tolist()
    if isinstance(X, pd.DataFrame) and not isinstance(found, pd.DataFrame):
        return pd.DataFrame(found, columns=X.columns)
    return found.asformat(X.format) if sparse.issparse(X) else found
