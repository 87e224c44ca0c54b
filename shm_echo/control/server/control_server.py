"""The control server: an address, the services that it offers there, and a thread.

A program holds the `ControlServer`; its `EventLoop` does the work and does not refer back to it. So
a server that a program forgets to close is closed when it is garbage-collected, or at interpreter
exit: a program that ends in order leaves no socket file behind.
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

from shm_echo.control.address import Address, TcpAddress, parse_listen_address
from shm_echo.control.server.access_policy import AccessPolicy
from shm_echo.control.server.event_loop import EventLoop
from shm_echo.control.server.processes import require_pidfds
from shm_echo.control.server.server_connection import ServerLimits
from shm_echo.control.server.service import Service
from shm_echo.control.server.session_table import SessionTable
from shm_echo.control.server.tcp_listener import TcpListener, listen_tcp
from shm_echo.control.server.tokens import Tokens
from shm_echo.control.server.unix_listener import UnixListener, listen_unix
from shm_echo.copying import Uncopyable
from shm_echo.errors import AddressError

__all__ = ["ControlServer", "ServerLimits"]

_log = logging.getLogger("shm_echo.control")

# Seconds. The loop ends within milliseconds unless a service method blocks.
_JOIN_TIMEOUT = 5.0


class ControlServer(Uncopyable):
    """Serves clients at one address, on a thread of its own.

    At a socket file the clients are processes of this user, and of the users that `allow_uids`
    lists; at a `tcp://` address they are the holders of a token.

    A forked child cannot use the server: its sockets are closed there, `close` does nothing and
    the other methods raise.

    Example:
        ```python
        with ControlServer("my-server", {"echo": EchoService()}):
            with connect("my-server", "echo") as connection:
                result, fds = connection.request("echo", {"text": "hello"})
        ```
    """

    _copying_advice = "it owns its address and a thread; connect to the address instead"

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
        """Prepare a server. Nothing is opened before `start`.

        Args:
            address: a name, an `ipc://` path, or `tcp://host:port`: see `parse_listen_address`.
            services: the services to offer, by the name that clients ask for.
            limits: the limits on clients, sessions and time.
            allow_uids: other users that may connect to the socket file, and the names of the
                services that each may open. The file then has mode 0666, and the server refuses
                the users that are not listed.
            tokens: the tokens that clients of a `tcp://` address have to show.
            allow_remote: True to accept a `tcp://` address that other hosts can reach.

        Raises:
            AddressError: the address is malformed, or cannot be served with these options.
            ValueError: the access rules do not fit the services, see `AccessPolicy`.
        """
        self.address = parse_listen_address(address) if isinstance(address, str) else address
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
            AddressInUseError: another server has the address.
            AddressError: the address cannot be used.
            DescriptorLimitError: this process may open no more descriptors.
            PidfdUnavailableError: the ends of clients could not be noticed on this kernel.
            RuntimeError: the server was started before, or belongs to another process.
        """
        self._check_process()
        if self._thread is not None or self._closed:
            raise RuntimeError("a control server can be started once")
        if isinstance(self.address, Address):  # clients behind a port are not watched
            require_pidfds()
        sessions = SessionTable(self._services, self._limits)
        loop = EventLoop(self._listen(), self._access, sessions, self._limits)
        thread = threading.Thread(target=loop.run, name="shm-echo-control", daemon=True)
        try:
            thread.start()
        except BaseException:
            # The loop owns the listener by now. Run it once here to close everything.
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
        elif self._access.allows_other_users and address.private:
            raise AddressError(
                address.text,
                f"no other user can enter {' or '.join(one.folder for one in address.candidates)}: "
                "to let some in, serve at "
                "ipc:///path.sock in a folder that they can enter",
            )

    def _listen(self) -> UnixListener | TcpListener:
        if isinstance(self.address, TcpAddress):
            listener = listen_tcp(self.address, self._allow_remote)
            self.address = listener.address
            return listener
        unix = listen_unix(self.address, 0o666 if self._access.allows_other_users else 0o600)
        self.address = unix.bound
        return unix

    @property
    def url(self) -> str:
        """The address that clients connect to. Port 0 becomes the port in use after `start`."""
        return str(self.address) if isinstance(self.address, TcpAddress) else self.address.text

    def close(self) -> None:
        """Send `closed` to the clients, remove the socket file, end the thread. Idempotent.

        Services are not notified. If a service calls this on the server's own thread, it takes
        effect when that service returns.
        """
        if os.getpid() != self._pid:
            return
        self._closed = True
        if self._finalizer is not None:
            self._finalizer()

    def call_soon(self, function: Callable[[], object]) -> None:
        """Call a function once, soon, on the server's thread. Any thread may ask for it.

        Raises:
            RuntimeError: the server is not running.
        """
        self._check_process()
        if self._loop is None or not self._loop.call_soon(function):
            raise RuntimeError("the control server does not run")

    @property
    def running(self) -> bool:
        """True while clients can connect."""
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
    # The garbage collector can run this on any thread, the loop's own included.
    if thread is not threading.current_thread():
        thread.join(_JOIN_TIMEOUT)
        if thread.is_alive():
            _log.warning("a service keeps the control server from closing; it closes afterwards")
