"""From a URL to a session: connect to the server, shake hands, give the descriptor to a channel.

`socket` is imported only for addresses that need it; an inherited descriptor (`fd://3`) does not.
"""

from __future__ import annotations

import os
import struct

from shm_echo.control.protocol.handshake import ClientHandshake
from shm_echo.control.protocol.messages import MAX_TOKEN, Welcome
from shm_echo.errors import AddressError, ServerNotFoundError
from shm_echo.mechestim.remote.connection.arena import ClientArena, arena_descriptors
from shm_echo.mechestim.remote.connection.channel import PEER_TIMEOUT_S, Channel
from shm_echo.mechestim.remote.connection.frame_pipe import poller
from shm_echo.mechestim.remote.connection.value_codec import ValueFactories

SERVICE = "mechestim"
TIMEOUT = "MECHESTIM_TIMEOUT"
TOKEN = "MECHESTIM_TOKEN"
TOKEN_FILE = "MECHESTIM_TOKEN_FILE"
SERVER_UID = "MECHESTIM_SERVER_UID"
_SAME_USER = "both must be the same user, or this process must trust that one"
_MAX_TIMEOUT_S = 1e6  # 11 days; far below the largest number that poll() and sockets take


def open_channel(url: str, factories: ValueFactories) -> Channel:
    """Open a session with the server at `url`.

    Args:
        url: `fd://N`, `ipc:///path`, a bare name, or `tcp://host:port`. A port needs the token in
            `MECHESTIM_TOKEN` or in the file `MECHESTIM_TOKEN_FILE`. With `fd://N?arena=I,O`,
            `session_opening.prepare_descriptors` has opened the session already.
        factories: Make the values in the server's replies.

    Raises:
        AddressError: `url` is not an address.
        ServerNotFoundError: No server is at the address.
        HandshakeError: The server refuses the session; the subclass says why.
        ValueError: `MECHESTIM_TIMEOUT`, `MECHESTIM_TOKEN_FILE` or `MECHESTIM_SERVER_UID` has no
            valid value.
    """
    seconds = peer_timeout()
    by_descriptor, by_port = url.startswith("fd://"), url.startswith("tcp://")
    arena = inherited_arena(url) if by_descriptor else None
    secret = token() if by_port else ""
    fd = inherited_descriptor(url) if by_descriptor else connect_socket(url, seconds)
    max_frame = None
    if arena is None:  # otherwise the process that received the arena has shaken hands
        try:
            max_frame = shake_hands(fd, url, secret, seconds).info.get("max_frame")
        except BaseException:
            os.close(fd)
            raise
    return Channel(
        fd,
        url,
        factories,
        seconds,
        has_socket_timeout=not by_descriptor,
        arena=arena,
        may_have_arena=not by_descriptor and not by_port,  # a Unix socket carries descriptors
        max_frame=max_frame if type(max_frame) is int else None,
    )


def peer_timeout() -> float:
    """Return `MECHESTIM_TIMEOUT`: the seconds of silence after which a server counts as gone; 30.

    Raises:
        ValueError: The variable is not a number of seconds from 0.01 to 1,000,000.
    """
    text = os.environ.get(TIMEOUT, "").strip()
    try:
        seconds = float(text) if text else PEER_TIMEOUT_S
    except ValueError:
        seconds = 0.0
    if not 0.01 <= seconds <= _MAX_TIMEOUT_S:  # NaN is not, either
        raise ValueError(f"{TIMEOUT}={text!r}: expected a number of seconds")
    return seconds


def token() -> str:
    """Return the token for a server at a port: `MECHESTIM_TOKEN`, or else that of its file.

    The file may be the server's if it has one token: a name before the token is skipped.

    Raises:
        ValueError: The variable or the file does not hold one valid token.
    """
    secret = os.environ.get(TOKEN, "").strip()
    path = os.environ.get(TOKEN_FILE, "").strip()
    where = TOKEN
    if not secret and path:
        where = f"{TOKEN_FILE}={path!r}"
        try:
            with open(path, encoding="utf-8") as file:
                lines = [line.split() for line in file]
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or "it is not text"
            raise ValueError(f"{where}: cannot be read: {why}") from None
        entries = [words for words in lines if words and not words[0].startswith("#")]
        if len(entries) != 1 or len(entries[0]) > 2:
            raise ValueError(f"{where}: expected one line, with a token, or a name and a token")
        secret = entries[0][-1]
    if not secret.isascii() or not secret.isprintable() or " " in secret or len(secret) > MAX_TOKEN:
        raise ValueError(
            f"{where}: a token has printable ASCII characters, no spaces, and at most {MAX_TOKEN}"
        )
    return secret


