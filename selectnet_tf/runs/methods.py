"""What a recipe's method trains on first, and how it selects from then on."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from selectnet_tf import augment, rules
from selectnet_tf.alignment import AlignMinors
from selectnet_tf.pool import Pool
from selectnet_tf.recipes import SELECTING, Recipe
from selectnet_tf.rules import Capped
from selectnet_tf.runs import frozen
from selectnet_tf.selection import Selection


def make_augment(recipe: Recipe) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor] | None:
    if recipe.freeze:
        return frozen.any_view if recipe.views > 1 else None
    if recipe.augment == "none":
        return None
    return (
        augment.crop_flip()
        if recipe.augment == "crop_flip"
        else augment.shift_flip(recipe.shift, recipe.augment == "shift_flip")
    )


def make_selection(recipe: Recipe, pool: Pool) -> Selection:
    """All methods are one path:

    Which D the first round has, and which rule selects from then on.
    """
    counts = np.bincount(pool.labels[pool.labeled])
    ratio = recipe.minor_ratio or recipe.imb_factor or counts[pool.minor].mean() / counts.max()
    copies = max(1, int(1 / ratio + 1e-9))
    balanced = "balanced_minor" if recipe.balance == "minor" else "balanced"
    inits: dict[str, str | int] = {
        "balanced": balanced,
        "copies": recipe.init_copies,
        "none": "none",
    }
    init = inits[recipe.init]
    if recipe.method == "oversampling":
        init = copies if recipe.oversample == "copies" else balanced
    elif recipe.method not in SELECTING:
        init = "none"
    pool.even = recipe.method == "balanced"
    rule = make_rule(recipe)
    if rule and (recipe.cap or recipe.max_per_class):
        rule = Capped(
            rule, recipe.cap, most=recipe.max_per_class or None, minor=pool.minor.tolist()
        )
    return Selection(
        pool,
        rule,
        every=recipe.every,
        init=init,
        labeled_loss=recipe.labeled_loss,
        accumulate=recipe.accumulate,
        context=recipe.context,
        loss_norm=recipe.loss_norm,
        adjust=AlignMinors(recipe.align) if recipe.align else None,
    )


def make_rule(recipe: Recipe) -> Any:
    first, last = recipe.lambdas()
    threshold = first if first == last else rules.linear(first, last, recipe.epochs // recipe.every)
    if recipe.method in ("selectnet", "balanced"):
        return rules.SelectNet(
            threshold,
            recipe.beta,
            inputs=recipe.selector_inputs,
            fit_on=recipe.selector_fit,
            init=recipe.selector_init,
            learning_rate=recipe.selector_lr,
            epochs=recipe.selector_epochs,
            batch_size=recipe.selector_batch,
            seed=recipe.seed,
        )
    if recipe.method == "random":
        return rules.Random(threshold, recipe.seed)
    return {"self_paced": rules.SelfPaced, "context": rules.Context}.get(
        recipe.method, lambda _: None
    )(threshold)
