"""The options of a thread or task for its operations: settings, error handling, print options.

The server keeps one set of options for the session. So each request is preceded by the changes
since the last one, whichever thread made that: `errstate` in one thread does not affect another.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from shm_echo.mechestim.accounting.settings import settings

# Operation log, NaN checks, weights, error handling, print options.
SessionOptions = tuple[Any, Any, Any, Any, Any]

# All options of a kind with their values; None for NumPy's defaults.
errors: ContextVar[dict[str, Any] | None] = ContextVar("mechestim_errors", default=None)
printing: ContextVar[dict[str, Any] | None] = ContextVar("mechestim_printing", default=None)
_errors = errors.get
_printing = printing.get

ERRORS, PRINTING = 3, 4  # their positions in SessionOptions
_DEFAULT_ERRORS = {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}
_FRESH: SessionOptions = (0, False, None, None, None)  # the options of a new session


def current_options() -> SessionOptions:
    """Return the options of this thread or task."""
    return settings.op_log, settings.check_nan_inf, settings.weights, _errors(), _printing()


class ServerOptions:
    """The options that the server has for a session; the caller holds the session's lock.

    Args:
        request: Sends a request and returns its result.

    Attributes:
        sent: The options that the server has now.
    """

    def __init__(self, request: Callable[..., Any]) -> None:
        self.sent = _FRESH
        self._request = request
        self._default_printing: dict[str, Any] | None = None  # the server's own print options

    def send_changes(self, options: SessionOptions) -> None:
        """Send the server every kind of option that differs from `sent`."""
        sent = self.sent
        if options[:ERRORS] != sent[:ERRORS]:
            self._request("budget.configure", options[:ERRORS])
        if options[ERRORS] != sent[ERRORS]:
            self._request("session.seterr", (), options[ERRORS] or _DEFAULT_ERRORS)
        if options[PRINTING] != sent[PRINTING]:
            self._set_printing(options[PRINTING] or self._default_printing)
        self.sent = options

    def change(
        self, op: str, position: int, changes: dict[str, Any], options: SessionOptions
    ) -> dict[str, Any]:
        """Change some options of one kind and return all options of that kind.

        Args:
            op: The operation that changes them and returns them.
            position: The position of their kind in `SessionOptions`.
            changes: The new values.
            options: The options of the thread or task before the change.
        """
        self.send_changes(options)
        if position == PRINTING:
            self._set_printing(changes)
        else:
            self._request(op, (), changes)
        changed: dict[str, Any] = self._request(op)
        self.sent = (*options[:position], changed, *options[position + 1 :])
        return changed

    def _set_printing(self, options: dict[str, Any] | None) -> None:
        before = self._request("session.print_options", (), options)
        if self._default_printing is None:  # the first change answers with the server's defaults
            self._default_printing = before
