"""Captures the library's log while the demo runs, so that the progress view shows its latest line.

The library logs a warning for each producer that dies, among others. Printed directly, they would
break the live table.
"""

from __future__ import annotations

import logging
from types import TracebackType

__all__ = ["LogCapture"]


class LogCapture(logging.Handler):
    """Holds the latest message of the `shm_echo` logger while its context is entered."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.latest = ""
        self._logger = logging.getLogger("shm_echo")
        self._propagated = self._logger.propagate

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the message of a log record."""
        self.latest = record.getMessage()

    def __enter__(self) -> LogCapture:
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
