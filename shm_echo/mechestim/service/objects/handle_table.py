"""The objects that a session owns, by number, and the memory that they hold.

Numbers are never reused in a session, so a stale number is an error and never another array. Views
share the bytes of their base, which count once, for as long as any object refers to them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from shm_echo.mechestim.errors import MechEstimServerError, QuotaExceededError
from shm_echo.mechestim.service.metering.quotas import Quotas


class HandleTable:
    """The objects of one session. Not thread-safe: one thread at a time uses it."""

    def __init__(self, quotas: Quotas) -> None:
        self._quotas = quotas
        self._objects: dict[int, Any] = {}
        self._bases: dict[int, list[int]] = {}  # id of the base -> [references, bytes]
        self._base_of: dict[int, int] = {}  # handle -> id of its base
        self._number_of: dict[int, int] = {}  # id of an object -> its handle
        self.find = self._objects.get  # the object with a number, or None
        self.next_number = 1
        self.bytes = 0
        self.has_object_arrays = False  # True once an array of Python objects was registered

    def __len__(self) -> int:
        return len(self._objects)

    def register(self, value: Any) -> int:
        """Take ownership of `value` and return its number. An owned object keeps its number.

        Raises:
            QuotaExceededError: too many objects, or too many bytes.
        """
        known_number = self._number_of.get(id(value))
        if known_number is not None:
            return known_number
        quotas = self._quotas
        if len(self._objects) >= quotas.max_handles:
            raise QuotaExceededError(
                "max_handles", allowed=quotas.max_handles, wanted=len(self._objects) + 1
            )
        number = self.next_number
        if isinstance(value, np.ndarray):
            base = owner(value)
            known = self._bases.get(id(base))
            if known is None:
                size = base.nbytes
                if self.bytes + size > quotas.max_bytes:
                    raise QuotaExceededError(
                        "max_bytes", allowed=quotas.max_bytes, wanted=self.bytes + size
                    )
                self.bytes += size
                known = self._bases[id(base)] = [0, size]
            known[0] += 1
            self._base_of[number] = id(base)
            if value.dtype.hasobject:
                self.has_object_arrays = True
        self._objects[number] = value
        self._number_of[id(value)] = number
        self.next_number = number + 1
        return number

    def get(self, number: int) -> Any:
        """Return the object with this number.

        Raises:
            MechEstimServerError: this session has none.
        """
        try:
            return self._objects[number]
        except KeyError:
            raise MechEstimServerError(
                f"this session has no object {number}: it was freed, or belongs to another session"
            ) from None

    def free(self, numbers: Iterable[Any]) -> None:
        """Give objects up. Unknown numbers are passed over: a free may come twice."""
        for number in numbers:
            if type(number) is not int or number not in self._objects:
                continue
            del self._number_of[id(self._objects.pop(number))]
            base = self._base_of.pop(number, None)
            if base is not None:
                known = self._bases[base]
                known[0] -= 1
                if not known[0]:
                    del self._bases[base]
                    self.bytes -= known[1]

    def is_sole_owner(self, array: np.ndarray[Any, Any]) -> bool:
        """Return True if no other object of the session uses the memory of `array`."""
        base = owner(array)
        known = self._bases.get(id(base))
        return known is not None and known[0] == 1 and base.nbytes == array.nbytes

    def replace(self, old: np.ndarray[Any, Any], new: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Put `new` behind the number of `old`, which must have one; returns `new`."""
        number = self._number_of[id(old)]
        self.check_available(owner(new).nbytes)
        following = self.next_number
        self.free([number])
        self.next_number = number
        try:
            self.register(new)
        finally:
            self.next_number = following
        return new

    def check_available(self, size: int) -> None:
        """See that a result of `size` bytes would fit.

        Raises:
            QuotaExceededError: it would not.
        """
        if self.bytes + size > self._quotas.max_bytes:
            raise QuotaExceededError(
                "max_bytes", allowed=self._quotas.max_bytes, wanted=self.bytes + size
            )

    def clear(self) -> None:
        """Give everything up."""
        self._objects.clear()
        self._number_of.clear()
        self._bases.clear()
        self._base_of.clear()
        self.bytes = 0


def owner(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The array at the end of the chain of bases: the one that owns the memory."""
    found = array
    while isinstance(base := _base(found), np.ndarray):
        found = base
    return found


_base = np.ndarray.base.__get__  # a counted array dresses what it stands on
