"""From a URL to a session: reach the server, shake hands, hand the descriptor to a channel.

``socket`` is imported only for addresses that need it; an inherited descriptor (``fd://3``) does
not.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager

from shm_echo.control.handshake import ClientHandshake
from shm_echo.control.messages import Welcome
from shm_echo.errors import AddressError, ProtocolError, ServerNotFoundError
from shm_echo.mechestim.remote.arena import Arena, given
from shm_echo.mechestim.remote.channel import SILENCE_S, Channel
from shm_echo.mechestim.remote.pipe import Pipe

SERVICE = "mechestim"
TIMEOUT = "MECHESTIM_TIMEOUT"


def dial(url: str) -> Channel:
    """A session with the server at ``url``: ``fd://N``, ``ipc:///path`` or a bare name.

    With ``fd://N?arena=I,O`` the session has been opened by whoever gave the descriptors, see
    :func:`prepared`.

    Raises:
        AddressError: that is no address.
        ServerNotFoundError: nobody serves there.
        HandshakeError: somebody does, and there will be no session; the subclass says why.
        ValueError: ``MECHESTIM_TIMEOUT`` is no time.
    """
    seconds = silence()
    by_descriptor = url.startswith("fd://")
    arena = inherited_arena(url) if by_descriptor else None
    fd = inherited(url) if by_descriptor else connected(url, seconds)
    if arena is None:  # who could give an arena away has shaken hands already
        try:
            shake_hands(fd, url)
        except BaseException:
            os.close(fd)
            raise
    timed = not by_descriptor
    return Channel(fd, url, seconds, timed=timed, arena=arena, may_have_arena=timed)


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


def inherited(url: str) -> int:
    """The descriptor that ``fd://N`` names."""
    text = url[len("fd://") :].partition("?")[0]
    if not text.isdecimal():
        raise AddressError(url, "expected fd://N with the number of an inherited descriptor")
    fd = int(text)
    try:
        os.fstat(fd)
    except OSError:
        raise ServerNotFoundError(url, f"descriptor {fd} is not open in this process") from None
    return os.dup(fd)


def inherited_arena(url: str) -> Arena | None:
    """The arena whose descriptors ``fd://N?arena=I,O`` names, if it names any."""
    found = given(url)
    if found is None:
        return None
    try:
        size = min(os.fstat(fd).st_size for fd in found)
        return Arena(os.dup(found[0]), os.dup(found[1]), size)
    except (OSError, ValueError) as error:
        raise ServerNotFoundError(url, f"its arena cannot be mapped: {error}") from None


def connected(url: str, seconds: float) -> int:
    """A socket that is connected to the server at ``url``; its calls give up after ``seconds``."""
    import socket

    from shm_echo.control.address import parse_address
    from shm_echo.control.dial import dial as dial_line

    line = dial_line(parse_address(url), time.monotonic())
    line.sock.setblocking(True)
    limit = struct.pack("ll", int(seconds), int(seconds % 1 * 1e6))
    line.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
    line.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
    fd = line.sock.detach()
    os.close(line.pidfd)
    line.pidfd = -1
    return fd


def shake_hands(fd: int, url: str) -> Welcome:
    """Hello and welcome, over a descriptor."""
    handshake = ClientHandshake(url, SERVICE)
    data = memoryview(handshake.hello())
    while data:
        try:
            data = data[os.write(fd, data) :]
        except OSError:
            break  # a refusal may have been sent before the hello was read
    while True:
        try:
            came = os.read(fd, 1)
        except BlockingIOError:
            raise ServerNotFoundError(url, "it accepts connections and says nothing") from None
        except OSError:
            came = b""
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
def reading_descriptors(pipe: Pipe) -> Iterator[list[int]]:
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
