"""The functions of local mode, each built from its registry entry at the first use.

`mechestim.<name>` and `mechestim.linalg.<name>` are looked up with `member`. The category of an
entry and the NumPy function that computes it decide which kind of function it becomes; the few with
code of their own are listed in `_HANDWRITTEN`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np

from shm_echo.mechestim.errors import UnsupportedFunctionError
from shm_echo.mechestim.local import callbacks, fast_path, ufuncs
from shm_echo.mechestim.local.dispatch import call, free
from shm_echo.mechestim.registry import OPS
from shm_echo.mechestim.registry.op import Category, Op

Function = Callable[..., Any]

# Reductions with a fast path, and the number of passes over the input that they are charged.
_FAST_REDUCTIONS = {
    "sum": 1,
    "prod": 1,
    "max": 1,
    "min": 1,
    "amax": 1,
    "amin": 1,
    "mean": 1,
    "all": 1,
    "any": 1,
    "argmax": 1,
    "argmin": 1,
    "std": 2,
    "var": 2,
}

# Ops whose functions are written by hand: "module:attribute" under shm_echo.mechestim.local.
_HANDWRITTEN = {
    "matmul": "matrix:matmul",
    "dot": "matrix:dot",
    "linalg.matmul": "matrix:linalg_matmul",
    "einsum": "einsum:counted_einsum",
    "einsum_path": "einsum:einsum_path",
    "isscalar": "array:isscalar",
    "bmat": "adapted_functions:bmat",
    "in1d": "adapted_functions:in1d",
    "linalg.svd": "linalg:svd",
    "vectorize": "callbacks:vectorize",
    "frompyfunc": "callbacks:frompyfunc",
}

# Functions with callbacks: the positions of the callbacks among the arguments.
_CALLBACKS = {
    "apply_along_axis": (0,),
    "apply_over_axes": (0,),
    "piecewise": (2,),
    "fromfunction": (0,),
    "mask_indices": (1,),
}


def numpy_function(op: Op) -> Any:
    """Return the NumPy function that computes `op`.

    Raises:
        UnsupportedFunctionError: The installed NumPy lacks it.
    """
    found: Any = np
    for part in op.numpy.split("."):
        found = getattr(found, part, None)
        if found is None:
            raise UnsupportedFunctionError(
                op.name, f"the installed NumPy ({np.__version__}) has no numpy.{op.numpy}"
            )
    return found


def installed(op: Op) -> bool:
    """Return True if the installed NumPy has the function that computes `op`."""
    if not op.numpy or op.name in _HANDWRITTEN:
        return True
    try:
        numpy_function(op)
    except UnsupportedFunctionError:
        return False
    return True


@cache
def member(name: str) -> Function:
    """Return the function of operation `name` (dotted): the same object every time.

    Raises:
        KeyError: The registry has no such operation.
        UnsupportedFunctionError: The operation is left out on purpose, or the installed NumPy
            lacks it.
    """
    op = OPS[name]
    if op.category is Category.UNSUPPORTED:
        raise UnsupportedFunctionError(name, op.advice)
    function = _build(op)
    if not isinstance(function, type):
        _set_metadata(function, op)
        source = getattr(np, op.numpy, None)
        if isinstance(source, np.ufunc):
            ufuncs.add_ufunc_attributes(function, source)
    return function


def _build(op: Op) -> Function:
    handwritten = _HANDWRITTEN.get(op.name)
    if handwritten is not None:
        module, _, attribute = handwritten.partition(":")
        found: Function = getattr(import_module(f"shm_echo.mechestim.local.{module}"), attribute)
        return found
    if op.name.startswith("stats."):
        return _stats(op)
    if op.name.startswith("random."):
        from shm_echo.mechestim.local import random

        return random.function(op)
    source = numpy_function(op)
    positions = _CALLBACKS.get(op.name)
    if positions is not None:
        return callbacks.with_counted_callbacks(source, *positions)
    if isinstance(source, np.ufunc) and source.signature is None and source.nout == 1:
        if source.nin == 1 and op.category is Category.UNARY:
            return fast_path.unary(op, source)
        if source.nin == 2 and op.category is Category.BINARY:
            return fast_path.binary(op, source)
    if op.name in _FAST_REDUCTIONS:
        return fast_path.reduction(op, source, _FAST_REDUCTIONS[op.name])
    if op.cost is None:
        return _free(source)
    return _ufunc(op, source) if isinstance(source, np.ufunc) else _counted(op, source)


def _free(source: Function) -> Function:
    def function(*args: Any, **kwargs: Any) -> Any:
        return free(source, args, kwargs)

    return function


def _counted(op: Op, source: Function) -> Function:
    def function(*args: Any, **kwargs: Any) -> Any:
        return call(op, source, args, kwargs)

    return function


def _ufunc(op: Op, source: np.ufunc) -> Function:
    def function(*args: Any, **kwargs: Any) -> Any:
        if fast_path.overridden(args, kwargs):
            return source(*args, **kwargs)
        return call(op, source, args, kwargs)

    return function


def _stats(op: Op) -> Function:
    return _counted(op, _distribution_method(op))


def _distribution_method(op: Op) -> Function:
    from shm_echo.mechestim.local import stats

    _, distribution, method = op.name.split(".")
    found: Function = getattr(getattr(stats, distribution), method)
    return found


def _set_metadata(function: Any, op: Op) -> None:
    """Set the name, docstring and signature of `function` to those of its operation."""
    try:
        *module, name = op.name.split(".")
        function.__name__ = name
        function.__qualname__ = ".".join([*module[1:], name])  # norm.pdf of mechestim.stats
        function.__module__ = ".".join(["mechestim", *module[:1]])
        function.__doc__ = (
            f"{op.summary}\n\nCosts {op.formula} FLOPs." if op.counted else op.summary
        )
        function.__signature__ = signature(op)
    except (AttributeError, TypeError, ValueError):
        return


def signature(op: Op) -> inspect.Signature:
    """Return the call signature of an operation: NumPy's own where it has one.

    Raises:
        ValueError: NumPy has a function without an introspectable signature.
    """
    if op.name.startswith("stats."):
        return inspect.signature(_distribution_method(op))
    if op.name == "linalg.svd":  # has one parameter more than NumPy's
        return inspect.signature(_build(op))
    return inspect.signature(numpy_function(op))


# From NumPy's functions to the counted ones, for __array_function__ and __array_ufunc__ ----


_twin_names: dict[Any, str] = {}


def twin(function: Any) -> Function | None:
    """Return the counted function with the meaning of NumPy's `function`; `None` without one."""
    if not _twin_names:
        _index_twins()
    name = _twin_names.get(function)
    return None if name is None else member(name)


def _index_twins() -> None:
    for name, op in OPS.items():
        if not op.numpy or op.category is Category.UNSUPPORTED or name.count(".") > 1:
            continue
        try:
            source = numpy_function(op)
        except UnsupportedFunctionError:
            continue
        # Of several names for one function, the twin is the one that it is booked under.
        if source not in _twin_names or name == op.book_name:
            _twin_names[source] = name
