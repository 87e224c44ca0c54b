"""The package id-echo 0.2.1 and ours on one wire: each server with each client."""

from __future__ import annotations

import contextlib
import socket
from types import ModuleType
from typing import Any

import echo
import numpy as np
import optree
import pytest

import shm_echo
from tests.support.echo_specs import (
    GREETINGS,
    SPECS,
    assert_same,
    random_sample,
    stacked_samples,
)
from tests.support.numbered import EXAMPLE, numbers_of
from tests.support.tcp_ends import (
    ARRAYS,
    RawPeer,
    arrays,
    connected,
    greeting,
    payload,
    serving,
    take,
)
from tests.support.threads import Worker
from tests.support.waiting import WATCHDOG, wait_until

LIBRARIES = {"echo": echo, "ours": shm_echo}

# Servers and clients. Of echo alone there is one pair, which shows that a test is right about echo.
PAIRS = {
    f"{client}-to-{server}": (LIBRARIES[server], LIBRARIES[client])
    for server in LIBRARIES
    for client in LIBRARIES
}

# echo's own server does not deliver a batch with a leaf of no bytes.
NO_BYTES = {
    name for name, example in SPECS.items() if any(x.size == 0 for x in optree.tree_leaves(example))
}


@pytest.fixture(params=PAIRS.values(), ids=PAIRS)
def pair(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(params=LIBRARIES.values(), ids=LIBRARIES)
def library(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.mark.parametrize("name", SPECS)
def test_samples_of_every_kind_arrive_bit_by_bit(
    pair: tuple[ModuleType, ModuleType], name: str
) -> None:
    there, here = pair
    if there is echo and name in NO_BYTES:
        pytest.skip("echo's sample() raises for a leaf of zero size")
    example = SPECS[name]
    samples = [random_sample(example, seed) for seed in range(3)]
    with serving(there, example, len(samples)) as server:
        client = here.TcpClient("127.0.0.1", server.port, example)
        for sample in samples:
            client.send(sample)
        batch = take(server)
        assert_same(batch, stacked_samples(samples))
        client.wait()
        client.close()


@pytest.mark.parametrize("name", GREETINGS)
def test_the_greeting_is_the_recorded_one(library: ModuleType, name: str) -> None:
    recorded = bytes.fromhex(GREETINGS[name])
    assert greeting(SPECS[name]) == recorded
    with serving(library, SPECS[name], 1) as server, RawPeer(server.port, SPECS[name]) as peer:
        sample = random_sample(SPECS[name], 1)
        peer.send(payload(sample))
        assert peer.rest() == b"\x01", "something else than one ack follows the greeting"


def test_both_clients_feed_one_server_in_order() -> None:
    count = 2000
    with serving(shm_echo, EXAMPLE, 50) as server:

        def stream(library: ModuleType, first: int) -> None:
            client = library.TcpClient("127.0.0.1", server.port, ARRAYS)
            for number in range(first, first + count):
                client.send(arrays(number))
            client.wait()
            client.close()

        workers = [
            Worker(stream, library, index * 10_000)
            for index, library in enumerate((echo, shm_echo, echo, shm_echo))
        ]
        numbers: list[int] = []
        while len(numbers) < 4 * count:
            numbers += numbers_of(server.sample(WATCHDOG).batch)
        for worker in workers:
            worker.result()
    for index in range(4):
        mine = [number for number in numbers if number // 10_000 == index]
        assert mine == list(range(index * 10_000, index * 10_000 + count))


@pytest.mark.parametrize("window", [1, 2, 1024])
def test_windows_of_every_size(pair: tuple[ModuleType, ModuleType], window: int) -> None:
    there, here = pair
    with serving(there, ARRAYS, 100) as server:
        client = here.TcpClient("127.0.0.1", server.port, ARRAYS, max_inflight_msgs=window)

        def stream() -> None:
            for number in range(500):
                client.send(arrays(number))
            client.wait()

        worker = Worker(stream)
        numbers = [number for _ in range(5) for number in numbers_of(take(server))]
        worker.result()
        client.close()
    assert numbers == list(range(500))


def test_arrays_in_any_memory_order_arrive_in_c_order(
    pair: tuple[ModuleType, ModuleType],
) -> None:
    there, here = pair
    example = {"x": np.zeros((3, 4), np.float32)}
    base = np.arange(96, dtype=np.float32)
    forms = [
        base[:12].reshape(3, 4),
        np.asfortranarray(base[:12].reshape(3, 4)),
        base[:12].reshape(4, 3).T,
        base[::8].reshape(3, 4),
        base[11::-1].reshape(3, 4),
        np.broadcast_to(base[:4], (3, 4)),
    ]
    with serving(there, example, len(forms)) as server:
        client = here.TcpClient("127.0.0.1", server.port, example)
        for form in forms:
            client.send({"x": form})
        assert_same(take(server), {"x": np.stack(forms)})
        client.close()


def test_wait_means_acked_and_needs_no_learner(pair: tuple[ModuleType, ModuleType]) -> None:
    there, here = pair
    with serving(there, ARRAYS, 2) as server:
        client = here.TcpClient("127.0.0.1", server.port, ARRAYS)
        client.wait()  # nothing is in flight
        for number in range(10):  # more than the ring holds; the rest waits in the queue
            client.send(arrays(number))
        Worker(client.wait).result()
        assert client._in_flight_count == 0
        assert numbers_of(take(server)) == [0, 1]
        client.close()


def test_a_spec_mismatch_is_a_value_error_with_both_specs(
    pair: tuple[ModuleType, ModuleType],
) -> None:
    there, here = pair
    with serving(there, {"obs": np.zeros(4, np.float32)}, 2) as server:
        for wrong in (
            {"obs": np.zeros(8, np.float32)},
            {"obs": np.zeros(4, np.float64)},
            {"obs": np.zeros((4, 1), np.float32)},
            {"obs": np.zeros(4, np.float32), "more": np.zeros(1, np.float32)},
        ):
            with pytest.raises(ValueError, match=r"Server spec mismatch.*4.*") as error:
                here.TcpClient("127.0.0.1", server.port, wrong)
            assert str(wrong["obs"].shape[0]) in str(error.value)


def test_a_wrong_payload_size_is_a_value_error_and_nothing_is_sent(
    pair: tuple[ModuleType, ModuleType],
) -> None:
    there, here = pair
    with serving(there, ARRAYS, 1) as server:
        client = here.TcpClient("127.0.0.1", server.port, ARRAYS)
        wrong = {"x": np.zeros(2, np.float32), "n": np.asarray(np.int64(1))}
        with pytest.raises(ValueError, match=r"Payload size 16 != expected 20"):
            client.send(wrong)
        client.send(arrays(7))
        assert numbers_of(take(server)) == [7]
        client.close()


def test_calls_of_a_closed_client(pair: tuple[ModuleType, ModuleType]) -> None:
    there, here = pair
    with serving(there, ARRAYS, 1) as server:
        client = here.TcpClient("127.0.0.1", server.port, ARRAYS)
        client.close()
        client.close()
        expected = f"TcpClient for 127.0.0.1:{server.port} is closed"
        with pytest.raises(here.ConnectionClosedError, match=expected):
            client.send(arrays(0))
        assert issubclass(here.ConnectionClosedError, ConnectionError)


def test_a_client_notices_the_end_of_the_server(pair: tuple[ModuleType, ModuleType]) -> None:
    there, here = pair
    with contextlib.ExitStack() as stack:
        with serving(there, ARRAYS, 1) as server:
            client = stack.enter_context(connected(here, server.port, ARRAYS))
        assert client._closed.wait(timeout=WATCHDOG)
        assert client._closed.is_set()
        with pytest.raises(here.ConnectionClosedError):
            client.send(arrays(0))


def test_the_port_before_start_and_after_close(library: ModuleType) -> None:
    server = library.Server(ARRAYS, 1, transport=library.TcpTransport(port=0))
    with pytest.raises(RuntimeError, match="not started"):
        _ = server.port
    server.start()
    port = server.port
    assert 0 < port < 65536
    socket.create_connection(("127.0.0.1", port), timeout=WATCHDOG).close()
    server.close()
    with pytest.raises(RuntimeError, match="not started"):
        _ = server.port
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=WATCHDOG)


def test_a_server_without_transport_has_no_port(library: ModuleType) -> None:
    server = library.Server(ARRAYS, 1)
    with pytest.raises(RuntimeError, match="no transport"):
        _ = server.port
    server.close()


def test_a_port_in_use_is_an_error_of_start(library: ModuleType) -> None:
    with serving(library, ARRAYS, 1) as server:
        second = library.Server(ARRAYS, 1, transport=library.TcpTransport(port=server.port))
        with pytest.raises(RuntimeError, match="failed to start transport"):
            second.start()
        second.close()
        client = library.TcpClient("127.0.0.1", server.port, ARRAYS)
        client.send(arrays(3))
        assert numbers_of(take(server)) == [3]
        client.close()


def test_the_port_is_free_at_once_after_a_close(library: ModuleType) -> None:
    with contextlib.ExitStack() as stack:
        with serving(library, ARRAYS, 1) as server:
            port = server.port
            stack.enter_context(connected(library, port, ARRAYS))
        # Though this host's end of the connection, which the server ended first, still has it.
        again = library.Server(ARRAYS, 1, transport=library.TcpTransport(port=port))
        again.start()
        assert again.port == port
        again.close()


def test_active_connections_are_counted(library: ModuleType) -> None:
    with serving(library, ARRAYS, 1) as server:
        clients = [library.TcpClient("127.0.0.1", server.port, ARRAYS) for _ in range(3)]

        def connections() -> int:
            clients[0].send(arrays(0))
            sample = Worker(server.sample).result()
            return int(sample.info.active_connections)

        wait_until(lambda: connections() == 3, "three clients are counted")
        clients.pop().close()
        wait_until(lambda: connections() == 2, "two clients are counted")
        for client in clients:
            client.close()


def test_echos_client_refuses_the_other_wire_by_its_magic() -> None:
    transport = shm_echo.TcpTransport(port=0, wire="shm")
    with shm_echo.Server(ARRAYS, 1, transport) as server:
        with pytest.raises(ValueError, match=r"Unexpected handshake magic b'SHME'"):
            echo.TcpClient("127.0.0.1", server.port, ARRAYS)
