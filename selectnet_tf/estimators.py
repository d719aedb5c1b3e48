"""Classifiers of scikit-learn: made by name, asked in chunks, and kept in files that run no code when they are read.

The files are skops's: a zip of arrays and of the names of types, and a type that isn't known to be harmless is not built.
"""

import concurrent.futures
import importlib
import os
import pathlib
import sys
import warnings
import zipfile
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from selectnet_tf.devices import cores

CHUNK = 65536  # rows
TREES = 50
KNOWN = ("sklearn.tree._tree.Tree", "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor")  # of what `make` names
MADE: dict[str, Callable[[int], Any]] = {
    "forest": lambda seed: RandomForestClassifier(TREES, class_weight="balanced_subsample", random_state=seed, n_jobs=cores()),
    "boosting": lambda seed: HistGradientBoostingClassifier(class_weight="balanced", random_state=seed),
    "logistic": lambda seed: LogisticRegression(class_weight="balanced", max_iter=1000),
}


def make(arch: str, seed: int, own: str | None = None) -> Any:
    """A classifier that is not fitted yet: one of MADE, each of which weighs the classes evenly; or `own`, package.module:Name.

    Name is a class or a function that is called without arguments. What draws at random, and has no seed, gets this one.

    Raises:
        ValueError: there is no such thing, or it gives no probabilities.
    """
    if own is None:
        return MADE[arch](seed)
    module, _, name = own.partition(":")
    if (here := os.getcwd()) not in sys.path:
        sys.path.append(here)
    try:
        made = getattr(importlib.import_module(module), name)()
        drawing = {k: seed for k, v in made.get_params().items() if k.split("__")[-1] == "random_state" and v is None}
        made.set_params(**drawing)
    except Exception as error:  # of somebody else's code
        raise ValueError(f"--estimator={own} can't be made ({type(error).__name__}: {error}): give package.module:Class") from None
    if not hasattr(made, "predict_proba"):
        raise ValueError(f"--estimator={own} has no predict_proba, without which nothing can be selected: give another classifier")
    return made


def fit(model: Any, x: np.ndarray, y: np.ndarray) -> Any:
    """The model, fitted on as many cores as it asks for. It answers on one, because sums have the same bits in one order only."""
    model.fit(x, y)
    if "n_jobs" in model.get_params():
        model.set_params(n_jobs=None)
    return model


def probabilities(models: Sequence[Any], rows: Any, classes: int) -> np.ndarray:
    """[n, classes] float32, the mean over the models, of rows [n, d], an array or Images.

    The same bits on any number of cores, because each chunk is one thread's.
    """
    found = np.zeros((len(rows), classes), np.float32)

    def ask(start: int) -> None:
        some = np.asarray(rows[start : start + CHUNK])
        shares = np.zeros((len(some), classes))
        for model in models:
            shares[:, model.classes_] += model.predict_proba(some)
        found[start : start + CHUNK] = shares / len(models)

    with concurrent.futures.ThreadPoolExecutor(cores()) as threads:
        list(threads.map(ask, range(0, len(rows), CHUNK)))
    return found


def save(path: pathlib.Path, models: Sequence[Any]) -> None:
    """Writes fitted classifiers."""
    import skops.io

    skops.io.dump(list(models), path, compression=zipfile.ZIP_DEFLATED)


def load(path: str | os.PathLike[str], trust: Collection[str] = ()) -> list[Any]:
    """The classifiers that `save` wrote. trust: names of types that it may hold besides scikit-learn's common ones and KNOWN.

    Raises:
        ValueError: no such file, a damaged one, or one that holds a type that is not trusted; one line.
    """
    import skops.io

    try:
        doubtful = [name for name in skops.io.get_untrusted_types(file=pathlib.Path(path)) if name not in (*KNOWN, *trust)]
        if not doubtful:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of another scikit-learn's version: said below where it matters
                return list(skops.io.load(pathlib.Path(path), trusted=[*KNOWN, *trust]))
    except Exception as error:  # what a file lacks makes it raise anything
        raise ValueError(f"{path} can't be read by skops ({type(error).__name__}): take the model.skops that a run left") from None
    raise ValueError(f"{path} holds {doubtful[0]}, which may run code of its own: if you made the file, --trust={','.join(doubtful)}")
