"""The socket file of a server: exactly one live server has it, and removes it at the end.

A socket file outlives a killed server, so its presence proves nothing: only a connection attempt
does. Servers that start at one address at the same time take turns by a lock on the folder. The
lock leaves no file behind, and the kernel releases it when its holder dies. Other users never get
access to the file unless that was asked for, not even between two system calls: the mode is set
before the file has a name.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import stat
import time
from dataclasses import dataclass

from shm_echo.control.address import Address
from shm_echo.control.fork_safety import FORK_LOCK
from shm_echo.control.peer import peer_of
from shm_echo.errors import AddressError, AddressInUseError

__all__ = ["UnixListener", "listen_unix"]

# Seconds. A start holds the lock for less than a millisecond, so a lock that lasts this long is
# another program's.
_LOCK_TIMEOUT = 5.0
_LOCK_PAUSE = 0.005


@dataclass
class UnixListener:
    """A listening socket and the identity of its file.

    Attributes:
        sock: the non-blocking socket.
        path: the path of the file.
        device, inode: identify the file, which another server may have replaced.
    """

    sock: socket.socket
    path: str
    device: int
    inode: int

    def close(self) -> None:
        """Remove the file, if it is still this server's, then stop listening.

        In this order no other server can take the address in between: while this one listens, the
        address is in use.
        """
        with contextlib.suppress(OSError):
            status = os.lstat(self.path)
            if (status.st_dev, status.st_ino) == (self.device, self.inode):
                os.unlink(self.path)
        self.sock.close()


def listen_unix(address: Address, mode: int = 0o600) -> UnixListener:
    """Listen at an address, replacing the socket of a dead server.

    Args:
        address: the address of the socket file.
        mode: the file's mode, which decides which users may connect.

    Raises:
        AddressInUseError: a live server has the address.
        AddressError: the folder is missing or not safe, or the path names another kind of file.
    """
    address.prepare()
    deadline = time.monotonic() + _LOCK_TIMEOUT
    while True:
        # No fork while the folder is locked: the child would share the lock.
        with FORK_LOCK:
            listener = _listen_if_free(address, mode)
        if listener is not None:
            return listener
        if time.monotonic() > deadline:
            raise AddressError(
                address.text,
                f"another process has kept the folder {address.folder} locked for "
                f"{_LOCK_TIMEOUT:g} s: choose an address in a folder of your own",
            )
        time.sleep(_LOCK_PAUSE)


def _listen_if_free(address: Address, mode: int) -> UnixListener | None:
    """Try once to listen; None while another process holds the folder's lock."""
    try:
        folder = os.open(address.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise _listen_error(address, error) from None
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            _remove_stale(address)
            return _listen(address, mode)
        finally:
            # Explicit, because a descriptor that another process inherited would keep the lock.
            fcntl.flock(folder, fcntl.LOCK_UN)
    except BlockingIOError:
        return None
    except OSError as error:
        if isinstance(error, AddressInUseError):
            raise
        raise _listen_error(address, error) from None
    finally:
        os.close(folder)


def _remove_stale(address: Address) -> None:
    try:
        status = os.lstat(address.path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(status.st_mode):
        raise AddressError(address.text, f"{address.path} exists and is not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(address.path)
        except ConnectionRefusedError:
            pass
        except (BlockingIOError, PermissionError, ConnectionError) as error:
            # The listener's queue is full, or the listener belongs to another user.
            raise AddressInUseError(address.path, None) from error
        except OSError as error:
            if error.errno != errno.EPROTOTYPE:
                raise
            raise AddressInUseError(address.path, None) from error
        else:
            raise AddressInUseError(address.path, peer_of(probe).pid or None)
    os.unlink(address.path)


def _listen(address: Address, mode: int) -> UnixListener:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        # bind() creates the file with the mode of the socket, less the umask.
        os.fchmod(sock.fileno(), mode)
        sock.bind(address.path)
        os.chmod(address.path, mode)
        status = os.lstat(address.path)
        sock.listen(socket.SOMAXCONN)
    except BaseException:
        sock.close()
        raise
    return UnixListener(sock, address.path, status.st_dev, status.st_ino)


def _listen_error(address: Address, error: OSError) -> AddressError:
    return AddressError(address.text, f"cannot listen at {address.path}: {error.strerror or error}")
