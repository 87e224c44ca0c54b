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

from shm_echo.control.address import Address, is_unique_name
from shm_echo.control.fork_safety import FORK_LOCK
from shm_echo.control.peer import peer_of
from shm_echo.errors import AddressError, AddressInUseError

__all__ = ["UnixListener", "listen_unix"]

# Seconds. A start holds the lock for less than a millisecond, so a lock that lasts this long is
# another program's.
_LOCK_TIMEOUT = 5.0
# Likewise for a server that runs, whose clients wait meanwhile. A logout has all servers of a user
# listen again at once.
_LOCK_TIMEOUT_AGAIN = 0.05
_LOCK_PAUSE = 0.005


@dataclass
class UnixListener:
    """A listening socket and the identity of its file.

    Attributes:
        sock: the non-blocking socket.
        path: the path of the file.
        device, inode: identify the file, which another program may have replaced.
        address: the address that was asked for.
        mode: the mode of the file.
    """

    sock: socket.socket
    path: str
    device: int
    inode: int
    address: Address
    mode: int

    @property
    def bound(self) -> Address:
        """The address of the file alone: of a bare name, one of the two."""
        return Address(self.address.text, self.path, self.address.private)

    def is_there(self) -> bool:
        """Return True if the file is still this server's, so that clients find it."""
        try:
            status = os.lstat(self.path)
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == (self.device, self.inode)

    def listen_again(self) -> UnixListener:
        """Return a second listener at the address, for a server whose file was removed.

        Raises:
            AddressInUseError: another server has the address now.
            AddressError: the folder is missing or not safe, or is locked.
        """
        return listen_unix(self.address, self.mode, lock_timeout=_LOCK_TIMEOUT_AGAIN)

    def close(self) -> None:
        """Remove the file, if it is still this server's, then stop listening.

        In this order no other server can take the address in between: while this one listens, the
        address is in use.
        """
        with contextlib.suppress(OSError):
            if self.is_there():
                os.unlink(self.path)
        self.sock.close()


def listen_unix(
    address: Address, mode: int = 0o600, lock_timeout: float = _LOCK_TIMEOUT
) -> UnixListener:
    """Listen at an address, replacing the socket of a dead server.

    A bare name is served in the first of its folders that can be used, and is taken if a live
    server has it in any of them.

    Args:
        address: the address of the socket file.
        mode: the file's mode, which decides which users may connect.
        lock_timeout: seconds to wait for other servers that start in the same folders.

    Raises:
        AddressInUseError: a live server has the address.
        AddressError: the folder is missing or not safe, or the path names another kind of file.
    """
    chosen = _prepare_first(address)
    others = [one for one in address.candidates if one is not chosen and _is_safe(one)]
    deadline = time.monotonic() + lock_timeout
    while True:
        # No fork while the folders are locked: the child would share the locks.
        with FORK_LOCK:
            listener = _listen_if_free(address, chosen, others, mode)
        if listener is not None:
            return listener
        if time.monotonic() >= deadline:
            raise AddressError(
                address.text,
                f"another process has kept the folder {chosen.folder} locked for "
                f"{lock_timeout:g} s: choose an address in a folder of your own",
            )
        time.sleep(_LOCK_PAUSE)


def _prepare_first(address: Address) -> Address:
    """Return the first candidate whose folder can be used; of a bare name, it is created.

    Raises:
        AddressError: no folder can be used. The message has the reason of each.
    """
    problems = []
    for candidate in address.candidates:
        try:
            candidate.prepare()
            return candidate
        except AddressError as error:
            problems.append(error.detail)
    raise AddressError(address.text, "; ".join(problems))


def _is_safe(candidate: Address) -> bool:
    """Return True if a server of this user can have its socket there."""
    try:
        candidate.check_folder()
    except AddressError:
        return False
    return candidate.has_place() and os.path.isdir(candidate.folder)


def _listen_if_free(
    address: Address, chosen: Address, others: list[Address], mode: int
) -> UnixListener | None:
    """Try once to listen; None while another process holds the lock of a folder."""
    with contextlib.ExitStack() as locks:
        try:
            # In the order of the candidates, which is the same in every process.
            for candidate in address.candidates:
                if candidate is chosen or candidate in others:
                    _lock(candidate.folder, locks)
            for candidate in (*others, chosen):
                _remove_stale(candidate)
                if candidate.private:
                    _remove_unique(candidate.folder)
            return _listen(address, chosen, mode)
        except BlockingIOError:
            return None
        except OSError as error:
            if isinstance(error, AddressInUseError):
                raise
            raise _listen_error(chosen, error) from None


def _lock(folder: str, locks: contextlib.ExitStack) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    locks.callback(os.close, descriptor)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    # Explicit, because a descriptor that another process inherited would keep the lock.
    locks.callback(fcntl.flock, descriptor, fcntl.LOCK_UN)


def _remove_unique(folder: str) -> None:
    """Remove what killed servers with unique names left: no later one would, as of other names."""
    for file in os.listdir(folder):
        name, suffix = os.path.splitext(file)
        if suffix == ".sock" and is_unique_name(name):
            # In use by a live server, or gone meanwhile; either way not this one's affair.
            with contextlib.suppress(AddressError, AddressInUseError, OSError):
                _remove_stale(Address(name, os.path.join(folder, file), private=True))


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


def _listen(address: Address, chosen: Address, mode: int) -> UnixListener:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        # bind() creates the file with the mode of the socket, less the umask.
        os.fchmod(sock.fileno(), mode)
        sock.bind(chosen.path)
        os.chmod(chosen.path, mode)
        status = os.lstat(chosen.path)
        sock.listen(socket.SOMAXCONN)
    except BaseException:
        sock.close()
        raise
    return UnixListener(sock, chosen.path, status.st_dev, status.st_ino, address, mode)


def _listen_error(address: Address, error: OSError) -> AddressError:
    return AddressError(address.text, f"cannot listen at {address.path}: {error.strerror or error}")
