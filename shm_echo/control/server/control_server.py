"""The control server: an address, the services that it offers there, and a thread.

This is the handle that a program holds. The work is done by ``loop``, which does not refer to the
handle: a server that is forgotten instead of closed is closed when the handle is collected, or at
interpreter exit, so that no socket file is left for a program that ends in order.
"""

from __future__ import annotations

import logging
import os
import threading
import warnings
import weakref
from collections.abc import Callable, Collection, Mapping
from types import TracebackType
from typing import Any

from shm_echo.control.address import Address, TcpAddress, parse_place
from shm_echo.control.server.access_policy import AccessPolicy
from shm_echo.control.server.event_loop import EventLoop
from shm_echo.control.server.server_connection import ServerLimits
from shm_echo.control.server.service import Service
from shm_echo.control.server.session_table import SessionTable
from shm_echo.control.server.tcp_listener import TcpListener, listen_tcp
from shm_echo.control.server.tokens import Tokens
from shm_echo.control.server.unix_listener import UnixListener, listen_unix
from shm_echo.errors import AddressError

__all__ = ["ControlServer", "ServerLimits"]

_log = logging.getLogger("shm_echo.control")

# Only a service method that blocks can keep the thread that long.
_JOIN_PATIENCE = 5.0


class ControlServer:
    """Serves clients at one address, on a thread of its own.

    Those are processes of this user, unless ``allow_uids`` names others; at a ``tcp://`` address,
    whoever holds a token.

    A forked child inherits no part of it: there the sockets are closed, ``close`` does nothing and
    the other methods raise.
    """

    def __init__(
        self,
        address: str | Address | TcpAddress,
        services: Mapping[str, Service],
        limits: ServerLimits | None = None,
        *,
        allow_uids: Mapping[int, Collection[str]] | None = None,
        tokens: Tokens | None = None,
        allow_remote: bool = False,
    ) -> None:
        """Prepare a server; nothing is opened before ``start``.

        Args:
            address: a name, an ``ipc://`` path, or ``tcp://host:port``: see ``parse_place``.
            services: what is offered, by the name that clients ask for.
            limits: how many clients, and how patient with them.
            allow_uids: other users that may connect to the socket file, and the names of the
                services that each may ask for. The file is open to everybody then (mode 0666): it
                is the server that refuses the others.
            tokens: what clients of a ``tcp://`` address have to show.
            allow_remote: whether a ``tcp://`` address may be one that other hosts reach.

        Raises:
            AddressError: there is no such address, or it cannot be served in this way.
            ValueError: the services and those who may have them do not fit together.
        """
        self.address = parse_place(address) if isinstance(address, str) else address
        self._access = AccessPolicy(services, allow_uids, tokens)
        self._check_address()
        self._allow_remote = allow_remote
        self._limits = limits or ServerLimits()
        self._services = dict(services)
        self._loop: EventLoop | None = None
        self._thread: threading.Thread | None = None
        self._finalizer: weakref.finalize[Any, ControlServer] | None = None
        self._pid = os.getpid()
        self._closed = False

    def start(self) -> None:
        """Take the address and begin to serve.

        Raises:
            AddressInUseError: another process serves there.
            AddressError: the address cannot be used.
            DescriptorLimitError: this process may open no more descriptors.
            RuntimeError: it was started before, or belongs to another process.
        """
        self._check_process()
        if self._thread is not None or self._closed:
            raise RuntimeError("a control server can be started once")
        sessions = SessionTable(self._services, self._limits)
        loop = EventLoop(self._listen(), self._access, sessions, self._limits)
        thread = threading.Thread(target=loop.run, name="shm-echo-control", daemon=True)
        try:
            thread.start()
        except BaseException:
            loop.stop()
            loop.run()
            raise
        self._loop = loop
        self._thread = thread
        self._finalizer = weakref.finalize(self, _stop, loop, thread, self._pid)
        _log.info("serving %s at %s", ", ".join(self._services), self.address)

    def _check_address(self) -> None:
        address, tokens = self.address, self._access.tokens
        if isinstance(address, TcpAddress):
            if tokens is None:
                raise AddressError(
                    address.text,
                    "a port is served to holders of a token only, and no token was given "
                    "(--token-file FILE; tokens=)",
                )
        elif tokens is not None:
            raise AddressError(
                address.text, "tokens are for tcp:// addresses: at a socket file the user counts"
            )
        elif self._access.others and address.private:
            raise AddressError(
                address.text,
                f"no other user can enter {address.folder}: to let some in, serve at "
                "ipc:///path.sock in a folder that they can enter",
            )

    def _listen(self) -> UnixListener | TcpListener:
        if isinstance(self.address, TcpAddress):
            listening = listen_tcp(self.address, self._allow_remote)
            self.address = listening.address
            return listening
        return listen_unix(self.address, 0o666 if self._access.others else 0o600)

    @property
    def url(self) -> str:
        """What clients connect to; for port 0, with the port that was free once it has started."""
        return str(self.address) if isinstance(self.address, TcpAddress) else self.address.text

    def close(self) -> None:
        """Tell the clients, remove the socket file, end the thread. Idempotent.

        Services are not told. Called on the server's own thread, it takes effect when the service
        that called it returns.
        """
        if os.getpid() != self._pid:
            return
        self._closed = True
        if self._finalizer is not None:
            self._finalizer()

    def call_soon(self, function: Callable[[], object]) -> None:
        """Have a function called once, soon, on the server's thread. Any thread may ask.

        Raises:
            RuntimeError: the server does not run.
        """
        self._check_process()
        if self._loop is None or not self._loop.call_soon(function):
            raise RuntimeError("the control server does not run")

    @property
    def running(self) -> bool:
        """Clients can connect."""
        return (
            os.getpid() == self._pid
            and not self._closed
            and self._thread is not None
            and self._thread.is_alive()
        )

    def __enter__(self) -> ControlServer:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        finalizer = getattr(self, "_finalizer", None)
        if finalizer is not None and finalizer.alive and os.getpid() == self._pid:
            warnings.warn(f"unclosed control server at {self.address}", ResourceWarning, 2)

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            raise RuntimeError(
                f"this control server belongs to process {self._pid}; a forked child cannot serve"
            )


def _stop(loop: EventLoop, thread: threading.Thread, pid: int) -> None:
    if os.getpid() != pid:
        return
    loop.stop()
    # The collector can run this anywhere, on the loop's own thread too.
    if thread is not threading.current_thread():
        thread.join(_JOIN_PATIENCE)
        if thread.is_alive():
            _log.warning("a service keeps the control server from closing; it closes afterwards")
