"""The methods and attributes of counted ufuncs: `add.reduce`, `add.at`, `add.nin`, `isinstance`.

The methods are charged by their inputs: `reduce`, `accumulate` and `reduceat` the size of their
input, `outer` the product of both sizes, `at` the number of elements that it writes. `add.reduce`
is booked as `sum`, because it computes the same. `method` serves both call forms,
`mechestim.add.reduce(x)` and `numpy.add.reduce(x)`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from shm_echo.mechestim.costs import operands
from shm_echo.mechestim.local.dispatch import call
from shm_echo.mechestim.local.fast_path import overridden
from shm_echo.mechestim.local.indexing import target_size
from shm_echo.mechestim.registry import OPS
from shm_echo.mechestim.registry.op import Category, Op

Function = Callable[..., Any]

METHODS = ("reduce", "accumulate", "reduceat", "outer", "at")
_ATTRIBUTES = ("nin", "nout", "nargs", "ntypes", "types", "identity", "signature", "resolve_dtypes")

# Reductions with a name of their own: `np.add.reduce` is `sum`.
_NAMED_REDUCTIONS = {
    "add": "sum",
    "multiply": "prod",
    "maximum": "max",
    "minimum": "min",
    "logical_and": "all",
    "logical_or": "any",
}
_CUMULATIVE = {"add": "cumsum", "multiply": "cumprod"}


def add_ufunc_attributes(function: Any, ufunc: np.ufunc) -> None:
    """Add the methods and attributes of `ufunc` to `function`, its counted twin."""
    function.__wrapped__ = ufunc
    for name in _ATTRIBUTES:
        setattr(function, name, getattr(ufunc, name))
    for name in METHODS:
        setattr(function, name, _counted_method(ufunc, name))


def _counted_method(ufunc: np.ufunc, name: str) -> Function:
    def run(*args: Any, **kwargs: Any) -> Any:
        return method(ufunc, name, args, kwargs)

    run.__name__ = name
    run.__qualname__ = f"{ufunc.__name__}.{name}"
    run.__doc__ = getattr(np.ufunc, name).__doc__
    return run


class _UfuncMeta(type):
    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, np.ufunc) or isinstance(
            getattr(instance, "__wrapped__", None), np.ufunc
        )


class ufunc(metaclass=_UfuncMeta):
    """The type of `mechestim.add` and its like, for `isinstance`.

    >>> import mechestim as me
    >>> isinstance(me.add, me.ufunc), isinstance(me.sort, me.ufunc)
    (True, False)
    """


def method(ufunc: np.ufunc, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return `ufunc.<name>(*args, **kwargs)`, charged; `args[0]` is the input."""
    if overridden(args, kwargs):
        return getattr(ufunc, name)(*args, **kwargs)
    return call(_method_op(ufunc, name), getattr(ufunc, name), args, kwargs)


def unregistered(ufunc: np.ufunc) -> Op:
    """Return the operation of another library's ufunc, charged the size of its result."""

    def price(*inputs: Any, **_: Any) -> int:
        shapes = [operands.shape(value) for value in inputs[: ufunc.nin]]
        return math.prod(operands.broadcast(*shapes))

    return Op(ufunc.__name__, Category.CUSTOM, "numel(output)", price)


@functools.lru_cache(maxsize=1024)
def _method_op(ufunc: np.ufunc, name: str) -> Op:
    if name == "at":
        return _at_op(ufunc)
    return _outer_op(ufunc) if name == "outer" else _axis_method_op(ufunc, name)


def _book_name(ufunc: np.ufunc) -> str:
    op = OPS.get(ufunc.__name__)
    return op.book_name if op is not None else ufunc.__name__


def _axis_method_op(ufunc: np.ufunc, name: str) -> Op:
    """Return the operation of `reduce`, `accumulate` or `reduceat`, charged the input's size."""
    named = OPS.get(
        (_CUMULATIVE if name == "accumulate" else _NAMED_REDUCTIONS).get(ufunc.__name__, "")
    )
    book = (
        named.book_name
        if named is not None and name != "reduceat"
        else f"{_book_name(ufunc)}.{name}"
    )

    def price(array: Any, *args: Any, axis: Any = 0, **rest: Any) -> int:
        shape = operands.shape(array)
        if name == "accumulate":
            operands.check_running_out(args[2] if len(args) > 2 else rest.get("out"))
        if name != "reduceat":
            axis = args[0] if args else axis
        for one in axis if isinstance(axis, tuple) else () if axis is None else (axis,):
            operands.normalize_axis(one, len(shape))
        return operands.unique(array)

    return Op(book, Category.REDUCTION, "numel(input)", price)


def _outer_op(ufunc: np.ufunc) -> Op:
    def price(a: Any, b: Any, **_: Any) -> int:
        if ufunc is np.multiply:  # outer(x, x) is symmetric under this name too
            rule = OPS["outer"].cost
            if rule is not None and operands.ndim(a) == 1 and operands.ndim(b) == 1:
                return rule(a, b)
        return operands.size(a) * operands.size(b)

    name = "outer" if ufunc is np.multiply else f"{_book_name(ufunc)}.outer"
    return Op(name, Category.CUSTOM, "numel(output)", price)


def _at_op(ufunc: np.ufunc) -> Op:
    def price(array: Any, indices: Any, *_: Any) -> int:
        return target_size(array, indices)

    return Op(f"{_book_name(ufunc)}.at", Category.CUSTOM, "numel(target)", price)
