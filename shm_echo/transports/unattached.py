"""What stands for the sender of a client that has come out of a pickle, before its first use."""

from __future__ import annotations

from typing import Any, NoReturn

from shm_echo.errors import ForkedHandleError

__all__ = ["UNATTACHED"]


class _Unattached:
    """Answers as the sender of a forked parent does: the client then attaches, and calls again."""

    retired = True

    def _reject(self, *_: Any) -> NoReturn:
        raise ForkedHandleError("this client has not attached in this process yet")

    send = send_batch = reserve = wait = _reject

    def retire(self) -> None:
        """Do nothing, in the child of a fork: there is nothing that the parent owns."""


UNATTACHED: Any = _Unattached()
