"""How long a run will take, before it is trained: images times work an image over a measured speed. No TensorFlow."""

import pathlib

import numpy as np

from selectnet_tf import recipes
from selectnet_tf.archs import check_arch
from selectnet_tf.data import splits
from selectnet_tf.experiment import runs

SPEED = 1.8e10  # multiply-adds of the forward pass a second while training (all else counted): measured on two CPU cores
SMALLER = 0.25  # the work of a picture of digits, 16 x 16
TOGETHER = 1.3  # two runs at once on shared cores, beside one with all of them (results/benchmark.csv, jobs)
CONVOLUTION = 32 * 32 * 16 * 16 * 9  # multiply-adds of a 3 x 3 convolution of ResNet v1, the same in each of its stages


def multiply_adds(arch: str) -> float:
    """Of one 32 x 32 image's forward pass, rounded: the convolutions, and the simple net's hidden layer."""
    found = check_arch(arch)
    if not found:
        return 20.8e6
    depth, v2 = found
    return (depth - 2) / 9 * 13.4 * CONVOLUTION if v2 else (depth - 2) * CONVOLUTION


def images(recipe: recipes.Recipe) -> int:
    """Training images of a whole run; for one that selects an upper bound: D + D_add as large as D balanced."""
    classes, per_class = (100, 500) if recipe.dataset.startswith("cifar100") else (10, 5000)
    if recipe.dataset.startswith("digits"):
        per_class = 143
    labels = np.repeat(np.arange(classes), per_class)
    counts = np.bincount(labels[splits.of(recipe, labels).labeled])
    if recipe.method == "oracle":
        return recipe.epochs * len(labels)
    return recipe.epochs * int(
        counts.sum() if recipe.method in ("imbalanced", "class_balanced", "logit_adjusted") else counts.max() * classes
    )


def rates(results: pathlib.Path) -> dict[str, float]:
    """{arch: images a second, selection not counted}: the median over the finished runs of whole networks on CIFAR in results/runs.csv.

    Other images are smaller or larger, and a frozen network is not trained.
    """
    found: dict[str, list[float]] = {}
    for run in runs.read(results)[0]:
        training = run.number("seconds") - run.number("selection_seconds")
        alike = run.row["dataset"].startswith("cifar") and run.row.get("freeze") != "True"
        if alike and training > 0 and run.number("images") > 0:
            found.setdefault(run.row["arch"], []).append(run.number("images") / training)
    return {arch: float(np.median(values)) for arch, values in found.items()}


def seconds(recipe: recipes.Recipe, known: dict[str, float]) -> float:
    """Of a whole run. known: `rates` of finished ones; of other networks too, for a machine that is faster or slower."""
    if recipe.dataset.startswith("digits"):
        return images(recipe) * SMALLER * multiply_adds(recipe.arch) / _speed(known)
    if recipe.arch in known:
        return images(recipe) / known[recipe.arch]
    return images(recipe) * multiply_adds(recipe.arch) / _speed(known)


def _speed(known: dict[str, float]) -> float:
    """Multiply-adds a second."""
    return float(np.median([rate * multiply_adds(arch) for arch, rate in known.items()])) if known else SPEED


def hours(amount: float) -> str:
    """Seconds as text."""
    return f"{amount / 3600:.1f} h" if amount >= 5400 else f"{amount / 60:.0f} min"
