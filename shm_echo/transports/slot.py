"""A reserved slot of the ring: arrays to write a sample into, in place.

The type is C (csrc/python/slot.c), so that no interrupt can come between its claim and its end.
"""

from __future__ import annotations

from shm_echo.ring.core import Slot

__all__ = ["Slot"]
