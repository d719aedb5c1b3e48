"""A recipe: data, selection and training of one run. Standard library only, so that --help is
instant.

The fields of the three parts, with `preset` and `seed`, are the command line's flags, recipe.json
and the first columns of runs.csv, where they stand side by side.
"""

import csv
import dataclasses
import hashlib
import io
import json
from typing import Any

from selectnet_tf.recipes.presets import (
    DATASETS,
    FROZEN,
    METHODS,
    PRESETS,
    RELEASED,
    ROBUST,
    SELECTING,
    TRAINING,
    TRAININGS,
)

# fields
PATHS = ("labeled_dir", "unlabeled_dir", "test_dir", "decisions", "group", "boxes", "weights")


def _field(default: Any, help: str, choices: tuple[str, ...] | None = None) -> Any:
    return dataclasses.field(default=default, metadata={"help": help, "choices": choices})


@dataclasses.dataclass(frozen=True)
class BenchmarkData:
    """A data set of the paper, or scikit-learn's digits, with most labels hidden."""

    dataset: str = _field(
        "cifar10-4minor",
        "labeled set and pool; folder: images of your own, as --labeled_dir implies",
        tuple(DATASETS),
    )
    minor: tuple[int | str, ...] = _field(
        (),
        "minor classes: 0,2,6,7, or names of folders, or auto: those under half the median size",
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
        "images of each class held out of the training set and tested on instead of the test set:"
        " for choosing settings",
    )
    split: str = _field("random", "labeled images of a class", ("random", "first"))


@dataclasses.dataclass(frozen=True)
class FolderData:
    """Images of one's own, in folders."""

    dataset: str = _field("folder", "images of your own")
    minor: tuple[int | str, ...] = _field((), "names of folders, or auto")
    labeled_dir: str | None = _field(
        None, "dataset=folder: a folder with a folder of images for each class; or several, A,B"
    )
    unlabeled_dir: str | None = _field(
        None, "dataset=folder: the pool, images in folders of any kind; or several, A,B"
    )
    test_dir: str | None = _field(
        None, "dataset=folder: as labeled_dir; without it a fifth of each class is held out"
    )
    image_size: int = _field(96, "dataset=folder: images are scaled to this width and height")
    fit: str = _field(
        "stretch",
        "dataset=folder: how images become squares; pad: with black",
        ("stretch", "pad", "crop"),
    )
    white: str | None = _field(
        None,
        "dataset=folder: value that becomes white in grayscale of more than 8 bits, or BLACK:WHITE;"
        " default: one range for all images, from a sample",
    )
    copies: str = _field(
        "near",
        "dataset=folder: images of the pool that are left out: near duplicates of labeled and test"
        " images, or those of equal pixels only, or none",
        ("near", "equal", "none"),
    )
    boxes: str | None = _field(
        None,
        "dataset=folder: MegaDetector's output, JSON, or several, A,B: images are cropped to the"
        " most confident animal",
    )
    group: str | None = _field(
        None,
        "dataset=folder: images held out together; folder: those of a folder below the class's;"
        " or a CSV file with columns file, group",
    )
    decisions: str | None = _field(
        None,
        "dataset=folder: a person's decisions about pseudo-labels and labels, as the review page"
        " saves them: A,B",
    )
    ask: int = _field(
        50, "dataset=folder: number of uncertain images that the review page asks about"
    )

    def levels(self) -> tuple[float, float] | None:
        """Returns the values that become black and white by --white."""
        if self.white is None:
            return None
        black, _, white = self.white.rpartition(":")
        return float(black or 0), float(white)


Data = BenchmarkData | FolderData


