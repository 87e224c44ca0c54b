"""Checks of the numbers that callers pass. Every error names the argument and what was given."""

from __future__ import annotations

from numbers import Real
from typing import Any

__all__ = ["check_count", "seconds"]

_FOR_EVER = 1e9  # seconds, 30 years: far below what a clock or a lock takes at most


def check_count(name: str, value: Any, least: int, when: str = "", *, most: int = 2**31) -> None:
    """Refuse what is not an int from ``least`` to ``most``.

    Raises:
        TypeError, ValueError: see above.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}{when}, not {value}")
    if value > most:
        raise ValueError(f"{name} must be at most {most}, not {value}")


def seconds(name: str, value: Any) -> float | None:
    """A time-out as a number of seconds, or None where it means "for ever", as infinity does.

    Raises:
        TypeError, ValueError: it is neither None nor a number >= 0.
    """
    if value is None:
        return None
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(f"{name} must be None or a number of seconds, not {value!r}")
    number: Any = value  # Real has too few operators for the type checker
    if not number >= 0:
        raise ValueError(f"{name} must be None or a number >= 0, not {value!r}")
    return float(number) if number < _FOR_EVER else None
