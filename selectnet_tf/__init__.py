"""SelectNet: learning to sample from the wild for imbalanced data training (Liu, Gao, Yang 2019), in Keras 3.

pool = sn.Pool(x_labeled, y_labeled, x_unlabeled, minor=[0, 2, 6, 7])
selection = sn.Selection(pool, sn.SelectNet(threshold=0.6), every=10)
history = sn.fit(model, selection, epochs=200)
"""

import importlib
import sys
from typing import Any

_HOME = {
    "Pool": "pool", "Selection": "selection", "Round": "history", "Scorer": "scoring", "Scores": "rules",
    "SelfPaced": "rules", "Context": "rules", "SelectNet": "rules", "linear": "rules", "fit": "rounds",
    "Capped": "capped", "AlignMinors": "minors", "PriorCrossentropy": "networks.losses",
    "Checkpoint": "checkpoint", "shift_flip": "augment", "crop_flip": "augment",
    "build": "networks.models", "make_imbalance": "data.splits", "SelectionSampler": "sampler",
    "SelectionClassifier": "sampler", "LabeledFolds": "unlabeled",
}  # fmt: skip
__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    """Imports TensorFlow only when a name is used, so that reports and --help answer at once."""
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("selectnet_tf")
    if name not in _HOME:
        raise AttributeError(f"module 'selectnet_tf' has no attribute {name!r}")
    found = getattr(importlib.import_module(f"selectnet_tf.{_HOME[name]}"), name)
    if "keras" in sys.modules:
        importlib.import_module("selectnet_tf.rounds").check_backend()
    return found


def __dir__() -> list[str]:
    return __all__
