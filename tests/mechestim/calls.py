"""The calls of ``data/calls.txt``, read and made.

Each line is one call of a NumPy function with arguments spelled in a small vocabulary of arrays.
The file's head explains it. Arrays are made afresh for each call, so that calls which write do
not meet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np

FILE = Path(__file__).parent / "data" / "calls.txt"

_SHAPES = {
    "0": (), "00": (0,), "03": (0, 4), "1": (1,), "3": (3,), "4": (4,), "5": (5,), "34": (3, 4),
    "43": (4, 3), "44": (4, 4), "345": (3, 4, 5), "344": (3, 4, 4),
}  # fmt: skip


def _filled(kind: str, shape: tuple[int, ...]) -> Any:
    count = int(np.prod(shape))
    floats = (np.arange(count) * 0.75 + 0.5).reshape(shape)
    makers: dict[str, Callable[[], Any]] = {
        "x": lambda: floats,
        "h": lambda: floats.astype(np.float32),
        "i": lambda: np.arange(count).reshape(shape),
        "b": lambda: (np.arange(count) % 2 == 0).reshape(shape),
        "c": lambda: floats + 1j,
        "u": lambda: (np.arange(count) % 256).astype(np.uint8).reshape(shape),
        "o": lambda: np.zeros(shape),
        "p": lambda: np.zeros(shape, bool),
        "m": lambda: np.zeros(shape, np.int32),
    }
    return makers[kind]()


def vocabulary() -> dict[str, Any]:
    """Return the names that a line may use, with new arrays behind them."""
    names = {f"{k}{s}": _filled(k, shape) for k in "xhibcuopm" for s, shape in _SHAPES.items()}
    names["o34b"] = np.zeros((3, 4))
    names["i8_4"] = np.arange(1, 5, dtype=np.int8)
    names["t4"] = np.array(["NaT", "2020", "2021", "2022"], dtype="M8[Y]")
    names["s4"] = np.array(["a", "bb", "ccc", "d"])
    names["n"] = np
    return names


@dataclass(frozen=True)
class Call:
    """One line: which operation and the text of its arguments.

    ``by_value`` says that values decide about it, ``since`` which NumPy it needs.
    """

    op: str
    text: str
    by_value: bool
    since: str

    def arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """New arguments for one call."""
        scope = {**vocabulary(), "_": lambda *args, **kwargs: (args, kwargs)}
        args, kwargs = eval(f"_{self.text}", scope)
        return args, kwargs

    def __str__(self) -> str:
        return self.op + self.text


def calls() -> list[Call]:
    """Return every call of the file."""
    found = []
    for line in FILE.read_text().splitlines():
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        body, _, note = text.partition("  # ")
        op, bracket, rest = body.partition("(")
        since = note.removeprefix("numpy ") if note.startswith("numpy ") else "2.0"
        found.append(Call(op, bracket + rest, note == "value", since))
    return found


def resolve(dotted: str) -> Any:
    """Return ``numpy.<dotted>``, or ``None`` if NumPy has no such attribute."""
    try:
        return reduce(getattr, dotted.split("."), np)
    except AttributeError:
        return None
