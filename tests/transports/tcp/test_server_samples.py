"""From the bytes of a connection to the batches of the learner, over echo's wire."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from shm_echo import Server, TcpTransport
from tests.support.echo_socket import EchoSocket, sample_bytes
from tests.support.numbered import EXAMPLE, numbered, numbers_of
from tests.support.threads import Worker
from tests.support.waiting import WATCHDOG, wait_until

SAMPLE_BYTES = len(sample_bytes(EXAMPLE))


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Starts servers of EXAMPLE, with batches of one unless the test asks for others."""
    servers: list[Server] = []

    def make(batch_size: int = 1, *, example: Any = EXAMPLE, **options: Any) -> Server:
        servers.append(Server(example, batch_size, TcpTransport(0), **options).start())
        return servers[-1]

    yield make
    for server in servers:
        server.close()


def taken(server: Server) -> list[int]:
    """Return the numbers of the next batch, waiting for it."""
    sample = server.sample(timeout=WATCHDOG)
    assert sample is not None
    return numbers_of(sample.batch)


def test_the_handshake_is_that_of_echo(serve: Callable[..., Server]) -> None:
    example = {"z": np.zeros((0,), np.int8), "b": np.zeros((2, 3), np.float32), "a": np.int64(0)}
    server = serve(example=example)
    with EchoSocket(server.port) as client:
        assert client.leaves == [(8, ()), (4, (2, 3)), (1, (0,))]


def test_samples_arrive_in_order_and_each_is_acknowledged(serve: Callable[..., Server]) -> None:
    server = serve(2, num_buffers=4)
    with EchoSocket(server.port) as client:
        for i in range(0, 40, 2):
            client.put(numbered(i), numbered(i + 1))
            client.expect_acks(2)
            assert taken(server) == [i, i + 1]


