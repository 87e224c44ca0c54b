"""Operators and methods of the client's arrays: each is a request with the same name."""

from __future__ import annotations

from typing import Any

from shm_echo.mechestim.errors import NotSendableError
from shm_echo.mechestim.registry.operators import BINARY, COMPARISONS, IN_PLACE, UNARY
from shm_echo.mechestim.remote.arrays import protocols
from shm_echo.mechestim.remote.arrays.signed_function import SignedFunction
from shm_echo.mechestim.remote.client_session import call

_METHODS = (
    *("all", "any", "argmax", "argmin", "argpartition", "argsort", "astype", "byteswap", "choose"),
    *("clip", "compress", "conj", "conjugate", "copy", "cumprod", "cumsum", "diagonal", "dot"),
    *("fill", "flatten", "getfield", "max", "mean", "min", "nonzero", "partition", "prod", "put"),
    *("ravel", "repeat", "reshape", "round", "searchsorted", "setfield", "setflags"),
    *("sort", "squeeze", "std", "sum", "swapaxes", "take", "trace", "transpose", "var", "view"),
)


def _binary(name: str) -> Any:
    op = f"ndarray.__{name}__"
    in_place = name[0] == "i"

    def method(self: Any, other: Any) -> Any:
        if getattr(type(other), "__array_ufunc__", 0) is None:
            if in_place:
                kind = type(other).__name__
                raise TypeError(f"operand {kind!r} does not support ufuncs (__array_ufunc__=None)")
            return NotImplemented
        try:
            return call(op, self, other)
        except NotSendableError as error:
            return protocols.defer_operator(error, name, self, other)

    return method


def _unary(op: str) -> Any:
    def method(self: Any) -> Any:
        return call(op, self)

    return method


def _method(op: str) -> Any:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        if kwargs and protocols.has_numpy_out(kwargs.get("out")):
            return protocols.write_through(method, (self, *args), kwargs)
        return call(op, self, *args, **kwargs)

    return method


def _getitem(self: Any, key: Any) -> Any:
    return call("ndarray.__getitem__", self, key)


def _install(cls: type, name: str, method: Any) -> None:
    method.__wrapped__ = SignedFunction(f"ndarray.{name}")
    method.__name__ = name
    method.__qualname__ = f"{cls.__name__}.{name}"
    setattr(cls, name, method)


def install(array: Any, scalar: Any) -> None:
    """Give the classes of arrays and of 0-d results their operators and methods."""
    for name in BINARY:
        _install(array, f"__{name}__", _binary(name))
        _install(array, f"__r{name}__", _binary(f"r{name}"))
        if name in IN_PLACE:
            _install(array, f"__i{name}__", _binary(f"i{name}"))
            _install(scalar, f"__i{name}__", _binary(name))
    for name in COMPARISONS:
        _install(array, f"__{name}__", _binary(name))
    for name in UNARY:
        _install(array, f"__{name}__", _unary(f"ndarray.__{name}__"))
    for name in _METHODS:
        _install(array, name, _method(f"ndarray.{name}"))
    _install(array, "resize", array.resize)  # for its signature
    _install(array, "__getitem__", _getitem)
    _install(array, "__contains__", _binary("contains"))
    # A class body that defines __eq__ sets __hash__ to None; setting __eq__ later does not.
    scalar.__hash__ = _hash


def _hash(self: Any) -> int:
    return hash(self.item())
