"""`x.resize(shape)`, an array that changes its length in place, and `sys.getsizeof(x)`.

A counted array is a view of the array that NumPy made, so NumPy's own method would refuse it: it
does not own its memory. The one here gives it memory of the new length, after the same check that
nobody else looks at the old one.
"""

from __future__ import annotations

import sys
from operator import index
from typing import Any

import numpy as np

from shm_echo.mechestim.local.array import Array, Scalar, base_view

_REFERENCED = (
    "cannot resize an array that references or is referenced\n"
    "by another array in this way.\n"
    "Use the np.resize function or refcheck=False"
)


class _ReferenceCounter:
    """How many references there are to an object with one name, seen from inside its method."""

    def references(self) -> int:
        return sys.getrefcount(self)


_reference_counter = _ReferenceCounter()
_REFERENCES_IN_METHOD = _reference_counter.references()


def resize(self: Any, /, *new_shape: Any, refcheck: Any = True) -> None:
    """`numpy.ndarray.resize`: change shape and size in place; new elements are zero."""
    refcheck = index(refcheck)
    owner = self.base
    if type(self) is Scalar or self.symmetry_info is not None or not _owns_memory(self, owner):
        np.ndarray.resize(self, *new_shape, refcheck=refcheck)  # refuses what is no plain array
        return
    grown = base_view(self).copy(order="K")
    grown.resize(*new_shape, refcheck=False)
    if grown.size == self.size:
        np.ndarray.resize(self, *new_shape)
        return
    # Of the owner know its view, the variable here and getrefcount; of the array its caller too.
    shared = owner is not None and sys.getrefcount(owner) > 3
    if refcheck and (shared or sys.getrefcount(self) > _REFERENCES_IN_METHOD):
        raise ValueError(_REFERENCED)
    np.ndarray.__setstate__(self, grown.__reduce__()[2])


def sizeof(self: Any) -> int:
    """`sys.getsizeof`: an array that is the coat of another one has that one's memory."""
    owner = self.base
    memory = self.nbytes if owner is not None and _owns_memory(self, owner) else 0
    return np.ndarray.__sizeof__(self) + memory


def _owns_memory(array: Array, owner: Any) -> bool:
    """Whether the memory of `array` is its own: no owner, or one whose coat it is."""
    if owner is None:
        return True
    if type(owner) is bytes:  # what __setstate__ leaves
        return len(owner) == array.nbytes
    return (
        type(owner) is np.ndarray
        and owner.flags.owndata
        and owner.shape == array.shape
        and owner.strides == array.strides
        and owner.dtype == array.dtype
    )
