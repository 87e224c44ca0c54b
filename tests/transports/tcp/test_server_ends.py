"""The end of a server with a TcpTransport: nothing of it stays, whatever happens meanwhile."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import pickle
import signal
import socket
import struct
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from shm_echo import Server, TcpTransport
from shm_echo.errors import BindError, ForkedHandleError
from tests.support.echo_socket import EchoSocket
from tests.support.leftovers import open_descriptors
from tests.support.numbered import EXAMPLE, numbered, numbers_of
from tests.support.processes import start
from tests.support.threads import Worker
from tests.support.waiting import WATCHDOG, process_state, wait_until


def tasks() -> int:
    """Return the number of threads of this process, those of C included."""
    return len(os.listdir("/proc/self/task"))


@pytest.fixture
def nothing_is_left() -> Iterator[None]:
    """Fail if the test leaves a thread or a descriptor."""
    gc.collect()
    before = open_descriptors(), tasks()
    yield
    gc.collect()
    wait_until(
        lambda: open_descriptors() <= before[0] and tasks() <= before[1],
        f"threads and descriptors are {before} again",
    )


pytestmark = pytest.mark.usefixtures("nothing_is_left")


def test_threads_and_descriptors_return_to_where_they_were() -> None:
    for _ in range(3):
        with Server(EXAMPLE, 1, TcpTransport(0, num_threads=3), num_drainers=2) as server:
            clients = [EchoSocket(server.port) for _ in range(20)]
            clients[0].send(numbered(1))
            for client in clients[::2]:
                client.close()
        for client in clients[1::2]:
            assert client.at_end()
            client.sock.close()


def test_a_start_that_fails_leaves_nothing() -> None:
    with pytest.raises(BindError):
        Server(EXAMPLE, 1, [TcpTransport(0), TcpTransport(0, host="203.0.113.1")]).start()


def test_the_close_under_load_wakes_everyone() -> None:
    server = Server(EXAMPLE, 4, TcpTransport(0)).start()
    sampled = threading.Event()

    def produce(client: EchoSocket) -> None:
        with client, contextlib.suppress(OSError):
            while True:
                client.put(*(numbered(i) for i in range(50)))
                client.expect_acks(50)

    def learn() -> None:
        for sample in server.dataset_iter():
            numbers_of(sample.batch)
            sampled.set()

    clients = [EchoSocket(server.port) for _ in range(8)]
    producers, learner = [Worker(produce, client) for client in clients], Worker(learn)
    assert sampled.wait(WATCHDOG)
    server.close()
    server.close()  # may be said again
    assert server.sample() is None
    for worker in (*producers, learner):
        worker.result()


def test_the_close_with_full_queues_says_what_it_dropped(caplog: pytest.LogCaptureFixture) -> None:
    server = Server(EXAMPLE, 1, TcpTransport(0), num_buffers=2, producer_queue_size=3).start()
    client = EchoSocket(server.port)
    client.put(*(numbered(i) for i in range(9)))
    client.expect_acks(5)
    with caplog.at_level(logging.INFO, "shm_echo"):
        server.close()
    (message,) = caplog.messages
    assert "dropped 3 samples that were acknowledged and not yet in the ring" in message
    assert client.at_end()
    client.sock.close()


def test_a_close_without_queued_samples_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    server = Server(EXAMPLE, 1, TcpTransport(0)).start()
    with EchoSocket(server.port) as client, caplog.at_level(logging.INFO, "shm_echo"):
        client.send(numbered(1))
        server.close()
    assert not caplog.messages


def test_arrays_of_batches_stay_readable() -> None:
    server = Server(EXAMPLE, 2, TcpTransport(0)).start()
    with EchoSocket(server.port) as client:
        client.send(numbered(1), numbered(2))
        sample = server.sample(timeout=WATCHDOG)
        server.close()
    assert sample is not None
    assert numbers_of(sample.batch) == [1, 2]


def test_a_server_that_is_forgotten_closes() -> None:
    servers = [Server(EXAMPLE, 1, TcpTransport(0)).start()]
    client = EchoSocket(servers[0].port)
    with pytest.warns(ResourceWarning, match="was not closed"):
        servers.clear()
    assert client.at_end()
    client.sock.close()


def test_a_signal_handler_may_close_the_server_that_samples() -> None:
    server = Server(EXAMPLE, 1, TcpTransport(0)).start()
    before = signal.signal(signal.SIGUSR1, lambda *_: server.close())
    main = threading.main_thread().ident
    assert main is not None
    try:
        with EchoSocket(server.port):
            threading.Timer(0.05, signal.pthread_kill, (main, signal.SIGUSR1)).start()
            assert server.sample() is None
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_signal_reaches_the_main_thread_and_not_those_of_the_ingress() -> None:
    came: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, _: came.append(number))
    try:
        with Server(EXAMPLE, 1, TcpTransport(0)):
            os.kill(os.getpid(), signal.SIGUSR1)
            wait_until(lambda: came, "the handler ran")
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_started_transport_cannot_be_pickled() -> None:
    transport = TcpTransport(0)
    with Server(EXAMPLE, 1, transport), pytest.raises(TypeError, match="a started TcpTransport"):
        pickle.dumps(transport)
    pickle.dumps(transport)


# ---------------------------------------------------------------- forks


def test_a_forked_child_has_no_descriptor_of_the_server() -> None:
    with Server(EXAMPLE, 1, TcpTransport(0)) as server, EchoSocket(server.port) as client:
        client.send(numbered(1))
        with start(report_sockets, server, client.sock.fileno()) as child:
            assert child.hear() == []
            assert "ForkedHandleError" in child.hear()
            assert server.sample(timeout=WATCHDOG) is not None
            client.send(numbered(2))  # the parent's go on
            assert server.sample(timeout=WATCHDOG) is not None


def report_sockets(pipe: Any, server: Server, own: int) -> None:
    """Report the TCP sockets that were inherited, and what the server says: the child's program."""
    os.close(own)
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            with socket.socket(fileno=os.dup(int(name))) as sock:
                if sock.family in (socket.AF_INET, socket.AF_INET6):
                    found.append(name)
        except OSError:
            pass
    pipe.send(found)
    try:
        server.sample(timeout=0)
    except ForkedHandleError as error:
        pipe.send(type(error).__name__)
    gc.collect()
    pipe.recv()


