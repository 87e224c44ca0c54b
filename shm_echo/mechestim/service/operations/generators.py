"""Session calls on random generators, beside draws: their state, and copies.

Bit generators and seed sequences draw nothing themselves here, so nothing of this is charged. What
a client says a state is, is checked before NumPy takes it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from shm_echo.mechestim.errors import QuotaExceededError
from shm_echo.mechestim.local import random as local_random
from shm_echo.mechestim.service.operations.bit_generator_state import check_state

_MOST = 1 << 12  # children, or words of a seed, at once


def _is(cls: Any, value: Any) -> Any:
    if not isinstance(value, cls):
        raise TypeError("this needs another kind of generator")
    return value


def _few(wanted: Any) -> int:
    number = int(wanted)
    if number > _MOST:
        raise QuotaExceededError("max_handles", allowed=_MOST, wanted=number)
    return number


def _bit_generator(value: Any) -> Any:
    return _is(np.random.BitGenerator, value)


def state(generator: Any) -> Any:
    """The state of a generator of any kind."""
    if isinstance(generator, local_random.RandomState):
        return generator.get_state(legacy=False)
    if isinstance(generator, local_random.Generator):
        generator = generator.bit_generator
    return _bit_generator(generator).state


def set_state(generator: Any, value: Any) -> None:
    """Give a bit generator a state."""
    check_state([value])
    _bit_generator(generator).state = value


def seed_sequence(generator: Any) -> Any:
    """Return the seed sequence of a bit generator."""
    return _bit_generator(generator).seed_seq


def jumped(generator: Any, jumps: Any = 1) -> Any:
    """A bit generator that is as if very many numbers had been drawn."""
    return _bit_generator(generator).jumped(int(jumps))


def advance(generator: Any, delta: Any) -> Any:
    """Go on as if `delta` numbers had been drawn."""
    _bit_generator(generator).advance(int(delta))
    return generator


def spawn(source: Any, n_children: Any) -> list[Any]:
    """New bit generators, or seed sequences, with streams of their own."""
    kinds = (np.random.BitGenerator, np.random.SeedSequence)
    return list(_is(kinds, source).spawn(_few(n_children)))


def duplicate(generator: Any) -> Any:
    """Another generator of the same kind in the same state; what it draws is its own."""
    sources = (np.random.BitGenerator, np.random.SeedSequence)
    kinds = (*sources, local_random.Generator, local_random.RandomState)
    return copy.deepcopy(_is(kinds, generator))


def describe_seed_sequence(sequence: Any) -> dict[str, Any]:
    """The attributes of a seed sequence."""
    found = _is(np.random.SeedSequence, sequence)
    return {
        "entropy": found.entropy,
        "n_children_spawned": found.n_children_spawned,
        "pool_size": found.pool_size,
        "spawn_key": tuple(found.spawn_key),
        "state": found.state,
    }


def generate_state(sequence: Any, n_words: Any, dtype: Any = np.uint32) -> Any:
    """Words to seed something with."""
    return _is(np.random.SeedSequence, sequence).generate_state(_few(n_words), dtype)


GENERATORS: dict[str, Callable[..., Any]] = {
    "generator.state": state,
    "generator.set_state": set_state,
    "generator.seed_seq": seed_sequence,
    "generator.jumped": jumped,
    "generator.advance": advance,
    "generator.spawn": spawn,
    "generator.copy": duplicate,
    "generator.generate_state": generate_state,
    "generator.attributes": describe_seed_sequence,
}
