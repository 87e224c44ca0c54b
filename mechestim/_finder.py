"""The short name: ``mechestim`` and ``mechestim.X`` are the modules of ``shm_echo.mechestim``.

There is one module object for both names, whichever is imported first: a class that was imported by
one name is caught, compared and unpickled by the other. The modules keep the ``__name__`` and the
``__spec__`` of ``shm_echo.mechestim.X``, so that reloading, pickling and looking up sources need no
special case.

Not handled: an import hook of somebody else that is put before ours in ``sys.meta_path`` and loads
``mechestim.X`` by its path makes a second copy of that module. And a thread that imports
``mechestim.X`` in the instant in which another one begins the first import of ``mechestim`` may not
find it.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import CodeType, ModuleType
from typing import Any

__all__ = ["ALIAS", "REAL", "AliasFinder", "install"]

ALIAS = "mechestim"
REAL = "shm_echo.mechestim"


def install() -> None:
    """Make ``mechestim`` and all below it other names of ``shm_echo.mechestim``."""
    if not any(isinstance(finder, AliasFinder) for finder in sys.meta_path):
        # Before the finders that go by path: they would load the same file a second time.
        sys.meta_path.insert(0, AliasFinder())
    package = importlib.import_module(REAL)
    # The modules that the package has loaded itself, so that nobody imports them by the alias. An
    # import would bind each in the package, over a function that the package has put in its place.
    for name in [name for name in sys.modules if name.startswith(f"{REAL}.")]:
        sys.modules[ALIAS + name.removeprefix(REAL)] = sys.modules[name]
    # Last: from here on, other threads that import the alias no longer wait for this one.
    sys.modules[ALIAS] = package


class AliasFinder:  # importlib.abc takes more time to import than all of this
    """Finds ``mechestim.X`` where ``shm_echo.mechestim.X`` is. It imports nothing but parents."""

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
        origin = None if real is None else real.origin
        loader: Any = AliasLoader(name, real)
        spec = ModuleSpec(fullname, loader, origin=origin)
        if real is not None:
            spec.has_location = real.has_location
            spec.cached = real.cached
            spec.submodule_search_locations = real.submodule_search_locations
        return spec


class AliasLoader:
    """Answers an import of the alias with the one module, and ``python -m`` with its code."""

    def __init__(self, name: str, spec: ModuleSpec | None) -> None:
        self._name = name
        self._spec = spec

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(self._name)
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        # It has run under its own name. The import system has just put the spec of the alias on it.
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
