"""The short way for the commonest calls: operators, ufuncs and whole reductions on plain counted
arrays.

A fast function handles operands of which everything is known beforehand: counted arrays (no
subclass) of one dtype that the operation accepts, or such an array and a Python number that fits.
Nothing can be refused then once the shapes agree, so the price is charged in one step and the
result wrapped. For everything else it takes the long way,
`shm_echo.mechestim.local.dispatch.call`, which gives the same answer and the same count.
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
# How operands of the short way are stripped. No subclass: a symmetric tensor has its own prices.
_STRIP: dict[type, Callable[[Any], Any]] = {Array: base_view, Scalar: number}
_broadcast = np.broadcast
_NUMERIC_DTYPES = "?bhilqBHILQefdgFDG"
_FLOAT_DTYPES = frozenset("efdgFDG")
_INT64_DTYPE = np.dtype(np.int64).char
_PYTHON_TYPES = frozenset({int, float, complex, bool, list, tuple, str, type(None)})
_ABSENT: Any = object()  # NumPy says in its own words which argument is missing
_MIN_INT64, _MAX_INT64 = -(2**63), 2**63 - 1

Function = Callable[..., Any]


def _accepted(ufunc: np.ufunc) -> frozenset[str]:
    """The dtype characters with which `ufunc` never refuses operands that all have that dtype."""
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
    """`ufunc(x)`, charged `x.size`. `run` computes it when it is not the ufunc itself."""
    name = op.book_name
    accepted = _accepted(ufunc)
    run = run or ufunc

    def function(x: Any = _ABSENT, /, *args: Any, **kwargs: Any) -> Any:
        strip = _STRIP.get(type(x))
        if strip is not None and not args and not kwargs and x.dtype.char in accepted:
            view = peek_view()
            if view is not None and not view.special:
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
    """`ufunc(x, y)`, charged the size of the broadcast operands.

    With `run` (`operator.add`) it is made a method: `y` may then want to compute it itself.
    """
    name = op.book_name
    accepted = _accepted(ufunc)
    method = run is not None
    run = run or ufunc
    smallest = 0 if ufunc is np.power else _MIN_INT64  # int ** -2 is refused: not the short way

    def function(x: Any = _ABSENT, y: Any = _ABSENT, /, *args: Any, **kwargs: Any) -> Any:
        strip = _STRIP.get(type(x))
        if strip is not None and not args and not kwargs:
            char = x.dtype.char
            view = peek_view()
            if char in accepted and view is not None and not view.special:
                kind = type(y)
                strip_y = _STRIP.get(kind)
                if strip_y is not None:
                    if y.dtype.char == char:
                        if x.shape == y.shape:
                            cost = x.size
                        else:
                            try:
                                cost = _broadcast(x, y).size
                            except ValueError:
                                return run(base_view(x), base_view(y))  # raises: refused, uncharged
                        view.charge(name, cost or 1)
                        result = run(strip(x), strip_y(y))
                        return _view(result, Array) if type(result) is _ndarray else scalar(result)
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
    """`y op x` of a counted array `x` and something else; `run` is the operator."""
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
                if view is not None and not view.special:
                    view.charge(name, self.size or 1)
                    result = run(other, strip(self))
                    return _view(result, Array) if type(result) is _ndarray else scalar(result)
        if belongs_to_other_class(other):
            return ufunc(other, self)
        return call(op, run, (other, self), {})

    return method


def belongs_to_other_class(other: Any) -> bool:
    """Whether `other`, no NumPy type, answers for ufuncs: NumPy then hands it the operands."""
    kind = type(other)
    if kind in _PYTHON_TYPES or kind in _STRIP or isinstance(other, (np.ndarray, np.generic)):
        return False
    return getattr(kind, "__array_ufunc__", None) is not None


def overridden(operands: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether one of a ufunc's operands is `foreign`, `out` and `where` among them."""
    if kwargs:
        out = kwargs.get("out")
        operands = (*operands, kwargs.get("where"), *(out if type(out) is tuple else (out,)))
    return any(map(belongs_to_other_class, operands))


def defers(other: Any, array: Any, in_place: bool = False) -> bool:
    """Whether `other` wants to compute `array op other` itself, by NumPy's rules."""
    kind = type(other)
    if kind in _PYTHON_TYPES or kind in _STRIP or isinstance(other, np.generic):
        return False
    if hasattr(kind, "__array_ufunc__"):
        return kind.__array_ufunc__ is None and not in_place
    return _array_priority(other) > _array_priority(array)


def _array_priority(value: Any) -> float:
    try:
        return float(value.__array_priority__)
    except Exception:  # has none, or none that is a number: NumPy does not care why
        return -1e6


def in_place(op: Op, ufunc: np.ufunc, run: Function) -> Function:
    """`x op= y`: writes into `x` and returns it; `run` is `operator.iadd` or its like."""
    name = op.book_name
    accepted = _accepted(ufunc) & _dtype_preserving(ufunc)

    def method(self: Any, other: Any, /) -> Any:
        if type(self) is Array:
            char = self.dtype.char
            view = peek_view()
            if char in accepted and view is not None and not view.special and self.flags.writeable:
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
    """The dtype characters that `ufunc` keeps: int64 / int64 is no int64."""
    kept = []
    for char in _accepted(ufunc):
        dtypes = ufunc.resolve_dtypes((np.dtype(char),) * ufunc.nin + (None,) * ufunc.nout)
        if dtypes[-1].char == char:
            kept.append(char)
    return frozenset(kept)


def reduction(
    op: Op, function: Function, passes: int = 1, accepted: str = _NUMERIC_DTYPES
) -> Function:
    """`function(a, axis=None)` over one axis, or all; charged `passes * a.size`."""
    name = op.book_name
    chars = frozenset(accepted)

    def reduce(a: Any, axis: Any = None, *args: Any, **kwargs: Any) -> Any:
        if type(a) is Array and not args and not kwargs and a.size and a.dtype.char in chars:
            view = peek_view()
            if (
                view is not None
                and not view.special
                and (axis is None or (type(axis) is int and -a.ndim <= axis < a.ndim))
            ):
                view.charge(name, passes * a.size)
                result = function(base_view(a), axis)
                return _view(result, Array) if type(result) is _ndarray else scalar(result)
        return call(op, function, (a, axis, *args), kwargs)

    return reduce
