"""Bounds of results that are not arrays: text, nested lists, many views, generators.

Rules for `memory_bounds`, in bytes, each with the signature of its operation. A view has no
elements of its own but is an object, so a million views take memory; a list of lists takes memory
even if every inner list is empty.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from shm_echo.mechestim.service.operations import printing

__all__ = ["RULES", "text", "tolist"]

Rule = Callable[..., int]

_VIEW = 400  # bytes: an array without its elements
_LIST = 72
_NUMBER = 40  # bytes: a number and the pointer to it
_GENERATOR = 4096
_CHARACTERS = 64  # of one number as text, at the least
_POSITIONAL = 700  # of one that may not be written with an exponent
_DIGITS = re.compile(r"\d+")


def tolist(self: Any) -> int:
    """Every list on the way to the elements, and these."""
    lists = total = 1
    for length in self.shape[:-1]:
        lists *= int(length)
        total += lists
    wide = self.dtype.itemsize if self.dtype.kind in "SUV" else 0
    return total * _LIST + int(self.size) * (_NUMBER + wide)


def text(self: Any, *_: Any) -> int:
    """As many elements as are shown, each as long as it may be."""
    options = printing.options()
    shown = (
        self.size if self.size <= options["threshold"] else (2 * options["edgeitems"]) ** self.ndim
    )
    digits = 2 * (int(options["precision"] or 0) + _CHARACTERS)
    if options["suppress"]:
        digits += 2 * _POSITIONAL
    names = max(len(options["nanstr"]), len(options["infstr"]))
    wide = self.dtype.itemsize if self.dtype.kind in "SUV" else 1
    return int(min(self.size, shown)) * max(digits, names, wide, wide * digits // 8)


def _pieces(ary: Any, indices_or_sections: Any, axis: Any = 0) -> int:
    """`split` and its like: a view for each section."""
    if isinstance(indices_or_sections, int):
        return indices_or_sections * _VIEW
    return (np.size(indices_or_sections) + 1) * _VIEW


def _unstack(x: Any, /, *, axis: Any = 0) -> int:
    return int(x.shape[axis]) * _VIEW


def _base_repr(number: Any, base: Any = 2, padding: Any = 0) -> int:
    return int(padding)


def _binary_repr(num: Any, width: Any = None) -> int:
    return 0 if width is None else int(width)


def _format(self: Any, spec: Any = "") -> int:
    """A number as wide as it says, or an array as text."""
    return text(self) + max(map(int, _DIGITS.findall(str(spec)[:100])), default=0)


def _spawn(self: Any, n_children: Any) -> int:
    return int(n_children) * _GENERATOR


RULES: dict[str, Rule] = {
    "array_split": _pieces,
    "base_repr": _base_repr,
    "binary_repr": _binary_repr,
    "dsplit": _pieces,
    "hsplit": _pieces,
    "ndarray.__format__": _format,
    "ndarray.__repr__": text,
    "ndarray.__str__": text,
    "ndarray.tolist": tolist,
    "random.Generator.spawn": _spawn,
    "split": _pieces,
    "unstack": _unstack,
    "vsplit": _pieces,
}
