"""Methods, data sets and their defaults, presets, trainings. Standard library only."""

from typing import Any

PAPER_METHODS = ("imbalanced", "oversampling", "self_paced", "context", "selectnet")
CONTROLS = ("oracle", "class_balanced", "logit_adjusted", "balanced", "random", "candidates")
METHODS = (*PAPER_METHODS, *CONTROLS)
WITH_THRESHOLD = ("self_paced", "context", "selectnet", "balanced", "random")
SELECTING = (*WITH_THRESHOLD, "candidates")
WITH_SELECTOR = ("selectnet", "balanced")  # methods that train f_s
REPRODUCING = ("paper", "released")
PRESETS = (*REPRODUCING, "robust")
TRAININGS = ("sgd", "adam", "keras", "keras_cnn", "cui")
CONSTANT = ("sgd", "adam", "keras_cnn")  # trainings whose rate follows no schedule of epochs

# Section 4.1; the long-tailed minors (the rarer half) are Section 4.4's.
DATASETS: dict[str, dict[str, Any]] = {
    "cifar10-4minor": {"minor": (0, 2, 6, 7), "minor_ratio": 0.01, "major_ratio": 0.9},
    "cifar100-4minor": {"minor": (10, 20, 60, 70), "minor_ratio": 0.05, "major_ratio": 0.9},
    "cifar100-10minor": {
        "minor": (5, 10, 11, 18, 30, 45, 55, 79, 86, 98),
        "minor_ratio": 0.05,
        "major_ratio": 0.9,
    },
    "cifar10-lt": {"minor": tuple(range(5, 10)), "imb_factor": 0.01, "balance": "minor"},
    "cifar100-lt": {"minor": tuple(range(50, 100)), "imb_factor": 0.01, "balance": "minor"},
    "digits-4minor": {
        "minor": (0, 2, 6, 7),
        "minor_ratio": 0.05,
        "major_ratio": 0.9,
        "augment": "shift",
        "shift": 0.1,
    },
    "folder": {"preset": "robust", "minor": ("auto",), "shift": 0.1},
}
RELEASED: dict[str, Any] = {
    "selector_inputs": "probs",
    "labeled_loss": "two_hot",
    "init": "copies",
    "oversample": "copies",
    "selector_fit": "all",
    "selector_init": "normal",
    "selector_lr": 1e-3,
    "selector_epochs": 5,
    "split": "first",
}
ROBUST: dict[str, Any] = {"prior_loss": 1.0}  # of a method that selects, see docs/robust.md
FROZEN = {"lr": 1e-3, "weight_decay": 0.1}  # --freeze on folders by ROBUST, see docs/folders.md
TRAINING: dict[str, dict[str, Any]] = {
    "sgd": {},
    "adam": {"lr": 1e-3},
    "keras": {"lr": 1e-3, "shift": 0.1},
    "keras_cnn": {"lr": 1e-4, "shift": 0.1},
    "cui": {"lr": 0.1, "batch_size": 128, "augment": "crop_flip"},
}
