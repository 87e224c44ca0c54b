"""Session calls on random generators other than draws: state, copies, seeds.

These calls draw no numbers for the client, so they are free of charge. A state from a client is
checked before NumPy takes it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from shm_echo.mechestim.errors import QuotaExceededError
from shm_echo.mechestim.local import random as local_random
from shm_echo.mechestim.service.operations.bit_generator_state import check_state

# Children, or words of a seed, per call. 4096 children take at most 16 MiB and, of MT19937, the
# slowest kind, about a second.
_MAX_COUNT = 1 << 12


def _checked(kinds: Any, value: Any) -> Any:
    """Return `value` if it is an instance of one of the classes.

    Raises:
        TypeError: It is not.
    """
    if not isinstance(value, kinds):
        raise TypeError(
            f"this call needs another kind of random generator, got {type(value).__name__}"
        )
    return value


def _checked_count(count: Any) -> int:
    """Return a number of children or words as an integer.

    Raises:
        QuotaExceededError: It is larger than one call allows.
    """
    number = int(count)
    if number > _MAX_COUNT:
        raise QuotaExceededError("max_handles", allowed=_MAX_COUNT, wanted=number)
    return number


def _bit_generator(value: Any) -> Any:
    return _checked(np.random.BitGenerator, value)


def state(generator: Any) -> Any:
    """Return the state of a generator of any kind, as NumPy's dict."""
    if isinstance(generator, local_random.RandomState):
        return generator.get_state(legacy=False)
    if isinstance(generator, local_random.Generator):
        generator = generator.bit_generator
    return _bit_generator(generator).state


def set_state(generator: Any, value: Any) -> None:
    """Set the state of a bit generator, after a check.

    Raises:
        TypeError: `generator` is no bit generator, or NumPy refuses the state.
        ValueError: A position in the state is out of range, or NumPy refuses the state.
    """
    check_state([value])
    _bit_generator(generator).state = value


def seed_sequence(generator: Any) -> Any:
    """Return the seed sequence of a bit generator."""
    return _bit_generator(generator).seed_seq


def jumped(generator: Any, jumps: Any = 1) -> Any:
    """Return a new bit generator, `jumps` jumps (of about 2**128 draws each) ahead."""
    return _bit_generator(generator).jumped(int(jumps))


def advance(generator: Any, delta: Any) -> Any:
    """Advance a bit generator by `delta` draws, and return it."""
    _bit_generator(generator).advance(int(delta))
    return generator


def spawn(source: Any, n_children: Any) -> list[Any]:
    """Return new bit generators, or seed sequences, with independent streams.

    Raises:
        QuotaExceededError: `n_children` is larger than one call allows.
    """
    kinds = (np.random.BitGenerator, np.random.SeedSequence)
    return list(_checked(kinds, source).spawn(_checked_count(n_children)))


def duplicate(generator: Any) -> Any:
    """Return a copy of a generator, in the same state, that draws independently."""
    sources = (np.random.BitGenerator, np.random.SeedSequence)
    kinds = (*sources, local_random.Generator, local_random.RandomState)
    return copy.deepcopy(_checked(kinds, generator))


def describe_seed_sequence(sequence: Any) -> dict[str, Any]:
    """Return the attributes of a seed sequence."""
    found = _checked(np.random.SeedSequence, sequence)
    return {
        "entropy": found.entropy,
        "n_children_spawned": found.n_children_spawned,
        "pool_size": found.pool_size,
        "spawn_key": tuple(found.spawn_key),
        "state": found.state,
    }


def generate_state(sequence: Any, n_words: Any, dtype: Any = np.uint32) -> Any:
    """Return `n_words` words of a seed sequence, as NumPy's method does.

    Raises:
        QuotaExceededError: `n_words` is larger than one call allows.
    """
    return _checked(np.random.SeedSequence, sequence).generate_state(_checked_count(n_words), dtype)


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
