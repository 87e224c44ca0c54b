"""Messages between two frames are sent whole or not at all, at any fill level of the socket."""

from __future__ import annotations

import contextlib
import random
import select
import socket
import threading

import pytest

from shm_echo.mechestim.service.metering.stats_page import StatsPage
from shm_echo.mechestim.service.session.frame_stream import send_between_frames
from tests.support.waiting import WATCHDOG


def connected(family: int) -> tuple[socket.socket, socket.socket]:
    if family == socket.AF_UNIX:
        return socket.socketpair()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        ours = socket.create_connection(listening.getsockname())
        return ours, listening.accept()[0]


@pytest.mark.parametrize("family", [socket.AF_UNIX, socket.AF_INET], ids=["unix", "tcp"])
def test_a_client_that_reads_little_gets_whole_messages(family: int) -> None:
    chance = random.Random(1)
    stats, lock = StatsPage(), threading.Lock()
    ours, theirs = connected(family)
    came = bytearray()
    sent: list[bytes] = []
    with ours, theirs:
        while len(came) < 6_000_000:
            payload = bytes([len(sent) % 251]) * chance.randint(10, 520)
            while send_between_frames(ours, payload, stats, lock):
                sent.append(payload)
                payload = bytes([len(sent) % 251]) * chance.randint(10, 520)
            # Either bytes are readable, or there is room again.
            assert any(select.select([theirs], [ours], [], WATCHDOG))
            with contextlib.suppress(BlockingIOError):
                came += theirs.recv(chance.randint(1, 200_000), socket.MSG_DONTWAIT)
        ours.shutdown(socket.SHUT_WR)
        while data := theirs.recv(1 << 20):
            came += data
    assert len(sent) > 100
    assert bytes(came) == b"".join(len(one).to_bytes(4, "little") + one for one in sent)
