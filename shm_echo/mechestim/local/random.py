"""`mechestim.random` of local mode: NumPy's generators, with every draw charged.

The module functions use NumPy's global generator, so that a seed gives NumPy's numbers.
`RandomState` and `Generator` are subclasses of NumPy's, each with a plain generator that draws:
NumPy's methods call one another, and only the outermost call may be charged. Both share their bit
generator with the plain one. Bit generators and seed sequences are NumPy's own; drawing raw bits
from them is free.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from operator import index
from typing import Any

import numpy as np
from numpy.random import (
    MT19937,
    PCG64,
    PCG64DXSM,
    SFC64,
    BitGenerator,
    Philox,
    SeedSequence,
)
from numpy.random.mtrand import get_bit_generator, set_bit_generator

from shm_echo.mechestim.local.array import plain
from shm_echo.mechestim.local.dispatch import call, free
from shm_echo.mechestim.registry import OPS
from shm_echo.mechestim.registry.op import Op

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
    "default_rng",
    "get_bit_generator",
    "set_bit_generator",
]

Function = Callable[..., Any]

# Module functions that are methods under another name.
_METHOD_OF_FUNCTION = {"ranf": "random_sample", "sample": "random_sample"}


def function(op: Op) -> Function:
    """Return the module function of operation `op`: `mechestim.random.<name>`."""
    name = op.name.rpartition(".")[2]
    if name == "default_rng":
        return default_rng
    source: Function = getattr(np.random, name)
    if op.cost is None:
        return lambda *args, **kwargs: free(source, args, kwargs)

    def draw(*args: Any, **kwargs: Any) -> Any:
        return charge_draw(op, source, args, kwargs, throwaway_state)

    return draw


def charge_draw(
    op: Op,
    method: Function,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    make_throwaway: Callable[[], Any],
) -> Any:
    """Return `method(*args, **kwargs)`, charged.

    The dispatcher repeats a call that raised, to see whether it had started. The repetition must
    not draw from the caller's generator, so it draws from the one that `make_throwaway` returns.
    """
    name = op.name.rpartition(".")[2]
    source: Function | None = method
    if name == "shuffle" and not kwargs.keys() - {"axis"} and args and type(args[0]) is list:
        source = _shuffle_list(method, args[0])

    def draw(*plain_args: Any, **plain_kwargs: Any) -> Any:
        nonlocal source
        chosen = source or getattr(make_throwaway(), _METHOD_OF_FUNCTION.get(name, name))
        source = None
        return chosen(*plain_args, **plain_kwargs)

    return call(op, draw, args, kwargs)


def _shuffle_list(shuffle: Function, items: list[Any]) -> Function:
    """Return `shuffle` of the caller's own list; the dispatcher copies a list that holds arrays."""
    return lambda _, *rest, **kwargs: shuffle(items, *rest, **kwargs)


def throwaway_state() -> Any:
    """Return a new `RandomState`, for draws that must not change another generator."""
    return np.random.RandomState(0)


def _throwaway_generator() -> Any:
    return np.random.Generator(PCG64(0))


class RandomState(np.random.RandomState):
    """`numpy.random.RandomState` whose draws are charged as `random.RandomState.<method>`."""

    # A pickle looks the class up there, and so loads all that counts.
    __module__ = "mechestim.random"

    def __init__(self, seed: Any = None) -> None:
        super().__init__(plain(seed))
        self._plain = np.random.RandomState(self._bit_generator)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._bit_generator,), self._plain.get_state(legacy=False)

    def __getstate__(self) -> Any:
        return self._plain.get_state(legacy=False)

    def __setstate__(self, state: Any) -> None:
        self._plain.set_state(state)


class Generator(np.random.Generator):
    """`numpy.random.Generator` whose draws are charged as `random.Generator.<method>`."""

    __module__ = "mechestim.random"

    def __init__(self, bit_generator: BitGenerator) -> None:
        super().__init__(bit_generator)
        self._plain = np.random.Generator(bit_generator)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.bit_generator,)

    def spawn(self, n_children: int) -> list[Generator]:  # type: ignore[override]
        """Return new generators with independent streams."""
        children: Sequence[Any] = self.bit_generator.spawn(index(n_children))
        return [type(self)(child) for child in children]


def default_rng(seed: Any = None) -> Generator:
    """Return a new `Generator`, or the one given; that of a plain generator shares its stream."""
    generator = np.random.default_rng(plain(seed))
    return generator if isinstance(generator, Generator) else Generator(generator.bit_generator)


def _drawing_method(op: Op, make_throwaway: Callable[[], Any]) -> Function:
    """Return the method of operation `op`, charged."""
    name = op.name.rpartition(".")[2]

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return charge_draw(op, getattr(self._plain, name), args, kwargs, make_throwaway)

    return method


def _free_method(op: Op) -> Function:
    """Return the method of a free operation."""
    name = op.name.rpartition(".")[2]

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return free(getattr(self._plain, name), args, kwargs)

    return method


def _install(owner: type, make_throwaway: Callable[[], Any]) -> None:
    """Add the registry's operations to `owner` as methods, except those that it defines itself."""
    prefix = f"random.{owner.__name__}."
    for full, op in OPS.items():
        name = full.removeprefix(prefix)
        if not full.startswith(prefix) or name in vars(owner) or name == "bit_generator":
            continue
        method: Any = _drawing_method(op, make_throwaway) if op.counted else _free_method(op)
        method.__name__ = name
        method.__qualname__ = f"{owner.__name__}.{name}"
        method.__doc__ = f"{op.summary}\n\nCosts {op.formula} FLOPs." if op.counted else op.summary
        method.__signature__ = inspect.signature(getattr(owner.__base__, name))
        setattr(owner, name, method)


_install(RandomState, throwaway_state)
_install(Generator, _throwaway_generator)
