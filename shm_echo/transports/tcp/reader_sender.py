"""The place of the sender in a TcpClient that only reads published values."""

from __future__ import annotations

from typing import Any, NoReturn

__all__ = ["ReaderSender"]


class ReaderSender:
    """Refuses to send, and has nothing to wait for at its end.

    Args:
        peer: the address of the server, for the message.

    Attributes:
        first, sent, acked, error, lost: as of a sender that has sent nothing.
        retired: True in the child of a fork.
    """

    first = sent = acked = error = 0
    lost = False

    def __init__(self, peer: str) -> None:
        self._peer = peer
        self.retired = False

    def _refuse(self, *_: Any) -> NoReturn:
        raise RuntimeError(
            f"this client of {self._peer} is a reader: it sends no samples and has none to wait "
            'for; make another TcpClient without role="reader" for that'
        )

    send = send_batch = wait = wait_room = _refuse

    def look(self) -> bool:
        """Return False: the connections of a reader are opened anew where necessary."""
        return False

    def finish(self, timeout: float | None) -> int:
        """Return 0: no sample is on its way."""
        return 0

    def disconnect(self) -> None:
        """Do nothing: a reader has no stream of samples."""

    def retire(self) -> None:
        """Note that this is the child of a fork."""
        self.retired = True
