"""``mechestim.random`` of client mode: generators that live on the server."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from shm_echo.mechestim import registry
from shm_echo.mechestim.remote import client_session
from shm_echo.mechestim.remote.arrays import protocols
from shm_echo.mechestim.remote.arrays.array import RemoteArray
from shm_echo.mechestim.remote.connection.records import RemoteObject, register

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
        return client_session.call(op, self, *args, **kwargs)

    method.__name__ = op.rpartition(".")[2]
    return shuffled(op) if method.__name__ == "shuffle" else method


def shuffled(op: str) -> Any:
    """``shuffle``, which changes a list of this process in place."""

    def shuffle(*args: Any, **kwargs: Any) -> None:
        if any(map(protocols.is_plain, args)):
            where = next(i for i, arg in enumerate(args) if protocols.is_plain(arg))
            before, target, after = args[:where], args[where], args[where + 1 :]
            protocols.write_through(
                lambda x: shuffle(*before, x, *after, **kwargs), (target,), {}, first=True
            )
        elif args and isinstance(args[-1], list):
            order = client_session.call("arange", len(args[-1]))
            client_session.call(op, *args[:-1], order, **kwargs)
            args[-1][:] = [args[-1][i] for i in order.tolist()]
        else:
            client_session.call(op, *args, **kwargs)

    return shuffle


def _methods(owner: str) -> dict[str, Any]:
    prefix = f"random.{owner}."
    return {name[len(prefix) :]: _method(name) for name in registry.OPS if name.startswith(prefix)}


class _Made(RemoteObject):
    """An object that the server makes when its class is called."""

    __slots__ = ()

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return client_session.call(f"random.{cls.__name__}", *args, **kwargs)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Made by the server; see ``__new__``."""


class _Drawing(_Made):
    """A generator; a copy of one goes on alike and apart, a pickle holds its state."""

    __slots__ = ()

    def __deepcopy__(self, memo: Any) -> Any:
        return client_session.word("generator.copy", self)

    def __repr__(self) -> str:
        return f"{self} at 0x{id(self):X}"

    def __str__(self) -> str:
        name = client_session.word("generator.state", self)["bit_generator"]
        return f"{type(self).__name__}({name})"


class Generator(_Drawing):
    """``numpy.random.Generator`` on the server; made by ``default_rng``, too."""

    __slots__ = ()

    def __copy__(self) -> Any:  # as NumPy's: the stream is shared
        return type(self)(self._source())

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._source(),)

    def _source(self) -> Any:
        return client_session.call("random.Generator.bit_generator", self)


class RandomState(_Drawing):
    """``numpy.random.RandomState`` on the server."""

    __slots__ = ()

    __copy__ = _Drawing.__deepcopy__

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored_state, (_kept(client_session.word("generator.state", self)),)


class SeedSequence(_Made):
    """``numpy.random.SeedSequence`` on the server."""

    __slots__ = ()

    def generate_state(self, n_words: int, dtype: Any = "uint32") -> Any:
        """Words to seed something with."""
        return client_session.word("generator.generate_state", self, n_words, dtype)

    def spawn(self, n_children: int) -> list[Any]:
        """New sequences with streams of their own."""
        found: list[Any] = client_session.word("generator.spawn", self, n_children)
        return found

    def __deepcopy__(self, memo: Any) -> Any:
        return client_session.word("generator.copy", self)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name in ("entropy", "n_children_spawned", "pool_size", "spawn_key", "state"):
                return client_session.word("generator.attributes", self)[name]
            raise AttributeError(f"SeedSequence has no attribute {name!r}", name=name)


class BitGenerator(_Made):
    """Base of what generators draw from."""

    __slots__ = ()

    @property
    def state(self) -> Any:
        """The state, as NumPy describes it."""
        return client_session.word("generator.state", self)

    @state.setter
    def state(self, value: Any) -> None:
        client_session.word("generator.set_state", self, value)

    @property
    def seed_seq(self) -> Any:
        """What it was seeded with."""
        return client_session.word("generator.seed_seq", self)

    def jumped(self, jumps: int = 1) -> Any:
        """A bit generator that is as if very many numbers had been drawn."""
        return client_session.word("generator.jumped", self, jumps)

    def advance(self, delta: int) -> Any:
        """Go on as if ``delta`` numbers had been drawn."""
        return client_session.word("generator.advance", self, delta)

    def spawn(self, n_children: int) -> list[Any]:
        """New bit generators with streams of their own."""
        found: list[Any] = client_session.word("generator.spawn", self, n_children)
        return found

    def __deepcopy__(self, memo: Any) -> Any:
        return client_session.word("generator.copy", self)

    __copy__ = __deepcopy__

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored_source, (type(self).__name__, _kept(self.state))


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


def _kept(state: Any) -> Any:
    """A state without arrays of this session, so that it outlives it."""
    if isinstance(state, dict):
        return {key: _kept(value) for key, value in state.items()}
    if isinstance(state, RemoteArray):
        return state.item() if state.shape == () else (str(state.dtype), state.tolist())
    return state


def _revived(state: Any) -> Any:
    if isinstance(state, dict):
        return {key: _revived(value) for key, value in state.items()}
    if isinstance(state, tuple):
        dtype, values = state
        return client_session.word("array", values, dtype=dtype)
    return state


def _restored_source(name: str, state: Any) -> Any:
    found = globals()[name](0)
    found.state = _revived(state)
    return found


def _restored_state(state: Any) -> Any:
    found: Any = RandomState(globals()[state["bit_generator"]](0))
    found.set_state(_revived(state))
    return found


def get_bit_generator() -> Any:
    """What the functions of this module draw from."""
    return client_session.call("random.get_bit_generator")


def set_bit_generator(bitgen: Any) -> None:
    """Have the functions of this module draw from ``bitgen``."""
    client_session.call("random.set_bit_generator", bitgen)


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
