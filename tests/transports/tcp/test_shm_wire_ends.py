"""A Server and TcpClients on the shm wire: samples, counts, parameters, tokens, TLS, forks."""

from __future__ import annotations

import gc
import os
import pickle
import random
import ssl
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trustme

from shm_echo import (
    ConnectionClosedError,
    ForkedHandleError,
    Server,
    SpecMismatchError,
    TcpClient,
    TcpTransport,
)
from shm_echo.errors import HandshakeError, PeerRefusedError, RefusedError
from tests.support.forwarder import Forwarder, Way
from tests.support.leftovers import open_descriptors
from tests.support.numbered import EXAMPLE, numbered, numbers_of, stacked
from tests.support.tcp_ends import Collector
from tests.support.threads import Worker
from tests.support.waiting import WATCHDOG, wait_until

TOKEN, OTHER = "correct-horse-battery", "another-token-of-someone"
VALUE: dict[str, Any] = {"w": np.zeros(3, np.float32), "step": np.int64(0)}
HOST = "127.0.0.1"


def shm_server(batch_size: int = 2, publishes: Any = None, **options: Any) -> Server:
    transport = TcpTransport(port=0, wire="shm", **options)
    return Server(EXAMPLE, batch_size, transport=transport, publishes=publishes)


def client(server: Server, **options: Any) -> TcpClient:
    example = options.pop("data_sample", EXAMPLE)
    return TcpClient(HOST, server.port, example, **options)


def value(number: int) -> dict[str, Any]:
    return {"w": np.full(3, number, np.float32), "step": np.int64(number)}


def taken_numbers(server: Server) -> list[int]:
    sample = server.sample(WATCHDOG)
    assert sample is not None
    return numbers_of(sample.batch)


# ---------------------------------------------------------------- samples


def test_samples_arrive_one_by_one_in_batches_and_from_slots() -> None:
    with shm_server(batch_size=5) as server, client(server) as actor:
        assert actor.wire == "shm"
        actor.send(numbered(0))
        assert actor.send_batch(stacked([1, 2, 3])) == 3
        with actor.reserve() as slot:
            slot["x"][:] = 4
            slot["n"][...] = 4
        assert taken_numbers(server) == [0, 1, 2, 3, 4]


def test_a_client_without_an_example_takes_the_servers() -> None:
    with shm_server() as server, TcpClient(HOST, server.port) as actor:
        actor.send(numbered(0))
        actor.send(numbered(1))
        assert taken_numbers(server) == [0, 1]


def test_producers_are_listed_with_what_they_said() -> None:
    with shm_server() as server, client(server, producer_id="actor-1", way="by TCP"):
        (info,) = wait_until(server.producers, "the producer is listed")
        assert info.producer_id == "actor-1"
        assert info.way == "by TCP"
        assert info.peer is not None
        assert info.peer.startswith(f"{HOST}:")


def test_taken_is_when_the_learner_has_them() -> None:
    with shm_server() as server, client(server, wait_until="taken") as actor:
        actor.send(numbered(0))
        actor.wait(until="stored")
        actor.send(numbered(1))
        waiter = Worker(actor.wait)
        wait_until(
            lambda: [one.state for one in server.producers()] == ["waiting"], "the producer waits"
        )
        assert taken_numbers(server) == [0, 1]
        waiter.result()


def test_a_learner_that_does_not_sample_ends_a_wait_in_time() -> None:
    with shm_server() as server, client(server) as actor:
        actor.send(numbered(0))
        with pytest.raises(TimeoutError):
            actor.wait(0.1, until="taken")


@pytest.mark.parametrize(
    ("mine", "path"),
    [
        ({"x": np.zeros(3, np.float64), "n": np.int64(0)}, r"\['x'\].*float32 .*got float64"),
        ({"x": np.zeros(3, np.int32), "n": np.int64(0)}, r"\['x'\].*float32 .*got int32"),
        ({"x": np.zeros(4, np.float32), "n": np.int64(0)}, r"\['x'\].*\(3,\).*got float32 \(4,\)"),
        ({"x": np.zeros(3, np.float32)}, r"\['n'\].*without this key"),
    ],
    ids=["item size", "kind", "shape", "key"],
)
def test_an_example_that_differs_is_named_by_its_path(mine: Any, path: str) -> None:
    with shm_server() as server:
        with pytest.raises(SpecMismatchError, match=path):
            client(server, data_sample=mine)


