"""What a thread or task has set for its operations: settings, error handling, print options.

The server keeps one of each for the session. So every request is preceded by what has changed since
the last one, whichever thread made that; ``errstate`` in one thread says nothing about another.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from shm_echo.mechestim.accounting.settings import settings

if TYPE_CHECKING:
    from shm_echo.mechestim.remote.connection.channel import Channel

SessionOptions = tuple[Any, Any, Any, Any, Any]

# Every option with its value; None for what NumPy starts with.
errors: ContextVar[dict[str, Any] | None] = ContextVar("mechestim_errors", default=None)
printing: ContextVar[dict[str, Any] | None] = ContextVar("mechestim_printing", default=None)
_errors = errors.get
_printing = printing.get

_ERRORS = {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}
FRESH: SessionOptions = (0, False, None, None, None)  # how a session begins


def wanted() -> SessionOptions:
    """What this thread or task wants."""
    return settings.op_log, settings.check_nan_inf, settings.weights, _errors(), _printing()


def tell(channel: Channel, now: SessionOptions) -> None:
    """Tell the server what has changed; the turn is the caller's."""
    before = channel.told
    if now[:3] != before[:3]:
        channel.say("budget.configure", now[:3])
    if now[3] != before[3]:
        channel.say("session.seterr", (), now[3] or _ERRORS)
    if now[4] != before[4]:
        old = channel.say("session.print_options", (), now[4] or channel.first_printing)
        if channel.first_printing is None:
            channel.first_printing = old
    channel.told = now
