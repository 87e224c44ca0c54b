"""Checks of the file that a command writes its chart to, before it begins its work."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["problem"]


def problem(path: Path) -> str | None:
    """Return the reason why no chart can be written to a path; None if no reason is known."""
    if path.is_dir():
        return f"--plot {path} is a directory, not a file"
    if not path.parent.is_dir():
        return f"--plot {path}: the directory {path.parent} does not exist"
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        return f"--plot {path} is not writable"
    return None
