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
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from shm_echo.control.address import Address, parse_address
from shm_echo.control.link import ServerLimits
from shm_echo.control.loop import Loop
from shm_echo.control.service import Service
from shm_echo.control.sessions import Sessions
from shm_echo.control.socketfile import listen_at

__all__ = ["ControlServer", "ServerLimits"]

_log = logging.getLogger("shm_echo.control")

# Only a service method that blocks can keep the thread that long.
_JOIN_PATIENCE = 5.0


class ControlServer:
    """Serves clients of this user at one address, on a thread of its own.

    A forked child inherits no part of it: there the sockets are closed, ``close`` does nothing and
    the other methods raise.
    """

    def __init__(
        self,
        address: str | Address,
        services: Mapping[str, Service],
        limits: ServerLimits | None = None,
    ) -> None:
        """Prepare a server; nothing is opened before ``start``.

        Args:
            address: a name or an ``ipc://`` path, see ``parse_address``.
            services: what is offered, by the name that clients ask for.
            limits: how many clients, and how patient with them.
        """
        self.address = parse_address(address) if isinstance(address, str) else address
        self._limits = limits or ServerLimits()
        self._services = dict(services)
        self._loop: Loop | None = None
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
        loop = Loop(listen_at(self.address), Sessions(self._services, self._limits), self._limits)
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


def _stop(loop: Loop, thread: threading.Thread, pid: int) -> None:
    if os.getpid() != pid:
        return
    loop.stop()
    # The collector can run this anywhere, on the loop's own thread too.
    if thread is not threading.current_thread():
        thread.join(_JOIN_PATIENCE)
        if thread.is_alive():
            _log.warning("a service keeps the control server from closing; it closes afterwards")
