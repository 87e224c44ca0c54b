"""The names of `mechestim` and its sub-modules in client mode: each operation is a request.

Importing this module loads no more than naming an operation takes. The connection to a server is
loaded by the first call; arrays, dtypes and the other names when the first of them is looked up.
"""

from __future__ import annotations

import importlib
import math
from typing import Any

from shm_echo.mechestim import registry
from shm_echo.mechestim.distributions import Distribution
from shm_echo.mechestim.errors import UnsupportedFunctionError
from shm_echo.mechestim.registry.op import Category
from shm_echo.mechestim.remote.api import functions

_CONSTANTS = {
    "pi": math.pi,
    "e": math.e,
    "inf": math.inf,
    "nan": math.nan,
    "newaxis": None,
    "euler_gamma": 0.5772156649015329,
    "little_endian": True,
}
_PUBLIC_ALIASES = frozenset(
    (
        *("bool_", "byte", "cdouble", "csingle", "double", "half", "int_", "intc", "intp", "long"),
        *("longlong", "short", "single", "ubyte", "uint", "uintc", "uintp", "ulong", "ulonglong"),
        "ushort",
    )
)
_BOOLS = {"True_": True, "False_": False}
# Their first argument is the contents of an array.
_CREATORS = frozenset({"array", "asarray", "asanyarray", "ascontiguousarray", "asfortranarray"})

# The modules of the operations that do some of their work in this process.
_MODULES = {
    "vectorize": "api.callbacks",
    "frompyfunc": "api.callbacks",
    "fromfile": "api.files",
    "fromregex": "api.files",
    "from_dlpack": "api.files",
}

_members: dict[str, Any] = {}


def member(name: str) -> Any:
    """Return the function of operation `name`, the same object every time.

    Raises:
        KeyError: No operation has this name.
        UnsupportedFunctionError: It is a NumPy function that is left out on purpose.
    """
    found = _members.get(name)
    if found is None:
        op = registry.OPS[name]
        if op.category is Category.UNSUPPORTED:
            raise UnsupportedFunctionError(name, op.advice)
        if name in _MODULES:
            module = importlib.import_module(f"shm_echo.mechestim.remote.{_MODULES[name]}")
            found = getattr(module, name)
            if not isinstance(found, type):
                found = functions.set_metadata(found, name)
        elif name in _CREATORS:
            from shm_echo.mechestim.remote.api import creation

            found = creation.make_function(name)
        elif name == "random.shuffle":
            from shm_echo.mechestim.remote.api import random

            found = functions.set_metadata(random.make_shuffle(name), name)
        else:
            found = functions.make_function(name)
        _members[name] = found
    return found


def attribute(module: str, name: str) -> Any:
    """Return `mechestim.<name>`, or `mechestim.<module>.<name>`.

    Raises:
        UnsupportedFunctionError: It is a NumPy function that is left out on purpose.
        AttributeError: There is no such name; the message gives the nearest ones.
    """
    dotted = f"{module}.{name}" if module else name
    if dotted in registry.OPS:
        return member(dotted)
    if not module:
        if name in _CONSTANTS:
            return _CONSTANTS[name]
        if name == "ufunc":
            return functions.ufunc
        from shm_echo.mechestim.remote.api import numpy_namesakes
        from shm_echo.mechestim.remote.arrays import array
        from shm_echo.mechestim.remote.dtypes import dtypes

        if name == "ndarray":
            return array.RemoteArray
        if name in _BOOLS:
            return array.make_bool(_BOOLS[name])
        if name == "dtype":
            return dtypes.dtype
        if name in dtypes.SCALAR_TYPES or name in dtypes.ABSTRACT or name in _PUBLIC_ALIASES:
            return dtypes.scalar_type(name)
        if name in numpy_namesakes.NAMES:
            return getattr(numpy_namesakes, name)
    elif module == "linalg" and name == "LinAlgError":
        from shm_echo.mechestim.remote.connection.error_decoding import LinAlgError

        return LinAlgError
    elif module == "random":
        from shm_echo.mechestim.remote.api import random

        if hasattr(random, name):
            return getattr(random, name)
    elif module == "stats" and f"stats.{name}.pdf" in registry.OPS:
        return _distributions.setdefault(name, Distribution(name, member))
    near = [one for one in registry.nearest(dotted) if one != dotted]
    hint = f" Did you mean {', '.join(f'mechestim.{one}' for one in near)}?" if near else ""
    raise AttributeError(f"mechestim has no {dotted!r}.{hint}", name=name)


def names(module: str) -> list[str]:
    """Return the names of `mechestim`, or of one of its modules, for `dir()`."""
    prefix = f"{module}." if module else ""
    found = {
        name[len(prefix) :].split(".")[0]
        for name, op in registry.OPS.items()
        if name.startswith(prefix) and op.category is not Category.UNSUPPORTED
    }
    found = {name for name in found if name.isidentifier()}
    if not module:
        from shm_echo.mechestim.remote.api import numpy_namesakes
        from shm_echo.mechestim.remote.dtypes import dtypes

        found |= {
            "ndarray",
            "dtype",
            "ufunc",
            *_BOOLS,
            "linalg",
            "fft",
            "random",
            "stats",
            "flops",
        }
        found |= {*_CONSTANTS, *numpy_namesakes.NAMES, *dtypes.SCALAR_TYPES, *dtypes.ABSTRACT}
        found |= {name for name in dtypes.ALIASES if name in _PUBLIC_ALIASES}
    elif module == "random":
        from shm_echo.mechestim.remote.api import random

        found |= set(random.__all__)
    elif module == "linalg":
        found.add("LinAlgError")
    return sorted(found)


_distributions: dict[str, Distribution] = {}
