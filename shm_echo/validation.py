"""Checks of numbers that callers pass, and of switches in the environment.

Every error names the argument or the variable, and its value.
"""

from __future__ import annotations

import operator
import os
from numbers import Real
from typing import Any

__all__ = ["check_cast", "check_count", "environment_switch", "label_text", "seconds"]

# Seconds (30 years). Longer time-outs mean "no limit"; locks and clocks overflow far above it.
_NO_LIMIT = 1e9

_ON, _OFF = ("1", "true", "yes", "on"), ("0", "false", "no", "off", "")


def check_count(
    name: str, value: Any, least: int, when: str = "", *, most: int | None = 2**31
) -> int:
    """Return `value` as an int from `least` to `most`; None for no upper limit.

    Every integer counts, NumPy's included: whatever has an `__index__`. Keep the returned value, as
    a NumPy integer overflows in products and has no form in messages.

    Raises:
        TypeError: the value is not an integer, or it is a bool.
        ValueError: the value is out of range; `when` ends the message with the condition that set
            the range.
    """
    try:
        if isinstance(value, bool):
            raise TypeError
        count = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an int, not {type(value).__name__}") from None
    if count < least:
        raise ValueError(f"{name} must be at least {least}{when}, not {count}")
    if most is not None and count > most:
        raise ValueError(f"{name} must be at most {most}, not {count}")
    return count


def environment_switch(name: str, default: bool = False) -> bool:
    """Return True if the environment variable `name` is on, False if it is off.

    Args:
        name: the variable: 1, true, yes and on are on; 0, false, no, off and the empty text are
            off, in small or capital letters.
        default: the result if the variable is not set.

    Raises:
        ValueError: the variable has any other value.
    """
    text = os.environ.get(name)
    if text is None:
        return default
    if text.lower() in _ON:
        return True
    if text.lower() in _OFF:
        return False
    raise ValueError(
        f"the environment variable {name} must be one of {', '.join(_ON)} (on), "
        f"{', '.join(_OFF[:-1])} or empty (off), not {text!r}"
    )


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


def label_text(label: str | int | None) -> str | None:
    """Return a name as text: workers often have numbers, NumPy's among them."""
    if hasattr(label, "__index__") and not isinstance(label, bool):
        return str(operator.index(label))  # type: ignore[arg-type]
    return label  # type: ignore[return-value]


def check_cast(cast: str) -> bool:
    """Return True for "same_kind", and False for "exact".

    Raises:
        ValueError: it is neither.
    """
    if cast not in ("exact", "same_kind"):
        raise ValueError(f"cast must be 'exact' or 'same_kind', not {cast!r}")
    return cast == "same_kind"
