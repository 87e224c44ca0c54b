"""A ``numpy`` with mechestim's operations, for test modules that ``import numpy as np``.

`import_counted` replaces ``__import__`` in a test module: an import from NumPy returns the
operation of ``mechestim`` if there is one, and NumPy's own object otherwise (constants, dtypes,
unsupported functions, helpers of the tests). `CountedImporter` installs it in NumPy's test modules
as it loads them, and in no others: imports of the library and of NumPy itself do not change.
"""

from __future__ import annotations

import builtins
import functools
import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import numpy as np

import shm_echo.mechestim as me
from shm_echo.mechestim.local.functions import twin
from shm_echo.mechestim.local.namespace import attribute
from shm_echo.mechestim.registry import OPS, Category

_NUMPY = Path(np.__file__).parent

CHECKS = "numpy.testing"  # the namespace that what assertions compute is booked under

# Of each public namespace of NumPy, what we call it.
_OURS = {"numpy": "", "numpy.linalg": "linalg", "numpy.fft": "fft", "numpy.random": "random"}

# No operations of the registry, but ours in every program that imports mechestim in NumPy's place.
_CLASSES = frozenset({"ndarray", "ndenumerate", "ufunc", "r_", "c_", "mgrid", "ogrid"})
_RANDOM = frozenset({"RandomState", "Generator", "default_rng"})


class CountedModule(ModuleType):
    """One of NumPy's modules, with our operations in it."""

    def __init__(self, real: ModuleType) -> None:
        super().__init__(real.__name__, real.__doc__)
        self.__dict__["_real"] = real
        if real.__name__ in _LOOKED_THROUGH:
            for name in vars(real):
                getattr(self, name)

    def __getattr__(self, name: str) -> Any:
        real: ModuleType = self.__dict__["_real"]
        found = _replacement(real, name)
        self.__dict__[name] = found
        return found

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.__dict__["_real"], name, value)
        self.__dict__[name] = value

    def __dir__(self) -> Sequence[str]:
        return dir(self.__dict__["_real"])


def _replacement(real: ModuleType, name: str) -> Any:
    theirs = getattr(real, name)  # what NumPy has not, we have not either
    if isinstance(theirs, ModuleType):
        return counted_module(theirs)
    if real.__name__ == "numpy.testing":
        return _checking(theirs)
    ours = _OURS.get(real.__name__)
    if ours is None:
        return _twin(theirs)
    dotted = f"{ours}.{name}" if ours else name
    op = OPS.get(dotted)
    if (
        (op is not None and op.category is not Category.UNSUPPORTED)
        or (not ours and name in _CLASSES)
        or (ours == "random" and name in _RANDOM)
    ):
        return attribute(ours, name)
    return theirs


def _twin(theirs: Any) -> Any:
    """Our function in the place of one that was taken from a private module."""
    if callable(theirs) and not isinstance(theirs, type):
        return twin(theirs) or theirs
    return theirs


def _checking(function: Any) -> Any:
    """An assertion about values: what it computes is no call of the test's own."""
    name = getattr(function, "__name__", "")
    if not name.startswith("assert_") or "raises" in name or "warn" in name:
        return function

    @functools.wraps(function)
    def check(*args: Any, **kwargs: Any) -> Any:
        with me.namespace(CHECKS):
            return function(*args, **kwargs)

    return check


_modules: dict[str, CountedModule] = {}

# The modules whose functions are replaced. Masked arrays and the like call the real ones.
_REPLACED = frozenset(
    {
        *_OURS,
        "numpy.testing",
        "numpy._core",
        "numpy._core.multiarray",
        "numpy._core.numeric",
        "numpy._core.umath",
        "numpy.lib._function_base_impl",
        "numpy.lib.stride_tricks",
        "numpy.linalg._linalg",
    }
)
_LOOKED_THROUGH = frozenset({"numpy._core.umath"})  # the tests collect the ufuncs that it holds


def counted_module(real: ModuleType) -> ModuleType:
    """The stand-in of a module whose functions are replaced; any other module is itself."""
    if real.__name__ not in _REPLACED:
        return real
    found = _modules.get(real.__name__)
    if found is None:
        found = _modules[real.__name__] = CountedModule(real)
    return found


def import_counted(
    name: str,
    globals: Any = None,
    locals: Any = None,
    fromlist: Sequence[str] | None = (),
    level: int = 0,
) -> Any:
    """``builtins.__import__``, which gives the stand-ins of NumPy's public modules."""
    module = builtins.__import__(name, globals, locals, fromlist or (), level)
    return counted_module(module)


class _CountedLoader(Loader):
    def __init__(self, loader: SourceFileLoader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__["__builtins__"] = {**vars(builtins), "__import__": import_counted}
        code = self._loader.get_code(module.__name__)
        assert code is not None
        exec(code, module.__dict__)
        for value in list(vars(module).values()):
            if isinstance(value, type) and value.__module__ == module.__name__:
                _unbind(value)


def _unbind(cls: type) -> None:
    """Make our functions in a class static: NumPy's built-in ones do not become methods there."""
    for name, value in list(vars(cls).items()):
        if isinstance(value, FunctionType) and value.__module__.partition(".")[0] == "mechestim":
            setattr(cls, name, staticmethod(value))


class CountedImporter(MetaPathFinder):
    """Loads NumPy's test modules, under any name that pytest gives them, with our operations."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not fullname.rpartition(".")[2].startswith("test_"):
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or not isinstance(spec.loader, SourceFileLoader) or spec.origin is None:
            return None
        if _NUMPY not in Path(spec.origin).parents:
            return None
        return importlib.util.spec_from_file_location(
            fullname, spec.origin, loader=_CountedLoader(spec.loader)
        )

    def install(self) -> None:
        """Ask this importer first."""
        sys.meta_path.insert(0, self)
