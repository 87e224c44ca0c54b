"""Functions that cases pass as arguments, by name, each for the module that it computes with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def _failing(xp: Any) -> Callable[..., Any]:
    def fail(*args: Any, **kwargs: Any) -> Any:
        xp.add(xp.ones(3), 1.0)
        raise LookupError("the callback's own")

    return fail


CALLBACKS: dict[str, Callable[[Any], Callable[..., Any]]] = {
    "sum": lambda xp: lambda x, *args, **kwargs: xp.sum(x),
    "sum over": lambda xp: lambda x, axis: xp.sum(x, axis=axis),
    "halves": lambda xp: lambda x, scale=1.0: x[::2] * scale,
    "plus": lambda xp: lambda i, j: i + 10 * j,
    "constant": lambda xp: lambda *args: 5,
    "half": lambda xp: lambda x: x / 2,
    "add": lambda xp: lambda x, y: x + y,
    "split": lambda xp: lambda x: (x, x + 1),
    "triu": lambda xp: lambda array, k: xp.triu(array, k),
    "failing": _failing,
}
