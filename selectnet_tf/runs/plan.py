"""Recipes behind each of the paper's tables and figures, and estimates of their training time."""

import math
import pathlib
from collections.abc import Sequence

import numpy as np

from selectnet_tf import recipes
from selectnet_tf.data import splits
from selectnet_tf.recipes.architectures import check_arch
from selectnet_tf.runs import store

COLUMNS = (  # of Table 1, the cheapest first
    ("cifar10-4minor", "simple"),
    ("cifar10-4minor", "resnet20"),
    ("cifar100-4minor", "resnet20"),
    ("cifar10-4minor", "resnet56"),
    ("cifar100-4minor", "resnet56"),
    ("cifar100-10minor", "resnet56"),
)
TABLES = {  # (data set, arch) columns, methods, lambda schedules
    "table1": (COLUMNS, recipes.PAPER_METHODS, ("constant",)),
    "table2": (COLUMNS[:1], ("oversampling", "self_paced", "selectnet"), ("constant",)),
    "table3": (
        (("cifar10-lt", "resnet32"), ("cifar100-lt", "resnet32")),
        ("class_balanced", "selectnet"),
        ("constant",),
    ),
    "table4": (COLUMNS[:1], ("selectnet",), ("constant", "0.4:0.6", "0.6:0.4")),
    "figure2": (COLUMNS[:1], ("selectnet",), ("constant",)),
}
SPEED = 1.8e10  # multiply-adds of the forward pass a second while training, on two CPU cores
SMALLER = 0.25  # the work of a 16 x 16 image of digits, beside a 32 x 32 one
TOGETHER = 1.3  # the speed of two runs on shared cores beside one (results/benchmark.csv, jobs)
CONVOLUTION = 32 * 32 * 16 * 16 * 9  # multiply-adds of any 3 x 3 convolution of ResNet v1


def make_grid(
    table: str,
    seeds: Sequence[int] = (0,),
    preset: str = "paper",
    datasets: Sequence[str] | None = None,
    archs: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    epochs: int = 200,
) -> list[recipes.Recipe]:
    """Returns the recipes behind a table or figure, those of the cheapest columns first.

    Args:
        table: a key of TABLES.
        seeds: the seeds.
        preset: the preset.
        datasets: narrows the columns; one outside the table is added.
        archs: as the table names them; likewise. Datasets and archs give every pair of them.
        methods: replaces the table's.
        epochs: of each run; one of up to ten selects half-way, to train on what it adds.
    """
    every = {"every": max(1, epochs // 2)} if epochs <= recipes.SelectionRecipe.every else {}
    columns, own_methods, schedules = TABLES[table]
    known = [list(dict.fromkeys(column[i] for column in columns)) for i in (0, 1)]
    asked = [(d, a) for d in datasets or known[0] for a in archs or known[1]]
    new = [c for c in asked if c[0] not in known[0] or c[1] not in known[1]]
    pairs = asked if datasets and archs else [c for c in columns if c in asked] + new
    return [
        recipes.make(
            dataset=dataset,
            arch=store.V2.get(arch, arch) if preset == "released" else arch,
            method=method,
            preset=preset,
            seed=seed,
            epochs=epochs,
            lambda_schedule=schedule,
            **every,
        )
        for dataset, arch in pairs
        for seed in seeds
        for method in methods or own_methods
        for schedule in (schedules if method in recipes.WITH_THRESHOLD else schedules[:1])
    ]


def count_multiply_adds(arch: str) -> float:
    """Returns the multiply-adds of one 32 x 32 image's forward pass, about.

    NaN for a network of keras.applications, whose are not known.
    """
    found = check_arch(arch)
    if not found:
        return 20.8e6 if arch == "simple" else math.nan
    depth, v2 = found
    return (depth - 2) / 9 * 13.4 * CONVOLUTION if v2 else (depth - 2) * CONVOLUTION


def count_images(recipe: recipes.Recipe) -> int:
    """Returns the images trained on over a whole run; an upper bound if the run selects.

    The bound takes D + D_add to be as large as D balanced.
    """
    data, epochs, method = recipe.data, recipe.training.epochs, recipe.selection.method
    assert isinstance(data, recipes.BenchmarkData)  # a sweep is over benchmarks
    classes, per_class = (100, 500) if data.dataset.startswith("cifar100") else (10, 5000)
    if data.dataset.startswith("digits"):
        per_class = 143
    labels = np.repeat(np.arange(classes), per_class)
    counts = np.bincount(labels[splits.make_split(data, labels, recipe.seed)[0]])
    if method == "oracle":
        return epochs * len(labels)
    return epochs * int(
        counts.sum()
        if method in ("imbalanced", "class_balanced", "logit_adjusted")
        else counts.max() * classes
    )


def read_rates(results: pathlib.Path) -> dict[str, float]:
    """Returns {arch: images a second without selection}, medians over the finished runs.

    Only runs of whole networks on CIFAR count: other images have other sizes, and a frozen network
    does not train.
    """
    found: dict[str, list[float]] = {}
    for run in store.read_runs(results)[0]:
        training = run.number("seconds") - run.number("selection_seconds")
        alike = run.row["dataset"].startswith("cifar") and run.row.get("freeze") != "True"
        if alike and training > 0 and run.number("images") > 0:
            found.setdefault(run.row["arch"], []).append(run.number("images") / training)
    return {arch: float(np.median(values)) for arch, values in found.items()}


def estimate_seconds(recipe: recipes.Recipe, known: dict[str, float]) -> float:
    """Returns the seconds of a whole run; NaN: unknown, as of one with --freeze.

    Args:
        recipe: the run's Recipe.
        known: the result of read_rates; rates of other archs tell how fast the machine is.
    """
    images, arch = count_images(recipe), recipe.training.arch
    if recipe.training.freeze:  # what takes time is embedding each image once
        return math.nan
    if recipe.data.dataset.startswith("digits"):
        return images * SMALLER * count_multiply_adds(arch) / _speed(known)
    if arch in known:
        return images / known[arch]
    return images * count_multiply_adds(arch) / _speed(known)


def format_hours(seconds: float) -> str:
    """Returns seconds as text, in hours, minutes or seconds; "–" for NaN."""
    if math.isnan(seconds):
        return "–"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 3600:.1f} h" if seconds >= 5400 else f"{seconds / 60:.0f} min"


def _speed(known: dict[str, float]) -> float:
    """Returns this machine's multiply-adds a second."""
    found = [rate * count_multiply_adds(arch) for arch, rate in known.items()]
    return float(np.median([speed for speed in found if speed == speed] or [SPEED]))
