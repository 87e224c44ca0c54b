"""Weights: factors of the operations' prices, read from a mapping or a JSON file.

A weights file is one JSON object from operation names to numbers: `{"exp": 16, "linalg.svd":
1.5}`. All other operations have weight 1. A weight of 0 makes an operation free.

Every weight that these functions return is a finite number, 0 or more, of an operation that exists
and has a price. Aliases become the names under which charges are booked. NumPy-free.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

from shm_echo.mechestim import registry

__all__ = ["VARIABLE", "check", "from_environment", "load"]

VARIABLE = "MECHESTIM_WEIGHTS_FILE"


def from_environment() -> dict[str, float] | None:
    """Return the weights of the file that `MECHESTIM_WEIGHTS_FILE` names; None if it is not set.

    Raises:
        ValueError: as `load`; the message names the variable.
    """
    path = os.environ.get(VARIABLE, "").strip()
    if not path:
        return None
    try:
        return load(path)
    except ValueError as error:
        raise ValueError(f"{VARIABLE}: {error}") from error


def load(path: str | os.PathLike[str]) -> dict[str, float]:
    """Return the weights in a JSON file.

    Raises:
        ValueError: the file cannot be read, is not one JSON object, or has an invalid entry.
    """
    name = os.fspath(path)
    try:
        with open(name, encoding="utf-8") as file:
            entries = json.load(file, object_pairs_hook=_without_repeats)
    except OSError as error:
        raise ValueError(f"cannot read the weights file {name!r}: {error.strerror}") from error
    except RecursionError:
        raise ValueError(f"the weights file {name!r} is nested too deep") from None
    except ValueError as error:  # JSON's own, and UnicodeDecodeError
        raise ValueError(f"the weights file {name!r} is not valid JSON: {error}") from error
    if not isinstance(entries, dict):
        kind = type(entries).__name__
        raise ValueError(
            f"the weights file {name!r} must hold one JSON object from operation names to numbers, "
            f"got {kind}"
        )
    return check(entries, f"the weights file {name!r}")


def check(entries: Mapping[Any, Any], source: str = "weights") -> dict[str, float]:
    """Return the weights in a mapping, by the names under which charges are booked.

    Args:
        entries: numbers, by the names of operations.
        source: the name of the mapping in error messages.

    Raises:
        ValueError: an entry is not a weight. The message names the operation and the value.

    Example:
        >>> check({"acos": 2, "exp": 16})
        {'arccos': 2, 'exp': 16}
    """
    weights: dict[str, float] = {}
    names: dict[str, str] = {}  # as written in `entries`
    for name, value in entries.items():
        booked = _booked(name, source)
        weight = _number(name, value, source)
        if weights.setdefault(booked, weight) != weight:
            raise ValueError(
                f"{source}: {names[booked]!r} and {name!r} are one operation, charged as "
                f"{booked!r}, but have the weights {weights[booked]!r} and {weight!r}"
            )
        names[booked] = name
    return weights


def _booked(name: Any, source: str) -> str:
    op = registry.OPS.get(name) if isinstance(name, str) else None
    if op is None:
        similar = registry.nearest(name) if isinstance(name, str) else ()
        hint = f". Did you mean {', '.join(map(repr, similar))}?" if similar else ""
        raise ValueError(f"{source}: there is no operation {name!r}{hint}")
    if not op.counted:
        raise ValueError(
            f"{source}: {name!r} has no price ({op.category.value}), so a weight would do nothing"
        )
    return op.book_name


def _number(name: str, value: Any, source: str) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ValueError(f"{source}: the weight of {name!r} must be a number, got {value!r}")
    if isinstance(value, Integral):
        number: float = int(value)  # an int, because products of integers are exact
    else:
        number = float(value)
    # Not isfinite(): it overflows on integers beyond the largest float. NaN compares false.
    if not 0 <= number <= sys.float_info.max:
        raise ValueError(
            f"{source}: the weight of {name!r} must be finite and not negative, got {value!r}"
        )
    return number


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries: dict[str, Any] = {}
    for name, value in pairs:
        if name in entries:
            raise ValueError(f"{name!r} is there twice")
        entries[name] = value
    return entries
