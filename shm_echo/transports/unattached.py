"""Pickles of clients: a client that has come out of one attaches at its first use, and not before.

Until then a stand-in takes the place of its sender.
"""

from __future__ import annotations

from typing import Any, NoReturn

from shm_echo.errors import ForkedHandleError

__all__ = ["UNATTACHED", "PickledUnattached"]

# The attributes that belong to one attachment, and so to one process.
_OF_THIS_PROCESS = frozenset(
    ("_connection", "_lock", "_owner", "_ring", "_sender", "_subscriber", "_server_pid")
)


class _Unattached:
    """Answers as the sender of a forked parent does: the client then attaches, and calls again."""

    retired = True

    def _reject(self, *_: Any) -> NoReturn:
        raise ForkedHandleError("this client has not attached in this process yet")

    send = send_batch = reserve = wait = wait_room = _reject

    def retire(self) -> None:
        """Do nothing, in the child of a fork: there is nothing that the parent owns."""


UNATTACHED: Any = _Unattached()


class PickledUnattached:
    """A base class of clients: they pickle without their attachment, and cannot be copied."""

    def __copy__(self) -> NoReturn:
        name = type(self).__name__
        raise TypeError(
            f"a {name} can't be copied: both would be one producer, with one connection; share it "
            f"between threads, or make another {name}"
        )

    def __deepcopy__(self, memo: Any) -> NoReturn:
        self.__copy__()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in _OF_THIS_PROCESS}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._register()

    def _register(self) -> None:
        """Make what each process has of its own, beside the attachment."""
        raise NotImplementedError
