"""Which run: the frozen Recipe, its three presets and the data sets' defaults. Standard library
only, so that --help is instant.

A Recipe's fields are the command line's flags, recipe.json and the first columns of runs.csv.
"""

import dataclasses
import difflib
import hashlib
import json
import pathlib
from typing import Any

from selectnet_tf.recipes.presets import (
    DATASETS,
    METHODS,
    OWN_FIELDS,
    PRESETS,
    RELEASED,
    ROBUST,
    SELECTING,
    TRAINING,
    TRAININGS,
)
from selectnet_tf.recipes.validation import check

PATHS = ("labeled_dir", "unlabeled_dir", "test_dir", "decisions", "weights")  # fields


def _field(default: Any, help: str, choices: tuple[str, ...] | None = None) -> Any:
    return dataclasses.field(default=default, metadata={"help": help, "choices": choices})


@dataclasses.dataclass(frozen=True)
class Recipe:
    """One run, in full.

    Make one with `make`, which fills in what the preset, the data set and the training imply.
    """

    dataset: str = _field(
        "cifar10-4minor",
        "which labeled set and pool; folder: pictures of your own",
        tuple(DATASETS),
    )
    arch: str = _field(
        "simple",
        "the classifier f_c: simple, resnet20, ... (6n+2), resnet20v2, ... (9n+2), or e.g."
        " MobileNetV2",
    )
    method: str = _field("selectnet", "what is trained on", METHODS)
    preset: str = _field(
        "paper",
        "paper: the text; released: the authors' code; robust: no class is lost, default for"
        " folders",
        PRESETS,
    )
    seed: int = _field(0, "of the split, the weights, the order and the augmentation")
    epochs: int = _field(200, "epochs in all, the first round's included")
    every: int = _field(10, "epochs between two selections")
    batch_size: int = _field(32, "images a step, over all replicas")
    minor: tuple[int | str, ...] = _field(
        (),
        "the minor classes: 0,2,6,7, or names of folders, or auto: those under half the median"
        " size",
    )
    minor_ratio: float | None = _field(
        None, "share of a minor class that is labeled (step imbalance)"
    )
    major_ratio: float | None = _field(
        None, "share of a major class that is labeled (step imbalance)"
    )
    imb_factor: float | None = _field(None, "smallest over largest class (long-tailed sets)")
    validation: int = _field(
        0,
        "images of each class kept out of D and U, to test on instead of the test set: for choosing"
        " settings",
    )
    split: str = _field("random", "which images of a class are labeled", ("random", "first"))
    init: str = _field(
        "balanced",
        "D in the first round: balanced, or with copies of the minors",
        ("balanced", "copies", "none"),
    )
    init_copies: int = _field(20, "how many copies of the minors --init=copies adds")
    oversample: str = _field(
        "replacement", "the oversampling method's D", ("replacement", "copies")
    )
    threshold: float = _field(0.6, "lambda of eqs. (1)-(5), nats")
    beta: float | None = _field(
        None, "the selector's output from which a sample is picked, eq. (6); lambda where not given"
    )
    lambda_schedule: str = _field(
        "constant", "constant, or a:b for a lambda (and beta) that goes from a to b over the rounds"
    )
    labeled_loss: str = _field(
        "predicted", "the labeled samples' loss in the selection", ("predicted", "true", "two_hot")
    )
    accumulate: bool = _field(
        False,
        "an unlabeled pick stays, as the class it was last picked as; otherwise each round picks"
        " anew",
    )
    prior_loss: float = _field(
        0.0,
        "tau of the prior-aware loss: how much it heeds the classes' shares of what is trained on;"
        " 0: plain",
    )
    align: float = _field(
        0.0,
        "root of the alignment of the minor classes' probabilities before the selection; 0: none",
    )
    cap: float = _field(
        0.0,
        "alpha of the cap on a minor class's unlabeled picks, which keeps n (n_low/n)^alpha of n;"
        " 0: none",
    )
    max_per_class: int = _field(0, "the most unlabeled picks of a minor class; 0: no limit")
    selector_inputs: str = _field(
        "probs+loss",
        "what the selector f_s sees",
        ("probs+loss", "probs", "penultimate+loss", "penultimate"),
    )
    selector_fit: str = _field(
        "minor", "fit f_s on D' (predicted as minor) or on all of D and U", ("minor", "all")
    )
    selector_init: str = _field(
        "glorot", "initial weights of f_s; normal: N(0, 0.05)", ("glorot", "normal")
    )
    selector_lr: float = _field(1e-2, "Adam's learning rate for f_s")
    selector_epochs: int = _field(20, "epochs of f_s a round")
    selector_batch: int = _field(32, "batch size of f_s")
    balance: str = _field(
        "all",
        "balancing raises all classes to the largest one's size, or the minors only (4.2)",
        ("all", "minor"),
    )
    context: str = _field(
        "all",
        "labeled samples of D': all predicted as minor (4.2), or those wrongly (3.2)",
        ("all", "wrong"),
    )
    loss_norm: str = _field(
        "union",
        "one mean over D and D_add, or separate ones, added, as in eq. (3)",
        ("union", "separate"),
    )
    training: str = _field(
        "sgd",
        "sgd: the released code's; keras, keras_cnn: of Keras's examples; cui: of Table 3's",
        TRAININGS,
    )
    lr: float = _field(0.01, "learning rate at the start")
    momentum: float = _field(0.9, "of SGD")
    decay: float = _field(
        1e-6, "inverse-time decay of the learning rate a step (training=sgd and keras_cnn)"
    )
    augment: str = _field(
        "shift_flip",
        "random changes to training images",
        ("shift_flip", "shift", "crop_flip", "none"),
    )
    shift: float = _field(0.2, "largest shift, as a share of the image's side")
    cb_beta: float = _field(0.9999, "beta of the class-balanced loss")
    focal_gamma: float = _field(1.0, "gamma of the class-balanced focal loss")
    precision: str = _field(
        "float32",
        "of arithmetic; 16 bits: for GPUs and some CPUs",
        ("float32", "mixed_bfloat16", "mixed_float16"),
    )
    jit: bool = _field(False, "compile the training step by XLA, on one device")
    deterministic: bool = _field(
        True, "on GPUs: the same bits each time, which takes longer; CPUs give them anyway"
    )
    labeled_dir: str | None = _field(
        None, "dataset=folder: a folder for each class, with its pictures; or several such, A,B"
    )
    unlabeled_dir: str | None = _field(
        None, "dataset=folder: the pool, pictures in folders of any kind; or several, A,B"
    )
    test_dir: str | None = _field(
        None, "dataset=folder: as labeled_dir; without it a fifth of each class is held out"
    )
    weights: str | None = _field(
        None, "imagenet, or a file of weights without the top, for a network of keras.applications"
    )
    image_size: int = _field(
        96, "dataset=folder: pictures are scaled to so many pixels on each side"
    )
    fit: str = _field(
        "stretch",
        "dataset=folder: how pictures become squares; pad: with black",
        ("stretch", "pad", "crop"),
    )
    decisions: str | None = _field(
        None,
        "dataset=folder: what a person decided about earlier runs' picks, as the review pages save"
        " it: A,B",
    )
    freeze: bool = _field(
        False,
        "put each picture through the network with --weights (or a run's model.keras) once; train"
        " one layer",
    )
    views: int = _field(
        1,
        "with --freeze: embed so many views of each labeled picture, up to 4: itself, mirrored,"
        " moved, both",
    )
    ask: int = _field(
        50,
        "dataset=folder: how many pictures that the model doubts most are put before you on the"
        " review page",
    )

    @property
    def name(self) -> str:
        """The run's folder:

        Data set, arch, method, preset, seed, and a hash of every other field that was changed.
        """
        base = defaults(self.dataset, self.arch, self.method, self.preset, self.training)
        changed = {k: v for k, v in dataclasses.asdict(self).items() if v != getattr(base, k)}
        changed.pop("seed", None)
        if self.training != default_training(self.method):
            changed["training"] = self.training
        parts = [self.dataset, self.arch, self.method, self.preset, f"s{self.seed}"]
        if changed:
            parts.append(
                hashlib.sha1(json.dumps(changed, sort_keys=True).encode()).hexdigest()[:12]
            )
        return "_".join(parts)

    def lambdas(self) -> tuple[float, ...]:
        """(first, last) value of lambda; the same twice where it is constant."""
        if self.lambda_schedule == "constant":
            return self.threshold, self.threshold
        return tuple(float(part) for part in self.lambda_schedule.split(":"))


