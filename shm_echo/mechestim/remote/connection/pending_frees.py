"""Objects and budgets that the server is to free with the next request.

Finalizers add them. A finalizer may run anywhere, on any thread, in the middle of these methods.
They rely on single operations of a deque alone, which the interpreter does not interrupt.
"""

from __future__ import annotations

from collections import deque
from typing import Any

# Bytes of dropped arrays that are worth a request of their own.
_MANY_BYTES = 8 << 20


class PendingFrees:
    """The handles of objects and the numbers of budgets that wait for the next request.

    Attributes:
        handles: The handles of the objects.
    """

    def __init__(self) -> None:
        self.handles: deque[int] = deque()
        self._budgets: deque[int] = deque()
        self._bytes = 0

    def add(self, handle: int, size: int) -> bool:
        """Add an object of `size` bytes; return True if the frees should not wait any longer."""
        self.handles.append(handle)
        self._bytes += size
        return self._bytes > _MANY_BYTES

    def add_budget(self, number: int) -> None:
        """Add a budget."""
        self._budgets.append(number)

    def cancel(self, handle: int) -> None:
        """Remove every occurrence of `handle`: the server has named the object again."""
        while True:
            try:
                self.handles.remove(handle)
            except ValueError:
                return
            except (IndexError, RuntimeError):  # a finalizer changed the deque during the search
                continue

    def move_to(self, message: dict[str, Any]) -> None:
        """Move everything into the request `message`."""
        if self.handles:
            message["f"] = _drain(self.handles)
            self._bytes = 0
        if self._budgets:
            message["fb"] = _drain(self._budgets)

    def restore(self, message: dict[str, Any]) -> None:
        """Take everything back from a request that was not sent."""
        self.handles.extend(message.get("f", ()))
        self._budgets.extend(message.get("fb", ()))

    def clear(self) -> None:
        """Forget everything: the session has ended, and the server has freed it."""
        self.handles.clear()
        self._budgets.clear()


def _drain(numbers: deque[int]) -> list[int]:
    """Take out the present numbers; finalizers may append more meanwhile."""
    return [numbers.popleft() for _ in range(len(numbers))]
