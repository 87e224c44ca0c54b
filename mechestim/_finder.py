"""The short name: `mechestim` is `shm_echo.mechestim`, and so are its public modules.

Each public module is one object under both names, whichever is imported first: a class that was
imported under one name is caught, compared and unpickled under the other. The modules keep the
`__name__` and `__spec__` of `shm_echo.mechestim.X`, so reloading, pickling and finding sources need
no special case. Internal modules have the long name only.

Not handled: an import hook of another library that precedes this one in `sys.meta_path` and loads
`mechestim.X` by its path makes a second copy of that module. A thread that imports `mechestim.X` at
the moment in which another thread begins the first import of `mechestim` may not find it.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import CodeType, ModuleType
from typing import Any

__all__ = ["ALIAS", "PUBLIC", "REAL", "AliasFinder", "install"]

ALIAS = "mechestim"
REAL = "shm_echo.mechestim"
PUBLIC = ("errors", "fft", "flops", "linalg", "random", "stats")


def install() -> None:
    """Make `mechestim` and its public modules other names of `shm_echo.mechestim`."""
    if not any(isinstance(finder, AliasFinder) for finder in sys.meta_path):
        # Before the finders that go by path: they would load the same file a second time.
        sys.meta_path.insert(0, AliasFinder())
    package = importlib.import_module(REAL)
    # A module that is loaded already must not be imported again under the alias: the import would
    # bind it in the package, over a function that the package may have put in its place.
    for name in PUBLIC:
        if f"{REAL}.{name}" in sys.modules:
            sys.modules[f"{ALIAS}.{name}"] = sys.modules[f"{REAL}.{name}"]
    # Last: from here on, other threads that import the alias no longer wait for this one.
    sys.modules[ALIAS] = package


class AliasFinder:  # no base class: importlib.abc takes longer to import than this module
    """Finds the public `mechestim.X` where `shm_echo.mechestim.X` is; it imports only parents."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        prefix, _, rest = fullname.partition(".")
        if prefix != ALIAS or not rest:
            return None
        name = f"{REAL}.{rest}"
        module = sys.modules.get(name)
        real = module.__spec__ if module is not None else importlib.util.find_spec(name)
        if real is None and module is None:
            return None
        if rest not in PUBLIC:
            # The finders that go by path would find the file and load it a second time.
            raise ModuleNotFoundError(
                f"No module named {fullname!r}: {name} is internal, and {ALIAS} has the modules "
                f"{', '.join(PUBLIC)}",
                name=fullname,
            )
        origin = None if real is None else real.origin
        loader: Any = AliasLoader(name, real)
        spec = ModuleSpec(fullname, loader, origin=origin)
        if real is not None:
            spec.has_location = real.has_location
            spec.cached = real.cached
            spec.submodule_search_locations = real.submodule_search_locations
        return spec


class AliasLoader:
    """Answers an import of the alias with the one module, and `python -m` with its code."""

    def __init__(self, name: str, spec: ModuleSpec | None) -> None:
        self._name = name
        self._spec = spec

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(self._name)
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        # The module has run under its own name; the import system has just set the alias's spec.
        module.__spec__ = self._spec

    def get_code(self, fullname: str) -> CodeType | None:
        return self._loader("get_code").get_code(self._name)  # type: ignore[no-any-return]

    def get_source(self, fullname: str) -> str | None:
        return self._loader("get_source").get_source(self._name)  # type: ignore[no-any-return]

    def get_filename(self, fullname: str) -> str:
        return self._loader("get_filename").get_filename(self._name)  # type: ignore[no-any-return]

    def is_package(self, fullname: str) -> bool:
        return bool(self._loader("is_package").is_package(self._name))

    def _loader(self, method: str) -> Any:
        loader = None if self._spec is None else self._spec.loader
        if not hasattr(loader, method):
            raise ImportError(
                f"{self._name} was made by a program: it has no file", name=self._name
            )
        return loader
