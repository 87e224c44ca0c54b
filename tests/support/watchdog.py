"""The watchdog of tests that last longer than others: of one that is many."""

from __future__ import annotations

import contextlib
import faulthandler
from collections.abc import Iterator

__all__ = ["patient_watchdog"]

_SECONDS = 1800


@contextlib.contextmanager
def patient_watchdog() -> Iterator[None]:
    """End a hanging run like `watchdog` of `tests/conftest.py`, but after half an hour."""
    faulthandler.dump_traceback_later(_SECONDS, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()