@dataclasses.dataclass(frozen=True)
class SelectionRecipe:
    """The method, and how it selects."""

    method: str = _field("selectnet", "which images are trained on", METHODS)
    every: int = _field(10, "epochs between two selections")
    init: str = _field(
        "balanced",
        "labeled set in the first round: balanced, or with copies of the minor classes",
        ("balanced", "copies", "none"),
    )
    init_copies: int = _field(20, "copies of the minor classes that --init=copies adds")
    oversample: str = _field(
        "replacement", "labeled set of method=oversampling", ("replacement", "copies")
    )
    balance: str = _field(
        "all",
        "balancing raises all classes to the largest one's size, or the minor ones only (4.2)",
        ("all", "minor"),
    )
    threshold: float = _field(0.6, "largest loss of a selected image, in nats: the paper's lambda")
    beta: float | None = _field(
        None, "selector's output from which a sample is added, eq. (6); lambda where not given"
    )
    lambda_schedule: str = _field(
        "constant", "constant, or a:b for a lambda (and beta) that goes from a to b over the rounds"
    )
    labeled_loss: str = _field(
        "predicted", "loss of labeled samples in the selection", ("predicted", "true", "two_hot")
    )
    context: str = _field(
        "all",
        "labeled candidates: all predicted as minor (4.2), or those wrongly (3.2)",
        ("all", "wrong"),
    )
    accumulate: bool = _field(
        False,
        "keep each pseudo-label until a later round replaces it; otherwise drop it each round",
    )
    align: float = _field(
        0.0,
        "root of the alignment of the minor classes' probabilities before the selection; 0: none",
    )
    cap: float = _field(
        0.0,
        "alpha of the cap on a minor class's pseudo-labels, which keeps n (n_low/n)^alpha of n;"
        " 0: none",
    )
    max_per_class: int = _field(0, "most pseudo-labels of a minor class; 0: no limit")
    selector_inputs: str = _field(
        "probs+loss",
        "inputs of the selector f_s",
        ("probs+loss", "probs", "penultimate+loss", "penultimate"),
    )
    selector_fit: str = _field(
        "minor", "fit f_s on the candidates (predicted as minor) or on all images", ("minor", "all")
    )
    selector_init: str = _field(
        "glorot", "initial weights of f_s; normal: N(0, 0.05)", ("glorot", "normal")
    )
    selector_lr: float = _field(1e-2, "Adam's learning rate for f_s")
    selector_epochs: int = _field(20, "epochs of f_s a round")
    selector_batch: int = _field(32, "batch size of f_s")
    loss_norm: str = _field(
        "union",
        "one mean over the labeled and the added images, or separate ones, summed, as in eq. (3)",
        ("union", "separate"),
    )

    def lambdas(self) -> tuple[float, ...]:
        """Returns (first, last) value of lambda; the same twice where it is constant."""
        if self.lambda_schedule == "constant":
            return self.threshold, self.threshold
        return tuple(float(part) for part in self.lambda_schedule.split(":"))


@dataclasses.dataclass(frozen=True)
class TrainingRecipe:
    """The classifier, and how it is optimized."""

    arch: str = _field(
        "simple",
        "network: simple, resnet20, ... (6n+2), resnet20v2, ... (9n+2), or e.g. MobileNetV2",
    )
    epochs: int = _field(200, "epochs in all, the first round's included")
    batch_size: int = _field(32, "images a step, over all replicas")
    training: str = _field(
        "sgd",
        "sgd: the released code's; adam: of its comment; keras, keras_cnn: of Keras's examples;"
        " cui: of Table 3's",
        TRAININGS,
    )
    lr: float = _field(0.01, "learning rate at the start")
    momentum: float = _field(0.9, "of SGD")
    decay: float = _field(
        1e-6, "inverse-time decay of the learning rate a step (training=sgd and keras_cnn)"
    )
    weight_decay: float = _field(
        0.0,
        "with --freeze: weight of half the squared norm of the layer's weights in the loss; on"
        " folders 0.1, with lr 0.001",
    )
    lr_schedule: str = _field(
        "constant",
        "cosine: from the learning rate to 0 over all epochs, without decay",
        ("constant", "cosine"),
    )
    augment: str = _field(
        "shift_flip",
        "random changes to training images",
        ("shift_flip", "shift", "crop_flip", "none"),
    )
    shift: float = _field(0.2, "largest shift, as a share of the image's side")
    prior_loss: float = _field(
        0.0, "tau of the prior-aware loss: weight of the classes' shares in training; 0: plain"
    )
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
    weights: str | None = _field(
        None, "imagenet, or a file of weights without the top, for a network of keras.applications"
    )
    freeze: bool = _field(
        False,
        "put each image through the network with --weights (or a run's model.keras) once; train"
        " one layer",
    )


