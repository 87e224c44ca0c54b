"""From a URL to a session: reach the server, shake hands, hand the descriptor to a channel.

``socket`` is imported only for addresses that need it; an inherited descriptor (``fd://3``) does
not.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from shm_echo.control.protocol.handshake import ClientHandshake
from shm_echo.control.protocol.messages import MAX_TOKEN, Welcome
from shm_echo.errors import AddressError, ProtocolError, ServerNotFoundError
from shm_echo.mechestim.remote.connection.arena import ClientArena, given
from shm_echo.mechestim.remote.connection.channel import SILENCE_S, Channel
from shm_echo.mechestim.remote.connection.frame_pipe import FramePipe, poller

SERVICE = "mechestim"
TIMEOUT = "MECHESTIM_TIMEOUT"
TOKEN = "MECHESTIM_TOKEN"
TOKEN_FILE = "MECHESTIM_TOKEN_FILE"
SERVER_UID = "MECHESTIM_SERVER_UID"
_SAME_USER = "both must be the same user, or this process must trust that one"


def open_channel(url: str) -> Channel:
    """A session with the server at ``url``.

    That is ``fd://N``, ``ipc:///path``, a bare name, or ``tcp://host:port``, which takes the token
    that ``MECHESTIM_TOKEN`` is or ``MECHESTIM_TOKEN_FILE`` holds. With ``fd://N?arena=I,O`` the
    session has been opened by whoever gave the descriptors, see :func:`prepared`.

    Raises:
        AddressError: that is no address.
        ServerNotFoundError: nobody serves there.
        HandshakeError: somebody does, and there will be no session; the subclass says why.
        ValueError: ``MECHESTIM_TIMEOUT`` is no time, ``MECHESTIM_TOKEN_FILE`` has no token in it,
            or ``MECHESTIM_SERVER_UID`` is no user id.
    """
    seconds = silence()
    by_descriptor, by_port = url.startswith("fd://"), url.startswith("tcp://")
    arena = inherited_arena(url) if by_descriptor else None
    secret = token() if by_port else ""
    fd = inherited(url) if by_descriptor else connected(url, seconds)
    max_frame = None
    if arena is None:  # who could give an arena away has shaken hands already
        try:
            max_frame = shake_hands(fd, url, secret, seconds).info.get("max_frame")
        except BaseException:
            os.close(fd)
            raise
    timed = not by_descriptor
    may_have_arena = timed and not by_port
    return Channel(
        fd,
        url,
        seconds,
        timed=timed,
        arena=arena,
        may_have_arena=may_have_arena,
        max_frame=max_frame if type(max_frame) is int else None,
    )


def silence() -> float:
    """``MECHESTIM_TIMEOUT``: seconds without a word after which a server counts as gone; 30."""
    text = os.environ.get(TIMEOUT, "").strip()
    try:
        seconds = float(text) if text else SILENCE_S
    except ValueError:
        seconds = 0.0
    if not 0.01 <= seconds <= 1e6:
        raise ValueError(f"{TIMEOUT}={text!r}: expected a number of seconds")
    return seconds


def token() -> str:
    """What is shown to a server at a port: ``MECHESTIM_TOKEN``, else what its file holds.

    The file may be the server's, if that has one token: a name before it does not matter.
    """
    given = os.environ.get(TOKEN, "").strip()
    path = os.environ.get(TOKEN_FILE, "").strip()
    where = TOKEN
    if not given and path:
        where = f"{TOKEN_FILE}={path!r}"
        try:
            with open(path, encoding="utf-8") as file:
                lines = [line.split() for line in file]
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or "it is not text"
            raise ValueError(f"{where}: cannot be read: {why}") from None
        found = [words for words in lines if words and not words[0].startswith("#")]
        if len(found) != 1 or len(found[0]) > 2:
            raise ValueError(f"{where}: expected one line, with a token, or a name and a token")
        given = found[0][-1]
    if not given.isascii() or not given.isprintable() or " " in given or len(given) > MAX_TOKEN:
        raise ValueError(
            f"{where}: a token has printable ASCII characters, no spaces, and at most {MAX_TOKEN}"
        )
    return given


def server_uid() -> int | None:
    """``MECHESTIM_SERVER_UID``: another user whose server is trusted, beside this one's."""
    text = os.environ.get(SERVER_UID, "").strip()
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and int(text) < 2**32 - 1):
        raise ValueError(f"{SERVER_UID}={text!r}: expected the number of a user")
    return int(text)


_used: set[tuple[int, int]] = set()  # the connections that have been given to sessions


