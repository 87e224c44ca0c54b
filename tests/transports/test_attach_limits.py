"""Rare cases of an attach: equal examples of other types, other sockets, no descriptors.

The common failures are in `test_attach`, malformed answers of a server in `test_strange_servers`.
"""

from __future__ import annotations

import logging
import os
import resource
import socket
import threading
from collections import OrderedDict, namedtuple
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shm_echo import Server, ShmClient, ShmTransport, SpecMismatchError
from shm_echo.control.client.client_connection import connect
from shm_echo.errors import (
    AddressError,
    DescriptorLimitError,
    HandshakeError,
    HandshakeTimeoutError,
    ProtocolError,
    ServerNotFoundError,
)
from tests.support.leftovers import limit_for_more_descriptors
from tests.support.waiting import WATCHDOG, wait_until

pytestmark = pytest.mark.usefixtures("no_descriptor_is_left")

SHORTAGES = ("descriptor", "server's log", "Too many open files", "does not answer")

Pair = namedtuple("Pair", ["a", "b"])

EXAMPLE: dict[str, Any] = {
    "obs": {"pos": np.zeros(4, np.float32)},
    "action": [np.zeros(2, np.int32), np.int64(0)],
    "pair": Pair(np.float32(0), np.zeros(3, ">i4")),
}


def test_equivalent_examples_attach(name: str) -> None:
    same = OrderedDict(reversed(EXAMPLE.items()))
    with Server(EXAMPLE, 2, ShmTransport(name)) as server, ShmClient(name, same):
        assert len(server.producers()) == 1


@pytest.mark.parametrize(
    ("key", "value", "path", "words"),
    [
        ("action", (np.zeros(2, np.int32), np.int64(0)), "['action']", "expected a list"),
        ("action", [np.zeros(2, np.int32)], "['action']", "expected a list"),
        ("action", [np.zeros(2, np.float32), np.int64(0)], "['action'][0]", "expected int32 (2,)"),
        ("pair", (np.float32(0), np.zeros(3, ">i4")), "['pair']", "Pair"),
        ("pair", Pair(np.float32(0), np.zeros(3, "<i4")), "['pair'].b", "expected >i4 (3,)"),
    ],
    ids=["tuple for list", "shorter list", "equal item size", "tuple for namedtuple", "byte order"],
)
def test_a_difference_deep_in_the_tree_is_named_by_its_path(
    name: str, key: str, value: Any, path: str, words: str
) -> None:
    with Server(EXAMPLE, 2, ShmTransport(name)) as server:
        with pytest.raises(SpecMismatchError) as refused:
            ShmClient(name, {**EXAMPLE, key: value})
        assert server.producers() == []
    assert refused.value.path == path
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("expects", "words"),
    [
        ({"w": np.zeros(3)}, r"expected float64 \(2,\), got float64 \(3,\)"),
        ({"v": np.zeros(2)}, "without this key"),
    ],
)
def test_published_examples_are_compared_like_samples(
    name: str, expects: dict[str, Any], words: str
) -> None:
    with Server(EXAMPLE, 2, ShmTransport(name), publishes={"w": np.zeros(2)}) as server:
        with pytest.raises(SpecMismatchError, match=words) as refused:
            ShmClient(name, EXAMPLE, publishes=expects)
        assert refused.value.path == "['w']"
        assert server.producers() == []


def test_the_socket_of_a_dead_server_is_no_server(folder: Path) -> None:
    path = folder / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
    with pytest.raises(ServerNotFoundError, match="has ended and left the socket behind"):
        ShmClient(f"ipc://{path}", EXAMPLE)


def test_a_socket_of_another_kind_is_named(folder: Path) -> None:
    path = folder / "s"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(str(path))
        with pytest.raises(ProtocolError, match="it is a socket of another kind"):
            ShmClient(f"ipc://{path}", EXAMPLE)


def test_attaching_to_a_silent_listener_times_out(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "shm_echo.transports.attach.connect", partial(connect, handshake_timeout=0.1)
    )
    path = folder / "s"
    done = threading.Event()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def take_one() -> None:
            with listener.accept()[0]:
                done.wait(WATCHDOG)

        thread = threading.Thread(target=take_one)
        thread.start()
        with pytest.raises(HandshakeTimeoutError, match=f"^{path}: the server is there"):
            ShmClient(f"ipc://{path}", EXAMPLE)
        done.set()
        thread.join()


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("two words", "not a name"),
        ("ipc://relative.sock", "must be absolute"),
        ("tcp://localhost:7", "does not reach this service.*TcpTransport and TcpClient"),
        (f"ipc:///tmp/{'x' * 120}", "the kernel takes at most 107"),
    ],
)
def test_an_unusable_address_is_explained_on_both_sides(address: str, words: str) -> None:
    with pytest.raises(AddressError, match=words) as error:
        ShmClient(address, EXAMPLE)
    assert error.value.address == address
    with pytest.raises(AddressError, match=words):
        ShmTransport(address)


@pytest.mark.parametrize("timeout", [-1.0, float("nan"), "soon"])
def test_an_invalid_connect_timeout_is_rejected(name: str, timeout: Any) -> None:
    with pytest.raises((ValueError, TypeError), match="timeout"):
        ShmClient(name, EXAMPLE, connect_timeout=timeout)


def test_with_too_few_descriptors_an_attach_fails_clearly_at_every_point(name: str) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with Server(EXAMPLE, 2, ShmTransport(name)) as server:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit_for_more_descriptors(24), hard))
        logging.disable(logging.CRITICAL)  # the log's tracebacks would hold what went wrong
        hogs: list[int] = []
        failures = 0
        try:
            with pytest.raises(OSError, match="Too many open files"):
                while True:
                    hogs.append(os.open("/dev/null", os.O_RDONLY))
            while True:  # with one descriptor more each time
                try:
                    ShmClient(name, EXAMPLE).close()
                    break
                # What is short on the server's side (here the same process) is told by its log, and
                # the client may have taken the very descriptor by which the server would refuse it.
                except (DescriptorLimitError, HandshakeError) as error:
                    words = str(error)
                failures += 1
                assert any(word in words for word in SHORTAGES), words
                os.close(hogs.pop())
        finally:
            logging.disable(logging.NOTSET)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for hog in hogs:
                os.close(hog)
        assert failures > 2
        ShmClient(name, EXAMPLE).close()
        wait_until(lambda: not server.producers(), "nobody is attached")
