"""The life of a server: its start and its end, and what is left of it in the child of a fork."""

from __future__ import annotations

import os
import threading
import warnings
import weakref
from types import TracebackType
from typing import Literal, TypeVar

from shm_echo.copying import Uncopyable
from shm_echo.errors import ForkedHandleError
from shm_echo.server_options import ServerOptions
from shm_echo.server_parts import ServerParts

__all__ = ["ServerLife"]

_Life = TypeVar("_Life", bound="ServerLife")


class ServerLife(Uncopyable):
    """The base of `Server`: starts and closes its parts.

    Args:
        options: the arguments of the server.
    """

    def __init__(self, options: ServerOptions) -> None:
        self._options = options
        self._transport = options.transport
        # Guards start() and close(). Re-entrant: a signal handler may close what it interrupts.
        self._lock = threading.RLock()
        self._state: Literal["new", "running", "closed", "inherited"] = "new"
        _servers.add(self)

    def start(self: _Life) -> _Life:
        """Allocate the whole ring and accept producers.

        Raises:
            ShmTooSmallError: the ring does not fit into the available memory.
            AddressInUseError: another live process serves at the transport's address.
            RuntimeError: the server was started before, or its memory could not be pinned.
        """
        with self._lock:
            if self._state != "new":
                raise RuntimeError(f"this server {_STATES[self._state]}")
            self._start()
        return self

    def _start(self) -> None:
        parts = ServerParts(self._options)
        self._parts = parts
        self._consumer, self._producers = parts.consumer, parts.producers
        interrupted, self._state = self._state == "closed", "running"
        if interrupted:  # a signal handler has closed the server during the start
            self.close()

    def close(self) -> None:
        """End the stream: `sample()` returns None, producers get ConnectionClosedError.

        Arrays that were handed out stay readable. Any thread may call this, more than once.
        """
        with self._lock:
            if self._state != "running":
                if self._state == "new":
                    self._state = "closed"
                return
            self._state = "closed"
            self._parts.close()

    @property
    def closed(self) -> bool:
        """Return True if `close` was called."""
        return self._state == "closed"

    def __enter__(self: _Life) -> _Life:
        if self._state != "running":
            self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_state", None) == "running":
            try:  # a server without a transport holds only memory: no warning
                if self._transport is not None:
                    warnings.warn(f"{self!r} was not closed", ResourceWarning, 2, source=self)
            finally:  # where warnings are errors, too
                self.close()

    def _ensure_running(self) -> bool:
        """Return True if the server runs, False if it was closed; start an in-process server.

        Raises:
            RuntimeError: a server with a transport was not started.
            ForkedHandleError: the server was inherited through a fork.
        """
        state = self._state
        if state == "running":
            return True
        if state == "inherited":
            raise ForkedHandleError(
                "this server belongs to the parent process: call its connector().connect() in the "
                "child instead"
            )
        if state == "new":
            if self._transport is not None:
                raise RuntimeError("call start() first, or use the server in a with statement")
            with self._lock:  # several threads may arrive at once; the first one starts it
                if self._state == "new":
                    self._start()
            return not self.closed
        return False

    def _after_fork_in_child(self) -> None:
        self._lock = threading.RLock()  # another thread of the parent may have held it
        if self._state == "running":
            self._state = "inherited"


_STATES = {
    "running": "is running already",
    "closed": "was closed: make a new one",
    "inherited": "belongs to the parent process: make a new one",
}
_servers: weakref.WeakSet[ServerLife] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for server in list(_servers):
        server._after_fork_in_child()


os.register_at_fork(after_in_child=_after_fork_in_child)
