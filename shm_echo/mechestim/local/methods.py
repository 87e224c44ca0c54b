"""Methods of counted arrays: `x.sum()`, `x.sort()`, `x.astype(...)`.

A method is charged as the function of the same name and computed by the method of plain arrays, so
that the calls inside it (`std` runs three ufuncs) are not charged again. Methods that only move or
show data are free. Those that return a view of the same class (`reshape`, `transpose`, ...) are
NumPy's own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from shm_echo.mechestim.local import fast_path
from shm_echo.mechestim.local.array import Array, Scalar, base_view, plain, scalar, wrap
from shm_echo.mechestim.local.dispatch import call
from shm_echo.mechestim.local.resizing import resize, sizeof
from shm_echo.mechestim.registry import OPS
from shm_echo.mechestim.registry.op import Op

Method = Callable[..., Any]
_nd = np.ndarray

# Priced by the rule of the function, whose parameters come in the same order.
COUNTED = (
    "argpartition",
    "argsort",
    "choose",
    "clip",
    "conj",
    "conjugate",
    "cumprod",
    "cumsum",
    "diagonal",
    "dot",
    "nonzero",
    "partition",
    "repeat",
    "round",
    "searchsorted",
    "sort",
    "take",
    "trace",
)
# Priced by numel(input), times the passes over it.
REDUCTIONS = {
    "all": 1,
    "any": 1,
    "argmax": 1,
    "argmin": 1,
    "max": 1,
    "mean": 1,
    "min": 1,
    "prod": 1,
    "sum": 1,
    "std": 2,
    "var": 2,
}
# Free: they move or show data. NumPy's own methods serve, as they return the class they find.
INHERITED = (
    "astype",
    "byteswap",
    "copy",
    "dump",
    "dumps",
    "flatten",
    "getfield",
    "item",
    "ravel",
    "reshape",
    "resize",
    "setflags",
    "squeeze",
    "swapaxes",
    "to_device",
    "tobytes",
    "tofile",
    "tolist",
    "transpose",
    "view",
)
# Those of INHERITED that return an array. NumPy's would return a Scalar for a Scalar, of any shape.
_ARRAY_MAKERS = (
    "astype",
    "byteswap",
    "copy",
    "flatten",
    "getfield",
    "ravel",
    "reshape",
    "squeeze",
    "swapaxes",
    "transpose",
    "view",
)


def _counted(op: Op, run: Method) -> Method:
    def method(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        return call(op, run, (self, *args), kwargs)

    return method


def _compress(self: Any, /, condition: Any, axis: Any = None, out: Any = None) -> Any:
    def run(condition: Any, array: Any, axis: Any, out: Any) -> Any:
        return array.compress(condition, axis, out)

    return call(OPS["compress"], run, (condition, self, axis, out), {})


def _put(self: Any, /, indices: Any, values: Any, mode: str = "raise") -> None:
    call(OPS["put"], _nd.put, (self, indices, values, mode), {})


def _fill(self: Any, /, value: Any) -> None:
    call(_FILL, _nd.fill, (self, value), {})


def _setfield(self: Any, /, val: Any, dtype: Any, offset: int = 0) -> None:
    call(_FILL, lambda array, value: array.setfield(value, dtype, offset), (self, val), {})


_FILL = OPS["ndarray.fill"]


def _real(self: Any) -> Any:
    return call(OPS["real"], np.real, (self,), {})


def _imag(self: Any) -> Any:
    return call(OPS["imag"], np.imag, (self,), {})


def _part_setter(part: str) -> Method:
    def write(array: Any, value: Any) -> None:
        setattr(array, part, value)

    def method(self: Any, value: Any) -> None:
        call(_FILL, write, (self, value), {})

    return method


def _repr(self: Any) -> str:
    return repr(base_view(self))


def _str(self: Any) -> str:
    return str(base_view(self))


# Methods that a NumPy scalar has and a 0-d array lacks, or has differently ----


def _numpy_scalar(self: Any) -> Any:
    return base_view(self)[()]


def _int_conversion(convert: Callable[[Any], int]) -> Method:
    def method(self: Any) -> int:
        return convert(_numpy_scalar(self))

    return method


def _numpy_scalar_method(name: str) -> Method:
    """Return the method `name` of NumPy's scalars, which ndarray's own would not accept."""

    def run(scalar: Any, *args: Any, **kwargs: Any) -> Any:
        return getattr(scalar, name)(*args, **kwargs)

    return run


def _scalar_view(name: str) -> Method:
    run = getattr(_nd, name)

    def method(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        result = run(base_view(self), *[plain(value) for value in args], **kwargs)
        return scalar(result[()]) if result.ndim == 0 else wrap(result)

    return method


def _scalar_repr(self: Any) -> str:
    return repr(_numpy_scalar(self))


def _scalar_str(self: Any) -> str:
    return str(_numpy_scalar(self))


def _scalar_format(self: Any, spec: str) -> str:
    return format(_numpy_scalar(self), spec)


def _scalar_round(self: Any, ndigits: Any = None) -> Any:
    return call(_SCALAR_ROUND, lambda value, digits: round(value[()], digits), (self, ndigits), {})


_SCALAR_ROUND = Op(
    "round", OPS["round"].category, "1", lambda *_: 1, charged_as=OPS["round"].book_name
)


def _scalar_attribute(self: Any, name: str) -> Any:
    """Return what only NumPy's scalars have: `is_integer`, `as_integer_ratio` and the like."""
    if name.startswith("__"):
        raise AttributeError(name)
    return getattr(_numpy_scalar(self), name)


