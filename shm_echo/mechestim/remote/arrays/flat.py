"""`x.flat` of client mode: the elements of an array in C order, iterated and indexed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from shm_echo.mechestim.remote.client_session import call

if TYPE_CHECKING:
    from shm_echo.mechestim.remote.arrays.array_data import ArrayData


class Flat:
    """The elements of an array in C order; writing to it writes to the array."""

    __slots__ = ("base", "index")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, array: ArrayData) -> None:
        self.base = array
        self.index = 0

    @property
    def coords(self) -> tuple[int, ...]:
        """The index of the next element in the array."""
        coords, rest = [], self.index
        for axis in range(1, len(self.base.shape) + 1):
            coord, rest = divmod(rest, math.prod(self.base.shape[axis:]))
            coords.append(coord)
        return tuple(coords)

    def copy(self) -> Any:
        """Return a 1-D copy."""
        return call("ndarray.flatten", self.base)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return self.copy().__array__(dtype)

    def __len__(self) -> int:
        return int(self.base.size)

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        if self.index >= self.base.size:
            raise StopIteration
        element = call("ndarray.flat.get", self.base, self.index)
        self.index += 1
        return element

    def __getitem__(self, key: Any) -> Any:
        return call("ndarray.flat.get", self.base, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        call("ndarray.flat.set", self.base, key, value)

    def __delitem__(self, key: Any) -> None:
        raise TypeError("Cannot delete iterator elements")

    def __eq__(self, other: object) -> Any:
        return self.copy() == other

    def __ne__(self, other: object) -> Any:
        return self.copy() != other

    def __lt__(self, other: Any) -> Any:
        return self.copy() < other

    def __le__(self, other: Any) -> Any:
        return self.copy() <= other

    def __gt__(self, other: Any) -> Any:
        return self.copy() > other

    def __ge__(self, other: Any) -> Any:
        return self.copy() >= other
