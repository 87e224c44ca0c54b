"""The objects that a session owns, by number, and the memory that they hold.

A session never reuses a number, so a stale number raises an error and never reads another array.
Views share the bytes of their base, which count once, for as long as an object refers to them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from shm_echo.mechestim.errors import MechEstimServerError, QuotaExceededError
from shm_echo.mechestim.service.metering.quotas import Quotas


class HandleTable:
    """The objects of one session. Not thread-safe: one thread at a time uses it.

    Args:
        quotas: The limits of the session.

    Attributes:
        find: Returns the object with a number, or None.
        next_number: The number of the next object.
        bytes: The memory that the objects hold.
        has_object_arrays: True from the first array of Python objects on.
    """

    def __init__(self, quotas: Quotas) -> None:
        self._quotas = quotas
        self._objects: dict[int, Any] = {}
        self._bases: dict[int, list[int]] = {}  # id of the base -> [references, bytes]
        self._base_of: dict[int, int] = {}  # handle -> id of its base
        self._number_of: dict[int, int] = {}  # id of an object -> its handle
        # The dict's own method: the codec calls it for every handle in a message.
        self.find = self._objects.get
        self.next_number = 1
        self.bytes = 0
        self.has_object_arrays = False

    def __len__(self) -> int:
        return len(self._objects)

    def register(self, value: Any) -> int:
        """Take ownership of `value` and return its number. An owned object keeps its number.

        Raises:
            QuotaExceededError: There would be too many objects, or too many bytes.
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
            # Ids are unique here: an owned object lives, and keeps its base alive.
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
            MechEstimServerError: The session has no object with it.
        """
        try:
            return self._objects[number]
        except KeyError:
            raise MechEstimServerError(
                f"this session has no object {number}: it was freed, or belongs to another session"
            ) from None

    def free(self, numbers: Iterable[Any]) -> None:
        """Release objects. Unknown numbers are ignored, because a client may free one twice."""
        for number in numbers:
            if type(number) is not int or number not in self._objects:
                continue
            del self._number_of[id(self._objects.pop(number))]
            base = self._base_of.pop(number, None)
            if base is not None:
                known = self._bases[base]  # [references, bytes]
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
        """Give the number of `old`, which the session owns, to `new`, and return `new`.

        Raises:
            QuotaExceededError: There is no room for `new` beside `old`; `old` keeps its number.
        """
        number = self._number_of[id(old)]
        self.check_available(owner(new).nbytes)
        following = self.next_number
        self.free([number])
        self.next_number = number  # register takes it from here
        try:
            self.register(new)
        finally:
            self.next_number = following
        return new

    def check_available(self, size: int) -> None:
        """Check that a result of `size` bytes would fit.

        Raises:
            QuotaExceededError: It would not.
        """
        if self.bytes + size > self._quotas.max_bytes:
            raise QuotaExceededError(
                "max_bytes", allowed=self._quotas.max_bytes, wanted=self.bytes + size
            )

    def clear(self) -> None:
        """Release all objects."""
        self._objects.clear()
        self._number_of.clear()
        self._bases.clear()
        self._base_of.clear()
        self.bytes = 0


def owner(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the array that owns the memory: the last one in the chain of bases."""
    found = array
    while isinstance(base := _base(found), np.ndarray):
        found = base
    return found


# NumPy's own property. The one of `Array` wraps the base in a new object, whose id means nothing.
_base = np.ndarray.base.__get__
