"""`x.resize(shape)`, which changes the length of an array in place, and `sys.getsizeof(x)`.

NumPy's own `resize` refuses a counted array: it is a view of the array that NumPy made and does not
own its memory. The function here gives it memory of the new length, after NumPy's check that no
other array uses the old memory.
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
    """Counts the references to an object with one name, from inside one of its methods."""

    def references(self) -> int:
        return sys.getrefcount(self)


_reference_counter = _ReferenceCounter()
_REFERENCES_IN_METHOD = _reference_counter.references()


def resize(self: Any, /, *new_shape: Any, refcheck: Any = True) -> None:
    """Change the shape and size in place, as `numpy.ndarray.resize`; new elements are zero."""
    refcheck = index(refcheck)
    owner = self.base
    if type(self) is Scalar or self.symmetry_info is not None or not _owns_memory(self, owner):
        np.ndarray.resize(self, *new_shape, refcheck=refcheck)  # raises: the array can't be resized
        return
    grown = base_view(self).copy(order="K")
    grown.resize(*new_shape, refcheck=False)
    if grown.size == self.size:
        np.ndarray.resize(self, *new_shape)
        return
    # Three references to the owner are expected: of its view, of the variable `owner` and of the
    # call of getrefcount. The array itself has those of a method call, as measured above.
    shared = owner is not None and sys.getrefcount(owner) > 3
    if refcheck and (shared or sys.getrefcount(self) > _REFERENCES_IN_METHOD):
        raise ValueError(_REFERENCED)
    np.ndarray.__setstate__(self, grown.__reduce__()[2])


def sizeof(self: Any) -> int:
    """Return the size in bytes for `sys.getsizeof`, elements included unless `self` is a view."""
    owner = self.base
    memory = self.nbytes if owner is not None and _owns_memory(self, owner) else 0
    return np.ndarray.__sizeof__(self) + memory


def _owns_memory(array: Array, owner: Any) -> bool:
    """Return True if `array` owns its memory, or views all of the array that owns it."""
    if owner is None:
        return True
    if type(owner) is bytes:  # __setstate__ keeps the bytes as owner
        return len(owner) == array.nbytes
    return (
        type(owner) is np.ndarray
        and owner.flags.owndata
        and owner.shape == array.shape
        and owner.strides == array.strides
        and owner.dtype == array.dtype
    )
