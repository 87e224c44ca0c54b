"""`x.resize(shape)` on a server: a new array takes the number of the old one.

NumPy's own method frees the old memory, with `refcheck=False` even while views refer to it. Here
the old memory stays for as long as an object refers to it, so no request can read freed memory.
"""

from __future__ import annotations

from operator import index
from typing import Any

import numpy as np

from shm_echo.mechestim.local.array import Array, base_view
from shm_echo.mechestim.service.objects.handle_table import HandleTable, owner

__all__ = ["resize"]

# NumPy's own message, which programs may compare.
_REFERENCED = (
    "cannot resize an array that references or is referenced\n"
    "by another array in this way.\n"
    "Use the np.resize function or refcheck=False"
)


def resize(objects: HandleTable, array: Any, *new_shape: Any, refcheck: Any = True) -> Any:
    """Give an array of the session another shape and size; new elements are zero.

    Args:
        objects: The objects of the session.
        array: The array.
        new_shape: The lengths, or one shape.
        refcheck: If true, an array whose memory other arrays use is not resized.

    Returns:
        The array that has the number now: the client reads its shape from it.

    Raises:
        TypeError: `array` is no array, or a symmetric one.
        ValueError: The array is a view, is not contiguous, or other arrays use its memory.
        QuotaExceededError: There is no room for the new array beside the old one.
    """
    if type(array) is not Array:  # a scalar or a symmetric tensor cannot change its shape
        raise TypeError("ndarray.resize needs an array")
    # A view of the whole memory counts as the owner: `Array` is a view of NumPy's result.
    if owner(array).nbytes != array.nbytes:
        raise ValueError("cannot resize this array: it does not own its data")
    if index(refcheck) and not objects.is_sole_owner(array):
        raise ValueError(_REFERENCED)
    content = base_view(array)
    if not content.flags.forc:
        raise ValueError("resize only works on single-segment arrays")
    grown = np.array(content, order="K")
    grown.resize(*new_shape, refcheck=False)  # nothing else refers to the copy
    return objects.replace(array, grown.view(Array))
