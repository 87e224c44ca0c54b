"""The place of the sender in a client that only reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

__all__ = ["NoSender"]


class NoSender:
    """Refuses to send, and ends at once.

    Args:
        address: the address of the server, for the message.

    Attributes:
        retired: True in the child of a fork.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self.retired = False

    def _refuse(self, *_: Any) -> NoReturn:
        raise RuntimeError(
            f"this client of {self._address} is a reader: it sends no samples and has none to wait "
            'for; make another ShmClient without role="reader" for that'
        )

    send = send_batch = reserve = wait = _refuse

    def leave(self, on_idle: Callable[[], None]) -> None:
        """Call `on_idle`: a reader has no calls that have to end first."""
        on_idle()

    def retire(self) -> None:
        """Note that this is the child of a fork."""
        self.retired = True
