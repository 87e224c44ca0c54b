"""What ``mechestim.<operation>`` is in client mode: a function that asks, with a signature to be
inspected; a ufunc where NumPy's is one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from shm_echo.mechestim import registry
from shm_echo.mechestim.errors import NotSendableError
from shm_echo.mechestim.registry._signatures_generated import SIGNATURES
from shm_echo.mechestim.remote import client_session
from shm_echo.mechestim.remote.arrays import protocols

_UFUNC = "subok=True, signature=None)"  # how their signatures end
_METHODS = ("reduce", "accumulate", "reduceat", "outer", "at")
_WRITERS = frozenset(  # write into their first argument
    {"copyto", "fill_diagonal", "place", "put", "put_along_axis", "putmask"}
)
_FACTS = ("nin", "nout", "nargs", "ntypes", "types", "identity", "signature")


class SignedFunction:
    """Stands behind a function (``__wrapped__``) and knows its signature, made when asked for."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def __signature__(self) -> Any:
        import inspect

        # A table of ours, whose entries are Python.
        function = eval(f"lambda {SIGNATURES[self._name][1:-1]}: None")
        return inspect.signature(function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return client_session.call(self._name, *args, **kwargs)


def made(name: str) -> Callable[..., Any]:
    """The function of operation ``name``."""
    if SIGNATURES.get(name, "").endswith(_UFUNC):
        return ufunc(name)

    place = _place_of_out(SIGNATURES.get(name, ""))

    def function(*args: Any, **kwargs: Any) -> Any:
        if len(args) > place and protocols.is_plain(args[place]):
            kwargs["out"] = args[place]
            args = args[:place]
        if kwargs and protocols.has_plain_out(kwargs.get("out")):
            return protocols.write_through(function, args, kwargs)
        return client_session.call(name, *args, **kwargs)

    def writer(*args: Any, **kwargs: Any) -> Any:
        if args and protocols.is_plain(args[0]):
            return protocols.write_through(writer, args, kwargs, first=True)
        return client_session.call(name, *args, **kwargs)

    return labelled(writer if name in _WRITERS else function, name)


def _place_of_out(signature: str) -> int:
    """At which position an operation takes ``out``; beyond all where it takes none."""
    names = [part for part in signature.strip("()").split(", ") if part != "/"]
    for place, part in enumerate(names):
        if part.startswith("*"):
            break
        if part == "out=None":
            return place
    return 1000


def labelled(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """The function with the name, the place, the text and the signature of the operation."""
    *places, last = name.split(".")
    function.__name__ = last
    function.__qualname__ = ".".join([*places[1:], last])  # norm.pdf of mechestim.stats
    function.__module__ = ".".join(["mechestim", *places[:1]])
    function.__doc__ = _text(name)
    if name in SIGNATURES:
        function.__wrapped__ = SignedFunction(name)  # type: ignore[attr-defined]
    return function


def _text(name: str) -> str:
    op = registry.OPS[name]
    return f"{op.summary}\n\nCosts {op.formula} FLOPs." if op.counted else op.summary


class ufunc:
    """An operation that works element by element, with the methods and facts of NumPy's ufuncs."""

    __module__ = "mechestim"

    def __init__(self, name: str) -> None:
        self.__name__ = self.__qualname__ = name
        self.__doc__ = _text(name)
        self._signed = SignedFunction(name)
        self.nin = SIGNATURES[name].partition("/")[0].count(",")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if len(args) > self.nin and protocols.has_plain_out(args[self.nin :]):
            kwargs["out"] = args[self.nin :]
            args = args[: self.nin]
        if kwargs and protocols.has_plain_out(kwargs.get("out")):
            return protocols.write_through(self, args, kwargs)
        try:
            return client_session.call(self.__name__, *args, **kwargs)
        except NotSendableError as error:
            return protocols.handed_over(error, self, args, kwargs)

    @property
    def __signature__(self) -> Any:
        return self._signed.__signature__

    def __getattr__(self, name: str) -> Any:
        if name in _FACTS:
            for key, value in client_session.word("session.ufunc", self.__name__).items():
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
        return sorted({*super().__dir__(), *_FACTS, *_METHODS})

    def __reduce__(self) -> Any:
        return _found, (self.__name__,)

    def __repr__(self) -> str:
        return f"<ufunc {self.__name__!r}>"


def _found(name: str) -> Any:
    from shm_echo.mechestim.remote.api.namespace import member

    return member(name)


def _method(owner: ufunc, name: str) -> Callable[..., Any]:
    op = f"{owner.__name__}.{name}"

    def method(*args: Any, **kwargs: Any) -> Any:
        if kwargs and protocols.has_plain_out(kwargs.get("out")):
            return protocols.write_through(method, args, kwargs)
        if name == "at" and args and protocols.is_plain(args[0]):
            return protocols.write_through(method, args, kwargs, first=True)
        try:
            return client_session.call(op, *args, **kwargs)
        except NotSendableError as error:
            return protocols.handed_over(error, owner, args, kwargs, name)

    method.__qualname__ = op
    method.__name__ = name
    return method
