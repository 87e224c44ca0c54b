"""The process's session with its server: the first operation opens it, and reopens it if it ended.

Every operation of the client ends in `call`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from shm_echo.mechestim.accounting.active_account import current_view, peek_view
from shm_echo.mechestim.remote import upcalls
from shm_echo.mechestim.remote.connection.request_lock import RequestLock
from shm_echo.mechestim.remote.connection.session_options import current_options

if TYPE_CHECKING:
    from shm_echo.mechestim.remote.connection.channel import Channel
    from shm_echo.mechestim.remote.connection.packed_array import PackedArray

DEFAULT_URL = "ipc:///tmp/mechestim.sock"

_channel: Channel | None = None
_request_lock = RequestLock()


def server_url() -> str:
    """Return the address of the server: `MECHESTIM_SERVER_URL`, or the default if it is not set.

    A whitespace-only value is kept as it is, so that the error names it.
    """
    text = os.environ.get("MECHESTIM_SERVER_URL") or DEFAULT_URL
    return text.strip() or text


def channel() -> Channel:
    """Return the session; a new one if there is none, or if the last one has ended.

    Raises:
        HandshakeError: There is no server at the address, or it refuses; the subclass says why.
    """
    global _channel
    current = _channel
    if current is not None and current.why_closed is None:
        return current
    _request_lock.check_not_owned()
    with _request_lock.lock:
        if _channel is None or _channel.why_closed is not None:
            _channel = upcalls.open_session(server_url())
        return _channel


def call(op: str, *args: Any, **kwargs: Any) -> Any:
    """Have the server perform `op`, charged to the account of this thread or task."""
    view = peek_view()
    if view is None or view.closed:
        view = current_view()
    current = _channel
    if current is None or current.why_closed is not None:
        current = channel()
    account: Any = view.account
    number = account.number if account.channel is current else account.number_in(current)
    return current.request(op, args, kwargs, number, view.namespace, current_options())


def session_call(op: str, *args: Any, **kwargs: Any) -> Any:
    """Send a request about the session itself, or an operation that is not charged."""
    return channel().request(op, args, kwargs)


def upload(packed: PackedArray) -> Any:
    """Make an array of the server with these contents, through the arena if they are large."""
    from shm_echo.mechestim.remote.connection.arena import MIN_BYTES

    current = channel()
    if packed.nbytes >= MIN_BYTES:
        arena = current.arena
        if arena is not None:
            return arena.upload(current, packed.dtype, packed.shape, packed.content)
    return current.request("session.array", (packed,))


def change_options(op: str, position: int, changes: dict[str, Any]) -> dict[str, Any]:
    """Change options of one kind for this thread or task, and return all options of that kind.

    Args:
        op: The operation that changes them and returns them.
        position: The position of their kind in `SessionOptions`.
        changes: The new values.
    """
    return channel().change_options(op, position, changes, current_options())


def close() -> None:
    """End the session, if there is one."""
    global _channel
    _request_lock.check_not_owned()
    with _request_lock.lock:
        current, _channel = _channel, None
    if current is not None:
        current.close()


def _after_fork_in_child() -> None:
    global _request_lock
    _request_lock = RequestLock()  # the thread that may hold it is not in the child


os.register_at_fork(after_in_child=_after_fork_in_child)
