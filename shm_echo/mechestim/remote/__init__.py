"""mechestim without NumPy: every operation is a request to a server, which owns the arrays.

Importing the package loads none of its rooms: each is imported when it is first used.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING, Any

from shm_echo.mechestim.remote import upcalls

if TYPE_CHECKING:
    from shm_echo.mechestim.remote import account as account
    from shm_echo.mechestim.remote.api import namespace as namespace
    from shm_echo.mechestim.remote.api import paths as paths
    from shm_echo.mechestim.remote.arrays import symmetric as symmetric

# The parts of a backend (see `backend_choice.Backend`), and the module of each below this package.
_PARTS = {
    "account": "account",
    "namespace": "api.namespace",
    "paths": "api.paths",
    "symmetric": "arrays.symmetric",
}


def __getattr__(name: str) -> ModuleType:
    module = _PARTS.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
    return importlib.import_module(f"{__name__}.{module}")


def _open_session(url: str) -> Any:
    from shm_echo.mechestim.remote.session_opening import open_session

    return open_session(url)


def _call(op: str, *args: Any, **kwargs: Any) -> Any:
    from shm_echo.mechestim.remote.client_session import call

    return call(op, *args, **kwargs)


def _operation(name: str) -> Any:
    from shm_echo.mechestim.remote.api.namespace import member

    return member(name)


upcalls.open_session = _open_session
upcalls.call = _call
upcalls.operation = _operation
