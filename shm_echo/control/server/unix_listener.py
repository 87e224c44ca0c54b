"""The socket file of a server: made so that exactly one live server has it, removed by its owner.

A socket file outlives a killed server, so a file says nothing: whether anybody answers does.
Starters of one address take turns by a lock on the folder, which leaves no file behind and which
the kernel lets go of when its holder dies. The file is never open to other users unless that was
asked for, not even between two system calls: its mode is set before it has a name.
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

# Starting takes well under a millisecond, so nobody holds the folder this long.
_LOCK_PATIENCE = 5.0
_LOCK_PAUSE = 0.005


@dataclass
class UnixListener:
    """A listening socket and the identity of its file."""

    sock: socket.socket
    path: str
    device: int
    inode: int

    def close(self) -> None:
        """Remove the file, if it is still ours, then stop listening.

        In this order nobody can take the address in between: as long as we listen it is in use.
        """
        with contextlib.suppress(OSError):
            found = os.lstat(self.path)
            if (found.st_dev, found.st_ino) == (self.device, self.inode):
                os.unlink(self.path)
        self.sock.close()


def listen_unix(address: Address, mode: int = 0o600) -> UnixListener:
    """Listen at an address, replacing the socket of a dead server.

    Args:
        address: where.
        mode: of the file: who may connect, as far as the file system decides it.

    Raises:
        AddressInUseError: somebody serves there.
        AddressError: the folder is missing or not safe, or something else has that name.
    """
    address.prepare()
    deadline = time.monotonic() + _LOCK_PATIENCE
    while True:
        # No fork while the lock is held: the child would hold it too.
        with FORK_LOCK:
            listening = _listen_if_free(address, mode)
        if listening is not None:
            return listening
        if time.monotonic() > deadline:
            raise AddressError(
                address.text,
                f"another process has kept the folder {address.folder} locked for "
                f"{_LOCK_PATIENCE:g} s: choose an address in a folder of your own",
            )
        time.sleep(_LOCK_PAUSE)


def _listen_if_free(address: Address, mode: int) -> UnixListener | None:
    """One attempt; None while another starter is at work in this folder."""
    try:
        folder = os.open(address.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise _unusable(address, error) from None
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            _remove_stale(address)
            return _listen(address, mode)
        finally:
            # Explicit, because a descriptor that somebody else inherited would keep the lock.
            fcntl.flock(folder, fcntl.LOCK_UN)
    except BlockingIOError:
        return None
    except OSError as error:
        if isinstance(error, AddressInUseError):
            raise
        raise _unusable(address, error) from None
    finally:
        os.close(folder)


def _remove_stale(address: Address) -> None:
    try:
        found = os.lstat(address.path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise AddressError(address.text, f"{address.path} exists and is not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(address.path)
        except ConnectionRefusedError:
            pass
        except (BlockingIOError, PermissionError, ConnectionError) as error:
            # Its queue is full, or it is another user's.
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
        # The file takes its mode from the socket, less the umask, at the moment of its birth.
        os.fchmod(sock.fileno(), mode)
        sock.bind(address.path)
        os.chmod(address.path, mode)
        found = os.lstat(address.path)
        sock.listen(socket.SOMAXCONN)
    except BaseException:
        sock.close()
        raise
    return UnixListener(sock, address.path, found.st_dev, found.st_ino)


def _unusable(address: Address, error: OSError) -> AddressError:
    return AddressError(address.text, f"cannot listen at {address.path}: {error.strerror or error}")
