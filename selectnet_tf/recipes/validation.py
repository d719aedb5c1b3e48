"""`make`, and its checks of a recipe's fields. Standard library only."""

import dataclasses
import difflib
import math
import pathlib
import re
from collections.abc import Callable, Iterable
from typing import Any

from selectnet_tf.recipes.architectures import APPLICATIONS, check_arch
from selectnet_tf.recipes.presets import (
    CONSTANT,
    DATASETS,
    SELECTING,
    WITH_SELECTOR,
    WITH_THRESHOLD,
)
from selectnet_tf.recipes.recipe import (
    FIELDS,
    PATHS,
    BenchmarkData,
    FolderData,
    Recipe,
    TrainingRecipe,
    assemble,
    default_method,
    default_training,
    preset_values,
)

# fields, whether a value is in their range, the range in words
RANGES: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    (
        "epochs every batch_size selector_epochs selector_batch init_copies image_size",
        lambda value: value >= 1,
        "at least 1",
    ),
    ("lr selector_lr threshold", lambda value: value > 0, "above 0"),
    (
        "minor_ratio major_ratio imb_factor",
        lambda value: 0 < value <= 1,
        "above 0 and at most 1",
    ),
    ("seed", lambda value: 0 <= value < 2**31, f"from 0 to {2**31 - 1}"),
    ("shift momentum cb_beta beta", lambda value: 0 <= value < 1, "at least 0 and below 1"),
    ("align cap", lambda value: 0 <= value <= 1, "from 0 to 1"),
    (
        "prior_loss max_per_class validation ask decay focal_gamma weight_decay",
        lambda value: value >= 0,
        "at least 0",
    ),
)


def _selects(recipe: Recipe) -> bool:
    return recipe.selection.method in SELECTING


def _has_threshold(recipe: Recipe) -> bool:
    return recipe.selection.method in WITH_THRESHOLD


def _balances(recipe: Recipe) -> bool:
    if recipe.selection.method == "oversampling":
        return recipe.selection.oversample == "replacement"
    return _selects(recipe) and recipe.selection.init == "balanced"


# fields, whether a recipe reads them, the flags under which it does
READ: tuple[tuple[str, Callable[[Recipe], bool], str], ...] = (
    (
        "init accumulate context loss_norm align cap max_per_class",
        _selects,
        "a method that selects, such as --method=selectnet",
    ),
    (
        "labeled_loss lambda_schedule",
        _has_threshold,
        "a method with a threshold, such as --method=selectnet",
    ),
    (
        "threshold",
        lambda r: _has_threshold(r) and r.selection.lambda_schedule == "constant",
        "a method with a threshold, such as --method=selectnet, without --lambda_schedule",
    ),
    (
        "beta selector_inputs selector_fit selector_init selector_lr selector_epochs"
        " selector_batch",
        lambda r: r.selection.method in WITH_SELECTOR,
        "--method=selectnet or balanced",
    ),
    (
        "init_copies",
        lambda r: _selects(r) and r.selection.init == "copies",
        "--init=copies and a method that selects",
    ),
    ("oversample", lambda r: r.selection.method == "oversampling", "--method=oversampling"),
    (
        "balance",
        _balances,
        "--init=balanced and a method that selects, or --method=oversampling"
        " --oversample=replacement",
    ),
    (
        "cb_beta focal_gamma",
        lambda r: r.selection.method == "class_balanced",
        "--method=class_balanced",
    ),
    ("momentum", lambda r: r.training.training in ("sgd", "cui"), "--training=sgd or cui"),
    (
        "decay",
        lambda r: (
            r.training.training in ("sgd", "keras_cnn") and r.training.lr_schedule == "constant"
        ),
        "--training=sgd or keras_cnn, without --lr_schedule",
    ),
    (
        "weight_decay",
        lambda r: r.training.freeze and r.training.training != "cui",
        "--freeze, and another --training than cui",
    ),
    (
        "lr_schedule",
        lambda r: r.training.training in CONSTANT,
        f"--training={', '.join(CONSTANT)}",
    ),
    ("augment", lambda r: not r.training.freeze, "training without --freeze"),
    (
        "shift",
        lambda r: not r.training.freeze and r.training.augment.startswith("shift"),
        "--augment=shift_flip or shift",
    ),
)


