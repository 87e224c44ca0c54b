"""The allow-list: the operations that a session may ask for, built from the registry.

A name that is not a key here does not exist. No attribute is ever looked up by a name that a client
sent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from shm_echo.mechestim.local import methods, namespace, ufuncs
from shm_echo.mechestim.local.array import Array
from shm_echo.mechestim.registry import OPS
from shm_echo.mechestim.registry.op import Category
from shm_echo.mechestim.registry.operators import BINARY, COMPARISONS, IN_PLACE, UNARY

Function = Callable[..., Any]

OPERATORS = tuple(
    f"__{word}__"
    for word in (
        *BINARY,
        *(f"r{word}" for word in BINARY),
        *(f"i{word}" for word in IN_PLACE),
        *COMPARISONS,
        *UNARY,
        *("getitem", "setitem", "contains", "repr", "str", "format", "round"),
        *("bool", "int", "float", "complex", "index", "len", "hash"),
    )
)

# Methods that only show or move data, without those that name files or other processes.
FREE_METHODS = (
    *("astype", "byteswap", "copy", "flatten", "getfield", "item", "ravel", "reshape", "resize"),
    *("setfield", "setflags", "squeeze", "swapaxes", "tobytes", "tolist", "transpose", "view"),
)

PROPERTIES = ("T", "mT", "real", "imag", "shape", "strides", "dtype", "base")


def _method(name: str) -> Function:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(self, Array):
            raise TypeError(f"ndarray.{name} needs an array")
        return getattr(self, name)(*args, **kwargs)

    return method


def _property(name: str) -> Function:
    def read(self: Any) -> Any:
        if not isinstance(self, Array):
            raise TypeError(f"ndarray.{name} needs an array")
        return getattr(self, name)

    return read


def _methods() -> dict[str, Function]:
    names = (
        *methods.COUNTED,
        *methods.REDUCTIONS,
        *FREE_METHODS,
        *("compress", "put", "fill"),
        *OPERATORS,
    )
    found = {f"ndarray.{name}": _method(name) for name in names}
    found.update({f"ndarray.{name}.get": _property(name) for name in PROPERTIES})
    return found


METHODS = _methods()

# These read files and objects of the client's process.
_NOT_HERE = frozenset({"fromfile", "fromregex", "from_dlpack"})


_known: dict[str, Function] = {}  # the functions that sessions have asked for


def function(name: str) -> Function | None:
    """Return the function of operation `name`; None if no session may ask for it.

    Raises:
        UnsupportedFunctionError: an operation that is left out on purpose.
    """
    found = METHODS.get(name) or _known.get(name)
    if found is not None:
        return found
    base, _, method = name.rpartition(".")
    if method in ufuncs.METHODS and base in OPS:
        owner = namespace.member(base)
        return getattr(owner, method) if isinstance(owner, ufuncs.ufunc) else None
    op = OPS.get(name)
    if op is None or name in _NOT_HERE or name.startswith(("ndarray.", "random.")):
        return None
    if op.category is Category.UNSUPPORTED:
        namespace.member(name)  # raises, with the advice
    result: Function = namespace.member(name)
    _known[name] = result
    return result
