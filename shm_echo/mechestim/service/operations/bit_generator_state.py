"""Checks of the state that a client gives to a random generator.

NumPy uses the position in a bit generator's buffer without a check: with a position out of range it
reads foreign memory, or the process ends.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = ["check_state"]

_POSITIONS = {"pos": 624, "buffer_pos": 4}  # of MT19937, of Philox


def check_state(values: Iterable[Any]) -> None:
    """See that every position in these states lies in its buffer.

    Raises:
        ValueError: one does not.
        TypeError: one is no integer.
    """
    for value in values:
        if isinstance(value, dict):
            for name, last in _POSITIONS.items():
                if name in value:
                    _check_position(name, value[name], last)
            check_state(value.values())
        elif isinstance(value, (tuple, list)) and len(value) > 2:  # ("MT19937", key, pos, ...)
            _check_position("pos", value[2], _POSITIONS["pos"])


def _check_position(name: str, value: Any, last: int) -> None:
    try:
        position = int(value)
    except (TypeError, ValueError, OverflowError):
        raise TypeError(f"{name} of a random state is an integer from 0 to {last}") from None
    if not 0 <= position <= last:
        raise ValueError(f"{name} of a random state is from 0 to {last}, not {position}")