def make(**changes: Any) -> Recipe:
    """Returns a checked Recipe: the preset's values, then the data set's and the training's, then
    `changes`.

    Args:
        changes: any of FIELDS.

    Raises:
        ValueError: in one line, what is wrong and what to do.
    """
    for key, value in changes.items():
        if key not in FIELDS:
            raise ValueError(f"unknown recipe field {key!r}{_suggest(key, FIELDS)}")
        if (choices := FIELDS[key].metadata["choices"]) and value not in choices:
            raise ValueError(f"{key} is {value!r}, but has to be one of {', '.join(choices)}")
    dataset = changes.get("dataset", BenchmarkData.dataset)
    own = DATASETS[dataset]
    preset = changes.get("preset", own.get("preset", Recipe.preset))
    method = changes.get("method", default_method(preset))
    base = preset_values(
        dataset,
        changes.get("arch", TrainingRecipe.arch),
        method,
        preset,
        changes.get("training", default_training(method)),
        changes.get("freeze", False),
    )
    changes |= {key: _normalize(changes[key]) for key in PATHS if isinstance(changes.get(key), str)}
    values = base | changes
    _check_numbers(values)
    values["minor"] = tuple(sorted(set(values["minor"]), key=_minor_order(dataset)))
    recipe = assemble(values)
    _check_kind(recipe, values, base)
    _check_data(recipe)
    _check_selection(recipe)
    _check_training(recipe)
    _check_read(recipe, base)
    return recipe


def with_method(recipe: Recipe, method: str) -> Recipe:
    """Returns the recipe with another method, without the fields that only the former reads."""
    base, flat = recipe.preset_values(), recipe.flat()
    identity = ("dataset", "arch", "preset", "seed", "training")
    given = {k: v for k, v in flat.items() if v != base[k] or k in identity} | {"method": method}
    if method == "logit_adjusted":  # its loss is its own
        given.pop("prior_loss", None)
    of_preset = ("dataset", "arch", "method", "preset", "training", "freeze")
    values = preset_values(**{k: given.get(k, flat[k]) for k in of_preset})
    other = assemble(values | given)
    unread = (field for fields, reads, _ in READ for field in fields.split() if not reads(other))
    for field in unread:
        given.pop(field, None)
    return make(**given)


def _minor_order(dataset: str) -> Callable[[Any], Any]:
    if dataset == FolderData.dataset:
        return str
    return lambda label: (isinstance(label, str), label)


def _normalize(paths: str) -> str:
    """Returns paths A,B as a run's name has them: "a/" and "./a" are "a"."""
    return ",".join(
        str(pathlib.PurePath(path)) if path.strip() else path for path in paths.split(",")
    )


def _suggest(word: str, words: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(words), n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(words)}"


def _check_numbers(values: dict[str, Any]) -> None:
    for field, value in values.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{field} is {value}, but has to be a finite number")
    for fields, fits, words in RANGES:
        for field in fields.split():
            value = values[field]
            if value == FIELDS[field].default:
                continue
            whole = "float" not in str(FIELDS[field].type)
            if not isinstance(value, int if whole else (int, float)):
                kind = "a whole number" if whole else "a number"
                raise ValueError(f"{field} is {value!r}, but has to be {kind}")
            if not fits(value):
                raise ValueError(f"{field} is {value}, but has to be {words}")


def _check_kind(recipe: Recipe, values: dict[str, Any], base: dict[str, Any]) -> None:
    """Refuses a field that this kind of data does not have."""
    own = isinstance(recipe.data, FolderData)
    kind, cure = (
        (BenchmarkData, "a benchmark as --dataset") if own else (FolderData, "--dataset=folder")
    )
    for field in dataclasses.fields(kind):
        other = not hasattr(recipe.data, field.name)
        if other and values[field.name] != base[field.name]:
            raise ValueError(
                f"{field.name} has no meaning for {recipe.data.dataset}: use {cure}, or leave it"
                " out"
            )


def _check_data(recipe: Recipe) -> None:
    if not recipe.data.minor:
        raise ValueError("no minor class: give at least one, e.g. --minor=0,2,6,7")
    if isinstance(recipe.data, FolderData):
        _check_folders(recipe.data, recipe.selection.method)
    else:
        _check_benchmark(recipe.data)


