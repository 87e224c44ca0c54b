"""Numbers that are to be given up, in a deque that finalizers append to.

A finalizer may run anywhere, on any thread, in the middle of any of this: single steps of a deque
are all that is relied on.
"""

from __future__ import annotations

from collections import deque


def drained(numbers: deque[int]) -> list[int]:
    """What is in the deque now, taken out of it; more may be appended meanwhile."""
    return [numbers.popleft() for _ in range(len(numbers))]


def keep(numbers: deque[int], number: int) -> None:
    """Take ``number`` out again, as often as it is there."""
    while True:
        try:
            numbers.remove(number)
        except ValueError:
            return
        except (IndexError, RuntimeError):  # somebody else has changed the deque
            continue
