"""SelectNet: learning to sample from the wild for imbalanced data training (Liu, Gao, Yang 2019), in Keras 3.

pool = sn.Pool(x_labeled, y_labeled, x_unlabeled, minor=[0, 2, 6, 7])
selection = sn.Selection(pool, sn.SelectNet(threshold=0.6), every=10)
history = sn.fit(model, selection, epochs=200)
"""

import importlib

_HOME = {
    "Pool": "pool", "Selection": "selection", "Round": "selection", "Scorer": "selection", "Scores": "rules",
    "SelfPaced": "rules", "Context": "rules", "SelectNet": "rules", "linear": "rules", "fit": "rounds",
    "Checkpoint": "checkpoint", "shift_flip": "augment", "crop_flip": "augment",
    "build": "networks.models", "make_imbalance": "data.splits", "SelectionSampler": "sampler",
    "SelectionClassifier": "sampler", "LabeledFolds": "unlabeled",
}  # fmt: skip
__all__ = list(_HOME)


def __getattr__(name):
    """Imports TensorFlow only when a name is used, so that reports and --help answer at once."""
    if name in _HOME:
        return getattr(importlib.import_module(f"selectnet_tf.{_HOME[name]}"), name)
    raise AttributeError(f"module 'selectnet_tf' has no attribute {name!r}")


def __dir__():
    return __all__
