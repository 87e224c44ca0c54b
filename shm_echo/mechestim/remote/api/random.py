"""`mechestim.random` of client mode: generators that live on the server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shm_echo.mechestim import registry
from shm_echo.mechestim.remote import client_session
from shm_echo.mechestim.remote.arrays import protocols
from shm_echo.mechestim.remote.arrays.array import RemoteArray
from shm_echo.mechestim.remote.connection.records import RemoteObject

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
    return make_shuffle(op) if method.__name__ == "shuffle" else method


def make_shuffle(op: str) -> Any:
    """Return a `shuffle` that also changes a list, or an array of NumPy, of this process."""

    def shuffle(*args: Any, **kwargs: Any) -> None:
        if any(map(protocols.is_numpy_array, args)):
            position = next(i for i, arg in enumerate(args) if protocols.is_numpy_array(arg))
            before, target, after = args[:position], args[position], args[position + 1 :]
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


class _Constructed(RemoteObject):
    """An object that the server makes when its class is called."""

    __slots__ = ()

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return client_session.call(f"random.{cls.__name__}", *args, **kwargs)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: `__new__` returns a stand-in that is complete."""


class _NumberGenerator(_Constructed):
    """A generator of numbers. A deep copy draws the same numbers, independently."""

    __slots__ = ()

    def __deepcopy__(self, memo: Any) -> Any:
        return client_session.session_call("generator.copy", self)

    def __repr__(self) -> str:
        return f"{self} at 0x{id(self):X}"

    def __str__(self) -> str:
        name = client_session.session_call("generator.state", self)["bit_generator"]
        return f"{type(self).__name__}({name})"


class Generator(_NumberGenerator):
    """`numpy.random.Generator` on the server; `default_rng` makes one, too."""

    __slots__ = ()

    def __copy__(self) -> Any:  # shares the stream, as in NumPy
        return type(self)(self._bit_generator())

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._bit_generator(),)

    def _bit_generator(self) -> Any:
        return client_session.call("random.Generator.bit_generator", self)


class RandomState(_NumberGenerator):
    """`numpy.random.RandomState` on the server."""

    __slots__ = ()

    __copy__ = _NumberGenerator.__deepcopy__

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickle_random_state, (
            _without_arrays(client_session.session_call("generator.state", self)),
        )


class SeedSequence(_Constructed):
    """`numpy.random.SeedSequence` on the server."""

    __slots__ = ()

    def generate_state(self, n_words: int, dtype: Any = "uint32") -> Any:
        """Return integers to seed a generator with."""
        return client_session.session_call("generator.generate_state", self, n_words, dtype)

    def spawn(self, n_children: int) -> list[Any]:
        """Return new sequences with independent streams."""
        children: list[Any] = client_session.session_call("generator.spawn", self, n_children)
        return children

    def __deepcopy__(self, memo: Any) -> Any:
        return client_session.session_call("generator.copy", self)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name in ("entropy", "n_children_spawned", "pool_size", "spawn_key", "state"):
                return client_session.session_call("generator.attributes", self)[name]
            raise AttributeError(f"SeedSequence has no attribute {name!r}", name=name)


class BitGenerator(_Constructed):
    """Base of the sources of random bits that generators draw from."""

    __slots__ = ()

    @property
    def state(self) -> Any:
        """The state, as NumPy describes it."""
        return client_session.session_call("generator.state", self)

    @state.setter
    def state(self, value: Any) -> None:
        client_session.session_call("generator.set_state", self, value)

    @property
    def seed_seq(self) -> Any:
        """The sequence that seeded it."""
        return client_session.session_call("generator.seed_seq", self)

    def jumped(self, jumps: int = 1) -> Any:
        """Return a bit generator whose state is that after very many drawn numbers."""
        return client_session.session_call("generator.jumped", self, jumps)

    def advance(self, delta: int) -> Any:
        """Advance the state as if `delta` numbers had been drawn."""
        return client_session.session_call("generator.advance", self, delta)

    def spawn(self, n_children: int) -> list[Any]:
        """Return new bit generators with independent streams."""
        children: list[Any] = client_session.session_call("generator.spawn", self, n_children)
        return children

    def __deepcopy__(self, memo: Any) -> Any:
        return client_session.session_call("generator.copy", self)

    __copy__ = __deepcopy__

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickle_bit_generator, (type(self).__name__, _without_arrays(self.state))


class MT19937(BitGenerator):
    """`numpy.random.MT19937` on the server."""

    __slots__ = ()


class PCG64(BitGenerator):
    """`numpy.random.PCG64` on the server."""

    __slots__ = ()


class PCG64DXSM(BitGenerator):
    """`numpy.random.PCG64DXSM` on the server."""

    __slots__ = ()


class Philox(BitGenerator):
    """`numpy.random.Philox` on the server."""

    __slots__ = ()


class SFC64(BitGenerator):
    """`numpy.random.SFC64` on the server."""

    __slots__ = ()


def _without_arrays(state: Any) -> Any:
    """Return a state with lists for the arrays of this session, for a pickle that outlives it."""
    if isinstance(state, dict):
        return {key: _without_arrays(value) for key, value in state.items()}
    if isinstance(state, RemoteArray):
        return state.item() if state.shape == () else (str(state.dtype), state.tolist())
    return state


def _with_arrays(state: Any) -> Any:
    if isinstance(state, dict):
        return {key: _with_arrays(value) for key, value in state.items()}
    if isinstance(state, tuple):
        dtype, values = state
        return client_session.session_call("array", values, dtype=dtype)
    return state


def _unpickle_bit_generator(name: str, state: Any) -> Any:
    bit_generator = globals()[name](0)
    bit_generator.state = _with_arrays(state)
    return bit_generator


def _unpickle_random_state(state: Any) -> Any:
    random_state: Any = RandomState(globals()[state["bit_generator"]](0))
    random_state.set_state(_with_arrays(state))
    return random_state


def get_bit_generator() -> Any:
    """Return the bit generator of this module's functions."""
    return client_session.call("random.get_bit_generator")


def set_bit_generator(bitgen: Any) -> None:
    """Let the functions of this module draw from `bitgen`."""
    client_session.call("random.set_bit_generator", bitgen)


CLASSES: tuple[type[RemoteObject], ...] = (
    *(Generator, RandomState, SeedSequence),
    *(MT19937, PCG64, PCG64DXSM, Philox, SFC64),
)
_PROPERTIES = frozenset({"bit_generator"})


def _install_methods() -> None:
    for cls in (Generator, RandomState):
        for name, method in _methods(cls.__name__).items():
            setattr(cls, name, property(method) if name in _PROPERTIES else method)


_install_methods()
