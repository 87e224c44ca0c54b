"""`x.resize(shape)` on a server: another array takes the number.

NumPy's own method frees the old memory, with `refcheck=False` even under views. Here the old memory
stays for as long as an object refers to it, so no request can make a view of freed memory.
"""

from __future__ import annotations

from operator import index
from typing import Any

import numpy as np

from shm_echo.mechestim.local.array import Array, base_view
from shm_echo.mechestim.service.objects.handle_table import HandleTable, owner

__all__ = ["resize"]

_REFERENCED = (
    "cannot resize an array that references or is referenced\n"
    "by another array in this way.\n"
    "Use the np.resize function or refcheck=False"
)


def resize(objects: HandleTable, array: Any, *new_shape: Any, refcheck: Any = True) -> Any:
    """Give an array of the session another shape and size; new elements are zero.

    Returns:
        What stands behind its number now, so that its owner learns the shape.

    Raises:
        ValueError: other arrays look at its memory, or it is a view itself.
        QuotaExceededError: there is no room.
    """
    if type(array) is not Array:
        raise TypeError("ndarray.resize needs an array")
    if owner(array).nbytes != array.nbytes:
        raise ValueError("cannot resize this array: it does not own its data")
    if index(refcheck) and not objects.is_sole_owner(array):
        raise ValueError(_REFERENCED)
    content = base_view(array)
    if not content.flags.forc:
        raise ValueError("resize only works on single-segment arrays")
    grown = np.array(content, order="K")
    grown.resize(*new_shape, refcheck=False)
    return objects.replace(array, grown.view(Array))
