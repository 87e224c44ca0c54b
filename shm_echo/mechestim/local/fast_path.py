"""The fast path of the commonest calls: operators, ufuncs and reductions on counted arrays.

A function made here has a fast path for operands that NumPy can't refuse once their shapes agree:
counted arrays (no subclass) of one dtype that the operation accepts, or such an array and a Python
number that fits its dtype. The price is then charged in one step, with nothing to release, and the
result is wrapped. All other calls go to the dispatcher, `dispatch.call`, which gives the same
result and the same count.

The functions repeat their checks instead of sharing them: beside the half microsecond that NumPy
takes for a small array, each call in Python shows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from shm_echo.mechestim.accounting.active_account import peek_view
from shm_echo.mechestim.local.array import Array, Scalar, base_view, number, scalar
from shm_echo.mechestim.local.dispatch import call
from shm_echo.mechestim.registry.op import Op

_ndarray = np.ndarray
_view = np.ndarray.view
# The types that take the fast path, and how their operands are stripped. No subclass: a symmetric
# tensor has its own prices.
_STRIP: dict[type, Callable[[Any], Any]] = {Array: base_view, Scalar: number}
_broadcast = np.broadcast
_NUMERIC_DTYPES = "?bhilqBHILQefdgFDG"
_FLOAT_DTYPES = frozenset("efdgFDG")
_INT64_DTYPE = np.dtype(np.int64).char
_PYTHON_TYPES = frozenset({int, float, complex, bool, list, tuple, str, type(None)})
_ABSENT: Any = object()  # so that NumPy raises its own error about a missing argument
_MIN_INT64, _MAX_INT64 = -(2**63), 2**63 - 1

Function = Callable[..., Any]


def _accepted(ufunc: np.ufunc) -> frozenset[str]:
    """Return the dtype characters that `ufunc` accepts for all its operands together."""
    accepted = []
    for char in _NUMERIC_DTYPES:
        dtypes = (np.dtype(char),) * ufunc.nin + (None,) * ufunc.nout
        try:
            ufunc.resolve_dtypes(dtypes)
        except TypeError:
            continue
        accepted.append(char)
    return frozenset(accepted)


def unary(op: Op, ufunc: np.ufunc, run: Function | None = None) -> Function:
    """Return the function `ufunc(x)`, charged `x.size`; `run`, if given, computes it instead."""
    name = op.book_name
    accepted = _accepted(ufunc)
    run = run or ufunc

    def function(x: Any = _ABSENT, /, *args: Any, **kwargs: Any) -> Any:
        strip = _STRIP.get(type(x))
        if strip is not None and not args and not kwargs and x.dtype.char in accepted:
            view = peek_view()
            if view is not None and not view.needs_full_charge:
                view.charge(name, x.size or 1)
                result = run(strip(x))
                return _view(result, Array) if type(result) is _ndarray else scalar(result)
        if x is _ABSENT:
            return call(op, ufunc, (), kwargs)
        if overridden((x, *args), kwargs):
            return ufunc(x, *args, **kwargs)
        return call(op, run if not kwargs and not args else ufunc, (x, *args), kwargs)

    return function


def binary(op: Op, ufunc: np.ufunc, run: Function | None = None) -> Function:
    """Return the function `ufunc(x, y)`, charged the size of the broadcast operands.

    With `run`, such as `operator.add`, it is a method, which may leave the operation to `y`.
    """
    name = op.book_name
    accepted = _accepted(ufunc)
    method = run is not None
    run = run or ufunc
    smallest = 0 if ufunc is np.power else _MIN_INT64  # NumPy refuses int ** -2

    def function(x: Any = _ABSENT, y: Any = _ABSENT, /, *args: Any, **kwargs: Any) -> Any:
        strip = _STRIP.get(type(x))
        if strip is not None and not args and not kwargs:
            char = x.dtype.char
            view = peek_view()
            if char in accepted and view is not None and not view.needs_full_charge:
                kind = type(y)
                strip_y = _STRIP.get(kind)
                if strip_y is not None:
                    if y.dtype.char == char:
                        if x.shape == y.shape:
                            cost = x.size
                        else:
                            try:  # the shapes may still be an error, which must cost nothing
                                cost = _broadcast(x, y).size
                            except ValueError:
                                return run(base_view(x), base_view(y))  # NumPy raises, uncharged
                        view.charge(name, cost or 1)
                        result = run(strip(x), strip_y(y))
                        return _view(result, Array) if type(result) is _ndarray else scalar(result)
                # A Python number takes the dtype of the array, if it fits: an int64 holds 2**63 - 1
                # at most, and NumPy refuses or converts others. A bool is no such number.
                elif (kind is float and char in _FLOAT_DTYPES) or (
                    kind is int
                    and smallest <= y <= _MAX_INT64
                    and (char in _FLOAT_DTYPES or char == _INT64_DTYPE)
                ):
                    view.charge(name, x.size or 1)
                    result = run(strip(x), y)
                    return _view(result, Array) if type(result) is _ndarray else scalar(result)
        if y is _ABSENT:
            return call(op, ufunc, () if x is _ABSENT else (x,), kwargs)
        if method and defers(y, x):
            return NotImplemented
        if overridden((x, y, *args), kwargs):
            return ufunc(x, y, *args, **kwargs)
        return call(op, run, (x, y, *args), kwargs)

    return function


def reflected(op: Op, ufunc: np.ufunc, run: Function) -> Function:
    """Return the method `y op x` of a counted array `x` and another `y`; `run` is the operator."""
    name = op.book_name
    accepted = _accepted(ufunc)

    def method(self: Any, other: Any, /) -> Any:
        strip = _STRIP.get(type(self))
        if strip is not None:
            char = self.dtype.char
            kind = type(other)
            if char in accepted and (
                (kind is float and char in _FLOAT_DTYPES)
                or (
                    kind is int
                    and _MIN_INT64 <= other <= _MAX_INT64
                    and (char in _FLOAT_DTYPES or char == _INT64_DTYPE)
                )
            ):
                view = peek_view()
                if view is not None and not view.needs_full_charge:
                    view.charge(name, self.size or 1)
                    result = run(other, strip(self))
                    return _view(result, Array) if type(result) is _ndarray else scalar(result)
        if belongs_to_other_class(other):
            return ufunc(other, self)
        return call(op, run, (other, self), {})

    return method


def belongs_to_other_class(other: Any) -> bool:
    """Return True if NumPy would leave a ufunc to the `__array_ufunc__` of `other`."""
    kind = type(other)
    if kind in _PYTHON_TYPES or kind in _STRIP or isinstance(other, (np.ndarray, np.generic)):
        return False
    return getattr(kind, "__array_ufunc__", None) is not None


def overridden(operands: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Return True if any operand of a ufunc, `out` and `where` too, belongs to another class."""
    if kwargs:
        out = kwargs.get("out")
        operands = (*operands, kwargs.get("where"), *(out if type(out) is tuple else (out,)))
    return any(map(belongs_to_other_class, operands))


