"""Requests whose arguments need no check beyond their types.

An elementwise operation or a reduction of small arrays and numbers cannot take much memory and
cannot meet Python objects. Most requests are of this kind, so they have a shorter path.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from shm_echo.mechestim.errors import UnsupportedFunctionError
from shm_echo.mechestim.local.array import Array, Scalar
from shm_echo.mechestim.registry import OPS
from shm_echo.mechestim.registry.op import Category
from shm_echo.mechestim.service.operations import allowlist, iteration_bounds, memory_bounds

__all__ = ["FUNCTIONS", "TOO_LARGE", "required_bytes"]

TOO_LARGE = 2**63  # more than any quota allows, so the request takes the long path

_MAX_NUMBER_BYTES = 32  # clongdouble, the widest of NumPy's numbers
_BYTES_PER_ELEMENT = 2 * _MAX_NUMBER_BYTES  # two results, or a result and an intermediate

# The only keywords of the fast path, with their types. `out`, `where` or `dtype` can change the
# memory that a call needs.
_OPTIONS = {"axis": (int, type(None)), "keepdims": (bool,)}


def _functions() -> dict[str, Callable[..., Any]]:
    """Return the functions and methods of the fast path, by name."""
    found: dict[str, Callable[..., Any]] = {}
    for name in (*OPS, *memory_bounds.OPERATION_OF):
        op = OPS[memory_bounds.OPERATION_OF.get(name, name)]
        if op.category not in (Category.UNARY, Category.BINARY, Category.REDUCTION):
            continue
        if name in iteration_bounds.RULES:  # can take long even for small operands
            continue
        owner, _, method = name.rpartition(".")
        if name in allowlist.METHODS:
            found[name] = getattr(Array, method)
        elif not owner:
            try:
                function = allowlist.find_function(name)
            except UnsupportedFunctionError:
                continue  # only a newer NumPy has it; a request for it gets this error later
            if function is not None:
                found[name] = function
    return found


FUNCTIONS = _functions()
_METHODS = frozenset(name for name in FUNCTIONS if name.startswith("ndarray."))


def required_bytes(name: str, args: list[Any], kwargs: dict[str, Any]) -> int:
    """Return an upper bound of the bytes that an operation of the fast path needs.

    Operands broadcast to at most the product of their sizes, and an operation makes at most two
    arrays of that size.

    Args:
        name: A key of `FUNCTIONS`.
        args: The positional arguments.
        kwargs: The keyword arguments.

    Returns:
        The bound, or `TOO_LARGE` if the request needs the checks of the long path.
    """
    bound = _BYTES_PER_ELEMENT
    for value in args:
        kind = type(value)
        if kind is Array:
            if value.itemsize > _MAX_NUMBER_BYTES:  # text or records, of any width
                return TOO_LARGE
            bound *= value.size or 1
        # Exact types: a subclass, a list or a bool is rare enough for the long path.
        elif kind is not Scalar and kind is not float and kind is not int:
            return TOO_LARGE
    if (
        not args
        or (name in _METHODS and type(args[0]) is not Array)
        or (kwargs and not all(type(kwargs[key]) in _OPTIONS.get(key, ()) for key in kwargs))
    ):
        return TOO_LARGE
    return bound
