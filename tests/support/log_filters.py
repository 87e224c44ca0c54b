"""What a learner says on a slow machine: that it has been waiting for its producers for a while."""

from __future__ import annotations

import re

__all__ = ["without_loneliness"]

_LONELY = re.compile(
    r"^sample\(\) waits, and no producer has been attached for \d+ s\n", re.MULTILINE
)


def without_loneliness(log: str) -> str:
    """The log of a program without that warning: how long processes take to start is not its."""
    return _LONELY.sub("", log)