def test_another_run_is_refused_by_both_names() -> None:
    with shm_server(run_id="tuesday") as server:
        with pytest.raises(RefusedError, match="'tuesday'.*'monday'"):
            client(server, run_id="monday")
        with pytest.raises(RefusedError, match="run_id='tuesday'"):
            client(server)
        client(server, run_id="tuesday").close()


def test_the_echo_package_meets_the_magic_with_its_own_words() -> None:
    echo = pytest.importorskip("echo")
    with shm_server() as server:
        with pytest.raises(ValueError, match=r"Unexpected handshake magic b'SHME'"):
            echo.TcpClient(HOST, server.port, {k: np.asarray(v) for k, v in EXAMPLE.items()})


def test_what_echos_wire_does_not_have_is_refused_by_name() -> None:
    with Server(EXAMPLE, 2, transport=TcpTransport(port=0)) as server:
        with pytest.raises(ValueError, match="publishes="):
            client(server, publishes=VALUE)
        with pytest.raises(ValueError, match=r'^role="reader" is not possible'):
            client(server, data_sample=None, role="reader")


# ---------------------------------------------------------------- once, over cut connections


@pytest.mark.parametrize("end", ["close", "reset"])
@pytest.mark.parametrize("seed", range(4))
def test_each_sample_arrives_once_and_in_order_over_random_cuts(seed: int, end: Any) -> None:
    random_source = random.Random(seed)

    def up(number: int) -> Way:
        cut = random_source.randint(1, 3000) if number < 12 else None
        return Way(size=lambda: random_source.randint(1, 700), cut_at=cut, end=end)

    def down(number: int) -> Way:
        cut = random_source.randint(1, 3000) if number < 12 and number % 3 == 0 else None
        return Way(size=lambda: random_source.randint(1, 100), cut_at=cut, end=end)

    count = 1000
    with shm_server(batch_size=8) as server, Forwarder(server.port, up, down) as forwarder:
        collector = Collector(server)
        collecting = Worker(collector.until, count)
        with TcpClient(
            HOST, forwarder.port, EXAMPLE, reconnect=True, connect_timeout=WATCHDOG
        ) as actor:
            for number in range(0, count, 10):
                if number % 3:
                    actor.send_batch(stacked(range(number, number + 10)))
                else:
                    for one in range(number, number + 10):
                        actor.send(numbered(one))
            actor.wait(WATCHDOG)
        collecting.result()
        assert collector.until_idle() == list(range(count))
        assert len(forwarder.links) > 1


def test_parameters_come_through_cut_connections() -> None:
    def down(number: int) -> Way:
        return Way(cut_at=900 if number in (1, 2, 3) else None)

    with shm_server(publishes=VALUE) as server, Forwarder(server.port, None, down) as forwarder:
        with TcpClient(HOST, forwarder.port, EXAMPLE, reconnect=True) as actor:
            for number in range(1, 40):
                server.publish(value(number))
                found = actor.latest()
                assert found is not None
                assert found[0] == number
                assert found[1]["step"] == number
        assert len(forwarder.links) > 2


# ---------------------------------------------------------------- parameters and readers


def test_parameters_go_to_producers_and_samples_to_the_server() -> None:
    with shm_server(publishes=VALUE) as server, client(server, publishes=VALUE) as actor:
        assert actor.latest() is None
        for number in range(1, 4):
            waiter = Worker(actor.wait_for, number)
            assert server.publish(value(number)) == number
            assert waiter.result() == number
            found = actor.latest()
            assert found is not None
            assert found[1]["step"] == number
            actor.send(numbered(2 * number))
            actor.send(numbered(2 * number + 1))
            assert taken_numbers(server) == [2 * number, 2 * number + 1]


def test_a_reader_is_listed_and_is_no_producer() -> None:
    with shm_server(publishes=VALUE) as server:
        server.publish(value(7))
        with TcpClient(HOST, server.port, role="reader") as reader:
            found = reader.latest()
            assert found is not None
            assert found[1]["step"] == 7
            (info,) = server.readers()
            assert info.peer is not None
            assert server.producers() == []
        wait_until(lambda: not server.readers(), "the reader has left")


