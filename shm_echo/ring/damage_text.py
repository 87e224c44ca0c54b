"""The log lines about words of the ring that stray writes have hit."""

from __future__ import annotations

import logging
from enum import IntEnum
from typing import Any

__all__ = ["describe", "log_mended"]

_log = logging.getLogger("shm_echo")


class _Damaged(IntEnum):
    """The words of `enum she_damaged`."""

    WORD = 1
    CURSOR = 2
    TAKEN = 3
    CLOSED = 4
    REVOKED = 5
    IDENTITY = 6


def describe(damage: Any) -> str:
    """Describe a damaged word for a log line."""
    what, value = _Damaged(damage.what), f"{damage.value:#x}"
    if what is _Damaged.WORD:
        return f"slot {damage.slot} held {value}; it is free again, and a sample in it is lost"
    if what is _Damaged.CURSOR:
        return f"the write cursor or free slot {damage.slot} was overwritten: {value}"
    if what is _Damaged.TAKEN:
        return f"the cursor of the samples that were handed out held {value}"
    if what is _Damaged.CLOSED:
        return "its flag 'closed' was set, and the server is open"
    if what is _Damaged.REVOKED:
        return f"the record of producer {damage.slot} said the contrary of the server ({value})"
    return "the description of the ring was overwritten"


def log_mended(mended: list[str]) -> None:
    """Write one line about the words that were mended."""
    more = f", and {len(mended) - 1} more" if len(mended) > 1 else ""
    _log.warning(
        "another program has written into the shared memory of the ring, which is mended: %s%s",
        mended[0],
        more,
    )
