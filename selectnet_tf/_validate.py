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
