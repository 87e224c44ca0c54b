"""Opening a session: the connection is given the classes of values that upper rooms define."""

from __future__ import annotations

import os

from shm_echo.errors import ProtocolError
from shm_echo.mechestim.remote.arrays.array import RemoteArray, RemoteScalar, make_scalar
from shm_echo.mechestim.remote.arrays.array_results import make_array
from shm_echo.mechestim.remote.connection.channel import Channel
from shm_echo.mechestim.remote.connection.connect import open_channel, shake_hands
from shm_echo.mechestim.remote.connection.records import RemoteObject
from shm_echo.mechestim.remote.connection.value_codec import ValueFactories


def _object_class(name: str) -> type[RemoteObject]:
    # Imported when the first such object arrives: most programs receive none.
    from shm_echo.mechestim.remote.api import callbacks, random

    classes = (*random.CLASSES, *callbacks.CLASSES)
    return next((cls for cls in classes if cls.__name__ == name), RemoteObject)


FACTORIES = ValueFactories(
    array_class=RemoteArray,
    prepacked_classes=frozenset({RemoteArray, RemoteScalar}),
    make_array=make_array,
    make_scalar=make_scalar,
    object_class=_object_class,
)


def open_session(url: str) -> Channel:
    """Open a session with the server at `url`: see `connect.open_channel`."""
    return open_channel(url, FACTORIES)


def prepare_descriptors(fd: int) -> tuple[int, int]:
    """Open a session for a program that will inherit it, and that cannot receive descriptors.

    Args:
        fd: The client's end of a Unix socket that a service has adopted; the caller closes it.

    Returns:
        The descriptors of the session's arena, which the caller closes: the program connects to
        `fd://N?arena=I,O`.

    Raises:
        ProtocolError: The server did not send the two descriptors.
    """
    address = f"fd://{fd}"
    shake_hands(fd, address)
    channel = Channel(os.dup(fd), address, FACTORIES)
    try:
        _, fds = channel.request_descriptors("arena.open")
    finally:
        channel.close()
    if len(fds) != 2:
        raise ProtocolError(f"{address} gave {len(fds)} descriptors for an arena, not 2")
    return fds[0], fds[1]
