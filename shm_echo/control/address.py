"""Addresses: turns the text that a user writes into the path of a Unix socket, or a host and port.

A bare name is a socket in a folder that only this user can enter; `ipc://` gives the path itself;
`tcp://` gives a host and a port, where clients have to show a token.

A bare name means the same for all processes of a user, in a login shell, under cron, sudo or
docker exec. So it depends on the user alone, never on XDG_RUNTIME_DIR or TMPDIR: it stands for two
paths, of which a server takes the first that it can use, and a client tries both. Only
SHM_ECHO_RUNTIME_DIR, for programs that need another folder, replaces both.

Parsing reads that variable, and nothing else. `Address.prepare` creates and checks a folder.
Nothing here connects or listens.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass

from shm_echo.errors import AddressError

__all__ = [
    "MAX_PATH_BYTES",
    "RUNTIME_DIR_VARIABLE",
    "Address",
    "TcpAddress",
    "is_unique_name",
    "parse_address",
    "parse_listen_address",
    "parse_tcp",
    "unique_name",
]

# sockaddr_un.sun_path has 108 bytes, the last one for a NUL.
MAX_PATH_BYTES = 107

RUNTIME_DIR_VARIABLE = "SHM_ECHO_RUNTIME_DIR"
# Made for a user by the login manager, removed with the last login.
_RUN_USER = "/run/user"
# P_tmpdir of <stdio.h>, in glibc and musl alike: the temporary folder that no variable moves.
_TEMPORARY = "/tmp"

_UNIQUE_NAME = re.compile(r"ring-[0-9a-f]{16}")
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HOST = re.compile(r"\[([0-9A-Fa-f:.]+(?:%[\w.-]+)?)\]|([A-Za-z0-9._-]{1,253})")
_HOST_AND_PORT = re.compile(rf"(?:{_HOST.pattern}):[0-9]{{1,5}}")
_UNIX_FORMS = ("a name (letters, digits, '.', '_', '-'; at most 64)", "ipc:///absolute/path.sock")
# These forms are valid for some callers only, which name them in `other_schemes`.
_OTHER_FORMS = {"tcp": "tcp://HOST:PORT", "fd": "fd://N"}
_HINTS = {
    "tcp": "tcp:// does not reach this service, which is offered at Unix sockets of this host only "
    "(samples go over TCP by TcpTransport and TcpClient)",
    "fd": "fd:// is for mechestim clients, which inherit a connected descriptor",
}
_TCP_FORM = "expected tcp://HOST:PORT, such as tcp://127.0.0.1:5000"


@dataclass(frozen=True)
class Address:
    """The address of a Unix socket.

    Attributes:
        text: the address as the user wrote it.
        path: the socket's absolute path; of a bare name, the first one.
        private: True if the socket lies in a runtime folder of this user, which `prepare` creates.
        parent: the folder above the runtime folder, if that must be this user's too.
        fallback: the second address of a bare name.
    """

    text: str
    path: str
    private: bool
    parent: str | None = None
    fallback: Address | None = None

    def __str__(self) -> str:
        return " or ".join(one.path for one in self.candidates)

    @property
    def folder(self) -> str:
        return os.path.dirname(self.path)

    @property
    def candidates(self) -> tuple[Address, ...]:
        """The addresses that this one stands for, in the order in which they are tried."""
        return (self,) if self.fallback is None else (self, self.fallback)

    def prepare(self) -> None:
        """Create the private folder, or check that the folder of an `ipc://` path exists.

        Raises:
            AddressError: the folder is missing, cannot be created, or is open to other users.
        """
        if self.private:
            if not self.has_place():
                raise AddressError(self.text, f"{self.parent} is not a folder of this user alone")
            try:
                os.mkdir(self.folder, 0o700)
            except FileExistsError:
                pass
            except OSError as error:
                raise AddressError(
                    self.text, f"cannot create the folder {self.folder}: {error.strerror}"
                ) from None
            self.check_folder()
        elif not os.path.isdir(self.folder):
            raise AddressError(self.text, f"the folder {self.folder} does not exist")

    def has_place(self) -> bool:
        """Return True if the private folder may be used, or made, where it lies.

        /run/user/UID is there while the user is logged in. Without a login it is missing, and in a
        container it can be another user's.
        """
        if self.parent is None:
            return True
        try:
            status = os.lstat(self.parent)
        except OSError:
            return False
        return (
            stat.S_ISDIR(status.st_mode)
            and status.st_uid == os.geteuid()
            and stat.S_IMODE(status.st_mode) & 0o077 == 0
        )

    def check_folder(self) -> None:
        """Check that no other user can put a socket into the private folder.

        A missing folder passes: then there is no server either.

        Raises:
            AddressError: the folder is a symbolic link, belongs to another user, or is open to
                other users.
        """
        if not self.private:
            return
        try:
            status = os.lstat(self.folder)
        except FileNotFoundError:
            return
        except OSError as error:
            raise AddressError(
                self.text, f"cannot examine {self.folder}: {error.strerror}"
            ) from None
        advice = "remove it or repair it"
        if status.st_uid != os.geteuid():
            problem = f"belongs to user {status.st_uid}, not to user {os.geteuid()}"
            advice = (
                "have it removed by that user or the administrator, or set "
                f"{RUNTIME_DIR_VARIABLE} to a folder of your own, for all programs that use this "
                "name"
            )
        elif stat.S_ISLNK(status.st_mode):
            problem = "is a symbolic link"
        elif not stat.S_ISDIR(status.st_mode):
            problem = "is not a folder"
        elif status.st_mode & 0o077:
            problem = f"is open to other users (mode {stat.S_IMODE(status.st_mode):04o}, not 0700)"
        else:
            return
        raise AddressError(self.text, f"the folder {self.folder} {problem}: {advice}")


@dataclass(frozen=True)
class TcpAddress:
    """The address of a TCP port, whose clients have to show a token.

    Attributes:
        text: the address as the user wrote it.
        host: a name or an IP address, without brackets.
        port: the port; 0 stands for one that is free.
    """

    text: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"tcp://{host}:{self.port}"


def parse_tcp(text: str, min_port: int = 0) -> TcpAddress | None:
    """Turn `tcp://host:port` into a `TcpAddress`; return None for every other scheme.

    Args:
        text: the address.
        min_port: 1 for a client, which must name the port; 0, which stands for a port that is
            free, is for a server.

    Raises:
        AddressError: the host or the port is missing or malformed.

    Example:
        >>> parse_tcp("tcp://[::1]:5000").host
        '::1'
        >>> parse_tcp("ipc:///run/my.sock") is None
        True
    """
    scheme, separator, rest = text.partition("://")
    if not separator or scheme != "tcp":
        return None
    host, colon, port = rest.rpartition(":")
    if not colon or "]" in port:
        raise AddressError(text, f"there is no port: {_TCP_FORM}")
    number = int(port) if port.isascii() and port.isdecimal() and len(port) <= 5 else -1
    if not min_port <= number <= 65535:
        free = "" if min_port else " (0: one that is free)"
        raise AddressError(text, f"port {port!r} is not a number from {min_port} to 65535{free}")
    match = _HOST.fullmatch(host)
    if match is None:
        if not host:
            problem = "there is no host"
        elif ":" in host:
            problem = f"host {host!r} is not an IPv6 address in brackets, such as [::1]"
        else:
            problem = f"host {host!r} is not a name or an IP address"
        raise AddressError(text, f"{problem}: {_TCP_FORM}")
    return TcpAddress(text, match[1] or match[2], number)


def parse_listen_address(text: str) -> Address | TcpAddress:
    """Turn the address that a server listens at into its parts: a name, `ipc://` or `tcp://`.

    Raises:
        AddressError: the text is none of these.
    """
    return parse_tcp(text) or parse_address(text, ("tcp",))


def unique_name() -> str:
    """Return a bare name that no other server has."""
    # The kernel's randomness, which forked processes do not share. Not `secrets`: it imports
    # hashlib and hmac, and clients import this module.
    return f"ring-{os.urandom(8).hex()}"


def is_unique_name(name: str) -> bool:
    """Return True if a name may be one of `unique_name`: no later server will take it."""
    return _UNIQUE_NAME.fullmatch(name) is not None


def parse_address(text: str, other_schemes: Sequence[str] = ()) -> Address:
    """Turn a bare name or `ipc:///path.sock` into an `Address`.

    Args:
        text: the address.
        other_schemes: schemes that the caller parses itself; error messages list them, too.

    Raises:
        AddressError: the text is not an address, or has a scheme that is not parsed here.

    Example:
        >>> parse_address("ipc:///run/my.sock").path
        '/run/my.sock'
    """
    if not isinstance(text, str):
        raise AddressError(str(text), f"expected text, got {type(text).__name__}")
    forms = [*_UNIX_FORMS, *(_OTHER_FORMS[scheme] for scheme in other_schemes)]
    advice = f"use {', '.join(forms[:-1])} or {forms[-1]}"
    scheme, separator, rest = text.partition("://")
    if not text.strip():
        raise AddressError(text, f"it is empty: {advice}")
    if not separator:
        if text.startswith("/"):
            raise AddressError(text, f"a path is written ipc://{text}")
        if _HOST_AND_PORT.fullmatch(text):
            port = (
                f"a port is written tcp://{text}"
                if "tcp" in other_schemes
                else "a host and a port are for TcpTransport and TcpClient"
            )
            raise AddressError(text, f"{port}: {advice}")
        if not _NAME.fullmatch(text):
            raise AddressError(text, f"not a name: {advice}")
        return _resolve_name(text)
    if scheme == "ipc":
        return _check_length(Address(text, _ipc_path(text, rest), False))
    raise AddressError(text, f"{_HINTS.get(scheme, f'unknown scheme {scheme!r}')}: {advice}")


def _ipc_path(text: str, path: str) -> str:
    if not path.startswith("/"):
        raise AddressError(text, "an ipc:// path must be absolute: ipc:///run/user/1000/x.sock")
    if "\0" in path:
        raise AddressError(text, "a path cannot contain a NUL character")
    if not os.path.basename(path):
        raise AddressError(text, "the path names a folder, not a socket")
    return path


def _check_length(address: Address) -> Address:
    try:
        length = len(os.fsencode(address.path))
    except UnicodeEncodeError:
        raise AddressError(address.text, "the path cannot be encoded as a file name") from None
    if length > MAX_PATH_BYTES:
        raise AddressError(
            address.text,
            f"the socket path {address.path} has {length} bytes, and the kernel takes at most "
            f"{MAX_PATH_BYTES}: choose a shorter one",
        )
    return address


def _resolve_name(name: str) -> Address:
    """Return the address of a bare name: the two paths that it stands for."""
    folder = os.environ.get(RUNTIME_DIR_VARIABLE, "")
    if folder:
        if not os.path.isabs(folder):
            raise AddressError(
                name, f"{RUNTIME_DIR_VARIABLE} must be an absolute path, not {folder!r}"
            )
        return _check_length(Address(name, os.path.join(folder, f"{name}.sock"), True))
    uid = os.geteuid()
    fallback = Address(name, f"{_TEMPORARY}/shm-echo-{uid}/{name}.sock", True)
    parent = f"{_RUN_USER}/{uid}"
    first = Address(name, f"{parent}/shm-echo/{name}.sock", True, parent, _check_length(fallback))
    return _check_length(first)
