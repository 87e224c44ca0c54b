"""Performs the handshake of a client over a connected stream.

`protocol.handshake` decides what the bytes mean; this module moves them, with a deadline.
"""

from __future__ import annotations

import contextlib
import time

from shm_echo.control.client.client_stream import (
    ClientStream,
    StreamClosedError,
    StreamTimeoutError,
)
from shm_echo.control.protocol.handshake import ClientHandshake
from shm_echo.control.protocol.messages import Welcome
from shm_echo.errors import HandshakeError, ProtocolError, ServerNotFoundError

__all__ = ["HangUpError", "perform_handshake"]


class HangUpError(Exception):
    """The server accepted the connection and closed it without sending anything."""

    def __init__(self, reason: HandshakeError) -> None:
        super().__init__()
        self.reason = reason


def perform_handshake(stream: ClientStream, handshake: ClientHandshake, deadline: float) -> Welcome:
    """Send the hello and wait for the welcome, until the deadline on the monotonic clock.

    Raises:
        HangUpError: the server closed the connection without an answer.
        HandshakeTimeoutError: the server did not answer in time.
        HandshakeError: there is no welcome; the subclass says why.
    """
    began = time.monotonic()
    # A full server refuses without waiting for the hello, and closes. Then sending the hello fails,
    # and the refusal can still be read.
    with contextlib.suppress(StreamClosedError):
        try:
            stream.send(handshake.hello(), deadline)
        except StreamTimeoutError:
            raise handshake.timeout_error(deadline - began, stream.peer.pid) from None
    while True:
        try:
            data = stream.receive(deadline)
        except StreamTimeoutError:
            raise handshake.timeout_error(deadline - began, stream.peer.pid) from None
        except StreamClosedError as error:
            raise HangUpError(ServerNotFoundError(handshake.address, str(error))) from None
        finally:
            stream.drop_fds()  # a welcome brings no descriptors
        try:
            welcome = handshake.receive(data)
        except ProtocolError as error:
            if data or handshake.answered:
                raise
            raise HangUpError(error) from None
        if welcome is not None:
            return welcome
