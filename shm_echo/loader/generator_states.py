"""The random generators that a sampler of the user's may draw from, and their states as JSON.

They are the global ones (`random`, `numpy.random`, torch's if it is imported) and those that the
sampler has as attributes: `torch.Generator`, NumPy's `Generator` and `RandomState`, and
`random.Random`.
"""

from __future__ import annotations

import base64
import random
import sys
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np

from shm_echo.loader.randomness import loaded_torch

__all__ = ["GLOBAL", "GeneratorStates", "Generators", "from_json", "to_json"]

# The states of some generators by name, as they can be compared.
GeneratorStates: TypeAlias = dict[str, Any]

# The names of the global generators begin with this. Those of a sampler are its attributes.
GLOBAL = "global "
# Samplers that wrap others have them in these attributes, as torch's BatchSampler has.
_INNER = ("sampler", "batch_sampler")
_DEEPEST = 8


class Generators:
    """The generators that a sampler may draw from.

    They are looked for at each use: a sampler may make its own one late, or another one.

    Args:
        sampler: the sampler.

    Example:
        >>> import random
        >>> generators = Generators(None)
        >>> before = generators.read()
        >>> first = random.random()
        >>> generators.changed(before)
        ['global random']
        >>> generators.write({"global random": before["global random"]})
        >>> random.random() == first
        True
    """

    def __init__(self, sampler: Any) -> None:
        self._sampler = sampler

    def read(self) -> GeneratorStates:
        """Return the states of all of them."""
        return {name: _read(generator) for name, generator in self._found()}

    def changed(self, before: GeneratorStates) -> list[str]:
        """Return the names of those whose state is another one than in `before`."""
        now = self.read()
        return [name for name, state in before.items() if now.get(name) != state]

    def write(self, states: Mapping[str, Any]) -> None:
        """Set the states of some of them.

        Raises:
            ValueError: there is no such generator now, or this is no state of it.
        """
        for name, (generator, state) in self._matched(states).items():
            try:
                _write(generator, state)
            except Exception as error:  # of random, NumPy or torch
                raise ValueError(
                    f"the state of the generator {name!r} in the state of the loader is damaged: "
                    f"{error}"
                ) from None

    def check(self, states: Mapping[str, Any]) -> None:
        """Refuse states for which there is no generator now.

        Raises:
            ValueError: for one of them.
        """
        self._matched(states)

    def _matched(self, states: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
        found = dict(self._found())
        for name, state in states.items():
            if name not in found or _kind(found[name]) != state[0]:
                raise ValueError(
                    f"the state of the loader has one of a {state[0]} generator {name!r} of its "
                    "sampler, and the sampler here has none"
                    + (": import torch before" if name == GLOBAL + "torch" else "")
                )
        return {name: (found[name], state) for name, state in states.items()}

    def _found(self) -> Iterator[tuple[str, Any]]:
        yield GLOBAL + "random", _GlobalRandom
        yield GLOBAL + "numpy.random", _GlobalNumpy
        torch = loaded_torch()
        if torch is not None:
            yield GLOBAL + "torch", torch.default_generator
        yield from _attributes(self._sampler, "", set(), _DEEPEST)


def _attributes(sampler: Any, prefix: str, seen: set[int], depth: int) -> Iterator[tuple[str, Any]]:
    if sampler is None or id(sampler) in seen or not depth:
        return
    seen.add(id(sampler))
    attributes = getattr(sampler, "__dict__", None)
    if not isinstance(attributes, dict):
        return
    for name, value in list(attributes.items()):
        if _kind(value) is not None:
            yield prefix + name, value
        elif name in _INNER:
            yield from _attributes(value, f"{prefix}{name}.", seen, depth - 1)


# ---------------------------------------------------------------- kinds of generators


class _GlobalRandom:
    """Stands for the generator behind the functions of `random`."""


class _GlobalNumpy:
    """Stands for the generator behind the functions of `numpy.random`."""


def _kind(generator: Any) -> str | None:
    """Return the kind of a generator; None if it is none."""
    if generator is _GlobalRandom:
        return "random"
    if generator is _GlobalNumpy:
        return "numpy"
    if isinstance(generator, random.Random):
        # SystemRandom has no state.
        return None if isinstance(generator, random.SystemRandom) else "random"
    if isinstance(generator, (np.random.Generator, np.random.RandomState)):
        return "numpy"
    torch = sys.modules.get("torch")
    return "torch" if isinstance(generator, getattr(torch, "Generator", ())) else None


def _read(generator: Any) -> tuple[Any, ...]:
    """Return the state of a generator, behind its kind: a tuple that can be compared."""
    kind = _kind(generator)
    if kind == "torch":
        return kind, bytes(generator.get_state().numpy())
    if kind == "random":
        return kind, (random if generator is _GlobalRandom else generator).getstate()
    if generator is _GlobalNumpy:
        return "numpy", _frozen(np.random.get_state(legacy=False))
    if isinstance(generator, np.random.RandomState):
        return "numpy", _frozen(generator.get_state(legacy=False))
    return "numpy", _frozen(generator.bit_generator.state)


def _write(generator: Any, state: tuple[Any, ...]) -> None:
    kind, value = state
    if kind == "torch":
        torch: Any = sys.modules["torch"]
        generator.set_state(torch.frombuffer(bytearray(value), dtype=torch.uint8))
    elif kind == "random":
        (random if generator is _GlobalRandom else generator).setstate(value)
    elif generator is _GlobalNumpy:
        np.random.set_state(_thawed(value))
    elif isinstance(generator, np.random.RandomState):
        generator.set_state(_thawed(value))
    else:
        generator.bit_generator.state = _thawed(value)


def _frozen(value: Any) -> Any:
    """Return a state of NumPy's as tuples, which can be compared."""
    if isinstance(value, dict):
        return tuple((name, _frozen(inner)) for name, inner in value.items())
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.tobytes()
    return value.item() if isinstance(value, np.generic) else value


def _thawed(value: Any) -> Any:
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], bytes):
        return np.frombuffer(value[1], value[0]).copy()
    if isinstance(value, tuple):
        return {name: _thawed(inner) for name, inner in value}
    return value


# ---------------------------------------------------------------- JSON


def to_json(states: GeneratorStates) -> dict[str, Any]:
    """Return states as strings, numbers, lists and dicts."""
    return {name: _to_json(state) for name, state in states.items()}


def from_json(value: Any) -> GeneratorStates:
    """Return the states that `to_json` was given.

    Raises:
        ValueError: the value is none of its results.
    """
    try:
        states = {str(name): _from_json(state) for name, state in value.items()}
        if all(len(state) == 2 and isinstance(state[0], str) for state in states.values()):
            return states
    except (AttributeError, TypeError, ValueError, KeyError):
        pass
    raise ValueError("the states of random generators in the state of the loader are damaged")


def _to_json(value: Any) -> Any:
    if isinstance(value, tuple):
        if len(value) > 16 and all(isinstance(word, int) for word in value):
            # The 625 words of `random`.
            return {"words": _text(np.array(value, "<u4").tobytes())}
        return [_to_json(inner) for inner in value]
    return {"bytes": _text(value)} if isinstance(value, bytes) else value


def _from_json(value: Any) -> Any:
    if isinstance(value, dict):
        if "words" in value:
            words = np.frombuffer(base64.b64decode(value["words"], validate=True), "<u4")
            return tuple(words.tolist())
        return base64.b64decode(value["bytes"], validate=True)
    return tuple(map(_from_json, value)) if isinstance(value, list) else value


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
