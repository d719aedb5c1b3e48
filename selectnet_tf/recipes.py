"""Which run: the frozen Recipe, its two presets and the data sets' defaults. Standard library only, so that --help is instant.

A Recipe's fields are the command line's flags, recipe.json and the first columns of runs.csv.
"""

import dataclasses
import difflib
import hashlib
import json
import math
import re
from typing import Any

from selectnet_tf.archs import APPLICATIONS, check_arch

METHODS = ("imbalanced", "oversampling", "self_paced", "context", "selectnet", "oracle", "class_balanced")
SELECTING = ("self_paced", "context", "selectnet")
PRESETS = ("paper", "released")
TRAININGS = ("sgd", "keras", "keras_cnn", "cui")

# Section 4.1; the long-tailed minors (the rarer half) are Section 4.4's.
DATASETS: dict[str, dict[str, Any]] = {
    "cifar10-4minor": {"minor": (0, 2, 6, 7), "minor_ratio": 0.01, "major_ratio": 0.9},
    "cifar100-4minor": {"minor": (10, 20, 60, 70), "minor_ratio": 0.05, "major_ratio": 0.9},
    "cifar100-10minor": {"minor": (5, 10, 11, 18, 30, 45, 55, 79, 86, 98), "minor_ratio": 0.05, "major_ratio": 0.9},
    "cifar10-lt": {"minor": tuple(range(5, 10)), "imb_factor": 0.01},
    "cifar100-lt": {"minor": tuple(range(50, 100)), "imb_factor": 0.01},
    "digits-4minor": {"minor": (0, 2, 6, 7), "minor_ratio": 0.05, "major_ratio": 0.9, "augment": "shift", "shift": 0.1},
    "folder": {"minor": ("auto",), "shift": 0.1},
    "csv": {"minor": ("auto",), "arch": "mlp", "augment": "none"},
}
OWN_FIELDS = {  # of data of one's own
    "folder": ("labeled_dir", "unlabeled_dir", "test_dir", "image_size"),
    "csv": ("labeled_csv", "unlabeled_csv", "test_csv", "label_column"),
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
TRAINING: dict[str, dict[str, Any]] = {
    "sgd": {},
    "keras": {"lr": 1e-3, "shift": 0.1},
    "keras_cnn": {"lr": 1e-4, "shift": 0.1},
    "cui": {"lr": 0.1, "batch_size": 128, "augment": "crop_flip"},
}


def _field(default: Any, help: str, choices: tuple[str, ...] | None = None) -> Any:
    return dataclasses.field(default=default, metadata={"help": help, "choices": choices})


@dataclasses.dataclass(frozen=True)
class Recipe:
    """One run, in full. Make one with `make`, which fills in what the preset, the data set and the training imply."""

    dataset: str = _field("cifar10-4minor", "which labeled set and pool; folder: pictures of your own; csv: a table", tuple(DATASETS))
    arch: str = _field(
        "simple", "the classifier f_c: simple, resnet20, resnet56, ... (6n+2), resnet20v2, resnet56v2, ... (9n+2), or e.g. MobileNetV2"
    )
    method: str = _field("selectnet", "what is trained on", METHODS)
    preset: str = _field("paper", "paper: the text where it speaks; released: the authors' code in everything", PRESETS)
    seed: int = _field(0, "of the split, the weights, the order and the augmentation")
    epochs: int = _field(200, "epochs in all, the first round's included")
    every: int = _field(10, "epochs between two selections")
    batch_size: int = _field(32, "images a step, over all replicas")
    minor: tuple[int | str, ...] = _field((), "the minor classes: 0,2,6,7, or names of folders, or auto: those under half the median size")
    minor_ratio: float | None = _field(None, "share of a minor class that is labeled (step imbalance)")
    major_ratio: float | None = _field(None, "share of a major class that is labeled (step imbalance)")
    imb_factor: float | None = _field(None, "smallest over largest class (long-tailed sets)")
    split: str = _field("random", "which images of a class are labeled", ("random", "first"))
    init: str = _field(
        "balanced", "D in the first round: balanced with replacement, or copies of the minors", ("balanced", "copies", "none")
    )
    init_copies: int = _field(20, "how many copies of the minors --init=copies adds")
    oversample: str = _field("replacement", "the oversampling method's D", ("replacement", "copies"))
    threshold: float = _field(0.6, "lambda of eqs. (1)-(5), nats")
    beta: float | None = _field(None, "the selector's output from which a sample is picked, eq. (6); lambda where not given")
    lambda_schedule: str = _field("constant", "constant, or a:b for a lambda (and beta) that goes from a to b over the rounds")
    labeled_loss: str = _field("predicted", "the labeled samples' loss in the selection", ("predicted", "true", "two_hot"))
    accumulate: bool = _field(False, "an unlabeled pick stays, as the class it was last picked as; otherwise each round picks anew")
    selector_inputs: str = _field("probs+loss", "what the selector f_s sees", ("probs+loss", "probs", "penultimate+loss", "penultimate"))
    selector_fit: str = _field("minor", "fit f_s on D' (predicted as minor) or on all of D and U", ("minor", "all"))
    selector_init: str = _field("glorot", "initial weights of f_s; normal: N(0, 0.05)", ("glorot", "normal"))
    selector_lr: float = _field(1e-2, "Adam's learning rate for f_s")
    selector_epochs: int = _field(20, "epochs of f_s a round")
    selector_batch: int = _field(32, "batch size of f_s")
    training: str = _field(
        "sgd", "sgd: the released code's; keras, keras_cnn: Keras's cifar10_resnet's and cifar10_cnn's; cui: Table 3's", TRAININGS
    )
    lr: float = _field(0.01, "learning rate at the start")
    momentum: float = _field(0.9, "of SGD")
    decay: float = _field(1e-6, "inverse-time decay of the learning rate a step (training=sgd and keras_cnn)")
    augment: str = _field("shift_flip", "random changes to training images", ("shift_flip", "shift", "crop_flip", "none"))
    shift: float = _field(0.2, "largest shift, as a share of the image's side")
    cb_beta: float = _field(0.9999, "beta of the class-balanced loss")
    focal_gamma: float = _field(1.0, "gamma of the class-balanced focal loss")
    labeled_dir: str | None = _field(None, "dataset=folder: a folder for each class, with its pictures; or several such, A,B")
    unlabeled_dir: str | None = _field(None, "dataset=folder: the pool, pictures in folders of any kind; or several, A,B")
    test_dir: str | None = _field(None, "dataset=folder: as labeled_dir; without it a fifth of each class is held out")
    weights: str | None = _field(None, "a file of weights, without the top, for a network of keras.applications")
    labeled_csv: str | None = _field(None, "dataset=csv: the labeled rows")
    unlabeled_csv: str | None = _field(None, "dataset=csv: the pool, rows of the same columns")
    test_csv: str | None = _field(None, "dataset=csv: as labeled_csv; without it a fifth of each class is held out")
    label_column: str | None = _field(None, "dataset=csv: the column that holds the classes")
    image_size: int = _field(96, "dataset=folder: pictures are scaled to so many pixels on each side")

    @property
    def name(self) -> str:
        """The run's folder: data set, arch, method, preset, seed, and a hash of every other field that was changed."""
        base = defaults(self.dataset, self.arch, self.method, self.preset, self.training)
        changed = {k: v for k, v in dataclasses.asdict(self).items() if v != getattr(base, k)}
        changed.pop("seed", None)
        if self.training != default_training(self.method):
            changed["training"] = self.training
        parts = [self.dataset, self.arch, self.method, self.preset, f"s{self.seed}"]
        if changed:
            parts.append(hashlib.sha1(json.dumps(changed, sort_keys=True).encode()).hexdigest()[:12])
        return "_".join(parts)

    def lambdas(self) -> tuple[float, ...]:
        """(first, last) value of lambda; the same twice where it is constant."""
        if self.lambda_schedule == "constant":
            return self.threshold, self.threshold
        return tuple(float(part) for part in self.lambda_schedule.split(":"))


def default_training(method: str) -> str:
    return "cui" if method == "class_balanced" else "sgd"


def defaults(dataset: str, arch: str, method: str, preset: str, training: str) -> Recipe:
    values: dict[str, Any] = {"dataset": dataset, "arch": arch, "method": method, "preset": preset, "training": training}
    if preset == "released":
        values |= RELEASED
    values |= DATASETS[dataset] | TRAINING[training]
    if dataset == "cifar100-lt":
        values["cb_beta"] = 0.9  # Cui et al.'s best for CIFAR-100-LT at 0.01
    if dataset == "csv":
        values["augment"] = "none"
    return Recipe(**values)


def make(**changes: Any) -> Recipe:
    """A checked Recipe: the preset's values, then the data set's and the training's, then `changes`.

    Raises ValueError in one line that names the valid values.
    """
    known = {f.name: f for f in dataclasses.fields(Recipe)}
    for key, value in changes.items():
        if key not in known:
            raise ValueError(f"unknown recipe field {key!r}{suggest(key, known)}")
        if (choices := known[key].metadata["choices"]) and value not in choices:
            raise ValueError(f"{key} is {value!r}, but has to be one of {', '.join(choices)}")
    first = {k: changes.get(k, known[k].default) for k in ("dataset", "arch", "method", "preset")}
    base = defaults(**first, training=changes.get("training", default_training(first["method"])))
    recipe = dataclasses.replace(base, **changes)
    minor = sorted(set(recipe.minor), key=str if recipe.dataset in OWN_FIELDS else lambda c: (isinstance(c, str), c))
    recipe = dataclasses.replace(recipe, minor=tuple(minor))
    _check(recipe)
    return recipe


def suggest(word: str, words: dict[str, Any]) -> str:
    close = difflib.get_close_matches(word, list(words), n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(words)}"


def _check(r: Recipe) -> None:
    check_arch(r.arch)
    _check_numbers(r)
    if r.weights and r.arch not in APPLICATIONS:
        raise ValueError(f"weights are for networks of keras.applications, not for {r.arch}: leave them out")
    if not r.minor:
        raise ValueError("no minor class: give at least one, e.g. --minor=0,2,6,7")
    if r.dataset in OWN_FIELDS:
        _check_own(r)
    else:
        _check_benchmark(r)
    for dataset, fields in OWN_FIELDS.items():
        for field in fields:
            if r.dataset != dataset and getattr(r, field) != Recipe.__dataclass_fields__[field].default:
                raise ValueError(f"{field} has no meaning for {r.dataset}: use --dataset={dataset}, or leave it out")
    if r.lambda_schedule != "constant" and not re.fullmatch(r"[0-9]*\.?[0-9]+:[0-9]*\.?[0-9]+", r.lambda_schedule):
        raise ValueError(f"lambda_schedule is {r.lambda_schedule!r}, but has to be constant or two numbers like 0.4:0.6")
    if r.method == "selectnet" and r.beta is None and max(r.lambdas()) >= 1:
        raise ValueError(f"the selector's output is at most 1, so no pick exceeds a beta of lambda's {max(r.lambdas())}: give --beta")
    if r.method in SELECTING and r.every > r.epochs:
        raise ValueError(f"every is {r.every}, so {r.epochs} epochs end before the first selection: use --every={r.epochs} or less")
    if r.method == "class_balanced" and r.training.startswith("keras"):
        raise ValueError("class_balanced is trained by cui's recipe or by sgd: use --training=cui")


def _check_own(r: Recipe) -> None:
    labeled, unlabeled, *_, last = OWN_FIELDS[r.dataset]
    if not getattr(r, labeled) or getattr(r, last) is None:
        what = "a folder that holds a folder of pictures for each class" if r.dataset == "folder" else "a table, and --label_column"
        raise ValueError(f"dataset {r.dataset} needs --{labeled}, {what}")
    if r.method in SELECTING and not getattr(r, unlabeled):
        raise ValueError(f"method {r.method} needs --{unlabeled}, what to select from")
    if r.method == "oracle":
        raise ValueError(f"nobody knows the true classes of unlabeled data: there is no oracle for {r.dataset}")
    if (r.arch == "mlp") != (r.dataset == "csv") or (r.dataset == "csv" and r.augment != "none"):
        raise ValueError("a table is trained by --arch=mlp without augmentation, and pictures by another arch")
    for field in ("minor_ratio", "major_ratio", "imb_factor"):
        if getattr(r, field) is not None:
            raise ValueError(f"{field} has no meaning for {r.dataset}: leave it out")


def _check_benchmark(r: Recipe) -> None:
    classes = 100 if r.dataset.startswith("cifar100") else 10
    if r.arch == "mlp":
        raise ValueError("arch mlp is for tables: use --dataset=csv")
    if not all(isinstance(c, int) for c in r.minor):
        raise ValueError(f"minor is {','.join(map(str, r.minor))!r}, but has to be class numbers such as 0,2,6,7")
    if any(not 0 <= int(c) < classes for c in r.minor) or len(r.minor) >= classes:
        raise ValueError(f"minor is {r.minor}, but {r.dataset} has the classes 0 to {classes - 1} and at least one has to be major")
    wrong = ("minor_ratio", "major_ratio") if r.dataset.endswith("-lt") else ("imb_factor",)
    for field in wrong:
        if getattr(r, field) is not None:
            raise ValueError(f"{field} has no meaning for {r.dataset}: leave it out")


def _check_numbers(r):
    for f in dataclasses.fields(r):
        value = getattr(r, f.name)
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{f.name} is {value}, but has to be a finite number")
    for field in ("epochs", "every", "batch_size", "selector_epochs", "selector_batch", "init_copies", "image_size"):
        if getattr(r, field) < 1:
            raise ValueError(f"{field} is {getattr(r, field)}, but has to be at least 1")
    for field in ("lr", "selector_lr", "threshold"):
        if getattr(r, field) <= 0:
            raise ValueError(f"{field} is {getattr(r, field)}, but has to be above 0")
    for field in ("minor_ratio", "major_ratio", "imb_factor"):
        value = getattr(r, field)
        if value is not None and not 0 < value <= 1:
            raise ValueError(f"{field} is {value}, but has to be above 0 and at most 1")
    if not 0 <= r.seed < 2**31:
        raise ValueError(f"seed is {r.seed}, but has to be from 0 to {2**31 - 1}")
    if not 0 <= r.shift < 1 or not 0 <= r.momentum < 1 or not 0 <= r.cb_beta < 1:
        raise ValueError("shift, momentum and cb_beta have to be at least 0 and below 1")
    if r.decay < 0 or r.focal_gamma < 0 or (r.beta is not None and not 0 <= r.beta < 1):
        raise ValueError("decay and focal_gamma have to be at least 0, and beta at least 0 and below 1")
