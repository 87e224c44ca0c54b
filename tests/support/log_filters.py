"""What a learner says on a slow machine: that it has been waiting for its producers for a while."""

from __future__ import annotations

import re

__all__ = ["without_no_producer_warnings"]

_NO_PRODUCER_WARNING = re.compile(
    r"^sample\(\) waits, and no producer has been attached for \d+ s\n", re.MULTILINE
)


def without_no_producer_warnings(log: str) -> str:
    """The log of a program without that warning: how long processes take to start is not its."""
    return _NO_PRODUCER_WARNING.sub("", log)