def defers(other: Any, array: Any, in_place: bool = False) -> bool:
    """Return True if NumPy's rules leave `array op other` to `other`."""
    kind = type(other)
    if kind in _PYTHON_TYPES or kind in _STRIP or isinstance(other, np.generic):
        return False
    if hasattr(kind, "__array_ufunc__"):
        return kind.__array_ufunc__ is None and not in_place
    return _array_priority(other) > _array_priority(array)


def _array_priority(value: Any) -> float:
    try:
        return float(value.__array_priority__)
    except Exception:  # none, or not a number; NumPy then assumes the same value
        return -1e6


def in_place(op: Op, ufunc: np.ufunc, run: Function) -> Function:
    """Return the method `x op= y`, which writes into `x`; `run` is `operator.iadd` or its like."""
    name = op.book_name
    accepted = _accepted(ufunc) & _dtype_preserving(ufunc)

    def method(self: Any, other: Any, /) -> Any:
        # A Scalar is immutable: `s += 1` binds a new one.
        if type(self) is Array:
            char = self.dtype.char
            view = peek_view()
            if (
                char in accepted
                and view is not None
                and not view.needs_full_charge
                and self.flags.writeable
            ):
                kind = type(other)
                if (kind is Array and other.dtype.char == char and other.shape == self.shape) or (
                    (kind is float and char in _FLOAT_DTYPES)
                    or (kind is int and _MIN_INT64 <= other <= _MAX_INT64 and char in _FLOAT_DTYPES)
                ):
                    view.charge(name, self.size or 1)
                    run(base_view(self), base_view(other) if kind is Array else other)
                    return self
        if defers(other, self, in_place=True):
            return NotImplemented
        if belongs_to_other_class(other):
            return ufunc(self, other, out=(self,))
        return call(op, run, (self, other), {})

    return method


def _dtype_preserving(ufunc: np.ufunc) -> frozenset[str]:
    """Return the dtype characters that `ufunc` also returns; int64 / int64 is float64."""
    kept = []
    for char in _accepted(ufunc):
        dtypes = ufunc.resolve_dtypes((np.dtype(char),) * ufunc.nin + (None,) * ufunc.nout)
        if dtypes[-1].char == char:
            kept.append(char)
    return frozenset(kept)


def reduction(
    op: Op, function: Function, passes: int = 1, accepted: str = _NUMERIC_DTYPES
) -> Function:
    """Return `function(a, axis=None)` over one axis or all, charged `passes * a.size`."""
    name = op.book_name
    chars = frozenset(accepted)

    def reduce(a: Any, axis: Any = None, *args: Any, **kwargs: Any) -> Any:
        # An empty array has no maximum: whether that is an error depends on the function.
        if type(a) is Array and not args and not kwargs and a.size and a.dtype.char in chars:
            view = peek_view()
            if (
                view is not None
                and not view.needs_full_charge
                and (axis is None or (type(axis) is int and -a.ndim <= axis < a.ndim))
            ):
                view.charge(name, passes * a.size)
                result = function(base_view(a), axis)
                return _view(result, Array) if type(result) is _ndarray else scalar(result)
        return call(op, function, (a, axis, *args), kwargs)

    return reduce
