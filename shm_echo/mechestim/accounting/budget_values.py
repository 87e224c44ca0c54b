"""Validates the numbers of a budget. NumPy-free."""

from __future__ import annotations

import math
import operator
from typing import Any

__all__ = ["MAX_BUDGET", "positive_number", "whole_flops"]

MAX_BUDGET = 2**63 - 1  # the largest signed 64-bit integer


def whole_flops(value: Any) -> int:
    """Return `value` as a budget: a positive whole number of FLOPs up to 2**63 - 1.

    Raises:
        ValueError: `value` is a bool, a fraction, NaN, infinite, not a number, not positive, or too
            large.
    """
    try:
        if isinstance(value, bool):
            raise TypeError
        number = _number(value)
        if isinstance(value, (str, bytes)) or number != math.floor(number):
            raise TypeError
    except (TypeError, ValueError, OverflowError):
        raise ValueError(
            f"flop_budget must be a whole number of FLOPs, such as 10**9 or 1e9, got {value!r}"
        ) from None
    if number <= 0:
        raise ValueError(f"flop_budget must be > 0, got {value!r}")
    if number > MAX_BUDGET:
        raise ValueError(f"flop_budget must be at most 2**63 - 1, got {value!r}")
    return int(number)


def _number(value: Any) -> float:
    """Return an integer, of NumPy too, as an int, and another number as a float."""
    try:
        return operator.index(value)  # exactly: a float holds 53 bits only
    except TypeError:
        return float(value)


def positive_number(name: str, value: Any) -> float:
    """Return `value` as a float.

    Raises:
        ValueError: `value` is not a finite positive number; the message calls it `name`.
    """
    try:
        if isinstance(value, (bool, str, bytes)):
            raise TypeError
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name} must be a number, got {value!r}") from None
    if not math.isfinite(number) or number <= 0:
        raise ValueError(f"{name} must be finite and > 0, got {value!r}")
    return number
