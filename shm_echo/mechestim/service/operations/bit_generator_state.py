"""Checks of the state that a client gives to a random generator.

NumPy does not check the position in a bit generator's buffer: with a position out of range it reads
memory beyond the buffer, or crashes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = ["check_state"]

# The largest valid positions. The buffer of MT19937 has 624 words, the one of Philox 4; a position
# at the end means that all words are used, so the next draw fills the buffer again.
_MAX_POSITION = {"pos": 624, "buffer_pos": 4}


def check_state(values: Iterable[Any]) -> None:
    """Check that every position in these states lies in its buffer.

    Args:
        values: states as dicts or in the older form of tuples; dicts may be nested. Other values
            have no position and pass.

    Raises:
        ValueError: A position is out of range.
        TypeError: A position is not an integer.
    """
    for value in values:
        if isinstance(value, dict):
            for name, last in _MAX_POSITION.items():
                if name in value:
                    _check_position(name, value[name], last)
            check_state(value.values())
        elif isinstance(value, (tuple, list)) and len(value) > 2:  # ("MT19937", key, pos, ...)
            _check_position("pos", value[2], _MAX_POSITION["pos"])


def _check_position(name: str, value: Any, last: int) -> None:
    try:
        position = int(value)
    except (TypeError, ValueError, OverflowError):
        raise TypeError(f"{name} of a random state must be an integer from 0 to {last}") from None
    if not 0 <= position <= last:
        raise ValueError(f"{name} of a random state must be from 0 to {last}, got {position}")
