"""The names of `mechestim` and its sub-modules in local mode.

`attribute` returns `mechestim.<name>` and `mechestim.<module>.<name>`: an operation of the
registry, or one of the names listed here that are no operations (constants, dtypes, classes).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from shm_echo.mechestim import registry
from shm_echo.mechestim.distributions import Distribution
from shm_echo.mechestim.local import functions, ufuncs
from shm_echo.mechestim.local.array import plain, wrap
from shm_echo.mechestim.local.counted_array import Array
from shm_echo.mechestim.local.functions import member as member
from shm_echo.mechestim.registry.op import Category

# NumPy's own objects: they compute nothing, so there is nothing to charge.
CONSTANTS = ("pi", "e", "inf", "nan", "newaxis", "euler_gamma", "little_endian", "True_", "False_")
DTYPES = (
    "bool",
    "bool_",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "intp",
    "uintp",
    "byte",
    "ubyte",
    "short",
    "ushort",
    "intc",
    "uintc",
    "int_",
    "uint",
    "long",
    "ulong",
    "longlong",
    "ulonglong",
    "float16",
    "float32",
    "float64",
    "half",
    "single",
    "double",
    "longdouble",
    "complex64",
    "complex128",
    "csingle",
    "cdouble",
    "clongdouble",
    "datetime64",
    "timedelta64",
    "str_",
    "bytes_",
    "object_",
    "void",
    "generic",
    "number",
    "integer",
    "signedinteger",
    "unsignedinteger",
    "inexact",
    "floating",
    "complexfloating",
    "flexible",
    "character",
    "dtype",
)
UTILITIES = (
    "finfo",
    "iinfo",
    "errstate",
    "printoptions",
    "get_printoptions",
    "set_printoptions",
    "s_",
    "index_exp",
    "ndindex",
    "exceptions",
)
_GRIDS = ("r_", "c_", "mgrid", "ogrid")


def attribute(module: str, name: str) -> Any:
    """Return `mechestim.<name>`, or `mechestim.<module>.<name>`.

    Raises:
        UnsupportedFunctionError: The name is a NumPy function that is left out on purpose.
        AttributeError: Nothing has that name; the message gives the nearest ones.
    """
    dotted = f"{module}.{name}" if module else name
    if dotted in registry.OPS:
        return member(dotted)
    if not module:
        if name == "ndarray":
            return Array
        if name == "ndenumerate":
            return ndenumerate
        if name == "ufunc":
            return ufuncs.ufunc
        if name in _PASSED_THROUGH:
            return getattr(np, name)
        if name in _GRIDS:
            return _Grid(getattr(np, name))
    elif module == "linalg" and name == "LinAlgError":
        return np.linalg.LinAlgError
    elif module == "random":
        from shm_echo.mechestim.local import random

        if hasattr(random, name):
            return getattr(random, name)
    elif module == "stats":
        found = _distribution(name)
        if found is not None:
            return found
    near = [one for one in registry.nearest(dotted) if one != dotted]
    hint = f" Did you mean {', '.join(f'mechestim.{one}' for one in near)}?" if near else ""
    raise AttributeError(f"mechestim has no {dotted!r}.{hint}", name=name)


_PASSED_THROUGH = frozenset((*CONSTANTS, *DTYPES, *UTILITIES))


def names(module: str) -> list[str]:
    """Return every name of `mechestim` or of one of its modules, for `dir()`."""
    prefix = f"{module}." if module else ""
    found = {
        name[len(prefix) :].split(".")[0]
        for name, op in registry.OPS.items()
        if name.startswith(prefix)
        and op.category is not Category.UNSUPPORTED
        and functions.installed(op)
    }
    found = {name for name in found if name.isidentifier()}
    if not module:
        submodules = {"linalg", "fft", "random", "stats", "flops"}
        nested = {"ndarray"} | submodules
        found |= nested | {name for name in _PASSED_THROUGH if hasattr(np, name)}
        found |= {"ndenumerate", "ufunc", *_GRIDS}
    elif module == "linalg":
        found.add("LinAlgError")
    elif module == "random":
        from shm_echo.mechestim.local import random

        found |= set(random.__all__)
    return sorted(found)


class _Grid:
    """`mgrid`, `ogrid`, `r_` and `c_`: indexing them returns counted arrays."""

    def __init__(self, grid: Any) -> None:
        self._grid = grid

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):  # NumPy evaluates names in the frame of its caller: here
            raise TypeError("this takes arrays and slices here, not text with names of variables")
        return wrap(self._grid[plain(key)])

    def __len__(self) -> int:
        return 0


class ndenumerate(np.ndenumerate):
    """`numpy.ndenumerate` over a counted array: its values are counted scalars."""

    def __init__(self, arr: Any) -> None:
        super().__init__(plain(arr))

    def __next__(self) -> Any:
        index, value = super().__next__()
        return index, wrap(value)


_distributions: dict[str, Distribution] = {}


def _distribution(name: str) -> Distribution | None:
    if f"stats.{name}.pdf" not in registry.OPS:
        return None
    return _distributions.setdefault(name, Distribution(name, member))