def _scalar_transposed(self: Any) -> Any:
    return self


def _scalar_copy(self: Any, memo: Any = None) -> Any:
    return self


def install() -> None:
    """Add the methods to `Array` and `Scalar`."""
    for name in COUNTED:
        _install(Array, name, _counted(OPS[name], getattr(_nd, name)))
    for name, passes in REDUCTIONS.items():
        _install(Array, name, fast_path.reduction(OPS[name], getattr(_nd, name), passes))
    _install(Array, "compress", _compress)
    _install(Array, "put", _put)
    _install(Array, "fill", _fill)
    _install(Array, "setfield", _setfield)
    _install(Array, "resize", resize)
    _install(Array, "__sizeof__", sizeof)
    _install(Array, "__repr__", _repr)
    _install(Array, "__str__", _str)
    Array.real = property(_real, _part_setter("real"))  # type: ignore[assignment]
    Array.imag = property(_imag, _part_setter("imag"))  # type: ignore[assignment]
    for name in (*COUNTED, *REDUCTIONS, "put"):
        _install(Scalar, name, _counted(OPS[name], _numpy_scalar_method(name)))
    _install(Scalar, "fill", _counted(_FILL, _numpy_scalar_method("fill")))
    for name in _ARRAY_MAKERS:
        _install(Scalar, name, _scalar_view(name))
    for name in ("trunc", "floor", "ceil"):
        _install(Scalar, f"__{name}__", _int_conversion(getattr(math, name)))
    _install(Scalar, "__repr__", _scalar_repr)
    _install(Scalar, "__str__", _scalar_str)
    _install(Scalar, "__format__", _scalar_format)
    _install(Scalar, "__round__", _scalar_round)
    _install(Scalar, "__getattr__", _scalar_attribute)
    _install(Scalar, "__copy__", _scalar_copy)
    _install(Scalar, "__deepcopy__", _scalar_copy)
    Scalar.T = property(_scalar_transposed)  # type: ignore[assignment]


def _install(cls: type, name: str, method: Method) -> None:
    method.__name__ = name
    method.__qualname__ = f"{cls.__name__}.{name}"
    method.__doc__ = getattr(getattr(_nd, name, None), "__doc__", None)
    setattr(cls, name, method)
