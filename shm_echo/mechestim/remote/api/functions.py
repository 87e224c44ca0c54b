"""The functions of the operations in client mode: each sends a request.

They have NumPy's signatures; where NumPy has a ufunc, they are ufuncs, too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from shm_echo.mechestim import registry
from shm_echo.mechestim.errors import NotSendableError
from shm_echo.mechestim.registry._signatures_generated import SIGNATURES
from shm_echo.mechestim.remote import client_session, upcalls
from shm_echo.mechestim.remote.arrays import protocols
from shm_echo.mechestim.remote.arrays.signed_function import SignedFunction

_UFUNC = "subok=True, signature=None)"  # the end of a ufunc's signature, and of no other
_NO_OUT = 1000  # a position that no argument has
_METHODS = ("reduce", "accumulate", "reduceat", "outer", "at")
_WRITERS = frozenset(  # these write into their first argument
    {"copyto", "fill_diagonal", "place", "put", "put_along_axis", "putmask"}
)
_ATTRIBUTES = ("nin", "nout", "nargs", "ntypes", "types", "identity", "signature")


def make_function(name: str) -> Callable[..., Any]:
    """Return a new function of operation `name`; see `namespace.member` for the public one."""
    if SIGNATURES.get(name, "").endswith(_UFUNC):
        return ufunc(name)

    out_position = _out_position(SIGNATURES.get(name, ""))

    def function(*args: Any, **kwargs: Any) -> Any:
        if len(args) > out_position and protocols.is_numpy_array(args[out_position]):
            kwargs["out"] = args[out_position]
            args = args[:out_position]
        if kwargs and protocols.has_numpy_out(kwargs.get("out")):
            return protocols.write_through(function, args, kwargs)
        return client_session.call(name, *args, **kwargs)

    def writer(*args: Any, **kwargs: Any) -> Any:
        if args and protocols.is_numpy_array(args[0]):
            return protocols.write_through(writer, args, kwargs, first=True)
        return client_session.call(name, *args, **kwargs)

    return set_metadata(writer if name in _WRITERS else function, name)


def _out_position(signature: str) -> int:
    """Return the position of the argument `out`; `_NO_OUT` if the operation has none."""
    names = [part for part in signature.strip("()").split(", ") if part != "/"]
    for position, part in enumerate(names):
        if part.startswith("*"):
            break
        if part == "out=None":
            return position
    return _NO_OUT


def set_metadata(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """Give a function the name, module, docstring and signature of an operation; return it."""
    *owners, last = name.split(".")
    function.__name__ = last
    function.__qualname__ = ".".join([*owners[1:], last])  # "norm.pdf" of mechestim.stats
    function.__module__ = ".".join(["mechestim", *owners[:1]])
    function.__doc__ = _docstring(name)
    if name in SIGNATURES:
        function.__wrapped__ = SignedFunction(name)  # type: ignore[attr-defined]
    return function


def _docstring(name: str) -> str:
    op = registry.OPS[name]
    return f"{op.summary}\n\nCosts {op.formula} FLOPs." if op.counted else op.summary


class ufunc:
    """An operation that works element by element, with NumPy's methods and attributes of ufuncs."""

    __module__ = "mechestim"

    def __init__(self, name: str) -> None:
        self.__name__ = self.__qualname__ = name
        self.__doc__ = _docstring(name)
        self._signed = SignedFunction(name)
        self.nin = SIGNATURES[name].partition("/")[0].count(",")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if len(args) > self.nin and protocols.has_numpy_out(args[self.nin :]):
            kwargs["out"] = args[self.nin :]
            args = args[: self.nin]
        if kwargs and protocols.has_numpy_out(kwargs.get("out")):
            return protocols.write_through(self, args, kwargs)
        try:
            return client_session.call(self.__name__, *args, **kwargs)
        except NotSendableError as error:
            return protocols.defer_ufunc(error, self, args, kwargs)

    @property
    def __signature__(self) -> Any:
        return self._signed.__signature__

    def __getattr__(self, name: str) -> Any:
        if name in _ATTRIBUTES:
            for key, value in client_session.session_call("session.ufunc", self.__name__).items():
                self.__dict__[key] = value
            return self.__dict__[name]
        if name in _METHODS:
            method = _method(self, name)
            self.__dict__[name] = method
            return method
        raise AttributeError(
            f"mechestim.{self.__name__} is a ufunc and has no attribute {name!r}", name=name
        )

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *_ATTRIBUTES, *_METHODS})

    def __reduce__(self) -> Any:
        return _unpickle_ufunc, (self.__name__,)

    def __repr__(self) -> str:
        return f"<ufunc {self.__name__!r}>"


def _unpickle_ufunc(name: str) -> Any:
    return upcalls.operation(name)


def _method(owner: ufunc, name: str) -> Callable[..., Any]:
    op = f"{owner.__name__}.{name}"

    def method(*args: Any, **kwargs: Any) -> Any:
        if kwargs and protocols.has_numpy_out(kwargs.get("out")):
            return protocols.write_through(method, args, kwargs)
        if name == "at" and args and protocols.is_numpy_array(args[0]):
            return protocols.write_through(method, args, kwargs, first=True)
        try:
            return client_session.call(op, *args, **kwargs)
        except NotSendableError as error:
            return protocols.defer_ufunc(error, owner, args, kwargs, name)

    method.__qualname__ = op
    method.__name__ = name
    return method
