"""Tells a missing build apart from every other reason for which an import can fail.

A checkout runs without compiled code as long as nothing uses the ring. The first use of the ring
then fails here, with the command that builds it.
"""

from __future__ import annotations

import importlib.util
import shlex
import sys
from pathlib import Path

from shm_echo.errors import NotBuiltError

__all__ = ["require_build"]

EXTENSION_MODULES = ("shm_echo.ring._core_cffi", "shm_echo.ring._core_cpython")
PACKAGE = Path(__file__).resolve().parents[1]


def require_build(extra: str | None = None) -> None:
    """Check that the extension modules exist; they are neither loaded nor executed.

    Args:
        extra: an optional dependency group that the command shall install as well.

    Raises:
        NotBuiltError: one of them is missing for the running interpreter.
    """
    if any(importlib.util.find_spec(name) is None for name in EXTENSION_MODULES):
        # The import that failed first says less than this error does.
        raise NotBuiltError(str(PACKAGE), _build_command(extra)) from None


def _build_command(extra: str | None) -> str:
    pip = [sys.executable or "python3", "-m", "pip", "install"]
    option = f"[{extra}]" if extra else ""
    if (PACKAGE.parent / "pyproject.toml").exists():
        return shlex.join([*pip, "-e", f"{PACKAGE.parent}{option}"])
    # An installed copy holds the modules of the Python that installed it, and no others.
    return shlex.join([*pip, "--force-reinstall", f"shm-echo{option}"])