def test_a_server_that_publishes_nothing_says_so() -> None:
    with shm_server() as server:
        with client(server) as actor, pytest.raises(RuntimeError, match="publishes nothing"):
            actor.latest()
        with pytest.raises(RefusedError, match="publishes nothing"):
            client(server, role="reader")


def test_the_end_of_the_server_ends_waits() -> None:
    with shm_server(publishes=VALUE) as server, client(server) as actor:
        waiter = Worker(actor.wait_for, 1)
        waiter.wait_until_asleep()
        server.close()
        with pytest.raises(ConnectionClosedError):
            waiter.result()


# ---------------------------------------------------------------- tokens


def test_a_token_lets_in_and_no_other_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "token"
    path.write_text(TOKEN + "\n")
    path.chmod(0o600)
    with shm_server(token=path) as server:
        with pytest.raises(RefusedError, match="SHM_ECHO_TOKEN"):
            client(server)
        with pytest.raises(RefusedError, match="does not know the token") as refused:
            client(server, token=OTHER)
        client(server, token=TOKEN).close()
        monkeypatch.setenv("SHM_ECHO_TOKEN_FILE", str(path))
        client(server).close()
        monkeypatch.setenv("SHM_ECHO_TOKEN", OTHER)
        with pytest.raises(RefusedError, match="does not know the token"):
            client(server)
    for secret in (TOKEN, OTHER):
        assert secret not in caplog.text + str(refused.value)


def test_all_of_a_client_with_a_token_works() -> None:
    tokens = {"ann": OTHER, "bob": TOKEN}
    with shm_server(token=tokens, publishes=VALUE) as server, client(server, token=TOKEN) as actor:
        server.publish(value(1))
        assert actor.wait_for(1) == 1
        actor.send(numbered(0))
        actor.send(numbered(1))
        assert taken_numbers(server) == [0, 1]
        actor.wait(WATCHDOG, until="taken")
        assert [one.holder for one in server.producers()] == ["bob"]


@pytest.mark.parametrize("token", ["short", "has spaces in between them", "", "é" * 20])
def test_what_is_no_token_is_refused_without_showing_it(token: str) -> None:
    for make in (
        lambda: TcpTransport(port=0, token=token),
        lambda: TcpClient(HOST, 1, EXAMPLE, token=token),
    ):
        with pytest.raises(ValueError, match="token") as error:
            make()
        assert not token or token not in str(error.value)


def test_a_pickled_client_has_no_token() -> None:
    with shm_server(token=TOKEN) as server, client(server, token=TOKEN) as actor:
        try:
            data = pickle.dumps(actor)
        except TypeError as error:
            assert "SHM_ECHO_TOKEN" in str(error)
        else:
            assert TOKEN.encode() not in data
        for shown in (repr(actor), str(vars(actor)), repr(server)):
            assert TOKEN not in shown


def test_a_client_with_a_token_sends_nothing_to_a_server_of_echos_wire() -> None:
    with Server(EXAMPLE, 2, transport=TcpTransport(port=0)) as server:
        with pytest.raises(RefusedError, match="nothing was sent"):
            client(server, token=TOKEN)


# ---------------------------------------------------------------- TLS


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def contexts(authority: trustme.CA, name: str = "127.0.0.1") -> tuple[Any, Any]:
    theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name).configure_cert(theirs)
    mine = ssl.create_default_context()
    authority.configure_trust(mine)
    return theirs, mine


def test_everything_goes_through_tls(authority: trustme.CA) -> None:
    theirs, mine = contexts(authority)
    with shm_server(batch_size=100, publishes=VALUE, tls=theirs, token=TOKEN) as server:
        with client(server, tls=mine, token=TOKEN, producer_id=7) as actor:
            actor.send_batch(stacked(range(99)))
            actor.send(numbered(99))
            assert taken_numbers(server) == list(range(100))
            actor.wait(WATCHDOG, until="taken")
            server.publish(value(3))
            assert actor.wait_for(1) == 1
            (info,) = server.producers()
            assert info.peer is not None
            assert info.peer.startswith(f"{HOST}:")
            assert info.producer_id == "7"
        wait_until(lambda: not server.producers(), "it has left")