@pytest.mark.parametrize("seed", [None, 1, 2, 3], ids=["byte by byte", "1", "2", "3"])
def test_samples_may_be_cut_anywhere(serve: Callable[..., Server], seed: int | None) -> None:
    count = 12
    server = serve(count)
    data = b"".join(sample_bytes(numbered(i)) for i in range(count))
    lengths = [1] * (len(data) - 1)
    if seed is not None:
        chance = random.Random(seed)
        lengths = [chance.randint(1, 2 * SAMPLE_BYTES) for _ in range(count // 2)]
    with EchoSocket(server.port) as client:
        client.put_in_pieces(data, lengths)
        client.expect_acks(count)
    assert taken(server) == list(range(count))


@pytest.mark.parametrize("cut", range(SAMPLE_BYTES))
def test_a_stream_that_ends_inside_a_sample_leaves_the_whole_ones(
    serve: Callable[..., Server], cut: int
) -> None:
    server = serve(2)
    with EchoSocket(server.port) as client:
        client.put(numbered(1))
        client.sock.sendall(sample_bytes(numbered(2))[:cut])
    wait_until(lambda: not server.producers() and server.info().store_size, "it has left")
    with EchoSocket(server.port) as client:
        client.send(numbered(3))
    assert taken(server) == [1, 3]


def test_after_a_half_close_whole_samples_are_acknowledged_and_the_server_closes(
    serve: Callable[..., Server],
) -> None:
    server = serve(3)
    client = EchoSocket(server.port)
    client.put(numbered(1), numbered(2), numbered(3))
    client.sock.shutdown(socket.SHUT_WR)
    client.expect_acks(3)
    assert client.at_end()
    client.sock.close()
    assert taken(server) == [1, 2, 3]


@pytest.mark.parametrize(
    "example",
    [
        np.zeros((), np.bool_),
        {"t": np.zeros(2, "<M8[s]"), "u": np.zeros((), "<U3"), "s": np.zeros(3, "S5")},
        {"r": np.zeros(2, [("a", "<i4"), ("b", "<f8", (2,))]), "big": np.zeros(3, ">f4")},
        {f"leaf {i:03}": np.full(i % 3, i, np.int16) for i in range(1, 150)},
        {"image": np.zeros((1000, 1000), np.uint8), "x": np.float32(0)},
    ],
    ids=["bool", "text and time", "records", "many leaves", "large"],
)
def test_any_example_arrives_as_it_was_sent(serve: Callable[..., Server], example: Any) -> None:
    chance = np.random.default_rng(7)

    def filled(leaf: Any) -> Any:
        raw = chance.integers(0, 2, leaf.nbytes, np.uint8).tobytes()
        if leaf.dtype.kind == "U":
            return np.full(leaf.shape, "né", leaf.dtype)
        return np.frombuffer(raw, leaf.dtype).reshape(leaf.shape)

    tree = {"only": example} if isinstance(example, np.ndarray) else example
    server = serve(2, example=tree)
    samples = [{key: filled(leaf) for key, leaf in tree.items()} for _ in range(2)]
    with EchoSocket(server.port) as client:
        client.send(*samples)
    received = server.sample(timeout=WATCHDOG)
    assert received is not None
    for key in tree:
        sent = b"".join(sample[key].tobytes() for sample in samples)
        assert received.batch[key].tobytes() == sent, key


# ---------------------------------------------------------------- a full ring


@pytest.mark.parametrize("queue", [1, 3])
def test_a_full_ring_and_a_full_queue_stop_the_acknowledgements(
    serve: Callable[..., Server], queue: int
) -> None:
    server = serve(producer_queue_size=queue, num_buffers=2)
    with EchoSocket(server.port) as client:
        count = 2 + queue + 5
        client.put(*(numbered(i) for i in range(count)))
        client.expect_acks(2 + queue)
        wait_until(lambda: server.info().push_blocked_count, "the connection is not read on")
        client.sock.setblocking(False)
        with pytest.raises(BlockingIOError):
            client.sock.recv(1)
        client.sock.settimeout(WATCHDOG)
        assert [taken(server) for _ in range(count)] == [[i] for i in range(count)]
        client.expect_acks(count - 2 - queue)


def test_what_was_acknowledged_is_delivered_although_its_connection_ended(
    serve: Callable[..., Server],
) -> None:
    server = serve(producer_queue_size=16, num_buffers=2)
    with EchoSocket(server.port) as client:
        client.send(*(numbered(i) for i in range(10)))
    stream = server.dataset_iter(until="producers_closed", timeout=WATCHDOG)
    assert [number for sample in stream for number in numbers_of(sample.batch)] == list(range(10))


def test_a_stopped_connection_holds_up_no_other_one(serve: Callable[..., Server]) -> None:
    server = serve(4)
    with EchoSocket(server.port) as stopped, EchoSocket(server.port) as client:
        stopped.sock.sendall(sample_bytes(numbered(9))[:7])
        for i in range(0, 40, 4):
            client.send(*(numbered(i + k) for k in range(4)))
            assert taken(server) == [i, i + 1, i + 2, i + 3]


def test_a_client_that_never_reads_its_acknowledgements_is_served(
    serve: Callable[..., Server],
) -> None:
    count = 20_000
    server = serve(100, num_buffers=3)
    with EchoSocket(server.port) as client:
        sending = Worker(client.put, *(numbered(i) for i in range(count)))
        came = [number for _ in range(count // 100) for number in taken(server)]
        sending.result()
    assert came == list(range(count))


def test_many_connections_keep_each_its_order(serve: Callable[..., Server]) -> None:
    server = serve(8, num_drainers=2)
    clients = [EchoSocket(server.port) for _ in range(50)]

    def produce(first: int, client: EchoSocket) -> None:
        with client:
            for i in range(first, first + 40):
                client.put(numbered(i))
            client.expect_acks(40)

    workers = [Worker(produce, 1000 * k, client) for k, client in enumerate(clients)]
    stream = server.dataset_iter(until="producers_closed", min_producers=50, timeout=WATCHDOG)
    came = [number for sample in stream for number in numbers_of(sample.batch)]
    for worker in workers:
        worker.result()
    for k in range(50):
        assert [i for i in came if i // 1000 == k] == list(range(1000 * k, 1000 * k + 40))


def test_samples_of_the_process_itself_mix_with_those_of_connections(
    serve: Callable[..., Server],
) -> None:
    server = serve(2)
    with EchoSocket(server.port) as client:
        server.submit(numbered(1))
        client.send(numbered(2))
        assert taken(server) == [1, 2]
        assert server.info().samples_inserted_total == 1
