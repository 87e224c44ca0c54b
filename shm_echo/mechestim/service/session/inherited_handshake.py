"""The handshake over a descriptor that a client has inherited, where no control server listens."""

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
    """What a client is sent in its welcome."""
    return {"max_frame": quotas.max_frame}


def refusal_message(reason: str) -> bytes:
    """What tells a client that was not welcomed yet that it will not be."""
    return ServerHandshake([SERVICE]).refuse(Refused(INTERNAL, reason))


def perform_handshake(sock: socket.socket, quotas: Quotas) -> bool:
    """Shake hands; whether the client was welcomed. Reads nothing of what follows.

    The program at the other end may take its time to start, but not to finish what it has begun to
    say.
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
            data = sock.recv(1)
            if not data:
                return False
            if deadline is None:
                deadline = time.monotonic() + quotas.stall_s
            message = handshake.receive(data)
        if isinstance(message, Refused):
            sock.sendall(handshake.refuse(message))
            return False
        assert isinstance(message, Hello)
        number = int.from_bytes(os.urandom(8), "little") >> 1
        sock.sendall(handshake.welcome(number, {}, welcome_info(quotas)))
        return True
    except (OSError, ProtocolError) as error:
        _log.debug("a client of a descriptor did not complete the handshake: %s", error)
        return False
