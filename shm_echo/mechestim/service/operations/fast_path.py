"""Requests that need no check of their arguments beyond the types.

An operation on, or over, the elements of small arrays and numbers can neither take much memory nor
meet Python objects. Most requests are of this kind, so they have a shorter path.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from shm_echo.mechestim.errors import UnsupportedFunctionError
from shm_echo.mechestim.local.array import Array, Scalar
from shm_echo.mechestim.registry import OPS
from shm_echo.mechestim.registry.op import Category
from shm_echo.mechestim.service.operations import allowlist, iteration_bounds, memory_bounds

__all__ = ["FUNCTIONS", "TOO_LARGE", "size"]

TOO_LARGE = 2**63

_WIDEST = 32  # bytes of the widest number

_OPTIONS = {"axis": (int, type(None)), "keepdims": (bool,)}


def _functions() -> dict[str, Callable[..., Any]]:
    found: dict[str, Callable[..., Any]] = {}
    for name in (*OPS, *memory_bounds.BORROWED):
        op = OPS[memory_bounds.BORROWED.get(name, name)]
        if op.category not in (Category.UNARY, Category.BINARY, Category.REDUCTION):
            continue
        if name in iteration_bounds.RULES:
            continue
        owner, _, method = name.rpartition(".")
        if name in allowlist.METHODS:
            found[name] = getattr(Array, method)
        elif not owner:
            try:
                function = allowlist.function(name)
            except (
                UnsupportedFunctionError
            ):  # only a newer NumPy has it; a request for it gets this error later
                continue
            if function is not None:
                found[name] = function
    return found


FUNCTIONS = _functions()
_METHODS = frozenset(name for name in FUNCTIONS if name.startswith("ndarray."))


def size(name: str, args: list[Any], kwargs: dict[str, Any]) -> int:
    """A bound for the bytes that such an operation needs; `TOO_LARGE` if it needs a closer look.

    Operands broadcast to their product at the most, and there are two results, or a result and what
    it is made of, of 32 bytes for each element at the most.

    Args:
        name: a key of `FUNCTIONS`.
        args, kwargs: its arguments.
    """
    bound = 64
    for value in args:
        kind = type(value)
        if kind is Array:
            if value.itemsize > _WIDEST:  # text, which can be as wide as a client likes
                return TOO_LARGE
            bound *= value.size or 1
        elif kind is not Scalar and kind is not float and kind is not int:
            return TOO_LARGE
    if (
        not args
        or (name in _METHODS and type(args[0]) is not Array)
        or (kwargs and not all(type(kwargs[key]) in _OPTIONS.get(key, ()) for key in kwargs))
    ):
        return TOO_LARGE
    return bound
