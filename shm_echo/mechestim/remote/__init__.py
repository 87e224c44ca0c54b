"""mechestim without NumPy: every operation is a request to a server, which owns the arrays.

Importing it loads nothing: each part of the backend is imported when it is first asked for.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shm_echo.mechestim.remote import account as account
    from shm_echo.mechestim.remote.api import namespace as namespace
    from shm_echo.mechestim.remote.api import paths as paths
    from shm_echo.mechestim.remote.arrays import symmetric as symmetric

# The parts of a backend (see `backend_choice.Backend`), and where each stands below this package.
_PARTS = {
    "account": "account",
    "namespace": "api.namespace",
    "paths": "api.paths",
    "symmetric": "arrays.symmetric",
}


def __getattr__(name: str) -> ModuleType:
    where = _PARTS.get(name)
    if where is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
    return importlib.import_module(f"{__name__}.{where}")
