"""Whether a recipe's fields go together. Standard library only."""

import dataclasses
import math
import re
from collections.abc import Callable
from typing import Any

from selectnet_tf.recipes.architectures import APPLICATIONS, check_arch
from selectnet_tf.recipes.presets import OWN_FIELDS, SELECTING

SELECTOR = ("selectnet", "balanced")  # methods that train f_s
# fields, whether a recipe reads them, else what does
READ: tuple[tuple[str, Callable[[Any], Any], str], ...] = (
    (
        "init labeled_loss accumulate context loss_norm align cap max_per_class lambda_schedule",
        lambda r: r.method in SELECTING,
        "a method that selects, such as --method=selectnet",
    ),
    (
        "threshold",
        lambda r: r.method in SELECTING and r.lambda_schedule == "constant",
        "a method that selects, such as --method=selectnet, without --lambda_schedule",
    ),
    (
        (
            "beta selector_inputs selector_fit selector_init selector_lr selector_epochs"
            " selector_batch"
        ),
        lambda r: r.method in SELECTOR,
        "--method=selectnet or balanced",
    ),
    (
        "init_copies",
        lambda r: r.method in SELECTING and r.init == "copies",
        "--init=copies and a method that selects",
    ),
    ("oversample", lambda r: r.method == "oversampling", "--method=oversampling"),
    (
        "balance",
        lambda r: (
            r.oversample == "replacement"
            if r.method == "oversampling"
            else r.method in SELECTING and r.init == "balanced"
        ),
        (
            "--init=balanced and a method that selects, or --method=oversampling"
            " --oversample=replacement"
        ),
    ),
    ("cb_beta focal_gamma", lambda r: r.method == "class_balanced", "--method=class_balanced"),
    ("momentum", lambda r: r.training in ("sgd", "cui"), "--training=sgd or cui"),
    ("decay", lambda r: r.training in ("sgd", "keras_cnn"), "--training=sgd or keras_cnn"),
    ("augment", lambda r: not r.freeze, "training without --freeze"),
    (
        "shift",
        lambda r: r.views > 1 if r.freeze else r.augment.startswith("shift"),
        "--augment=shift_flip or shift, or --freeze with --views",
    ),
    ("views", lambda r: r.freeze, "--freeze"),
    ("split", lambda r: r.dataset not in OWN_FIELDS, "a benchmark as --dataset"),
)


def check(r: Any, base: Any) -> None:
    """Raises ValueError, in one line that says what to do. r: a Recipe. base: its defaults."""
    check_arch(r.arch)
    check_numbers(r)
    if r.freeze and not r.weights:
        raise ValueError(
            "freeze needs --weights: imagenet or a file for a network of keras.applications, or a"
            " model.keras"
        )
    if r.weights and r.arch not in APPLICATIONS and not (r.freeze and r.weights.endswith(".keras")):
        raise ValueError(
            f"weights are for networks of keras.applications, not for {r.arch}: leave them out"
        )
    if not r.minor:
        raise ValueError("no minor class: give at least one, e.g. --minor=0,2,6,7")
    if r.dataset in OWN_FIELDS:
        _check_own(r)
    else:
        _check_benchmark(r)
    for dataset, fields in OWN_FIELDS.items():
        for field in fields:
            if (
                r.dataset != dataset
                and getattr(r, field) != type(r).__dataclass_fields__[field].default
            ):
                raise ValueError(
                    f"{field} has no meaning for {r.dataset}: use --dataset={dataset}, or leave"
                    " it out"
                )
    if r.lambda_schedule != "constant" and not re.fullmatch(
        r"[0-9]*\.?[0-9]+:[0-9]*\.?[0-9]+", r.lambda_schedule
    ):
        raise ValueError(
            f"lambda_schedule is {r.lambda_schedule!r}, but has to be constant or two numbers like"
            " 0.4:0.6"
        )
    if r.method in ("selectnet", "balanced") and r.beta is None and max(r.lambdas()) >= 1:
        raise ValueError(
            "the selector's output is at most 1, so no pick exceeds a beta of lambda's"
            f" {max(r.lambdas())}: give --beta"
        )
    if r.method in SELECTING and r.every > r.epochs:
        raise ValueError(
            f"every is {r.every}, so {r.epochs} epochs end before the first selection: use"
            f" --every={r.epochs} or less"
        )
    if (r.method == "logit_adjusted") > (r.prior_loss > 0) or (
        r.method == "class_balanced" and r.prior_loss
    ):
        raise ValueError(
            f"{r.method} has {'the prior-aware' if r.prior_loss == 0 else 'a'} loss of its own:"
            " leave prior_loss out"
        )
    if r.method == "class_balanced" and r.training.startswith("keras"):
        raise ValueError("class_balanced is trained by cui's recipe or by sgd: use --training=cui")
    _check_read(r, base)


