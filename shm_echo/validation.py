"""Checks of numbers that callers pass. Every error names the argument and its value."""

from __future__ import annotations

from numbers import Real
from typing import Any

__all__ = ["check_count", "seconds"]

# Seconds (30 years). Longer time-outs mean "no limit"; locks and clocks overflow far above it.
_NO_LIMIT = 1e9


def check_count(name: str, value: Any, least: int, when: str = "", *, most: int = 2**31) -> None:
    """Check that `value` is an int from `least` to `most`.

    Raises:
        TypeError: the value is not an int, or it is a bool.
        ValueError: the value is out of range; `when` ends the message with the condition that set
            the range.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}{when}, not {value}")
    if value > most:
        raise ValueError(f"{name} must be at most {most}, not {value}")


def seconds(name: str, value: Any) -> float | None:
    """Return a time-out as a number of seconds; None, like infinity, means no limit.

    Raises:
        TypeError: the value is neither None nor a number.
        ValueError: the value is negative or NaN.
    """
    if value is None:
        return None
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(f"{name} must be None or a number of seconds, not {value!r}")
    number: Any = value  # Real has too few operators for the type checker
    if not number >= 0:
        raise ValueError(f"{name} must be None or a number >= 0, not {value!r}")
    return float(number) if number < _NO_LIMIT else None
