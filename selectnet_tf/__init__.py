"""SelectNet (Liu, Gao, Yang 2019) in Keras 3: learning rare classes from unlabeled images.

pool = sn.Pool(x_labeled, y_labeled, x_unlabeled, minor=[0, 2, 6, 7])
selection = sn.Selection(pool, sn.SelectNet(threshold=0.6), every=10)
history = sn.fit(model, selection, epochs=200)
"""

import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for type checkers and editors, which can't follow __getattr__
    from selectnet_tf.alignment import AlignMinors as AlignMinors
    from selectnet_tf.augment import crop_flip as crop_flip
    from selectnet_tf.augment import shift_flip as shift_flip
    from selectnet_tf.checkpoint import Checkpoint as Checkpoint
    from selectnet_tf.data.splits import make_imbalance as make_imbalance
    from selectnet_tf.loop import fit as fit
    from selectnet_tf.models.losses import PriorCrossentropy as PriorCrossentropy
    from selectnet_tf.models.networks import build as build
    from selectnet_tf.pool import Pool as Pool
    from selectnet_tf.rules import Capped as Capped
    from selectnet_tf.rules import Context as Context
    from selectnet_tf.rules import Random as Random
    from selectnet_tf.rules import Scores as Scores
    from selectnet_tf.rules import SelectNet as SelectNet
    from selectnet_tf.rules import SelfPaced as SelfPaced
    from selectnet_tf.rules import linear as linear
    from selectnet_tf.sampler import LabeledFolds as LabeledFolds
    from selectnet_tf.sampler import SelectionClassifier as SelectionClassifier
    from selectnet_tf.sampler import SelectionSampler as SelectionSampler
    from selectnet_tf.scoring import Scorer as Scorer
    from selectnet_tf.selection import Round as Round
    from selectnet_tf.selection import Selection as Selection

_HOME = {
    "Pool": "pool",
    "Selection": "selection",
    "Round": "selection",
    "Scorer": "scoring",
    "Scores": "rules",
    "SelfPaced": "rules",
    "Context": "rules",
    "SelectNet": "rules",
    "Random": "rules",
    "linear": "rules",
    "fit": "loop",
    "Capped": "rules",
    "AlignMinors": "alignment",
    "PriorCrossentropy": "models.losses",
    "Checkpoint": "checkpoint",
    "shift_flip": "augment",
    "crop_flip": "augment",
    "build": "models.networks",
    "make_imbalance": "data.splits",
    "SelectionSampler": "sampler",
    "SelectionClassifier": "sampler",
    "LabeledFolds": "sampler",
}
__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    """Returns a public name: imported on first use, so that reports and --help start at once."""
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("selectnet_tf")
    if name not in _HOME:
        raise AttributeError(f"module 'selectnet_tf' has no attribute {name!r}")
    found = getattr(importlib.import_module(f"selectnet_tf.{_HOME[name]}"), name)
    if "keras" in sys.modules:
        importlib.import_module("selectnet_tf._backend").check_backend()
    return found


def __dir__() -> list[str]:
    return __all__
