"""``mechestim.random`` of client mode: generators that live on the server."""

from __future__ import annotations

from typing import Any

from shm_echo.mechestim import registry
from shm_echo.mechestim.remote import session
from shm_echo.mechestim.remote.records import RemoteObject, register

__all__ = ["Generator", "RandomState"]


def _method(op: str) -> Any:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return session.call(op, self, *args, **kwargs)

    method.__name__ = op.rpartition(".")[2]
    return shuffled(op) if method.__name__ == "shuffle" else method


def shuffled(op: str) -> Any:
    """``shuffle``, which changes a list of this process in place."""

    def shuffle(*args: Any, **kwargs: Any) -> None:
        if args and isinstance(args[-1], list):
            order = session.call("arange", len(args[-1]))
            session.call(op, *args[:-1], order, **kwargs)
            args[-1][:] = [args[-1][i] for i in order.tolist()]
        else:
            session.call(op, *args, **kwargs)

    return shuffle


def _methods(owner: str) -> dict[str, Any]:
    prefix = f"random.{owner}."
    return {name[len(prefix) :]: _method(name) for name in registry.OPS if name.startswith(prefix)}


class Generator(RemoteObject):
    """``numpy.random.Generator`` on the server; made by ``default_rng``."""

    __slots__ = ()


class RandomState(RemoteObject):
    """``numpy.random.RandomState`` on the server."""

    __slots__ = ()

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        if cls is RandomState:
            return session.call("random.RandomState", *args, **kwargs)
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Made by the server; see ``__new__``."""


_PROPERTIES = frozenset({"bit_generator"})


def _install() -> None:
    for cls in (Generator, RandomState):
        for name, method in _methods(cls.__name__).items():
            setattr(cls, name, property(method) if name in _PROPERTIES else method)


def _state(channel: Any, handle: int) -> RemoteObject:
    found = object.__new__(RandomState)
    RemoteObject.__init__(found, channel, handle)
    return found


_install()
register("Generator", Generator)
register("RandomState", _state)
