"""The handshake over a descriptor that a client has inherited, without a control server."""

from __future__ import annotations

import logging
import os
import select
import socket
import time
from typing import Any

from shm_echo.control.protocol.handshake import INTERNAL, ServerHandshake
from shm_echo.control.protocol.messages import Hello, Refused
from shm_echo.errors import ProtocolError
from shm_echo.mechestim.service.metering.quotas import Quotas

__all__ = ["SERVICE", "perform_handshake", "refusal_message", "welcome_info"]

SERVICE = "mechestim"

_log = logging.getLogger("shm_echo.mechestim")


def welcome_info(quotas: Quotas) -> dict[str, Any]:
    """Return the service's part of a welcome message."""
    return {"max_frame": quotas.max_frame}


def refusal_message(reason: str) -> bytes:
    """Return the message that refuses a client whose handshake is not done."""
    return ServerHandshake([SERVICE]).refuse(Refused(INTERNAL, reason))


def perform_handshake(sock: socket.socket, quotas: Quotas) -> bool:
    """Do the handshake with a client; read nothing beyond it.

    The program at the other end may take any time to start, but a hello that has begun to arrive
    must be complete within `quotas.stall_s`.

    Returns:
        True if the client was welcomed.
    """
    handshake = ServerHandshake([SERVICE])
    deadline: float | None = None
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    try:
        message = None
        while message is None:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and (left <= 0 or not poll.poll(left * 1000)):
                raise ProtocolError("its hello stayed incomplete")
            data = sock.recv(1)  # one byte: the bytes after the hello are the session's
            if not data:
                return False
            if deadline is None:
                deadline = time.monotonic() + quotas.stall_s
            message = handshake.receive(data)
        if isinstance(message, Refused):
            sock.sendall(handshake.refuse(message))
            return False
        assert isinstance(message, Hello)
        # 63 random bits: no control server counts these sessions, and the number must fit int64.
        number = int.from_bytes(os.urandom(8), "little") >> 1
        sock.sendall(handshake.welcome(number, {}, welcome_info(quotas)))
        return True
    except (OSError, ProtocolError) as error:
        _log.debug("a client of a descriptor did not complete the handshake: %s", error)
        return False
