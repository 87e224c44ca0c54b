"""mechestim on NumPy, in this process: counted arrays, and the functions that charge for them.

Importing this package loads no NumPy: each part of the backend is imported at its first use.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shm_echo.mechestim.local import account as account
    from shm_echo.mechestim.local import namespace as namespace
    from shm_echo.mechestim.local import paths as paths
    from shm_echo.mechestim.local import symmetric as symmetric

# The parts of a backend (see `backend_choice.Backend`), and the module of each.
_PARTS = {name: name for name in ("account", "namespace", "paths", "symmetric")}


def __getattr__(name: str) -> ModuleType:
    module = _PARTS.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
    return importlib.import_module(f"{__name__}.{module}")
