"""A server whose TcpTransport speaks the shm wire: who comes, who waits, and what stays."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from shm_echo import ConnectionClosedError, Server, ShmClient, ShmTransport, TcpClient, TcpTransport
from tests.support.echo_socket import EchoSocket
from tests.support.leftovers import open_descriptors
from tests.support.numbered import EXAMPLE, numbered, numbers_of, stacked
from tests.support.threads import Worker
from tests.support.waiting import WATCHDOG, wait_until


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Starts servers of EXAMPLE, with batches of two unless the test asks for others."""
    servers: list[Server] = []

    def make(transport: Any = None, batch_size: int = 2, **options: Any) -> Server:
        transport = transport or TcpTransport(0, wire="shm")
        servers.append(Server(EXAMPLE, batch_size, transport, **options).start())
        return servers[-1]

    yield make
    for server in servers:
        server.close()


def client_of(server: Server, **options: Any) -> TcpClient:
    return TcpClient("127.0.0.1", server.port, EXAMPLE, **options)


def streamed(server: Server, min_producers: int = 1) -> list[int]:
    """Return all numbers until the producers have closed."""
    stream = server.dataset_iter(
        until="producers_closed", min_producers=min_producers, timeout=WATCHDOG
    )
    return [i for sample in stream for i in numbers_of(sample.batch)]


def test_one_server_speaks_both_wires_and_shares_its_memory(
    serve: Callable[..., Server], name: str
) -> None:
    server = serve([TcpTransport(0), ShmTransport(name), TcpTransport(0, wire="shm")])
    echo_port, shm_port = server.ports
    with (
        EchoSocket(echo_port) as socket,
        TcpClient("127.0.0.1", echo_port, EXAMPLE) as first,
        TcpClient("127.0.0.1", shm_port, EXAMPLE) as second,
        ShmClient(name, EXAMPLE) as local,
    ):
        assert (first.wire, second.wire) == ("echo", "shm")
        wait_until(lambda: len(server.producers()) == 4, "all are listed")
        assert sorted(p.transport for p in server.producers()) == ["shm", "tcp", "tcp", "tcp"]
        socket.send(numbered(1))
        local.send(numbered(2))
        for number, client in enumerate((first, second), 3):
            client.send(numbered(number))
            client.wait()
        assert server.info().active_connections == 4
        assert server.info().samples_inserted_total == 4
        batches = [server.sample(timeout=WATCHDOG) for _ in range(2)]
        assert [numbers_of(sample.batch) for sample in batches if sample] == [[1, 2], [3, 4]]


def test_a_producer_that_comes_anew_with_its_name_counts_once(
    serve: Callable[..., Server],
) -> None:
    server = serve()
    learner = Worker(streamed, server, 2)
    for number in range(3):
        with client_of(server, producer_id="worker") as client:
            client.send(numbered(number))
            client.wait()
            wait_until(server.producers, "it is listed")
            (info,) = server.producers()
            assert (info.producer_id, info.transport, info.samples) == ("worker", "tcp", 1)
            host, _, port = str(info.peer).rpartition(":")
            assert host == "127.0.0.1"
            assert port.isdecimal()
        wait_until(lambda: not server.producers(), "it has left")
        assert learner.thread.is_alive()
    with client_of(server, producer_id="other") as client:
        client.send(numbered(3))
    assert learner.result() == [0, 1, 2, 3]


def test_a_client_that_sends_nothing_is_a_producer_that_came(serve: Callable[..., Server]) -> None:
    server = serve()
    learner = Worker(streamed, server)
    with client_of(server):
        wait_until(server.producers, "it is listed")
    assert learner.result() == []


def test_a_stream_takes_the_rest_when_every_producer_waits_for_it(
    serve: Callable[..., Server], name: str
) -> None:
    server = serve([ShmTransport(name), TcpTransport(0, wire="shm")], batch_size=4)
    with client_of(server) as remote, ShmClient(name, EXAMPLE) as local:
        learner = Worker(streamed, server, 2)
        local.send(numbered(1))
        remote.send_batch(stacked([2, 3]))
        waiting = [Worker(remote.wait, until="taken"), Worker(local.wait)]
        for worker in waiting:
            worker.result()
    assert sorted(learner.result()) == [1, 2, 3]


def test_a_producer_that_waits_is_shown(serve: Callable[..., Server]) -> None:
    server = serve()
    with client_of(server) as client:
        client.send(numbered(1))
        waiting = Worker(client.wait, until="taken")
        wait_until(lambda: [p.state for p in server.producers()] == ["waiting"], "it waits")
        assert server.flush(timeout=WATCHDOG) is not None
        waiting.result()
        wait_until(lambda: [p.state for p in server.producers()] == ["attached"], "it goes on")


def test_closing_the_server_leaves_no_thread_and_no_descriptor() -> None:
    gc.collect()
    before = open_descriptors(), len(os.listdir("/proc/self/task"))
    for _ in range(2):
        server = Server(EXAMPLE, 2, TcpTransport(0, wire="shm"), publishes=EXAMPLE).start()
        clients = [client_of(server, publishes=EXAMPLE) for _ in range(5)]
        server.publish(numbered(7))
        for client in clients:
            client.send(numbered(1))
            client.wait()
            assert client.latest(WATCHDOG) is not None
        server.close()
        for client in clients:
            with pytest.raises(ConnectionClosedError):
                client.wait_for(2, WATCHDOG)
            client.close()
        del client, clients, server
        gc.collect()
    wait_until(
        lambda: (open_descriptors(), len(os.listdir("/proc/self/task"))) <= before,
        f"threads and descriptors are {before} again",
    )


def test_the_wrong_run_is_refused_and_counts_for_nothing(serve: Callable[..., Server]) -> None:
    server = serve(TcpTransport(0, run_id="run-7"))
    with pytest.raises(ConnectionError, match="run-7"):
        client_of(server, run_id="run-8")
    assert server.producers() == []
    assert server.info().active_connections == 0
    with closing(client_of(server, run_id="run-7")) as client:
        client.send(numbered(1))
        client.wait()
        assert server.info().active_connections == 1