def test_connections_end_with_the_server_although_a_child_lives() -> None:
    with start(serve_and_fork, method="subprocess") as parent:
        port = parent.hear()
        client = EchoSocket(port)
        client.send(numbered(1))
        parent.say("fork")
        grandchild = parent.hear()
        parent.end()
        assert client.at_end()
        assert process_state(grandchild) in ("R", "S"), "the child lives"
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 1)
        client.sock.close()
        os.kill(grandchild, signal.SIGKILL)


def serve_and_fork(pipe: Any) -> None:
    """Serve, and fork a child that outlives this process: the program of the parent."""
    with Server(EXAMPLE, 1, TcpTransport(0)) as server:
        pipe.send(server.port)
        pipe.recv()
        if os.fork() == 0:
            pipe.send(os.getpid())
            pipe.close()
            time.sleep(WATCHDOG)
            os._exit(0)
        signal.pause()


def test_a_fork_under_load_harms_neither_side() -> None:
    server = Server(EXAMPLE, 4, TcpTransport(0)).start()

    def produce() -> None:
        with EchoSocket(server.port) as client:
            for i in range(2000):
                client.put(numbered(i))
            client.expect_acks(2000)

    producers = [Worker(produce) for _ in range(3)]
    came = 0
    for _ in range(1500):
        if came % 400 == 0:
            pid = os.fork()
            if pid == 0:
                os._exit(0)
            os.waitpid(pid, 0)
        sample = server.sample(timeout=WATCHDOG)
        assert sample is not None
        came += len(numbers_of(sample.batch))
    for worker in producers:
        worker.result()
    server.close()
    assert came == 6000


# ---------------------------------------------------------------- strange peers


def test_floods_of_connections_leave_nothing() -> None:
    with Server(EXAMPLE, 1, TcpTransport(0)) as server:
        for i in range(300):
            sock = socket.create_connection(("127.0.0.1", server.port), WATCHDOG)
            if i % 2:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()
        wait_until(lambda: server.info().active_connections == 0, "all have left")
        with EchoSocket(server.port) as client:
            client.send(numbered(1))
            wait_until(lambda: server.producers(), "it is listed")
        wait_until(lambda: not server.producers(), "it has left")


def test_a_peer_that_speaks_http_harms_nobody() -> None:
    with Server(EXAMPLE, 1, TcpTransport(0)) as server:
        with socket.create_connection(("127.0.0.1", server.port), WATCHDOG) as sock:
            sock.sendall(b"GET / HTTP/1.0\r\n\r\n")  # 18 of 20 bytes: no sample
        wait_until(lambda: server.info().active_connections == 0, "it has left")
        with EchoSocket(server.port) as client:
            client.send(numbered(1))
        sample = server.sample(timeout=WATCHDOG)
        assert sample is not None
        assert numbers_of(sample.batch) == [1]


@pytest.mark.parametrize("wire", ["echo", "shm"])
def test_an_interrupt_of_close_leaves_no_thread_that_writes_into_the_ring(
    wire: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    transport = TcpTransport(0, wire=wire)
    with Server(EXAMPLE, 1, transport) as server:
        port = server.port
        owner = transport._acceptor or transport._native
        assert owner is not None
        close = owner.close

        def interrupted() -> int:
            close()
            raise KeyboardInterrupt

        monkeypatch.setattr(owner, "close", interrupted)
        with pytest.raises(KeyboardInterrupt):
            transport.close()
        wait_until(
            lambda: not [t for t in threading.enumerate() if t.name == "shm_echo-tcp-events"],
            "the ingress has ended",
        )
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port)).close()
