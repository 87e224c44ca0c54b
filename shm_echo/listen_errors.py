"""The exceptions of a server that cannot listen; `shm_echo.errors` is their public place."""

from __future__ import annotations

from shm_echo.error_base import ShmEchoError

__all__ = ["AddressInUseError", "BindError", "PortInUseError"]

_PUBLIC_PLACE = "shm_echo.errors"  # which tracebacks and pickles name


class AddressInUseError(ShmEchoError, OSError):
    """Another live process serves at this address.

    Attributes:
        address: the socket path.
        pid: the process that serves there, or None where it is not known.
    """

    __module__ = _PUBLIC_PLACE

    _fields: tuple[str, ...] = ("address", "pid")

    def __init__(self, address: str, pid: int | None) -> None:
        server = "another process" if pid is None else f"pid {pid}"
        super().__init__(
            f"{address} is already served by {server}: close that server or choose another name"
        )
        self.address = address
        self.pid = pid


class BindError(ShmEchoError, OSError, RuntimeError):
    """A transport could not listen at its address. `errno` has the reason, if the kernel gave one.

    It is an OSError and a RuntimeError: `echo` raises the latter.

    Attributes:
        address: the host and port that were asked for.
    """

    __module__ = _PUBLIC_PLACE

    _fields: tuple[str, ...] = ("address", "errno")

    def __init__(self, address: str, reason: str, errno: int | None = None) -> None:
        # Not super(), which is AddressInUseError's for the class below.
        OSError.__init__(self, f"failed to start transport: cannot listen at {address}: {reason}")
        self.address, self.errno = address, errno


class PortInUseError(BindError, AddressInUseError):
    """Another socket listens at this port."""

    __module__ = _PUBLIC_PLACE

    _fields = ("address", "errno", "pid")

    def __init__(self, address: str, errno: int) -> None:
        BindError.__init__(
            self,
            address,
            "the port is in use: close its server, choose another port, or port=0 for a free one",
            errno,
        )
        self.pid = None
