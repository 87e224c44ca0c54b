"""The stack level of the user's code, for warnings that should name its line."""

from __future__ import annotations

import sys
from types import FrameType

_OURS = ("shm_echo.mechestim", "numpy")


def stacklevel() -> int:
    """Return the `stacklevel` with which a warning of the caller names the user's line."""
    level = 1
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").startswith(_OURS):
        frame, level = frame.f_back, level + 1
    return level
