"""TCP producers as the server counts and lists them: they come, leave, and are lost."""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from shm_echo import ProducerDiedError, Server, ShmClient, ShmTransport, TcpTransport
from tests.support.echo_socket import EchoSocket, sample_bytes
from tests.support.numbered import EXAMPLE, numbered, numbers_of
from tests.support.processes import start
from tests.support.threads import Worker
from tests.support.waiting import WATCHDOG, wait_until

FRAGMENT = 5
# How a connection is lost, and the words that say so.
LOSSES: dict[str, tuple[Callable[[EchoSocket], object], str]] = {
    "fragment": (
        lambda client: (client.sock.sendall(sample_bytes(numbered(9))[:FRAGMENT]), client.close()),
        "was lost: its connection ended inside of a sample; 5 of 20 bytes of a sample were dropped",
    ),
    "reset": (
        lambda client: client.reset(),
        "was lost: its connection failed (Connection reset by peer)",
    ),
}


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Starts servers of EXAMPLE with batches of two."""
    servers: list[Server] = []

    def make(transport: Any = None, **options: Any) -> Server:
        servers.append(Server(EXAMPLE, 2, transport or TcpTransport(0), **options).start())
        return servers[-1]

    yield make
    for server in servers:
        server.close()


def attached(server: Server, count: int) -> list[EchoSocket]:
    """Attach clients, one after the other as the server lists them."""
    clients = []
    for _ in range(count):
        clients.append(EchoSocket(server.port))
        wait_until(lambda: len(server.producers()) == len(clients), "the server lists it")
    return clients


def streamed(server: Server, min_producers: int = 1) -> list[int]:
    """Return all numbers until the producers have closed."""
    stream = server.dataset_iter(
        until="producers_closed", min_producers=min_producers, timeout=WATCHDOG
    )
    return [i for sample in stream for i in numbers_of(sample.batch)]


# ---------------------------------------------------------------- the list


def test_producers_are_listed_by_the_address_of_their_peer(serve: Callable[..., Server]) -> None:
    server = serve()
    clients = attached(server, 3)
    clients[0].send(numbered(0))
    clients[2].send(numbered(1), numbered(2))
    found = server.producers()
    assert [p.peer for p in found] == [client.address for client in clients]
    assert [p.samples for p in found] == [1, 0, 2]
    assert [p.bytes for p in found] == [20, 0, 40]
    assert {(p.pid, p.held, p.state, p.transport) for p in found} == {(None, 0, "attached", "tcp")}
    assert all(p.last_seen >= 0 and p.blocked_seconds == 0 for p in found)
    clients[1].close()
    wait_until(lambda: len(server.producers()) == 2, "it has left")
    assert [p.id for p in server.producers()] == [found[0].id, found[2].id]
    for client in clients:
        client.close()
    wait_until(lambda: not server.producers(), "all have left")


def test_numbers_of_tcp_producers_are_no_owner_ids_and_never_used_twice(
    serve: Callable[..., Server], name: str
) -> None:
    server = serve([ShmTransport(name), TcpTransport(0)])
    seen = set()
    with ShmClient(name, EXAMPLE):
        for _ in range(5):
            with EchoSocket(server.port):
                wait_until(lambda: len(server.producers()) == 2, "it is attached")
                seen |= {p.id for p in server.producers()}
            wait_until(lambda: len(server.producers()) == 1, "it has left")
    assert len(seen) == 6


def test_a_connection_that_is_not_read_shows_the_time(serve: Callable[..., Server]) -> None:
    server = serve(num_buffers=2, producer_queue_size=1)
    with EchoSocket(server.port) as client:
        client.put(*(numbered(i) for i in range(9)))
        client.expect_acks(5)
        wait_until(lambda: any(p.blocked_seconds for p in server.producers()), "it is blocked")
        assert server.producers()[0].samples == 4


@pytest.mark.parametrize("tcp_first", [True, False])
def test_producers_of_both_transports_are_listed_in_the_order_in_which_they_came(
    serve: Callable[..., Server], name: str, tcp_first: bool
) -> None:
    server = serve([TcpTransport(0), ShmTransport(name)])
    if tcp_first:
        remote = attached(server, 1)[0]
        local = ShmClient(name, EXAMPLE)
    else:
        local = ShmClient(name, EXAMPLE)
        remote = EchoSocket(server.port)
    with closing(remote), closing(local):
        wait_until(lambda: len(server.producers()) == 2, "both are listed")
        ways = [(p.transport, p.pid, p.peer) for p in server.producers()]
        expected = [("tcp", None, remote.address), ("shm", os.getpid(), None)]
        assert ways == (expected if tcp_first else expected[::-1])
        assert server.info().active_connections == 2
        local.send(numbered(1))
        remote.send(numbered(2))
        sample = server.sample(timeout=WATCHDOG)
        assert sample is not None
        assert numbers_of(sample.batch) == [1, 2]
        assert sample.info.samples_inserted_total == 2


# ---------------------------------------------------------------- the end of a stream


def test_a_stream_ends_with_its_connections_and_keeps_the_rest(
    serve: Callable[..., Server],
) -> None:
    server = serve()
    learner = Worker(streamed, server, 2)
    first, second = attached(server, 2)
    first.send(numbered(0), numbered(1))
    first.close()
    second.send(numbered(2))
    second.close()
    assert learner.result() == [0, 1, 2]


def test_each_connection_counts_for_min_producers(serve: Callable[..., Server]) -> None:
    server = serve()
    learner = Worker(streamed, server, 3)
    for i in range(3):  # one after the other: nothing tells them from one that comes anew
        wait_until(lambda: not server.producers(), "the one before has left")
        assert learner.thread.is_alive()
        with EchoSocket(server.port) as client:
            wait_until(server.producers, "it is attached")
            client.send(numbered(i))
    assert learner.result() == [0, 1, 2]


@pytest.mark.parametrize(("lose", "words"), LOSSES.values(), ids=LOSSES)
def test_a_stream_ends_with_the_loss_of_its_last_producer(
    serve: Callable[..., Server], lose: Callable[[EchoSocket], object], words: str
) -> None:
    server = serve()
    learner = Worker(streamed, server)
    client = EchoSocket(server.port)
    client.send(numbered(0), numbered(1), numbered(2))
    lose(client)
    assert learner.result() == [0, 1, 2]


def test_a_timeout_counts_the_connections(serve: Callable[..., Server]) -> None:
    server = serve()
    with closing(attached(server, 1)[0]), pytest.raises(TimeoutError, match="1 producer attached"):
        server.sample(timeout=0.01)


# ---------------------------------------------------------------- losses


@pytest.mark.parametrize(("lose", "words"), LOSSES.values(), ids=LOSSES)
def test_a_loss_is_logged_with_the_peer_and_what_was_dropped(
    serve: Callable[..., Server],
    lose: Callable[[EchoSocket], object],
    words: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = serve()
    client, other = attached(server, 2)
    client.send(numbered(0))
    address = client.address
    with caplog.at_level(logging.WARNING, "shm_echo"):
        lose(client)
        wait_until(lambda: caplog.messages, "it is logged")
    (message,) = caplog.messages
    assert message == f"producer {address} {words}"
    with other:
        other.send(numbered(1))
        sample = server.sample(timeout=WATCHDOG)
    assert sample is not None
    assert numbers_of(sample.batch) == [0, 1]


@pytest.mark.parametrize("cut", [0, 20, 40])
def test_an_end_between_two_samples_is_in_good_order(
    serve: Callable[..., Server], cut: int, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(on_producer_death="raise")
    (client,) = attached(server, 1)
    client.sock.sendall((sample_bytes(numbered(1)) * 2)[:cut])
    client.expect_acks(cut // 20)
    with caplog.at_level(logging.WARNING, "shm_echo"):
        client.close()
        wait_until(lambda: not server.producers(), "it has left")
    assert not caplog.messages
    rest = server.flush(timeout=0)  # raises nothing
    assert rest is not None
    assert numbers_of(rest.batch) == [1] * (cut // 20)


@pytest.mark.parametrize(("lose", "words"), LOSSES.values(), ids=LOSSES)
def test_raise_reports_a_loss_once_and_wakes_the_learner(
    serve: Callable[..., Server], lose: Callable[[EchoSocket], object], words: str
) -> None:
    server = serve(on_producer_death="raise")
    (client,) = attached(server, 1)
    client.send(numbered(0))
    address = client.address
    learner = Worker(server.sample)
    learner.wait_until_asleep()
    lose(client)
    with pytest.raises(ProducerDiedError) as caught:
        learner.result()
    error = caught.value
    assert (error.pid, error.signal, error.peer) == (None, None, address)
    assert str(error) == f"producer {address} {words}"
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.peer, str(copy)) == (address, str(error))
    rest = server.flush(timeout=WATCHDOG)
    assert rest is not None
    assert numbers_of(rest.batch) == [0]


def test_raise_if_last_waits_for_the_last_one(serve: Callable[..., Server]) -> None:
    server = serve(on_producer_death="raise_if_last")
    first, last = attached(server, 2)
    address = first.address
    first.send(numbered(0))
    last.send(numbered(1))
    first.reset()
    wait_until(lambda: len(server.producers()) == 1, "the first one is lost")
    sample = server.sample(timeout=WATCHDOG)
    assert sample is not None
    assert numbers_of(sample.batch) == [0, 1]
    with pytest.raises(TimeoutError):
        server.sample(timeout=0)
    last.reset()
    with pytest.raises(ProducerDiedError) as caught:
        server.sample(timeout=WATCHDOG)
    assert caught.value.peer == address


def test_a_killed_process_leaves_its_whole_samples(serve: Callable[..., Server]) -> None:
    server = serve(on_producer_death="raise_if_last")
    with start(send_and_stay_inside_a_sample, server.port, method="forkserver") as child:
        child.expect("sent")
        child.end()
    assert server.sample(timeout=WATCHDOG) is not None
    with pytest.raises(ProducerDiedError, match="ended inside of a sample; 5 of 20 bytes"):
        server.sample(timeout=WATCHDOG)
    rest = server.flush(timeout=WATCHDOG)
    assert rest is not None
    assert numbers_of(rest.batch) == [2]


def send_and_stay_inside_a_sample(pipe: Any, port: int) -> None:
    """Send three samples and a part of a fourth: the program of a process that is killed."""
    client = EchoSocket(port)
    client.send(*(numbered(i) for i in range(3)))
    client.sock.sendall(sample_bytes(numbered(3))[:FRAGMENT])
    pipe.send("sent")
    pipe.recv()


# ---------------------------------------------------------------- peers that send no sample


VISITS: dict[str, Callable[[EchoSocket], object]] = {
    "port scan": lambda visitor: visitor.close(),
    "reset": lambda visitor: visitor.reset(),
    "HTTP": lambda visitor: (visitor.sock.sendall(b"GET / HTTP/1.0\r\n\r\n"), visitor.close()),
}


@pytest.mark.parametrize("visit", VISITS.values(), ids=VISITS)
def test_a_peer_without_a_sample_is_neither_an_arrival_nor_a_death(
    serve: Callable[..., Server],
    visit: Callable[[EchoSocket], object],
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = serve(on_producer_death="raise")
    learner = Worker(streamed, server)
    with caplog.at_level(logging.WARNING, "shm_echo"):
        (visitor,) = attached(server, 1)
        assert server.info().active_connections == 1
        visit(visitor)
        wait_until(lambda: not server.producers(), "it has left")
    assert not caplog.messages
    with EchoSocket(server.port) as client:
        client.send(numbered(1))
    assert learner.result() == [1]


def test_a_visitor_does_not_stand_for_a_producer_that_has_not_come(
    serve: Callable[..., Server],
) -> None:
    server = serve()
    learner = Worker(streamed, server, 2)
    with EchoSocket(server.port) as client:
        client.send(numbered(1))
    wait_until(lambda: not server.producers(), "the first one has left")
    (visitor,) = attached(server, 1)
    visitor.close()
    wait_until(lambda: not server.producers(), "the visitor has left")
    with EchoSocket(server.port) as client:
        client.send(numbered(2))
    assert learner.result() == [1, 2]
