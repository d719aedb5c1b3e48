"""Checks of arguments. Standard library only."""

import numbers
from typing import Any


def check_whole(name: str, value: Any, least: int = 1) -> None:
    """Raises ValueError where a value is not a whole number from `least`.

    Args:
        name: the argument's.
        value: the argument.
        least: the smallest valid number.
    """
    if not isinstance(value, numbers.Integral) or value < least:
        raise ValueError(f"{name} is {value!r}, but has to be a whole number from {least}")


def check_callable(name: str, value: Any, example: str) -> None:
    """Raises ValueError where a value is neither None nor a callable, or is a class.

    Args:
        name: the argument's.
        value: the argument.
        example: a valid one.
    """
    if isinstance(value, type):
        kind = value.__name__
        raise ValueError(f"{name} is the class {kind}: make an instance, as in {kind}()")
    if value is not None and not callable(value):
        raise ValueError(f"{name} is {value!r}, but has to be a callable, such as {example}")
