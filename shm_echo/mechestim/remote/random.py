"""``mechestim.random`` of client mode: generators that live on the server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from shm_echo.mechestim import registry
from shm_echo.mechestim.remote import session
from shm_echo.mechestim.remote.records import RemoteObject, register

__all__ = [
    "MT19937",
    "PCG64",
    "PCG64DXSM",
    "SFC64",
    "BitGenerator",
    "Generator",
    "Philox",
    "RandomState",
    "SeedSequence",
    "get_bit_generator",
    "set_bit_generator",
]


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


class _Made(RemoteObject):
    """An object that the server makes when its class is called."""

    __slots__ = ()

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return session.call(f"random.{cls.__name__}", *args, **kwargs)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Made by the server; see ``__new__``."""


class Generator(_Made):
    """``numpy.random.Generator`` on the server; made by ``default_rng``, too."""

    __slots__ = ()


class RandomState(_Made):
    """``numpy.random.RandomState`` on the server."""

    __slots__ = ()


class SeedSequence(_Made):
    """``numpy.random.SeedSequence`` on the server."""

    __slots__ = ()


class BitGenerator(_Made):
    """Base of what generators draw from."""

    __slots__ = ()


class MT19937(BitGenerator):
    """``numpy.random.MT19937`` on the server."""

    __slots__ = ()


class PCG64(BitGenerator):
    """``numpy.random.PCG64`` on the server."""

    __slots__ = ()


class PCG64DXSM(BitGenerator):
    """``numpy.random.PCG64DXSM`` on the server."""

    __slots__ = ()


class Philox(BitGenerator):
    """``numpy.random.Philox`` on the server."""

    __slots__ = ()


class SFC64(BitGenerator):
    """``numpy.random.SFC64`` on the server."""

    __slots__ = ()


def get_bit_generator() -> Any:
    """What the functions of this module draw from."""
    return session.call("random.get_bit_generator")


def set_bit_generator(bitgen: Any) -> None:
    """Have the functions of this module draw from ``bitgen``."""
    session.call("random.set_bit_generator", bitgen)


_CLASSES = (
    *(Generator, RandomState, SeedSequence),
    *(MT19937, PCG64, PCG64DXSM, Philox, SFC64),
)
_PROPERTIES = frozenset({"bit_generator"})


def _install() -> None:
    for cls in (Generator, RandomState):
        for name, method in _methods(cls.__name__).items():
            setattr(cls, name, property(method) if name in _PROPERTIES else method)


def _maker(cls: type[RemoteObject]) -> Callable[[Any, int], RemoteObject]:
    def make(channel: Any, handle: int) -> RemoteObject:
        found: RemoteObject = object.__new__(cls)
        RemoteObject.__init__(found, channel, handle)
        return found

    return make


_install()
for _cls in _CLASSES:
    register(_cls.__name__, _maker(_cls))
