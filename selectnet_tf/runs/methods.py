"""A method's first round, rule and augmentation."""

import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from selectnet_tf import augment, rules
from selectnet_tf.alignment import AlignMinors
from selectnet_tf.pool import Pool
from selectnet_tf.recipes import (
    SELECTING,
    WITH_SELECTOR,
    BenchmarkData,
    Data,
    SelectionRecipe,
    TrainingRecipe,
)
from selectnet_tf.selection import Selection


def make_augment(
    training: TrainingRecipe,
) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor] | None:
    """Returns the augmentation of (images, seed), or None."""
    if training.freeze or training.augment == "none":
        return None
    if training.augment == "crop_flip":
        return augment.crop_flip()
    return augment.shift_flip(training.shift, training.augment == "shift_flip")


def make_selection(
    selection: SelectionRecipe, data: Data, pool: Pool, rounds: int, seed: int
) -> Selection:
    """Returns the callback of a method: D of the first round, and the rule of each later one.

    Args:
        selection: the method and its settings.
        data: its ratio of labeled images decides the copies of --oversample=copies.
        pool: D and U.
        rounds: of the whole run, for a lambda that changes.
        seed: of the rule.
    """
    pool.even = selection.method == "balanced"
    rule = make_rule(selection, rounds, seed)
    if rule and (selection.cap or selection.max_per_class):
        most = selection.max_per_class or None
        rule = rules.Capped(rule, selection.cap, most=most, minor=pool.minor.tolist())
    return Selection(
        pool,
        rule,
        every=selection.every,
        init=_first_round(selection, data, pool),
        labeled_loss=selection.labeled_loss,
        accumulate=selection.accumulate,
        context=selection.context,
        loss_norm=selection.loss_norm,
        adjust=AlignMinors(selection.align) if selection.align else None,
    )


def _first_round(selection: SelectionRecipe, data: Data, pool: Pool) -> str | int:
    """Returns the Selection's `init`."""
    balanced = "balanced_minor" if selection.balance == "minor" else "balanced"
    if selection.method == "oversampling":
        return _copies(data, pool) if selection.oversample == "copies" else balanced
    if selection.method not in SELECTING or selection.init == "none":
        return "none"
    return selection.init_copies if selection.init == "copies" else balanced


def _copies(data: Data, pool: Pool) -> int:
    """Returns how often the released code's oversampling copies each minor image."""
    ratio = (data.minor_ratio or data.imb_factor) if isinstance(data, BenchmarkData) else None
    if ratio is None:
        counts = np.bincount(pool.labels[pool.labeled])
        ratio = counts[pool.minor].mean() / counts.max()
    return max(1, int(1 / ratio + 1e-9))


def make_rule(selection: SelectionRecipe, rounds: int, seed: int) -> rules.Rule | None:
    """Returns the method's rule; None: it selects nothing."""
    first, last = selection.lambdas()
    threshold = first if first == last else rules.linear(first, last, rounds)
    if selection.method == "self_paced":
        return rules.SelfPaced(threshold)
    if selection.method == "context":
        return rules.Context(threshold)
    if selection.method == "candidates":
        return rules.Context(math.inf)
    if selection.method == "random":
        return rules.Random(threshold, seed)
    if selection.method not in WITH_SELECTOR:
        return None
    return rules.SelectNet(
        threshold,
        selection.beta,
        inputs=selection.selector_inputs,
        fit_on=selection.selector_fit,
        init=selection.selector_init,
        learning_rate=selection.selector_lr,
        epochs=selection.selector_epochs,
        batch_size=selection.selector_batch,
        seed=seed,
    )
