"""The call forms of one operation: `me.foo(x)`, `np.foo(x)`, methods and operators.

A call form is a function of a module and built arguments. With NumPy and plain arrays it returns
the expected result; with mechestim and counted arrays it must return the same.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from shm_echo.mechestim.registry import OPS
from tests.mechestim.backend_mode import LOCAL
from tests.mechestim.parity.specs import A, Case, Dt, Fn, L, Same, Sc, member

CallForm = Callable[[Any, list[Any], dict[str, Any]], Any]

# The expected results of operations that NumPy lacks, or no longer has: by name, a function of
# plain arrays.
REFERENCES: dict[str, Callable[..., Any]] = {
    "in1d": lambda ar1, *args, **kwargs: np.isin(np.ravel(ar1), *args, **kwargs),
}

_BINARY = {
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "divide": operator.truediv,
    "floor_divide": operator.floordiv,
    "remainder": operator.mod,
    "power": operator.pow,
    "left_shift": operator.lshift,
    "right_shift": operator.rshift,
    "bitwise_and": operator.and_,
    "bitwise_or": operator.or_,
    "bitwise_xor": operator.xor,
    "less": operator.lt,
    "less_equal": operator.le,
    "greater": operator.gt,
    "greater_equal": operator.ge,
    "equal": operator.eq,
    "not_equal": operator.ne,
    "matmul": operator.matmul,
    "divmod": divmod,
}
_MIRRORED = ("less", "less_equal", "greater", "greater_equal")
_IN_PLACE = {
    "add": operator.iadd,
    "subtract": operator.isub,
    "multiply": operator.imul,
    "divide": operator.itruediv,
    "floor_divide": operator.ifloordiv,
    "remainder": operator.imod,
    "power": operator.ipow,
    "left_shift": operator.ilshift,
    "right_shift": operator.irshift,
    "bitwise_and": operator.iand,
    "bitwise_or": operator.ior,
    "bitwise_xor": operator.ixor,
    "matmul": operator.imatmul,
}
_UNARY = {
    "negative": operator.neg,
    "positive": operator.pos,
    "absolute": operator.abs,
    "invert": operator.invert,
}
_REDUCE = {
    "sum": "add",
    "prod": "multiply",
    "max": "maximum",
    "amax": "maximum",
    "min": "minimum",
    "amin": "minimum",
    "all": "logical_and",
    "any": "logical_or",
}
_ACCUMULATE = {"cumsum": "add", "cumprod": "multiply"}

# Methods with the parameters of the function of the same name, after the array.
_METHODS = [
    "all",
    "any",
    "argmax",
    "argmin",
    "argpartition",
    "argsort",
    "astype",
    "choose",
    "clip",
    "conj",
    "conjugate",
    "copy",
    "cumprod",
    "cumsum",
    "diagonal",
    "dot",
    "max",
    "mean",
    "min",
    "nonzero",
    "partition",
    "prod",
    "put",
    "ravel",
    "repeat",
    "reshape",
    "round",
    "searchsorted",
    "sort",
    "squeeze",
    "std",
    "sum",
    "swapaxes",
    "take",
    "trace",
    "transpose",
    "var",
]
_ATTRIBUTES = ("real", "imag")


def is_array(value: Any) -> bool:
    """Return True if an argument of a case becomes an array."""
    return isinstance(value, (A, L, Same))


def call_forms(case: Case) -> Iterator[tuple[str, CallForm]]:
    """Yield every call form of `case`, with its name; `me` is always the first."""
    op = OPS[case.op]
    owner = case.op.split(".")
    if case.op.startswith("ndarray."):
        yield "me", _ndarray_method(owner[-1])
        return
    if len(owner) == 3 and owner[0] == "random":
        yield "me", _owned(owner[-1])
        return
    yield "me", _module_function(case.op, op.numpy)
    if op.numpy and case.op not in REFERENCES and reaches_numpy(case):
        yield "np", _numpy_function(op.numpy)
    yield from _spelled(case)


def has_array(case: Case) -> bool:
    """Return True if an array is among the arguments, in lists too."""

    def found(value: Any) -> bool:
        if isinstance(value, (list, tuple)):
            return any(found(item) for item in value)
        return is_array(value)

    return found(case.args) or found(tuple(case.kwargs.values()))


def reaches_numpy(case: Case) -> bool:
    """Return True if NumPy's function calls the hook of a counted array among its arguments."""
    function = member(np, OPS[case.op].numpy)
    kwargs = {key: _probe(value) for key, value in case.kwargs.items()}
    try:
        return function(*map(_probe, case.args), **kwargs) is _REACHED
    except Exception:
        return False


