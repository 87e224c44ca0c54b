"""Operators of counted arrays: `x + y`, `-x`, `x @ y`, `x += y`, comparisons.

Each is charged as the function of the same meaning and computed by the operator on plain arrays, so
that the last bits (`x**2`) and the fallbacks (`x == "text"`) are NumPy's.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from shm_echo.mechestim.local import fast_path
from shm_echo.mechestim.local.array import Array, Scalar
from shm_echo.mechestim.local.dispatch import call
from shm_echo.mechestim.local.matrix import matmul
from shm_echo.mechestim.registry import OPS
from shm_echo.mechestim.registry.operators import COMPARISONS, POINTWISE, UNARY

_OPERATOR_NAMES = {"and": "and_", "or": "or_"}

Method = Callable[..., Any]


def _deferring(function: Method) -> Method:
    def method(self: Any, other: Any) -> Any:
        return NotImplemented if fast_path.defers(other, self) else function(self, other)

    return method


def _reflected(function: Method) -> Method:
    def method(self: Any, other: Any) -> Any:
        return function(other, self)

    return method


def _not_in_place(function: Method) -> Method:
    """Return the method for `s += 1`, which returns a new `Scalar`, as a NumPy scalar does."""

    def method(self: Any, other: Any) -> Any:
        return function(self, other)

    return method


def install() -> None:
    """Add the operators to `Array` and `Scalar`."""
    for word, name in POINTWISE.items():
        ufunc = getattr(np, name)
        run = getattr(operator, _OPERATOR_NAMES.get(word, word))
        op = OPS[name]
        function = fast_path.binary(op, ufunc, run)
        _install(Array, f"__{word}__", function)
        _install(Array, f"__r{word}__", fast_path.reflected(op, ufunc, run))
        _install(
            Array, f"__i{word}__", fast_path.in_place(op, ufunc, getattr(operator, f"i{word}"))
        )
        _install(Scalar, f"__i{word}__", _not_in_place(function))
    for word, name in COMPARISONS.items():
        function = fast_path.binary(OPS[name], getattr(np, name), getattr(operator, word))
        _install(Array, f"__{word}__", function)
    for word, name in UNARY.items():
        function = fast_path.unary(OPS[name], getattr(np, name), getattr(operator, word))
        _install(Array, f"__{word}__", _unary(function))
    _install(Array, "__matmul__", _deferring(matmul))
    _install(Array, "__rmatmul__", _reflected(matmul))
    _install(Array, "__imatmul__", _imatmul)
    _install(Array, "__divmod__", _deferring(_divmod))
    _install(Array, "__rdivmod__", _reflected(_divmod))
    Array.__hash__ = None  # mutable, so not hashable, like ndarray
    _install(Scalar, "__hash__", _scalar_hash)


def _install(cls: type, name: str, method: Method) -> None:
    method.__name__ = name
    method.__qualname__ = f"{cls.__name__}.{name}"
    setattr(cls, name, method)


def _unary(function: Method) -> Method:
    def method(self: Any) -> Any:
        return function(self)

    return method


def _divmod(x: Any, y: Any) -> Any:
    return call(OPS["divmod"], divmod, (x, y), {})


def _imatmul(self: Any, other: Any) -> Any:
    return call(OPS["matmul"], operator.imatmul, (self, other), {})


def _scalar_hash(self: Any) -> int:
    return hash(np.ndarray.item(self))