def _check_read(r: Any, base: Any) -> None:
    """Refuses a field that would change the run's name and nothing else."""
    for fields, reads, needs in READ:
        for field in fields.split():
            if getattr(r, field) != getattr(base, field) and not reads(r):
                raise ValueError(f"{field} has no effect here, it needs {needs}: leave it out")


def _check_own(r: Any) -> None:
    labeled, unlabeled, *_ = OWN_FIELDS[r.dataset]
    if not getattr(r, labeled):
        raise ValueError(
            f"dataset {r.dataset} needs --{labeled}, a folder that holds a folder of pictures for"
            " each class"
        )
    if r.method in SELECTING and not getattr(r, unlabeled):
        raise ValueError(f"method {r.method} needs --{unlabeled}, what to select from")
    if r.method == "oracle":
        raise ValueError(
            f"nobody knows the true classes of unlabeled data: there is no oracle for {r.dataset}"
        )
    for field in ("minor_ratio", "major_ratio", "imb_factor"):
        if getattr(r, field) is not None:
            raise ValueError(f"{field} has no meaning for {r.dataset}: leave it out")
    if r.validation:
        raise ValueError(
            f"validation has no meaning for {r.dataset}: leave it out, or give other data to"
            " test on"
        )


def _check_benchmark(r: Any) -> None:
    classes = 100 if r.dataset.startswith("cifar100") else 10
    if not all(isinstance(c, int) for c in r.minor):
        raise ValueError(
            f"minor is {','.join(map(str, r.minor))!r}, but has to be class numbers such as 0,2,6,7"
        )
    if any(not 0 <= int(c) < classes for c in r.minor) or len(r.minor) >= classes:
        raise ValueError(
            f"minor is {r.minor}, but {r.dataset} has the classes 0 to {classes - 1} and at least"
            " one has to be major"
        )
    wrong = ("minor_ratio", "major_ratio") if r.dataset.endswith("-lt") else ("imb_factor",)
    for field in wrong:
        if getattr(r, field) is not None:
            raise ValueError(f"{field} has no meaning for {r.dataset}: leave it out")


def check_numbers(r: Any) -> None:
    """Raises ValueError, in one line, where a number of the Recipe `r` is out of its range."""
    for f in dataclasses.fields(r):
        value = getattr(r, f.name)
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{f.name} is {value}, but has to be a finite number")
    for field in (
        "epochs",
        "every",
        "batch_size",
        "selector_epochs",
        "selector_batch",
        "init_copies",
        "image_size",
    ):
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
    if (
        r.prior_loss < 0
        or not 0 <= r.align <= 1
        or not 0 <= r.cap <= 1
        or min(r.max_per_class, r.validation, r.ask) < 0
    ):
        raise ValueError(
            "prior_loss, max_per_class, validation and ask have to be at least 0, align and cap"
            " from 0 to 1"
        )
    if not 1 <= r.views <= 4:
        raise ValueError(f"views is {r.views}, but has to be from 1 to 4")
    if r.decay < 0 or r.focal_gamma < 0 or (r.beta is not None and not 0 <= r.beta < 1):
        raise ValueError(
            "decay and focal_gamma have to be at least 0, and beta at least 0 and below 1"
        )
