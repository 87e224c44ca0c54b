"""Addresses: the text that a user writes, turned into the path of a Unix socket, or host and port.

A bare name lives in a folder that only this user can enter; ``ipc://`` names a path outright;
``tcp://`` names a host and a port, where everybody has to show a token. Parsing reads the
environment and nothing else; ``prepare`` makes and checks the folder. Whether anybody serves at an
address is for ``connection``, ``socketfile`` and ``tcp`` to find out.
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
    "Address",
    "TcpAddress",
    "parse_address",
    "parse_place",
    "parse_tcp",
]

# sockaddr_un.sun_path has 108 bytes, the last one for a NUL.
MAX_PATH_BYTES = 107

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HOST = re.compile(r"\[([0-9A-Fa-f:.]+(?:%[\w.-]+)?)\]|([A-Za-z0-9._-]{1,253})")
_FORMS = ("a name (letters, digits, '.', '_', '-'; at most 64)", "ipc:///absolute/path.sock")
_MORE_FORMS = {"tcp": "tcp://HOST:PORT", "fd": "fd://N"}  # of some services, some clients
_ELSEWHERE = {
    "tcp": "tcp:// does not reach this service, which is offered at Unix sockets of this host only",
    "fd": "fd:// is for mechestim clients, which inherit a connected descriptor",
}
_TCP_FORM = "expected tcp://HOST:PORT, such as tcp://127.0.0.1:5000"


@dataclass(frozen=True)
class Address:
    """Where a server listens.

    Attributes:
        text: the address as the user wrote it.
        path: the socket's absolute path.
        private: the socket lies in this user's runtime folder, which ``prepare`` makes.
    """

    text: str
    path: str
    private: bool

    def __str__(self) -> str:
        return self.path

    @property
    def folder(self) -> str:
        return os.path.dirname(self.path)

    def prepare(self) -> None:
        """Make the private folder, or see that the folder of an ``ipc://`` path exists.

        Raises:
            AddressError: the folder is missing, or not ours alone.
        """
        if self.private:
            try:
                os.mkdir(self.folder, 0o700)
            except FileExistsError:
                pass
            except OSError as error:
                raise AddressError(
                    self.text, f"cannot make the folder {self.folder}: {error.strerror}"
                ) from None
            self.check_folder()
        elif not os.path.isdir(self.folder):
            raise AddressError(self.text, f"the folder {self.folder} does not exist")

    def check_folder(self) -> None:
        """See that nobody else can put a socket into the private folder.

        A missing folder is fine here: then there is no server either.

        Raises:
            AddressError: the folder is a symbolic link, someone else's, or open to others.
        """
        if not self.private:
            return
        try:
            found = os.lstat(self.folder)
        except FileNotFoundError:
            return
        except OSError as error:
            raise AddressError(
                self.text, f"cannot look at {self.folder}: {error.strerror}"
            ) from None
        if stat.S_ISLNK(found.st_mode):
            problem = "is a symbolic link"
        elif not stat.S_ISDIR(found.st_mode):
            problem = "is not a folder"
        elif found.st_uid != os.geteuid():
            problem = f"belongs to user {found.st_uid}, not to user {os.geteuid()}"
        elif found.st_mode & 0o077:
            problem = f"is open to other users (mode {stat.S_IMODE(found.st_mode):04o}, not 0700)"
        else:
            return
        raise AddressError(self.text, f"the folder {self.folder} {problem}: remove it or repair it")


@dataclass(frozen=True)
class TcpAddress:
    """Where a server listens for holders of a token.

    Attributes:
        text: the address as the user wrote it.
        host: a name or a number, without brackets.
        port: 0 stands for any that is free.
    """

    text: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"tcp://{host}:{self.port}"


def parse_tcp(text: str, least_port: int = 0) -> TcpAddress | None:
    """Turn ``"tcp://host:port"`` into a :class:`TcpAddress`; None for every other scheme.

    Args:
        text: the address.
        least_port: 1 for who must know the port: 0 stands for any that is free.

    Raises:
        AddressError: it names no host, or no port.
    """
    scheme, separator, rest = text.partition("://")
    if not separator or scheme != "tcp":
        return None
    host, colon, port = rest.rpartition(":")
    if not colon or "]" in port:
        raise AddressError(text, f"there is no port: {_TCP_FORM}")
    number = int(port) if port.isascii() and port.isdecimal() and len(port) <= 5 else -1
    if not least_port <= number <= 65535:
        free = "" if least_port else " (0: one that is free)"
        raise AddressError(text, f"port {port!r} is not a number from {least_port} to 65535{free}")
    found = _HOST.fullmatch(host)
    if found is None:
        if not host:
            problem = "there is no host"
        elif ":" in host:
            problem = f"host {host!r} is not an IPv6 address in brackets, such as [::1]"
        else:
            problem = f"host {host!r} is not a name or an IP address"
        raise AddressError(text, f"{problem}: {_TCP_FORM}")
    return TcpAddress(text, found[1] or found[2], number)


def parse_place(text: str) -> Address | TcpAddress:
    """What a server can listen at: a name, ``ipc://`` or ``tcp://``.

    Raises:
        AddressError: it is nothing of these.
    """
    return parse_tcp(text) or parse_address(text, ("tcp",))


def parse_address(text: str, also: Sequence[str] = ()) -> Address:
    """Turn ``"name"`` or ``"ipc:///path.sock"`` into an :class:`Address`.

    Args:
        text: the address.
        also: the other schemes that the caller knows, for the message.

    Raises:
        AddressError: the text is not an address, or names a transport that is not offered here.
    """
    if not isinstance(text, str):
        raise AddressError(str(text), f"expected text, got {type(text).__name__}")
    forms = [*_FORMS, *(_MORE_FORMS[scheme] for scheme in also)]
    use = f"use {', '.join(forms[:-1])} or {forms[-1]}"
    scheme, separator, rest = text.partition("://")
    if not text.strip():
        raise AddressError(text, f"it is empty: {use}")
    if not separator:
        if text.startswith("/"):
            raise AddressError(text, f"a path is written ipc://{text}")
        if not _NAME.fullmatch(text):
            raise AddressError(text, f"not a name: {use}")
        return _checked(Address(text, os.path.join(_runtime_folder(), f"{text}.sock"), True))
    if scheme == "ipc":
        return _checked(Address(text, _ipc_path(text, rest), False))
    raise AddressError(text, f"{_ELSEWHERE.get(scheme, f'unknown scheme {scheme!r}')}: {use}")


def _ipc_path(text: str, path: str) -> str:
    if not path.startswith("/"):
        raise AddressError(text, "an ipc:// path must be absolute: ipc:///run/user/1000/x.sock")
    if "\0" in path:
        raise AddressError(text, "a path cannot contain a NUL character")
    if not os.path.basename(path):
        raise AddressError(text, "the path names a folder, not a socket")
    return path


def _checked(address: Address) -> Address:
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


def _runtime_folder() -> str:
    """The folder of this user's sockets. It may not exist yet."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(runtime):
        try:
            found = os.stat(runtime)
        except (OSError, ValueError):
            pass
        else:
            # After su or sudo the variable can still name the folder of the user before.
            if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid():
                return os.path.join(runtime, "shm-echo")
    # Imported here because it loads a dozen modules that a client does not need otherwise.
    import tempfile

    return os.path.join(tempfile.gettempdir(), f"shm-echo-{os.geteuid()}")