def _check_folders(data: FolderData, method: str) -> None:
    if not data.labeled_dir:
        raise ValueError(
            "dataset folder needs --labeled_dir, a folder with a folder of images for each class"
        )
    number = r"-?[0-9]*\.?[0-9]+"
    if data.white is not None:
        fits = re.fullmatch(f"({number}:)?{number}", data.white)
        levels = data.levels() if fits else None
        if not levels or levels[0] >= levels[1]:
            raise ValueError(
                f"white is {data.white!r}, but has to be a number above 0 such as 4095, or"
                " BLACK:WHITE such as -20:45"
            )
    if data.group and data.test_dir:
        raise ValueError("group is for a held-out test set: leave it or --test_dir out")
    if method in SELECTING and not data.unlabeled_dir:
        raise ValueError(f"method {method} needs --unlabeled_dir, a folder to select from")
    if method == "oracle":
        raise ValueError(
            "there is no oracle for folder: the true classes of unlabeled images are unknown; use"
            " another --method"
        )


def _check_benchmark(data: BenchmarkData) -> None:
    classes = 100 if data.dataset.startswith("cifar100") else 10
    given = ",".join(map(str, data.minor))
    if not all(isinstance(label, int) for label in data.minor):
        raise ValueError(f"minor is {given!r}, but has to be class numbers such as 0,2,6,7")
    if any(not 0 <= int(label) < classes for label in data.minor) or len(data.minor) >= classes:
        raise ValueError(
            f"minor is {given}, but {data.dataset} has the classes 0 to {classes - 1} and at least"
            " one has to be major"
        )
    long_tailed = data.dataset.endswith("-lt")
    for field in ("minor_ratio", "major_ratio") if long_tailed else ("imb_factor",):
        if getattr(data, field) is not None:
            raise ValueError(f"{field} has no meaning for {data.dataset}: leave it out")


def _check_selection(recipe: Recipe) -> None:
    selection, epochs = recipe.selection, recipe.training.epochs
    schedule, number = selection.lambda_schedule, r"[0-9]*\.?[0-9]+"
    if schedule != "constant" and not re.fullmatch(f"{number}:{number}", schedule):
        raise ValueError(
            f"lambda_schedule is {schedule!r}, but has to be constant or two numbers like 0.4:0.6"
        )
    smallest, largest = sorted(selection.lambdas())
    if smallest <= 0:
        raise ValueError(f"lambda_schedule is {schedule!r}, but has to stay above 0")
    if selection.method in WITH_SELECTOR and selection.beta is None and largest >= 1:
        raise ValueError(
            f"beta is lambda's {largest}, but the selector's output is at most 1, so that nothing"
            " would be added: give --beta"
        )
    if _selects(recipe) and selection.every > epochs:
        raise ValueError(
            f"every is {selection.every}, so {epochs} epochs end before the first selection: use"
            f" --every={max(1, epochs // 2)} or less"
        )


def _check_training(recipe: Recipe) -> None:
    training, method = recipe.training, recipe.selection.method
    check_arch(training.arch)
    weights = training.weights
    if training.freeze and not weights:
        raise ValueError(
            "freeze needs --weights: imagenet or a file for a network of keras.applications, or a"
            " model.keras"
        )
    of_run = training.freeze and weights and weights.endswith(".keras")
    if weights and training.arch not in APPLICATIONS and not of_run:
        raise ValueError(
            f"weights are for networks of keras.applications, not for {training.arch}: leave them"
            " out"
        )
    if method == "logit_adjusted" and not training.prior_loss:
        raise ValueError("logit_adjusted has the prior-aware loss of its own: leave prior_loss out")
    if method == "class_balanced" and training.prior_loss:
        raise ValueError("class_balanced has a loss of its own: leave prior_loss out")
    if method == "class_balanced" and training.training.startswith("keras"):
        raise ValueError("class_balanced is trained by cui's recipe or by sgd: use --training=cui")


def _check_read(recipe: Recipe, base: dict[str, Any]) -> None:
    """Refuses a field that would change the run's name and nothing else."""
    values = recipe.flat()
    for fields, reads, needs in READ:
        for field in fields.split():
            if values[field] != base[field] and not reads(recipe):
                raise ValueError(f"{field} has no effect here, it needs {needs}: leave it out")
