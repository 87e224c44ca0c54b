"""The errors of a client for the results of the C core."""

from __future__ import annotations

import weakref
from typing import Protocol

from shm_echo.errors import ConnectionClosedError, ForkedHandleError, SendTimeoutError
from shm_echo.ring.core import Result
from shm_echo.ring.ring import RaiseForResult

__all__ = ["make_raise_for_result"]


class _Client(Protocol):
    """The part of a `ShmClient` that the messages need."""

    address: str
    server_pid: int

    @property
    def inherited(self) -> bool: ...


def make_raise_for_result(client: _Client) -> RaiseForResult:
    """Make the function with which the sender raises the error for a result of the C core.

    It refers to the client weakly. Otherwise client and sender would refer to each other, and keep
    the memory mapped until the garbage collector runs.
    """
    reference = weakref.ref(client)
    address = client.address

    def raise_for_result(result: int, sent: int, timeout: float | None) -> None:
        client = reference()
        if client is None:
            raise ConnectionClosedError(f"the client of {address} is closed", sent)
        if result == Result.TIMEOUT:
            raise SendTimeoutError(timeout or 0.0, sent)
        if result == Result.STOPPED and client.inherited:
            raise ForkedHandleError(
                f"this client of {address} was created before the fork, and so was the slot"
            )
        if result == Result.STOPPED:
            raise ConnectionClosedError(f"the client of {address} is closed", sent)
        if result == Result.CLOSED:
            raise ConnectionClosedError(f"the server of {address} has closed the ring", sent)
        if result == Result.GONE:
            raise ConnectionClosedError(
                f"the server of {address} (pid {client.server_pid}) has gone", sent
            )
        raise ConnectionClosedError(
            f"the server of {address} has detached this client: its connection broke", sent
        )

    return raise_for_result
