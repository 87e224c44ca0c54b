"""The allow-list: the operations that a session may ask for, built from the registry.

Only the names in these tables exist for a client. An attribute is never looked up by a name that a
client sent.
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

# Methods that only read or move data. Methods that open files (tofile, dump) are left out.
FREE_METHODS = (
    *("astype", "byteswap", "copy", "flatten", "getfield", "item", "ravel", "reshape", "resize"),
    *("setfield", "setflags", "squeeze", "swapaxes", "tobytes", "tolist", "transpose", "view"),
)

PROPERTIES = ("T", "mT", "real", "imag", "shape", "strides", "dtype", "base")


def _method(name: str) -> Function:
    """Return a function that calls the method `name` of an array, and of nothing else."""

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(self, Array):
            raise TypeError(f"ndarray.{name} needs an array")
        return getattr(self, name)(*args, **kwargs)

    return method


def _property(name: str) -> Function:
    """Return a function that reads the property `name` of an array, and of nothing else."""

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

# These read files or objects of the client's process, so the client runs them itself. On the server
# they would open the server's files.
_CLIENT_ONLY = frozenset({"fromfile", "fromregex", "from_dlpack"})

# Functions that were looked up before. Only names of the registry get in, so it stays small.
_resolved: dict[str, Function] = {}


def find_function(name: str) -> Function | None:
    """Return the function of operation `name`; None if no session may ask for it.

    Raises:
        UnsupportedFunctionError: The operation is left out on purpose, or needs a newer NumPy.
    """
    found = METHODS.get(name) or _resolved.get(name)
    if found is not None:
        return found
    base, _, method = name.rpartition(".")  # "add.outer" is method outer of the ufunc add
    if method in ufuncs.METHODS and base in OPS:
        owner = namespace.member(base)
        return getattr(owner, method) if isinstance(owner, ufuncs.ufunc) else None
    op = OPS.get(name)
    # Methods are in METHODS; the dispatcher draws random numbers from the session's own state.
    if op is None or name in _CLIENT_ONLY or name.startswith(("ndarray.", "random.")):
        return None
    if op.category is Category.UNSUPPORTED:
        namespace.member(name)  # raises, with the advice
    result: Function = namespace.member(name)
    _resolved[name] = result
    return result