def test_closing_right_after_sending_loses_nothing_over_tls(authority: trustme.CA) -> None:
    theirs, mine = contexts(authority)
    with shm_server(batch_size=8, tls=theirs) as server:
        collector = Collector(server)
        with client(server, tls=mine, max_inflight_msgs=1000) as actor:
            actor.send_batch(stacked(range(20)))
        assert collector.until_idle() == list(range(20))


def test_large_samples_arrive_whole_over_tls(authority: trustme.CA) -> None:
    theirs, mine = contexts(authority)
    example = {"a": np.zeros(1 << 20, np.uint8), "b": np.int64(0)}
    transport = TcpTransport(port=0, tls=theirs)
    with Server(example, 2, transport=transport) as server:
        rows = [np.frombuffer(os.urandom(1 << 20), np.uint8) for _ in range(4)]
        with client(server, data_sample=example, tls=mine) as actor:

            def send() -> None:
                for number, row in enumerate(rows):
                    actor.send({"a": row, "b": number})

            sending = Worker(send)
            for first in (0, 2):
                sample = server.sample(WATCHDOG)
                assert sample is not None
                np.testing.assert_array_equal(sample.batch["a"], rows[first : first + 2])
            sending.result()


def test_a_certificate_that_is_not_trusted_is_named(authority: trustme.CA) -> None:
    theirs, mine = contexts(authority, "learner.example")
    with shm_server(tls=theirs) as server:
        with pytest.raises(PeerRefusedError, match="not trusted: "):
            client(server, tls=True)
        with pytest.raises(PeerRefusedError, match=r"127\.0\.0\.1.*not trusted: "):
            client(server, tls=mine)
        client(server, tls=mine, server_hostname="learner.example").close()


def test_one_side_without_tls_is_named(authority: trustme.CA) -> None:
    theirs, mine = contexts(authority)
    with shm_server() as server:
        with pytest.raises(HandshakeError, match="made without tls="):
            client(server, tls=mine)
    with shm_server(tls=theirs) as server:
        with pytest.raises(HandshakeError, match="tls="):
            client(server, connect_timeout=1.0)


# ---------------------------------------------------------------- the end, and forks


@pytest.mark.parametrize("secured", [False, True], ids=["plain", "tls"])
def test_descriptors_return_to_where_they_were(authority: trustme.CA, secured: bool) -> None:
    theirs, mine = contexts(authority) if secured else (None, None)

    def serve() -> None:  # some descriptors end with the server as an object
        with shm_server(publishes=VALUE, tls=theirs) as server:
            server.publish(value(1))
            with client(server, tls=mine) as actor:
                actor.send(numbered(0))
                assert actor.latest() is not None
                with TcpClient(HOST, server.port, role="reader", tls=mine) as reader:
                    assert reader.latest() is not None

    serve()
    gc.collect()
    before = open_descriptors()
    serve()
    wait_until(lambda: open_descriptors() <= before, "all descriptors are closed")


@pytest.mark.parametrize("secured", [False, True], ids=["plain", "tls"])
def test_a_forked_child_keeps_no_connection_open(authority: trustme.CA, secured: bool) -> None:
    theirs, mine = contexts(authority) if secured else (None, None)
    server = shm_server(publishes=VALUE, tls=theirs).start()
    server.publish(value(1))
    actor = client(server, tls=mine)
    assert actor.latest() is not None
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(write_end)
            with pytest.raises(ForkedHandleError):
                actor.send(numbered(0))
            with pytest.raises(ForkedHandleError):
                actor.latest()
            os.read(read_end, 1)  # until the parent is done
        finally:
            os._exit(0)
    os.close(read_end)
    try:
        actor.send(numbered(0))
        actor.close()
        wait_until(lambda: not server.producers(), "the client has left, child or not")
        port = server.port
        server.close()
        with Server(EXAMPLE, 2, transport=TcpTransport(port=port, wire="shm")):
            pass  # the child does not hold the port
    finally:
        os.close(write_end)
        os.waitpid(pid, 0)
