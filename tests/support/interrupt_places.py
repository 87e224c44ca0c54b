"""Ctrl-C at each place of a call where CPython can run a signal handler, one place after the other.

CPython runs handlers where a Python function begins, and where a call has returned: its result is
lost then, if nothing refers to it yet. Those are the events of `sys.setprofile` but for `c_call`.
"""

from __future__ import annotations

import logging
import os
import random
import sys
import threading
import weakref
from types import FrameType
from typing import Any

__all__ = ["InterruptAt"]


class InterruptAt:
    """Raises KeyboardInterrupt in the `with` block, in this thread, at one place.

    Args:
        place: the number of the place, from 0.

    Attributes:
        raised: True once it was raised.
        where: file, line and event.
    """

    def __init__(self, place: int) -> None:
        self._left = place
        self._pid = os.getpid()
        self.raised = False
        self.where = ""

    def __enter__(self) -> InterruptAt:
        sys.setprofile(self._profile)
        return self

    def __exit__(self, *exception: object) -> None:
        sys.setprofile(None)

    def _profile(self, frame: FrameType, event: str, argument: Any) -> None:
        if event in ("c_call", "c_exception") or self.raised or frame.f_code in _OWN:
            return
        if os.getpid() != self._pid or frame.f_code.co_filename in _AT_FORK:
            return
        if self._left == 0:
            self.raised = True
            self.where = f"{frame.f_code.co_filename}:{frame.f_lineno} {event} {argument!r:.80}"
            raise KeyboardInterrupt
        self._left -= 1


# Code that runs in os.fork() itself: CPython reports exceptions there, and goes on.
_AT_FORK = (logging.__file__, random.__file__, threading.__file__, weakref.__file__)
_OWN = (InterruptAt.__enter__.__code__, InterruptAt.__exit__.__code__)
