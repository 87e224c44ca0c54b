"""The process's session with its server: opened by the first operation, reopened when it may be.

``call`` is what every operation of the client ends in.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from shm_echo.mechestim.accounting.active_account import current_view, peek_view
from shm_echo.mechestim.remote.connection.request_lock import RequestLock
from shm_echo.mechestim.remote.connection.session_options import wanted

if TYPE_CHECKING:
    from shm_echo.mechestim.remote.connection.channel import Channel
    from shm_echo.mechestim.remote.connection.value_codec import Typed

DEFAULT_URL = "ipc:///tmp/mechestim.sock"

_channel: Channel | None = None
_turns = RequestLock()


def url() -> str:
    """Where the server is: ``MECHESTIM_SERVER_URL``, or its default where that is not set.

    Blanks alone are no address: they stay, for the message.
    """
    text = os.environ.get("MECHESTIM_SERVER_URL") or DEFAULT_URL
    return text.strip() or text


def channel() -> Channel:
    """The session; a new one when there is none, or when the last one is over.

    Raises:
        HandshakeError: there is no server at the address, or it refuses; the subclass says why.
    """
    global _channel
    found = _channel
    if found is not None and found.why_closed is None:
        return found
    _turns.check()
    with _turns.lock:
        if _channel is None or _channel.why_closed is not None:
            from shm_echo.mechestim.remote.connection.connect import open_channel

            _channel = open_channel(url())
        return _channel


def call(op: str, *args: Any, **kwargs: Any) -> Any:
    """Have the server perform ``op``, charged to what this thread or task charges now."""
    frame = peek_view()
    if frame is None or frame.closed:
        frame = current_view()
    link = _channel
    if link is None or link.why_closed is not None:
        link = channel()
    account: Any = frame.account
    number = account.number if account.channel is link else account.number_in(link)
    return link.request(op, args, kwargs, number, frame.namespace, wanted())


def array_of(typed: Typed) -> Any:
    """An array of the server with these contents: through the arena where it is worth it."""
    from shm_echo.mechestim.remote.connection.arena import LEAST

    link = channel()
    if typed.nbytes >= LEAST:
        arena = link.arena
        if arena is not None:
            return arena.upload(link, typed.dtype, typed.shape, typed.content)
    return link.request("session.array", (typed,))


def changed(op: str, part: int, options: dict[str, Any]) -> dict[str, Any]:
    """Change options of the session for a thread or task; all of them, as they are then.

    Args:
        op: what changes them, and tells them before the change.
        part: where they stand in what is ``wanted``.
        options: the new ones.
    """
    return channel().change(op, part, options, wanted())


def word(op: str, *args: Any, **kwargs: Any) -> Any:
    """Say something about the session itself; nothing is charged."""
    return channel().request(op, args, kwargs)


def _in_child() -> None:
    global _turns
    _turns = RequestLock()  # the thread that had it is not here


os.register_at_fork(after_in_child=_in_child)


def close() -> None:
    """End the session, if there is one."""
    global _channel
    _turns.check()
    with _turns.lock:
        found, _channel = _channel, None
    if found is not None:
        found.close()
