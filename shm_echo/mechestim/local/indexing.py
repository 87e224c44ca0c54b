"""Indexing: reading is free, writing costs the number of elements that the index selects.

A boolean mask costs its own size, never its count of True: prices do not depend on values.

>>> import mechestim as me
>>> x = me.zeros((4, 5))
>>> with me.BudgetContext(100, quiet=True) as budget:
...     x[1] = 2.0
>>> budget.flops_used
5
"""

from __future__ import annotations

from typing import Any

import numpy as np

from shm_echo.mechestim.costs.flops.indexing import setitem as write_price
from shm_echo.mechestim.costs.flops.indexing import target_shape
from shm_echo.mechestim.costs.operands import numel
from shm_echo.mechestim.local.array import Array, Scalar, base_view, number, plain, scalar, wrap
from shm_echo.mechestim.local.dispatch import call
from shm_echo.mechestim.registry import OPS
from shm_echo.mechestim.registry.op import Category, Op

_getitem = np.ndarray.__getitem__
_setitem = np.ndarray.__setitem__


_BASIC_INDEX_TYPES = frozenset({int, slice})


def _write_price(self: Any, key: Any, value: Any) -> int:
    """Return the price of the registry's rule, computed faster for integers and slices."""
    if type(key) in _BASIC_INDEX_TYPES or (
        type(key) is tuple and _BASIC_INDEX_TYPES.issuperset(map(type, key))
    ):
        found = _getitem(base_view(self), key)
        return int(found.size) if isinstance(found, (np.ndarray, np.generic)) else 1
    return write_price(self, key, value)


SETITEM = OPS["ndarray.__setitem__"].priced_by(_write_price)


def target_size(array: Any, key: Any) -> int:
    """Return the number of elements that `array[key] = value` selects; a mask counts whole.

    Raises:
        Exception: The key does not fit the array.
    """
    return numel(target_shape(array.shape, key))


def getitem(self: Any, key: Any) -> Any:
    """Return `self[key]`, free; views stay views."""
    found = _getitem(self, key)
    if type(found) is Array:
        return found
    if isinstance(found, np.generic):
        return scalar(found)
    return found


def scalar_getitem(self: Any, key: Any) -> Any:
    """Return `self[key]`: `[()]` gives the scalar, `[...]` an array, as in NumPy."""
    return wrap(number(self)[plain(key)])


def setitem(self: Any, key: Any, value: Any) -> None:
    """Run `self[key] = value`, charged the number of elements that the key selects."""
    call(SETITEM, _setitem, (self, key, value), {})


def scalar_setitem(self: Any, key: Any, value: Any) -> None:
    """Raise `TypeError`: a scalar is immutable."""
    raise TypeError(f"{self.dtype.name!r} scalar does not support item assignment")


class Flat:
    """`x.flat`: a 1-D iterator that reads counted scalars and whose writes are charged."""

    __slots__ = ("_array", "_iterator")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, array: Array) -> None:
        self._array = array
        self._iterator = base_view(array).flat

    @property
    def base(self) -> Array:
        """The array that is iterated over."""
        return self._array

    @property
    def index(self) -> int:
        """The number of elements read."""
        return int(self._iterator.index)

    @property
    def coords(self) -> tuple[int, ...]:
        """The coordinates of the next element in the array."""
        return tuple(self._iterator.coords)

    def copy(self) -> Any:
        """A 1-D copy."""
        return wrap(self._iterator.copy())

    def __len__(self) -> int:
        return len(self._iterator)

    def __iter__(self) -> Flat:
        return self

    def __next__(self) -> Any:
        item = next(self._iterator)
        return scalar(item) if isinstance(item, np.generic) else item

    def __getitem__(self, key: Any) -> Any:
        return wrap(self._iterator[plain(key)])

    def __delitem__(self, key: Any) -> None:
        raise TypeError("Cannot delete iterator elements")

    def __setitem__(self, key: Any, value: Any) -> None:
        def write(array: Any, key: Any, value: Any) -> None:
            if isinstance(key, tuple) and not key:  # crashes NumPy up to 2.2
                raise IndexError("Assigning to a flat iterator with a 0-D index is not supported")
            array.flat[key] = value

        def price(array: Any, key: Any, value: Any) -> int:
            return numel(target_shape((array.size,), key))

        call(_flat_write(price), write, (self._array, key, value), {})

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.array(self._iterator, dtype=dtype)

    def __eq__(self, other: object) -> Any:
        return self.copy() == other

    def __ne__(self, other: object) -> Any:
        return self.copy() != other


def _flat_write(price: Any) -> Op:
    return Op(name="ndarray.__setitem__", category=Category.CUSTOM, cost=price)


def _get_flat(self: Any) -> Any:
    return Flat(self)


def _set_flat(self: Any, value: Any) -> None:
    Flat(self)[:] = value


def install() -> None:
    """Add reading and writing by index to `Array` and `Scalar`."""
    Array.__getitem__ = getitem  # type: ignore[method-assign]
    Array.__setitem__ = setitem  # type: ignore[method-assign]
    Array.flat = property(_get_flat, _set_flat)  # type: ignore[assignment]
    Scalar.__getitem__ = scalar_getitem  # type: ignore[method-assign]
    Scalar.__setitem__ = scalar_setitem  # type: ignore[method-assign]