def default_training(method: str) -> str:
    return "cui" if method == "class_balanced" else "sgd"


def defaults(dataset: str, arch: str, method: str, preset: str, training: str) -> Recipe:
    values: dict[str, Any] = {}
    if preset == "released":
        values |= RELEASED
    if preset == "robust" and method in SELECTING:
        values |= ROBUST
    if method == "logit_adjusted":
        values["prior_loss"] = 1.0
    values |= DATASETS[dataset] | TRAINING[training]
    if dataset == "cifar100-lt":
        values["cb_beta"] = 0.9  # Cui et al.'s best for CIFAR-100-LT at 0.01
    return Recipe(
        **values
        | {
            "dataset": dataset,
            "arch": arch,
            "method": method,
            "preset": preset,
            "training": training,
        }
    )


def make(**changes: Any) -> Recipe:
    """A checked Recipe: the preset's values, then the data set's and the training's, then
    `changes`.

    Raises ValueError in one line that names the valid values.
    """
    known = {f.name: f for f in dataclasses.fields(Recipe)}
    for key, value in changes.items():
        if key not in known:
            raise ValueError(f"unknown recipe field {key!r}{suggest(key, known)}")
        if (choices := known[key].metadata["choices"]) and value not in choices:
            raise ValueError(f"{key} is {value!r}, but has to be one of {', '.join(choices)}")
    changes |= {key: _spelled(changes[key]) for key in PATHS if isinstance(changes.get(key), str)}
    dataset = changes.get("dataset", known["dataset"].default)
    first = {
        k: changes.get(k, DATASETS[dataset].get(k, known[k].default))
        for k in ("arch", "method", "preset")
    } | {"dataset": dataset}
    base = defaults(**first, training=changes.get("training", default_training(first["method"])))
    recipe = dataclasses.replace(base, **changes)
    minor = sorted(
        set(recipe.minor),
        key=str if recipe.dataset in OWN_FIELDS else lambda c: (isinstance(c, str), c),
    )
    recipe = dataclasses.replace(recipe, minor=tuple(minor))
    check(recipe, base)
    return recipe


def _spelled(paths: str) -> str:
    """Paths A,B as they are spelled in a run's name: "a/" and "./a" are "a"."""
    return ",".join(
        str(pathlib.PurePath(path)) if path.strip() else path for path in paths.split(",")
    )


def suggest(word: str, words: dict[str, Any]) -> str:
    close = difflib.get_close_matches(word, list(words), n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(words)}"
