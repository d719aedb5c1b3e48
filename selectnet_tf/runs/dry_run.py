"""Estimate of a run's time on this machine, from a few steps of its own network."""

import dataclasses
import pathlib
import tempfile
import timeit
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from selectnet_tf._files import printable
from selectnet_tf.data import load
from selectnet_tf.data.folders.survey import Survey, count_images
from selectnet_tf.data.splits import TEST_SHARE
from selectnet_tf.recipes import (
    SELECTING,
    FolderData,
    Recipe,
    SelectionRecipe,
    TrainingRecipe,
)
from selectnet_tf.runs import plan

LEAST = 2.0  # seconds of steps behind each measured pace, about
BATCHES = 100  # most batches that are timed


class Pace(NamedTuple):
    """Seconds that an image takes in training, in scoring, and with --freeze in embedding."""

    train: float
    score: float
    embed: float


def line(found: Survey, recipe: Recipe, baselines: Sequence[str] = ()) -> str:
    """Returns --dry_run's line on the training.

    Args:
        found: numbers of images.
        recipe: of a FolderData.
        baselines: methods that are trained, too.
    """
    assert isinstance(recipe.data, FolderData)
    class_balanced = recipe.selection.method == "class_balanced"
    pace = measure(recipe.training, recipe.data.image_size, len(found.names), class_balanced)
    asks = recipe.data.ask > 0
    took, images = seconds(found, recipe.selection, recipe.training, asks, pace)
    epochs = recipe.training.epochs
    often = f"{epochs:,} epoch{'s' * (epochs > 1)} of up to {images:,} images"
    amount = f"about {plan.format_hours(took)}" if took >= 60 else "under a minute"
    more = f"; each baseline takes up to about as long: {', '.join(baselines)}" if baselines else ""
    return (
        f"  training takes {amount} on this idle machine: {often}, estimated from a few steps{more}"
    )


def split(found: Survey, recipe: Recipe) -> str:
    """Returns --dry_run's lines on the images that are trained on, tested on and left out.

    Decodes all of them, into a temporary folder.
    """
    with tempfile.TemporaryDirectory() as place:
        says = load.make_task(recipe, cache_dir=pathlib.Path(place), survey=found).says
    return "\n".join(map(printable, says))


def seconds(
    found: Survey, selection: SelectionRecipe, training: TrainingRecipe, asks: bool, pace: Pace
) -> tuple[float, int]:
    """Returns (seconds of the whole run after decoding, images an epoch).

    For a method that selects, an upper bound: D + D_add as large as D balanced.

    Args:
        found: numbers of images.
        selection: method and rounds.
        training: epochs.
        asks: whether the pool is scored once more for the review page.
        pace: from `measure`.
    """
    labeled, test, pool = (
        sum(len(each.files) for each in some.values())
        for some in (found.labeled, found.test, found.unlabeled)
    )
    counts = count_images(found.labeled, found.names)
    kept = 1.0 if found.test else 1 - TEST_SHARE
    selects = selection.method in SELECTING
    balanced = selects or selection.method == "oversampling"
    images = int(kept * (counts.max() * len(counts) if balanced else labeled))
    images += len(found.decisions.accepted)
    scored = training.epochs * (test or labeled * TEST_SHARE)
    if selects:
        scored += training.epochs // selection.every * (kept * labeled + pool)
    if asks:
        scored += pool
    embedded = labeled + test + pool
    trained = training.epochs * images
    return trained * pace.train + scored * pace.score + embedded * pace.embed, images


def measure(
    training: TrainingRecipe, image_size: int, classes: int, class_balanced: bool = False
) -> Pace:
    """Times the network on random images; downloads no weights.

    Args:
        training: network, loss and optimizer.
        image_size: pixels on each side.
        classes: number of classes.
        class_balanced: use the class-balanced loss.
    """
    from selectnet_tf.data.task import Task
    from selectnet_tf.images import Subset
    from selectnet_tf.pool import Pool
    from selectnet_tf.runs import frozen, methods, train

    if training.weights == "imagenet":
        training = dataclasses.replace(training, weights=None)
    batch = training.batch_size
    images = np.random.default_rng(0).integers(0, 256, (batch, image_size, image_size, 3), np.uint8)
    labels, embed = np.arange(batch, dtype=np.int32) % classes, 0.0
    rows: Any = images
    if training.freeze:
        network = frozen.backbone(training, images.shape[1:])
        rows = network.predict_on_batch(images).reshape(batch, -1)
        embed = _timed(lambda n: [network.predict_on_batch(images) for _ in range(n)])
    task = Task(
        rows, labels, rows, rows, labels, tuple(map(str, range(classes))), (0,), labels, labels, []
    )
    strategy = train.make_strategy(1, training.deterministic)
    model = train.make_model(training, task, strategy, 0, class_balanced)
    places = np.resize(np.arange(len(rows)), BATCHES * len(rows))
    pool = Pool(Subset(rows, places), labels[places], rows[:0], [0])
    data = pool.dataset(batch, None if training.freeze else methods.make_augment(training))
    step = _timed(lambda n: model.fit(data.take(n), shuffle=False, verbose=0))
    score = _timed(lambda n: [model.predict_on_batch(rows) for _ in range(n)])
    return Pace(step / batch, score / batch, embed / batch)


def _timed(steps: Callable[[int], object]) -> float:
    """Returns the seconds of a step, without the constant cost of a call: the difference between
    several steps and one.
    """
    steps(1)  # traces
    one = timeit.timeit(lambda: steps(1), number=1)
    count = int(np.clip(LEAST / one, 2, BATCHES))
    more = timeit.timeit(lambda: steps(count), number=1)
    return (more - one) / (count - 1) if more > one else more / count
