"""Many connections, floods of them, none left to have, and what stays afterwards: nothing."""

from __future__ import annotations

import gc
import resource
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import echo
import pytest

import shm_echo
from tests.support.forwarder import reset
from tests.support.leftovers import limit_for_more_descriptors, open_descriptors
from tests.support.processes import start
from tests.support.tcp_ends import (
    ARRAYS,
    SIZE,
    Collector,
    RawPeer,
    arrays,
    connected,
    numbered_bytes,
    serving,
)
from tests.support.threads import Worker
from tests.support.waiting import WATCHDOG, wait_until

LIBRARIES = {"echo": echo, "ours": shm_echo}


def native_threads() -> int:
    """Return the number of threads of this process, those that Python does not know included."""
    return len(list(Path("/proc/self/task").iterdir()))


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    """Fail if the test leaves a descriptor or a thread."""
    gc.collect()
    descriptors, threads = open_descriptors(), native_threads()
    yield
    gc.collect()
    wait_until(lambda: open_descriptors() <= descriptors, "all descriptors are closed")
    wait_until(lambda: native_threads() <= threads, "all threads have ended")


def in_pieces(count: int, samples: int, port: int) -> None:
    """Send samples on many connections, each a third of a sample at a time, in turn."""
    peers = [RawPeer(port) for _ in range(count)]
    streams = [numbered_bytes(range(i * 100, i * 100 + samples)) for i in range(count)]
    step = SIZE // 3
    for at in range(0, samples * SIZE, step):
        for peer, stream in zip(peers, streams, strict=True):
            peer.send(stream[at : at + step])
    for peer in peers:
        assert peer.rest() == b"\x01" * samples
        peer.close()


@pytest.mark.parametrize("threads", [1, 3])
def test_two_hundred_connections(threads: int) -> None:
    count, samples = 200, 6
    with shm_echo.Server(ARRAYS, 16, shm_echo.TcpTransport(0, num_threads=threads)) as server:
        worker = Worker(in_pieces, count, samples, server.port)
        collector = Collector(server)
        collector.until(count * samples)
        worker.result()
        collector.until_idle()
        assert server.info().active_connections == 0
    collector.check([range(i * 100, i * 100 + samples) for i in range(count)])


@pytest.mark.nightly
def test_two_thousand_connections() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 5000:
        pytest.skip(f"only {hard} descriptors are allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 5000), hard))
    with serving(shm_echo, ARRAYS, 64) as server:
        worker = Worker(in_pieces, 2000, 5, server.port)
        collector = Collector(server)
        collector.until(10_000)
        worker.result()
        collector.until_idle()
    collector.check([range(i * 100, i * 100 + 5) for i in range(2000)])


def flood(port: int, count: int) -> None:
    """Connect and leave at once, in three ways."""
    for number in range(count):
        sock = socket.create_connection(("127.0.0.1", port), timeout=WATCHDOG)
        if number % 3 == 0:
            reset(sock)
        elif number % 3 == 1:
            sock.close()
        else:
            sock.sendall(b"\x00")
            sock.close()


def flooded(count: int) -> None:
    with serving(shm_echo, ARRAYS, 10) as server:
        collector = Collector(server)
        before = open_descriptors()

        def stream(library: Any, first: int) -> None:
            with connected(library, server.port, ARRAYS) as client:
                for number in range(first, first + 500):
                    client.send(arrays(number))
                client.wait()

        floods = [Worker(flood, server.port, count) for _ in range(3)]
        streams = [
            Worker(stream, library, index * 1000)
            for index, library in enumerate(LIBRARIES.values())
        ]
        collector.until(1000)
        for worker in floods + streams:
            worker.result()
        collector.until_idle()
        wait_until(lambda: open_descriptors() <= before, "the server has forgotten the flood")
    collector.check([range(500), range(1000, 1500)])


def test_floods_of_connects_disturb_no_client() -> None:
    flooded(200)


@pytest.mark.nightly
def test_large_floods_of_connects_disturb_no_client() -> None:
    flooded(20_000)


def serve_with_few_descriptors(pipe: Any, more: int) -> None:
    """Serve with room for a few connections, and take samples: the program of a child."""
    import logging

    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    logging.getLogger("shm_echo").addHandler(Keep(logging.WARNING))
    transport = shm_echo.TcpTransport(0, num_threads=1)
    with shm_echo.Server(ARRAYS, 1, transport, num_drainers=1) as server:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        pipe.send(server.port)
        pipe.recv()
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit_for_more_descriptors(more), hard))
        pipe.send("limited")
        numbers = []
        # The last one may be acknowledged, and not yet taken, when the test asks.
        while not pipe.poll(0) or 50 not in numbers:
            try:
                numbers.append(int(server.sample(0.01).batch["n"][0]))
            except TimeoutError:
                continue
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        pipe.send((numbers, lines))


