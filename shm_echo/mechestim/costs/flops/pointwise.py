"""Prices of operations that work element by element: `numel(output)`.

The output of a ufunc has the common shape of its operands, its `out` arrays and its `where`
mask, because the ufunc iterates over all of them. An output that keeps a declared symmetry is
charged for its unique elements only, because equal elements need computing once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from shm_echo.mechestim.costs import operands as o
from shm_echo.mechestim.costs.memory.bounds import pointwise_shape

_BOUNDS = (int, float, type(None))


def unary(x: Any, *out: Any, **kwargs: Any) -> int:
    """numel(output); the unique elements of a symmetric `x`.

    Source: the operation table of mechestim.
    """
    if out or kwargs:
        return _general((x,), out, kwargs)
    return o.unique(x)


def binary(x1: Any, x2: Any, *out: Any, **kwargs: Any) -> int:
    """numel(output), the output being the broadcast of both operands.

    Source: the operation table of mechestim.
    """
    if out or kwargs:
        return _general((x1, x2), out, kwargs)
    full = o.broadcast(o.shape(x1), o.shape(x2))
    if getattr(x1, "symmetry_info", None) is None and getattr(x2, "symmetry_info", None) is None:
        return o.numel(full)
    return _unique((x1, x2), full)


def _general(operands: tuple[Any, ...], out: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    """Return numel(output) of a call with `out` or keyword arguments."""
    if "out" in kwargs:
        if out:
            raise TypeError("out is given twice")
        result = kwargs["out"]
    else:
        result = out or None
    plain = pointwise_shape(*operands)
    full = pointwise_shape(*operands, out=result, where=kwargs.get("where", True))
    if result is not None:
        for array in result if isinstance(result, tuple) else (result,):
            if array is None:
                continue
            if not hasattr(array, "shape"):
                raise TypeError("out has to be an array")
            if o.shape(array) != full:
                raise ValueError(f"out has shape {o.shape(array)}; the result has {full}")
    if full != plain or kwargs.get("where", True) is not True:  # a mask has no symmetry
        return o.numel(full)
    return _unique(operands, full)


def _unique(operands: tuple[Any, ...], full: o.Shape) -> int:
    """Return the number of elements that the symmetry of the operands leaves distinct."""
    for x in operands:
        if getattr(x, "symmetry_info", None) is not None:
            from shm_echo.mechestim.symmetry.propagate import unique_after_pointwise

            return unique_after_pointwise(operands, full)
    return o.numel(full)


def ufunc(inputs: int) -> Callable[..., int]:
    """Return the price rule of a ufunc of `inputs` operands: `numel(output)` for every ufunc."""

    def price(*args: Any, **kwargs: Any) -> int:
        if len(args) < inputs:
            raise TypeError(f"{inputs} operands are needed, not {len(args)}")
        return _general(args[:inputs], args[inputs:], kwargs)

    return price


def named(parameter: str) -> Callable[..., int]:
    """Return the price rule `numel(output)` of a function whose array is `parameter`."""

    def price(*args: Any, **kwargs: Any) -> int:
        return o.unique(args[0] if args else kwargs[parameter])

    price.__doc__ = f"numel(output): the elements of `{parameter}`, unique ones when symmetric."
    return price


def real_if_close(a: Any, tol: Any = 100) -> int:
    """numel(output).

    Source: the operation table of mechestim.
    """
    return o.unique(a)


def whole_question(x: Any) -> int:
    """numel(output) of a question about an array as a whole: one answer, 1.

    Source: the operation table of mechestim.
    """
    return 1


def rounded(a: Any, decimals: Any = 0, out: Any = None) -> int:
    """numel(output).

    Source: the operation table of mechestim.
    """
    return _general((a,), (), {"out": out})


def fix(x: Any, out: Any = None) -> int:
    """numel(output).

    Source: the operation table of mechestim.
    """
    return _general((x,), (), {"out": out})


def sort_complex(a: Any) -> int:
    """numel(output).

    Source: the operation table of mechestim.
    """
    return o.size(a)


def clip(a: Any, a_min: Any = None, a_max: Any = None, out: Any = None, **kwargs: Any) -> int:
    """numel(input), the input being the broadcast of the array with its bounds.

    The bounds of a symmetric array are symmetric as well (numbers are), or they break its symmetry.

    Source: the operation table of mechestim.
    """
    if out is None and not kwargs and type(a_min) in _BOUNDS and type(a_max) in _BOUNDS:
        return o.unique(a)
    bounds = filter(o.given, (a_min, a_max, kwargs.get("min"), kwargs.get("max")))
    where = kwargs.get("where", True)
    return _general((a, *bounds), (), {"out": out, "where": where})


def isclose(a: Any, b: Any, rtol: Any = 1e-05, atol: Any = 1e-08, equal_nan: bool = False) -> int:
    """numel(output): the broadcast of both arrays.

    Source: the operation table of mechestim.
    """
    return _unique((a, b, rtol, atol), o.broadcast_operands(a, b, rtol, atol))


def allclose(a: Any, b: Any, rtol: Any = 1e-05, atol: Any = 1e-08, equal_nan: bool = False) -> int:
    """numel(broadcast(a, b)).

    Source: the operation table of mechestim.
    """
    return o.numel(o.broadcast_operands(a, b, rtol, atol))


def array_equal(a1: Any, a2: Any, equal_nan: bool = False) -> int:
    """numel(broadcast(a1, a2)); arrays of different shapes differ by these, for 1.

    Source: the operation table of mechestim.
    """
    first, second = o.shape(a1), o.shape(a2)
    return o.numel(first) if first == second else 1


def array_equiv(a1: Any, a2: Any) -> int:
    """numel(broadcast(a1, a2)); arrays that do not broadcast cost 1.

    Source: the operation table of mechestim.
    """
    try:
        return o.numel(o.broadcast_operands(a1, a2))
    except ValueError:
        return 1