@dataclasses.dataclass(frozen=True)
class Recipe:
    """One run, in full.

    Make one with `make`, which fills in what the preset, the data set and the training imply.
    """

    data: Data
    selection: SelectionRecipe
    training: TrainingRecipe
    preset: str = _field(
        "paper",
        "paper: the text; released: the authors' code; robust: prevents class collapse, default for"
        " folders",
        PRESETS,
    )
    seed: int = _field(0, "of the split, the weights, the order and the augmentation")

    @property
    def name(self) -> str:
        """The run's folder: data set, arch, method, preset, seed, and a hash of the other fields
        that were changed.
        """
        values, changed = self.flat(), self._changes()
        words = [values[key] for key in ("dataset", "arch", "method", "preset")]
        words.append(f"s{self.seed}")
        if changed:
            text = json.dumps(changed, sort_keys=True)
            words.append(hashlib.sha1(text.encode()).hexdigest()[:12])
        return "_".join(words)

    def flags(self) -> list[str]:
        """Returns the flags that give this recipe: --dataset, --arch, --method, --preset, --seed
        and the other fields that were changed.
        """
        shown = ("dataset", "arch", "method", "preset", "seed")
        given = {key: self.flat()[key] for key in shown} | self._changes()
        return [f"--{k}={_join(v) if isinstance(v, tuple) else v}" for k, v in given.items()]

    def _changes(self) -> dict[str, Any]:
        """Returns {field: value} of the fields, without the seed, that were changed."""
        base, usual = self.preset_values(), default_training(self.selection.method)
        changed = {k: v for k, v in self.flat().items() if v != base[k] and k != "seed"}
        if self.training.training != usual:
            changed["training"] = self.training.training
        return changed

    def flat(self) -> dict[str, Any]:
        """Returns {field: value} of all FIELDS; the other kind of data has the preset's values."""
        parts = vars(self.data) | vars(self.selection) | vars(self.training)
        return self.preset_values() | parts | {"preset": self.preset, "seed": self.seed}

    def preset_values(self) -> dict[str, Any]:
        """Returns {field: value} of all FIELDS, before any was changed."""
        return preset_values(
            self.data.dataset,
            self.training.arch,
            self.selection.method,
            self.preset,
            self.training.training,
            self.training.freeze,
        )


# Every flat field by its name; BenchmarkData describes those that both kinds of data have.
FIELDS: dict[str, dataclasses.Field[Any]] = {
    field.name: field
    for kind in (FolderData, BenchmarkData, SelectionRecipe, TrainingRecipe, Recipe)
    for field in dataclasses.fields(kind)
    if field.metadata
}


def _join(values: tuple[Any, ...]) -> str:
    """Returns values as a flag of a list reads them: one with a comma is quoted."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(values)
    return line.getvalue()


def default_method(preset: str) -> str:
    """Returns the method where none is given; see docs/robust.md for that of `robust`."""
    return "candidates" if preset == "robust" else SelectionRecipe.method


def default_training(method: str) -> str:
    return "cui" if method == "class_balanced" else TrainingRecipe.training


def preset_values(
    dataset: str, arch: str, method: str, preset: str, training: str, freeze: bool = False
) -> dict[str, Any]:
    """Returns {field: value} of all FIELDS, as the preset, the data set and the training imply."""
    values = {name: field.default for name, field in FIELDS.items()}
    if preset == "released":
        values |= RELEASED
    if preset == "robust" and method in SELECTING:
        values |= ROBUST
    if method == "logit_adjusted":
        values["prior_loss"] = 1.0
    values |= DATASETS[dataset]
    if freeze and dataset == FolderData.dataset and preset == "robust":
        values |= FROZEN
    values |= TRAINING[training]
    if dataset == "cifar100-lt":
        values["cb_beta"] = 0.9  # Cui et al.'s best for CIFAR-100-LT at 0.01
    return values | {
        "dataset": dataset,
        "arch": arch,
        "method": method,
        "preset": preset,
        "training": training,
    }


def assemble(values: dict[str, Any]) -> Recipe:
    """Returns the Recipe, not checked, of a value for each of FIELDS."""

    def part(kind: Any) -> Any:
        return kind(**{field.name: values[field.name] for field in dataclasses.fields(kind)})

    own = values["dataset"] == FolderData.dataset
    return Recipe(
        part(FolderData if own else BenchmarkData),
        part(SelectionRecipe),
        part(TrainingRecipe),
        values["preset"],
        values["seed"],
    )