def test_a_server_without_descriptors_serves_whom_it_has_and_recovers() -> None:
    room = 6
    with start(serve_with_few_descriptors, room, method="subprocess") as child:
        port = child.hear()
        first = RawPeer(port)
        child.say("limit")
        child.expect("limited")
        peers = [RawPeer(port) for _ in range(room - 1)]
        over = [socket.create_connection(("127.0.0.1", port), timeout=WATCHDOG) for _ in range(20)]
        for number in range(50):  # those inside are served, while others wait or are refused
            first.send(numbered_bytes([number]))
            first.acks(1)
        for sock in over:
            sock.close()
        for peer in peers:
            peer.close()

        def accepted() -> bool:
            try:
                with RawPeer(port) as peer:
                    peer.send(numbered_bytes([100]))
                    peer.acks(1)
            except (AssertionError, OSError):
                return False
            return True

        wait_until(accepted, "a new client is served after others have left")
        first.send(numbered_bytes([50]))
        first.acks(1)
        first.close()
        child.say("report")
        numbers, lines = child.hear()
        assert [number for number in numbers if number < 100] == list(range(51))
        assert 100 in numbers
        assert sum("Too many open files" in line for line in lines) == 1, lines


def test_servers_come_and_go() -> None:
    for round_ in range(15):
        with serving(shm_echo, ARRAYS, 2) as server:
            with connected(shm_echo, server.port, ARRAYS) as client:
                for number in range(4):
                    client.send(arrays(number))
                client.wait()
                if round_ % 2:
                    assert server.sample(WATCHDOG) is not None


def test_clients_come_and_go() -> None:
    with serving(shm_echo, ARRAYS, 2) as server:
        collector = Collector(server)
        for number in range(100):
            library = echo if number % 4 == 0 else shm_echo
            with connected(library, server.port, ARRAYS) as client:
                client.send(arrays(number))
                client.wait()
            collector.until(number + 1)
        assert collector.until_idle() == list(range(100))


def stream_until_closed(port: int, first: int) -> None:
    """Send until the server goes, which must be a ConnectionError."""
    with connected(shm_echo, port, ARRAYS) as client:
        try:
            for number in range(first, first + 1_000_000):
                client.send(arrays(number))
        except ConnectionError:
            return
    raise AssertionError("the server has not gone")


@pytest.mark.parametrize("learning", [True, False], ids=["with a learner", "with a full ring"])
def test_a_server_that_is_closed_under_load(learning: bool) -> None:
    count = 3
    with serving(shm_echo, ARRAYS, 8) as server:
        if learning:
            numbers: list[int] = []
            enough = threading.Event()

            def learn() -> None:
                for sample in server.dataset_iter():
                    numbers.extend(sample.batch["n"].tolist())
                    if len(numbers) > 4000:
                        enough.set()

            learner = Worker(learn)
        workers = [
            Worker(stream_until_closed, server.port, index * 1_000_000) for index in range(count)
        ]
        if learning:
            assert enough.wait(WATCHDOG)
        else:
            for worker in workers:
                worker.wait_until_asleep()
        server.close()
        for worker in workers:
            worker.result()
        if learning:
            learner.result()
            for index in range(count):
                mine = [number for number in numbers if number // 1_000_000 == index]
                assert mine == list(range(index * 1_000_000, index * 1_000_000 + len(mine)))


def test_a_port_in_use_leaves_nothing_behind() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for _ in range(3):
            server = shm_echo.Server(ARRAYS, 1, shm_echo.TcpTransport(port))
            with pytest.raises(RuntimeError, match="failed to start transport") as error:
                server.start()
            assert isinstance(error.value, OSError)
            assert str(port) in str(error.value)
            server.close()
    with shm_echo.Server(ARRAYS, 1, shm_echo.TcpTransport(port)) as server:
        assert server.port == port
