"""Whether a recipe's fields go together. Standard library only."""

import re
from typing import Any

from selectnet_tf.archs import APPLICATIONS, check_arch
from selectnet_tf.presets import OWN_FIELDS, SELECTING
from selectnet_tf.ranges import check_numbers


def check(r: Any) -> None:
    """Raises ValueError, in one line that says what to do. r: a Recipe."""
    check_arch(r.arch)
    check_numbers(r)
    if r.freeze and not r.weights:
        raise ValueError("freeze needs --weights: imagenet or a file for a network of keras.applications, or a model.keras")
    if r.weights and r.arch not in APPLICATIONS and not (r.freeze and r.weights.endswith(".keras")):
        raise ValueError(f"weights are for networks of keras.applications, not for {r.arch}: leave them out")
    if not r.minor:
        raise ValueError("no minor class: give at least one, e.g. --minor=0,2,6,7")
    if r.dataset in OWN_FIELDS:
        _check_own(r)
    else:
        _check_benchmark(r)
    for dataset, fields in OWN_FIELDS.items():
        for field in fields:
            if r.dataset != dataset and getattr(r, field) != type(r).__dataclass_fields__[field].default:
                raise ValueError(f"{field} has no meaning for {r.dataset}: use --dataset={dataset}, or leave it out")
    if r.lambda_schedule != "constant" and not re.fullmatch(r"[0-9]*\.?[0-9]+:[0-9]*\.?[0-9]+", r.lambda_schedule):
        raise ValueError(f"lambda_schedule is {r.lambda_schedule!r}, but has to be constant or two numbers like 0.4:0.6")
    if r.method in ("selectnet", "balanced") and r.beta is None and max(r.lambdas()) >= 1:
        raise ValueError(f"the selector's output is at most 1, so no pick exceeds a beta of lambda's {max(r.lambdas())}: give --beta")
    if r.method in SELECTING and r.every > r.epochs:
        raise ValueError(f"every is {r.every}, so {r.epochs} epochs end before the first selection: use --every={r.epochs} or less")
    if (r.method == "logit_adjusted") > (r.prior_loss > 0) or (r.method == "class_balanced" and r.prior_loss):
        raise ValueError(f"{r.method} has {'the prior-aware' if r.prior_loss == 0 else 'a'} loss of its own: leave prior_loss out")
    if r.method == "class_balanced" and r.training.startswith("keras"):
        raise ValueError("class_balanced is trained by cui's recipe or by sgd: use --training=cui")


def _check_own(r: Any) -> None:
    labeled, unlabeled, *_ = OWN_FIELDS[r.dataset]
    if not getattr(r, labeled):
        raise ValueError(f"dataset {r.dataset} needs --{labeled}, a folder that holds a folder of pictures for each class")
    if r.method in SELECTING and not getattr(r, unlabeled):
        raise ValueError(f"method {r.method} needs --{unlabeled}, what to select from")
    if r.method == "oracle":
        raise ValueError(f"nobody knows the true classes of unlabeled data: there is no oracle for {r.dataset}")
    for field in ("minor_ratio", "major_ratio", "imb_factor"):
        if getattr(r, field) is not None:
            raise ValueError(f"{field} has no meaning for {r.dataset}: leave it out")
    if r.validation:
        raise ValueError(f"validation has no meaning for {r.dataset}: leave it out, or give other data to test on")


def _check_benchmark(r: Any) -> None:
    classes = 100 if r.dataset.startswith("cifar100") else 10
    if not all(isinstance(c, int) for c in r.minor):
        raise ValueError(f"minor is {','.join(map(str, r.minor))!r}, but has to be class numbers such as 0,2,6,7")
    if any(not 0 <= int(c) < classes for c in r.minor) or len(r.minor) >= classes:
        raise ValueError(f"minor is {r.minor}, but {r.dataset} has the classes 0 to {classes - 1} and at least one has to be major")
    wrong = ("minor_ratio", "major_ratio") if r.dataset.endswith("-lt") else ("imb_factor",)
    for field in wrong:
        if getattr(r, field) is not None:
            raise ValueError(f"{field} has no meaning for {r.dataset}: leave it out")
