"""Where the operations run: in this process on NumPy, or in a server.

``mechestim`` and its sub-modules hold no operation themselves; they ask :func:`namespace` for them,
when one is first used. Importing a part of the package that needs no NumPy (costs, registry,
budget) therefore never imports it.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Callable
from types import ModuleType
from typing import Any, Protocol, cast

SERVER_URL = "MECHESTIM_SERVER_URL"


def name() -> str:
    """``"local"`` if NumPy is there and ``MECHESTIM_SERVER_URL`` is not set, else ``"remote"``.

    Blanks are something, though no address: a client says so, and nothing runs uncounted.
    """
    if os.environ.get(SERVER_URL):
        return "remote"
    return "local" if importlib.util.find_spec("numpy") is not None else "remote"


_namespace: ModuleType | None = None
_name: str | None = None


def chosen() -> str:
    """:func:`name`, decided once for the process."""
    global _name
    if _name is None:
        _name = name()
    return _name


class Backend(Protocol):
    """The parts that the packages `local` and `remote` both offer, each a module.

    Attributes:
        namespace: `attribute(module, name)` and `names(module)`: the names of `mechestim`.
        account: `new(limit, multiplier)`: an account whose count is kept where operations run.
        paths: `search(contraction, name, memory_limit)`: the order of an einsum's steps.
        symmetric: symmetric tensors.
    """

    namespace: Any
    account: Any
    paths: Any
    symmetric: Any


def backend() -> Backend:
    """Return the package of the mode that was chosen: `local` or `remote`."""
    found: Any = importlib.import_module(f"shm_echo.mechestim.{chosen()}")
    return cast(Backend, found)


def namespace() -> Any:
    """The backend's ``namespace``; looked up once."""
    global _namespace
    if _namespace is None:
        _namespace = backend().namespace
    return _namespace


def module_protocol(
    module: str, holder: dict[str, Any]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` of ``mechestim.<module>``, whose globals are ``holder``."""

    def get(name: str) -> Any:
        if name.startswith("__") and name != "__all__":
            raise AttributeError(
                f"module 'mechestim.{module}' has no attribute {name!r}", name=name
            )
        if name == "__all__":
            return namespace().names(module)
        found = namespace().attribute(module, name)
        holder[name] = found  # the next access does not come here
        return found

    def names() -> list[str]:
        return sorted(
            {*namespace().names(module), *(key for key in holder if not key.startswith("_"))}
        )

    return get, names