def inherited(url: str) -> int:
    """A duplicate of the descriptor that ``fd://N`` names, for one session.

    Raises:
        AddressError: it names none.
        ServerNotFoundError: it is not open, or its connection has had a session: a second one would
            begin in the middle of what the first has sent, or a parent process still sends.
    """
    text = url[len("fd://") :].partition("?")[0]
    number = text.isascii() and text.isdecimal() and len(text) <= 10
    fd = int(text) if number else -1
    if not 0 <= fd < 2**31:
        raise AddressError(url, "expected fd://N with the number of an inherited descriptor")
    try:
        status = os.fstat(fd)
    except OSError:
        raise ServerNotFoundError(url, f"descriptor {fd} is not open in this process") from None
    connection = status.st_dev, status.st_ino
    if connection in _used:
        why = f"descriptor {fd} carries one session, and that has ended or is the parent process's"
        raise ServerNotFoundError(url, why)
    _used.add(connection)
    return os.dup(fd)


def inherited_arena(url: str) -> ClientArena | None:
    """The arena whose descriptors ``fd://N?arena=I,O`` names, if it names any."""
    found = given(url)
    if found is None:
        return None
    try:
        size = min(os.fstat(fd).st_size for fd in found)
        return ClientArena(os.dup(found[0]), os.dup(found[1]), size)
    except (OSError, ValueError, OverflowError) as error:
        raise ServerNotFoundError(url, f"its arena cannot be mapped: {error}") from None


def connected(url: str, seconds: float) -> int:
    """A socket that is connected to the server at ``url``; its calls give up after ``seconds``."""
    import socket

    from shm_echo.control.address import parse_address, parse_tcp
    from shm_echo.control.client.socket_connect import connect_tcp, connect_unix

    place = parse_tcp(url, min_port=1)
    if place is not None:
        sock = connect_tcp(place, seconds)
    else:
        address = parse_address(url, ("tcp", "fd"))
        sock = connect_unix(address, server_uid(), f"{_SAME_USER} ({SERVER_UID})")
    sock.setblocking(True)
    limit = struct.pack("ll", int(seconds), int(seconds % 1 * 1e6))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
    return sock.detach()


def shake_hands(fd: int, url: str, secret: str = "", seconds: float = SILENCE_S) -> Welcome:
    """Hello and welcome, over a descriptor; ``seconds`` of silence are too many."""
    answered = poller(fd, "POLLIN")
    handshake = ClientHandshake(url, SERVICE, token=secret)
    data = memoryview(handshake.hello())
    while data:
        try:
            data = data[os.write(fd, data) :]
        except OSError:
            break  # a refusal may have been sent before the hello was read
    while True:
        try:
            came = os.read(fd, 1) if answered(seconds * 1e3) else None
        except BlockingIOError:
            came = None
        except OSError:
            came = b""
        if came is None:
            raise ServerNotFoundError(url, "it accepts connections and says nothing")
        welcome = handshake.receive(came)
        if welcome is not None:
            return welcome


def prepared(fd: int) -> tuple[int, int]:
    """Open a session for a program that will inherit it, and that cannot receive descriptors.

    Args:
        fd: the client's end of a Unix socket that a service has adopted; it stays the caller's.

    Returns:
        The descriptors of the session's arena, which are the caller's: what the program is to be
        given as ``fd://N?arena=I,O``.
    """
    address = f"fd://{fd}"
    shake_hands(fd, address)
    channel = Channel(os.dup(fd), address)
    try:
        _, fds = channel.request_descriptors("arena.open")
    finally:
        channel.close()
    if len(fds) != 2:
        raise ProtocolError(f"{address} gave {len(fds)} descriptors for an arena, not 2")
    return fds[0], fds[1]


@contextmanager
def reading_descriptors(pipe: FramePipe) -> Iterator[list[int]]:
    """Inside, descriptors that come over ``pipe``, a Unix socket, are put into the list."""
    import array
    import socket

    fds: list[int] = []
    with socket.socket(fileno=os.dup(pipe.fd)) as sock:
        space = socket.CMSG_SPACE(8 * array.array("i").itemsize)

        def read(fd: int, size: int) -> bytes:
            data, ancillary, _, _ = sock.recvmsg(size, space, socket.MSG_CMSG_CLOEXEC)
            for level, kind, content in ancillary:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    came = array.array("i")
                    came.frombytes(content[: len(content) - len(content) % came.itemsize])
                    fds.extend(came)
            return data

        pipe.read = read
        try:
            yield fds
        finally:
            pipe.read = os.read
            os.set_blocking(pipe.fd, True)  # a default time-out of sockets has changed that
