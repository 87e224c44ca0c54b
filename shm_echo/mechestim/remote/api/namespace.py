"""What ``mechestim`` and its sub-modules hold in client mode: the names of the registry, as
requests.

Importing it brings no more than naming an operation takes. What it takes to speak with a server
comes with the first call, what arrays, dtypes and helpers are with the first that is asked for.
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
_TRUTHS = {"True_": True, "False_": False}
_MAKERS = frozenset({"array", "asarray", "asanyarray", "ascontiguousarray", "asfortranarray"})

# Operations that are not mere requests: where they live.
_OWN = {
    "vectorize": "api.callbacks",
    "frompyfunc": "api.callbacks",
    "fromfile": "api.files",
    "fromregex": "api.files",
    "from_dlpack": "api.files",
}

_members: dict[str, Any] = {}


def member(name: str) -> Any:
    """The function of operation ``name``, the same object every time."""
    found = _members.get(name)
    if found is None:
        op = registry.OPS[name]
        if op.category is Category.UNSUPPORTED:
            raise UnsupportedFunctionError(name, op.advice)
        if name in _OWN:
            module = importlib.import_module(f"shm_echo.mechestim.remote.{_OWN[name]}")
            found = getattr(module, name)
            if not isinstance(found, type):
                found = functions.labelled(found, name)
        elif name in _MAKERS:
            found = importlib.import_module("shm_echo.mechestim.remote.api.creation").maker(name)
        elif name == "random.shuffle":
            module = importlib.import_module("shm_echo.mechestim.remote.api.random")
            found = functions.labelled(module.shuffled(name), name)
        else:
            found = functions.made(name)
        _members[name] = found
    return found


def attribute(module: str, name: str) -> Any:
    """``mechestim.<name>``, or ``mechestim.<module>.<name>``.

    Raises:
        UnsupportedFunctionError: a NumPy function that is left out on purpose.
        AttributeError: nothing has that name; the message gives the nearest ones.
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
        if name in _TRUTHS:
            return array.truth(_TRUTHS[name])
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
    """Every name of ``mechestim`` or of one of its modules, for ``dir()``."""
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
            *_TRUTHS,
            "linalg",
            "fft",
            "random",
            "stats",
            "flops",
        }
        found |= {*_CONSTANTS, *numpy_namesakes.NAMES, *dtypes.SCALAR_TYPES, *dtypes.ABSTRACT}
        found |= {name for name in dtypes.ALIASES if name in _PUBLIC_ALIASES}
    elif module == "random":
        found |= set(importlib.import_module("shm_echo.mechestim.remote.api.random").__all__)
    elif module == "linalg":
        found.add("LinAlgError")
    return sorted(found)


_distributions: dict[str, Distribution] = {}