def server_uid() -> int | None:
    """Return `MECHESTIM_SERVER_UID`: a user whose server is trusted as if this one ran it.

    Raises:
        ValueError: The variable is not the number of a user.
    """
    text = os.environ.get(SERVER_UID, "").strip()
    if not text:
        return None
    # 2**32 - 1 is (uid_t) -1, which names no user.
    if not (text.isascii() and text.isdecimal() and int(text) < 2**32 - 1):
        raise ValueError(f"{SERVER_UID}={text!r}: expected the number of a user")
    return int(text)


# Device and inode of each inherited connection that a session has used.
_used_connections: set[tuple[int, int]] = set()


def inherited_descriptor(url: str) -> int:
    """Duplicate the descriptor that `fd://N` names, for one session.

    Raises:
        AddressError: `N` is not the number of a descriptor.
        ServerNotFoundError: The descriptor is not open, or its connection has had a session. A
            second session would begin in the middle of the bytes of the first, or of those that a
            parent process still sends.
    """
    text = url[len("fd://") :].partition("?")[0]
    # The length is checked because int() takes long for very many digits.
    is_number = text.isascii() and text.isdecimal() and len(text) <= 10
    fd = int(text) if is_number else -1
    if not 0 <= fd < 2**31:
        raise AddressError(url, "expected fd://N with the number of an inherited descriptor")
    try:
        status = os.fstat(fd)
    except OSError:
        raise ServerNotFoundError(url, f"descriptor {fd} is not open in this process") from None
    connection = status.st_dev, status.st_ino
    if connection in _used_connections:
        why = f"descriptor {fd} carries one session, and that has ended or is the parent process's"
        raise ServerNotFoundError(url, why)
    _used_connections.add(connection)
    return os.dup(fd)


def inherited_arena(url: str) -> ClientArena | None:
    """Map the arena whose descriptors `fd://N?arena=I,O` names; None for `fd://N`.

    Raises:
        AddressError: The URL has another form.
        ServerNotFoundError: The descriptors cannot be mapped.
    """
    fds = arena_descriptors(url)
    if fds is None:
        return None
    try:
        size = min(os.fstat(fd).st_size for fd in fds)
        return ClientArena(os.dup(fds[0]), os.dup(fds[1]), size)
    except (OSError, ValueError, OverflowError) as error:
        raise ServerNotFoundError(url, f"its arena cannot be mapped: {error}") from None


def connect_socket(url: str, seconds: float) -> int:
    """Return a socket that is connected to `url`; its reads and writes give up after `seconds`."""
    import socket

    from shm_echo.control.address import parse_address, parse_tcp
    from shm_echo.control.client.socket_connect import connect_tcp, connect_unix

    endpoint = parse_tcp(url, min_port=1)
    try:
        if endpoint is not None:
            sock = connect_tcp(endpoint, seconds)
        else:
            address = parse_address(url, ("tcp", "fd"))
            sock = connect_unix(address, server_uid(), f"{_SAME_USER} ({SERVER_UID})")
    except ServerNotFoundError as error:
        found = str(error).removeprefix(f"no server at {error.address}: ")
        found += f" (shm-echo serve --url {url} starts one)"
        raise ServerNotFoundError(error.address, found) from None
    sock.setblocking(True)
    timeval = struct.pack("ll", int(seconds), int(seconds % 1 * 1e6))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeval)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeval)
    return sock.detach()


def shake_hands(fd: int, url: str, secret: str = "", seconds: float = PEER_TIMEOUT_S) -> Welcome:
    """Send the hello over a descriptor and return the server's welcome.

    Raises:
        ServerNotFoundError: The server was silent for so many seconds.
        HandshakeError: The server refuses the session; the subclass says why.
    """
    poll_in = poller(fd, "POLLIN")
    handshake = ClientHandshake(url, SERVICE, token=secret)
    data = memoryview(handshake.hello())
    while data:
        try:
            data = data[os.write(fd, data) :]
        except OSError:
            break  # a refusal may have been sent before the hello was read
    while True:
        try:
            # One byte at a time: the bytes after the welcome are the channel's.
            data_in = os.read(fd, 1) if poll_in(seconds * 1e3) else None
        except BlockingIOError:
            data_in = None
        except OSError:
            data_in = b""  # as if the server had closed the connection
        if data_in is None:
            raise ServerNotFoundError(url, "it accepts connections and says nothing")
        welcome = handshake.receive(data_in)
        if welcome is not None:
            return welcome
