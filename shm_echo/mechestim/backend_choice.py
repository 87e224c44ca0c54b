"""The choice of the backend: operations run in this process on NumPy, or in a server.

`mechestim` and its sub-modules hold no operation themselves: when one is first used, they look it
up in `namespace()`. So the parts of the package that need no NumPy (costs, registry, budget) never
import it.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Callable
from types import ModuleType
from typing import Any, Protocol, cast

SERVER_URL = "MECHESTIM_SERVER_URL"


def detect_backend() -> str:
    """Return `"local"` if NumPy is installed and `MECHESTIM_SERVER_URL` is not set, or `"remote"`.

    A whitespace-only value still selects client mode: it fails with AddressError instead of
    silently running uncounted.
    """
    if os.environ.get(SERVER_URL):
        return "remote"
    return "local" if importlib.util.find_spec("numpy") is not None else "remote"


_namespace: ModuleType | None = None
_backend_name: str | None = None


def backend_name() -> str:
    """Return the result of `detect_backend`, which is called once in the process."""
    global _backend_name
    if _backend_name is None:
        _backend_name = detect_backend()
    return _backend_name


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
    """Return the package of the chosen backend: `local` or `remote`."""
    package: Any = importlib.import_module(f"shm_echo.mechestim.{backend_name()}")
    return cast(Backend, package)


def namespace() -> Any:
    """Return the `namespace` of the backend; looked up once."""
    global _namespace
    if _namespace is None:
        _namespace = backend().namespace
    return _namespace


def module_protocol(
    module: str, holder: dict[str, Any]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return `__getattr__` and `__dir__` of `mechestim.<module>`, whose globals are `holder`."""

    def get(name: str) -> Any:
        if name.startswith("__") and name != "__all__":
            raise AttributeError(
                f"module 'mechestim.{module}' has no attribute {name!r}", name=name
            )
        if name == "__all__":
            return namespace().names(module)
        value = namespace().attribute(module, name)
        holder[name] = value  # Python finds the next access in the module itself
        return value

    def names() -> list[str]:
        return sorted(
            {*namespace().names(module), *(key for key in holder if not key.startswith("_"))}
        )

    return get, names
