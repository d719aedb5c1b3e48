"""The range that a number has to lie in:

Each of a recipe's, and counts of the library. Standard library only.
"""

import numbers
from typing import Any


def check_whole(name: str, value: Any, least: int = 1) -> None:
    """Raises ValueError, in one line, where it is no whole number from `least`."""
    if not isinstance(value, numbers.Integral) or value < least:
        raise ValueError(f"{name} is {value!r}, but has to be a whole number from {least}")
