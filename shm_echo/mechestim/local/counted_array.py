"""The counted array, complete: `Array` and `Scalar` with everything that can be done to them.

`array` defines the two classes bare. Each of `operators`, `methods`, `indexing` and `protocols`
adds one kind of call form, charged; importing this module adds them all. A bare array would compute
without being counted, so every way to a first array leads here: the namespace, a declared symmetry,
and a pickle, which names the functions and classes below. A process may begin by loading a pickle,
as the workers of `multiprocessing` do.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from shm_echo.mechestim.local import indexing, methods, operators, protocols
from shm_echo.mechestim.local.array import Array, Scalar, base_view, number, scalar, wrap

__all__ = ["Array", "Scalar", "restore_array", "restore_scalar"]


def restore_array(elements: np.ndarray[Any, Any]) -> Array:
    """Return the counted array of a pickle."""
    array: Array = wrap(elements)
    return array


def restore_scalar(value: Any) -> Any:
    """Return the counted scalar of a pickle."""
    return scalar(value)


def _reduce_ex(self: Any, protocol: Any, /) -> Any:
    # From protocol 5 on NumPy pickles its own class without a copy, but no subclass.
    if type(self) is not Array or protocol < 5:
        return np.ndarray.__reduce_ex__(self, protocol)
    return restore_array, (base_view(self),)


def _scalar_reduce(self: Any) -> tuple[Any, ...]:
    return restore_scalar, (number(self),)


operators.install()
methods.install()
indexing.install()
protocols.install()
Array.__reduce_ex__ = _reduce_ex  # type: ignore[method-assign]
Scalar.__reduce__ = _scalar_reduce  # type: ignore[method-assign]
# A pickle names a class by its module.
Array.__module__ = Scalar.__module__ = __name__