_REACHED = object()


class _Probe:
    """Takes the place of an array and records that NumPy called its hooks."""

    def __init__(self, length: int = 1) -> None:
        self.length = length

    def __array_function__(self, *_: Any) -> Any:
        return _REACHED

    def __array_ufunc__(self, *_: Any, **__: Any) -> Any:
        return _REACHED

    def __iter__(self) -> Iterator[_Probe]:
        return iter([_Probe()] * self.length)


def _probe(value: Any) -> Any:
    if is_array(value):
        empty = isinstance(value, A) and 0 in value.shape[:1]
        return _Probe(0 if empty else 1)
    if isinstance(value, (list, tuple)):
        return type(value)([_probe(item) for item in value])
    if isinstance(value, Fn):
        return len
    if isinstance(value, Dt):
        return np.dtype(value.name)
    if isinstance(value, Sc):
        return getattr(np, value.dtype)(value.value)
    return value


def _module_function(name: str, numpy_name: str) -> CallForm:
    def call(xp: Any, args: list[Any], kwargs: dict[str, Any]) -> Any:
        if xp is np and name.startswith("stats."):
            from shm_echo.mechestim.local import stats

            return member(stats, name.removeprefix("stats."))(*args, **kwargs)
        if xp is np and name in REFERENCES:
            return REFERENCES[name](*args, **kwargs)
        return member(xp, numpy_name if xp is np else name)(*args, **kwargs)

    return call


def _numpy_function(name: str) -> CallForm:
    function = member(np, name)
    return lambda xp, args, kwargs: function(*args, **kwargs)


def _owned(name: str) -> CallForm:
    """Return the form of a method or an attribute of `RandomState` or `Generator`."""

    def call(xp: Any, args: list[Any], kwargs: dict[str, Any]) -> Any:
        found = getattr(args[0], name)
        return found(*args[1:], **kwargs) if callable(found) else found

    return call


def _ndarray_method(name: str) -> CallForm:
    def call(xp: Any, args: list[Any], kwargs: dict[str, Any]) -> Any:
        return getattr(args[0], name)(*args[1:], **kwargs)

    return call


def _spelled(case: Case) -> Iterator[tuple[str, CallForm]]:
    """Yield the method, the operator and the ufunc's method, if there is one."""
    short = OPS[case.op].numpy
    source = getattr(np, short, None)
    name = source.__name__ if isinstance(source, np.ufunc) else short
    args, kwargs = case.args, case.kwargs
    first = bool(args) and is_array(args[0])
    if first and short in _METHODS:
        yield "method", _ndarray_method(short)
    if short == "compress" and len(args) > 1 and is_array(args[1]):
        yield "method", lambda xp, a, k: a[1].compress(a[0], *a[2:], **k)
    if first and len(args) == 1 and not kwargs:
        if short in _ATTRIBUTES:
            yield "attribute", lambda xp, a, k: getattr(a[0], short)
        if name in _UNARY:
            yield "operator", lambda xp, a, k: _UNARY[name](a[0])
    if len(args) == 2 and not kwargs and any(map(is_array, args)):
        # Python computes 2 < x as x > 2, and calls a client's scalar, which is an array, first.
        mirrored = name in _MIRRORED and (not first or (not LOCAL and isinstance(args[1], Sc)))
        if name in _BINARY and not mirrored:
            yield "operator", lambda xp, a, k: _BINARY[name](a[0], a[1])
        if first and name in _IN_PLACE:
            yield "in place", lambda xp, a, k: _IN_PLACE[name](a[0], a[1])
    along = {"axis": None, **kwargs}
    if first and len(args) == 1 and name in _REDUCE:
        reduce = getattr(np, _REDUCE[name]).reduce
        yield "reduce", lambda xp, a, k: reduce(a[0], **{"axis": None, **k})
    if first and len(args) == 1 and name in _ACCUMULATE and along["axis"] is not None:
        accumulate = getattr(np, _ACCUMULATE[name]).accumulate
        yield "accumulate", lambda xp, a, k: accumulate(a[0], **k)
    if (
        name == "outer"
        and len(args) == 2
        and all(isinstance(a, A) and len(a.shape) == 1 for a in args)
    ):
        yield "ufunc outer", lambda xp, a, k: np.multiply.outer(*a, **k)
