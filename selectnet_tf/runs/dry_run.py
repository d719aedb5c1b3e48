"""How long a run on pictures will take on this machine: a few steps of its own network, timed."""

import dataclasses
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from selectnet_tf.data.folders.survey import Survey
from selectnet_tf.data.splits import TEST_SHARE
from selectnet_tf.recipes import SELECTING, Recipe
from selectnet_tf.runs import plan

LEAST = 2.0  # seconds of steps behind each measured pace, about
BATCHES = 100  # that are timed at most


class Pace(NamedTuple):
    """Seconds a picture takes:

    To be trained on, to be scored, and under --freeze to be embedded.
    """

    train: float
    score: float
    embed: float


def line(found: Survey, recipe: Recipe) -> str:
    """What --dry_run says of the training."""
    took, images = seconds(found, recipe, measure(recipe, len(found.names)))
    often = f"{recipe.epochs:,} epoch{'s' * (recipe.epochs > 1)} of up to {images:,} pictures"
    amount = f"about {plan.format_hours(took)}" if took >= 60 else "under a minute"
    return (
        f"  training takes {amount} here, if nothing else runs: {often}, by the pace of a few steps"
    )


def seconds(found: Survey, recipe: Recipe, pace: Pace) -> tuple[float, int]:
    """(of the whole run after decoding, pictures an epoch).

    For a method that selects an upper bound: D + D_add as large as D balanced.
    """
    labeled, test, pool = (
        sum(len(each.files) for each in some.values())
        for some in (found.labeled, found.test, found.unlabeled)
    )
    counts = np.array(
        [
            sum(listing.counts().get(name, 0) for listing in found.labeled.values())
            for name in found.names
        ]
    )
    kept = 1.0 if found.test else 1 - TEST_SHARE
    balanced = recipe.method in SELECTING or recipe.method == "oversampling"
    images = int(kept * (counts.max() * len(counts) if balanced else labeled))
    scored = recipe.epochs * (test or labeled * TEST_SHARE)
    if recipe.method in SELECTING:
        scored += recipe.epochs // recipe.every * (kept * labeled + pool)
    scored += pool if recipe.ask else 0
    return recipe.epochs * images * pace.train + scored * pace.score + (
        labeled * recipe.views + test + pool
    ) * pace.embed, images


def measure(recipe: Recipe, classes: int) -> Pace:
    """Times the recipe's network on made-up pictures. Weights are not downloaded for it."""
    from selectnet_tf.data.task import Task
    from selectnet_tf.images import Subset
    from selectnet_tf.pool import Pool
    from selectnet_tf.runs import frozen, methods, train

    recipe = dataclasses.replace(
        recipe, weights=None if recipe.weights == "imagenet" else recipe.weights
    )
    pictures = np.random.default_rng(0).integers(
        0, 256, (recipe.batch_size, recipe.image_size, recipe.image_size, 3), np.uint8
    )
    labels, embed = np.arange(recipe.batch_size, dtype=np.int32) % classes, 0.0
    rows: Any = pictures
    if recipe.freeze:
        network = frozen.backbone(recipe, pictures.shape[1:])
        rows = network.predict_on_batch(pictures).reshape(len(pictures), -1)
        embed = _timed(lambda n: [network.predict_on_batch(pictures) for _ in range(n)]) / len(
            pictures
        )
    task = Task(
        rows, labels, rows, rows, labels, tuple(map(str, range(classes))), (0,), labels, labels, []
    )
    model = train.make_model(recipe, task, train.make_strategy(1, recipe.deterministic))
    places = np.resize(np.arange(len(rows)), BATCHES * len(rows))
    pool = Pool(Subset(rows, places), labels[places], rows[:0], [0])
    data = pool.dataset(recipe.batch_size, None if recipe.freeze else methods.make_augment(recipe))
    step = _timed(lambda n: model.fit(data.take(n), shuffle=False, verbose=0))
    score = _timed(lambda n: [model.predict_on_batch(rows) for _ in range(n)])
    return Pace(step / len(pictures), score / len(pictures), embed)


def _timed(steps: Callable[[int], object]) -> float:
    """Seconds a step takes:

    What more of them take longer than one, so that what each call costs besides does not count.
    """
    steps(1)  # prepares
    one = _took(steps, 1)
    count = int(np.clip(LEAST / one, 2, BATCHES))
    more = _took(steps, count)
    return (more - one) / (count - 1) if more > one else more / count


def _took(steps: Callable[[int], object], count: int) -> float:
    start = time.perf_counter()
    steps(count)
    return time.perf_counter() - start
