"""The range that a number has to lie in: each of a recipe's, and counts of the library. Standard library only."""

import dataclasses
import math
import numbers
from typing import Any


def check_whole(name: str, value: Any, least: int = 1) -> None:
    """Raises ValueError, in one line, where it is no whole number from `least`."""
    if not isinstance(value, numbers.Integral) or value < least:
        raise ValueError(f"{name} is {value!r}, but has to be a whole number from {least}")


def check_numbers(r: Any) -> None:
    """Raises ValueError, in one line, where a number of the Recipe `r` is out of its range."""
    for f in dataclasses.fields(r):
        value = getattr(r, f.name)
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{f.name} is {value}, but has to be a finite number")
    for field in ("epochs", "every", "batch_size", "selector_epochs", "selector_batch", "init_copies", "image_size"):
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
    if r.prior_loss < 0 or not 0 <= r.align <= 1 or not 0 <= r.cap <= 1 or min(r.max_per_class, r.validation, r.ask) < 0:
        raise ValueError("prior_loss, max_per_class, validation and ask have to be at least 0, align and cap from 0 to 1")
    if not 1 <= r.views <= 4:
        raise ValueError(f"views is {r.views}, but has to be from 1 to 4")
    if r.decay < 0 or r.focal_gamma < 0 or (r.beta is not None and not 0 <= r.beta < 1):
        raise ValueError("decay and focal_gamma have to be at least 0, and beta at least 0 and below 1")
