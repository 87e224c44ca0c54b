"""Bounds of results that are not one array: text, nested lists, many views, generators.

Rules for `memory_bounds`, in bytes, each with the signature of its operation. A view owns no
elements, but a million views take memory as objects; a list of lists takes memory even if every
inner list is empty.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from shm_echo.mechestim.service.operations import printing

__all__ = ["RULES", "text", "tolist"]

Rule = Callable[..., int]

# Upper bounds of the bytes of Python objects, on 64-bit CPython.
_VIEW_BYTES = 400  # an array object without elements of its own
_LIST_BYTES = 72  # a list without its elements, and the pointer to it
_NUMBER_BYTES = 40  # a number and the pointer to it
_GENERATOR_BYTES = 4096  # the state of MT19937 has 2.5 KB
# Upper bounds of the characters of one number.
_NUMBER_CHARS = 64  # beyond the digits of the precision: sign, point, exponent, separators
_POSITIONAL_CHARS = 700  # a float64 without an exponent (suppress=True), with its fraction
_DIGITS = re.compile(r"\d+")


def tolist(self: Any) -> int:
    """Return the bound of `x.tolist()`: the lists of each nesting level, and the elements."""
    lists = total = 1
    for length in self.shape[:-1]:
        lists *= int(length)
        total += lists
    wide = self.dtype.itemsize if self.dtype.kind in "SUV" else 0
    return total * _LIST_BYTES + int(self.size) * (_NUMBER_BYTES + wide)


def text(self: Any, *_: Any) -> int:
    """Return the bound of an array's text: the elements shown times the longest element.

    A structured element counts as one number for each 8 bytes.
    """
    options = printing.options()
    shown = (
        self.size if self.size <= options["threshold"] else (2 * options["edgeitems"]) ** self.ndim
    )
    # Twice: a complex number has two parts.
    digits = 2 * (int(options["precision"] or 0) + _NUMBER_CHARS)
    if options["suppress"]:
        digits += 2 * _POSITIONAL_CHARS
    names = max(len(options["nanstr"]), len(options["infstr"]))
    wide = self.dtype.itemsize if self.dtype.kind in "SUV" else 1
    return int(min(self.size, shown)) * max(digits, names, wide, wide * digits // 8)


def _sections(ary: Any, indices_or_sections: Any, axis: Any = 0) -> int:
    """Return the bound of `split` and its relatives: a view for each section."""
    if isinstance(indices_or_sections, int):
        return indices_or_sections * _VIEW_BYTES
    return (np.size(indices_or_sections) + 1) * _VIEW_BYTES


def _unstack(x: Any, /, *, axis: Any = 0) -> int:
    return int(x.shape[axis]) * _VIEW_BYTES


def _base_repr(number: Any, base: Any = 2, padding: Any = 0) -> int:
    return int(padding)


def _binary_repr(num: Any, width: Any = None) -> int:
    return 0 if width is None else int(width)


def _format(self: Any, spec: Any = "") -> int:
    """Return the bound of `format(x, spec)`: the array's text, padded to the width in `spec`."""
    # 100 characters are more than any valid format has.
    return text(self) + max(map(int, _DIGITS.findall(str(spec)[:100])), default=0)


def _spawn(self: Any, n_children: Any) -> int:
    return int(n_children) * _GENERATOR_BYTES


RULES: dict[str, Rule] = {
    "array_split": _sections,
    "base_repr": _base_repr,
    "binary_repr": _binary_repr,
    "dsplit": _sections,
    "hsplit": _sections,
    "ndarray.__format__": _format,
    "ndarray.__repr__": text,
    "ndarray.__str__": text,
    "ndarray.tolist": tolist,
    "random.Generator.spawn": _spawn,
    "split": _sections,
    "unstack": _unstack,
    "vsplit": _sections,
}
