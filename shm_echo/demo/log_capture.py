"""Keeps the library's log out of the progress view, and its latest line for it.

What it is: a log handler that is installed while the demo runs. The library logs a warning for
each producer that dies, among others; printed as they come they would tear a live table apart.
"""

from __future__ import annotations

import logging
from types import TracebackType

__all__ = ["News"]


class News(logging.Handler):
    """Holds the latest message of the `shm_echo` logger while its context is entered."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.latest = ""
        self._logger = logging.getLogger("shm_echo")
        self._propagated = self._logger.propagate

    def emit(self, record: logging.LogRecord) -> None:
        """Take note of one log record."""
        self.latest = record.getMessage()

    def __enter__(self) -> News:
        self._propagated = self._logger.propagate
        self._logger.propagate = False
        self._logger.addHandler(self)
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._logger.removeHandler(self)
        self._logger.propagate = self._propagated
