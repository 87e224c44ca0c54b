"""Published values and the learner's progress over control connections, over real sockets."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from shm_echo.errors import ConnectionClosedError, ProtocolError, RefusedError
from shm_echo.spec import TreeSpec
from shm_echo.transports.tcp import control_channel as control_module
from shm_echo.transports.tcp.client_control import RemoteSubscriber
from shm_echo.transports.tcp.control_wire import Request
from shm_echo.transports.tcp.shm_handshake import ClientIdentity
from tests.support.shm_wire import VALUE, Listener, connected, identity, open_wire, serving
from tests.support.threads import Worker
from tests.support.waiting import WATCHDOG, wait_until

LARGE = {"w": np.zeros(1 << 20, np.float32)}


def value(number: int) -> dict[str, Any]:
    return {"w": np.full(3, number, np.float32), "step": np.int64(number)}


@contextlib.contextmanager
def subscriber(
    listener: Listener, who: ClientIdentity | None = None, **arguments: Any
) -> Iterator[RemoteSubscriber]:
    def open_stream(deadline: float) -> socket.socket:
        return connected(arguments.pop("port", listener.port))

    given = {"role": "control", "address": "the server", **arguments}
    found = RemoteSubscriber(open_stream, who or identity(), **given)
    try:
        yield found
    finally:
        found.close()


def publish(listener: Listener, number: int) -> int:
    assert listener.publisher is not None
    return listener.publisher.publish(value(number))


# ---------------------------------------------------------------- latest


def test_before_the_first_version_there_is_none() -> None:
    with serving(publishes=VALUE) as listener, subscriber(listener) as remote:
        assert remote.latest(None) is None


def test_latest_returns_the_newest_version_and_its_number() -> None:
    with serving(publishes=VALUE) as listener, subscriber(listener) as remote:
        for number in (1, 2, 3):
            publish(listener, number)
        found = remote.latest(WATCHDOG)
        assert found is not None
        version, tree = found
        assert version == 3
        assert tree["step"] == 3
        np.testing.assert_array_equal(tree["w"], [3, 3, 3])
        assert tree["w"].dtype == np.float32


def test_an_unchanged_version_moves_no_payload_and_is_a_tree_of_its_own() -> None:
    with serving(publishes=VALUE) as listener, subscriber(listener) as remote:
        publish(listener, 1)
        first = remote.latest(None)
        second = remote.latest(None)
        assert first is not None
        assert second is not None
        assert first[1] is not second[1]
        assert first[1]["w"] is second[1]["w"]
        with connected(listener.port) as sock:
            open_wire(sock, role="control")
            sock.sendall(Request("newest", 1).encode())
            sock.settimeout(WATCHDOG)
            assert len(sock.recv(65536)) < 100


def test_arrays_are_read_only_unless_asked_for() -> None:
    with serving(publishes=VALUE) as listener, subscriber(listener) as remote:
        publish(listener, 1)
        found, own = remote.latest(None), remote.latest(None, writable=True)
        assert found is not None
        assert own is not None
        with pytest.raises(ValueError, match="read-only"):
            found[1]["w"][0] = 5
        with pytest.raises(ValueError, match="cannot set WRITEABLE"):
            found[1]["w"].flags.writeable = True
        own[1]["w"][0] = 5
        again = remote.latest(None, writable=True)
        assert again is not None
        assert again[1]["w"][0] == 1


@pytest.mark.parametrize(
    "example",
    [
        {"a": np.longdouble(0), "b": np.zeros(3, np.int8), "c": np.zeros((2, 2), ">f8")},
        {"empty": np.zeros((0, 4)), "one": np.uint8(0)},
        [np.zeros(1, np.complex64), (np.bool_(False), np.zeros(5, "U3"))],
    ],
    ids=["odd sizes", "empty leaf", "nested"],
)
def test_any_example_arrives_as_it_was(example: Any) -> None:
    with serving(publishes=example) as listener, subscriber(listener) as remote:
        spec = TreeSpec.from_example(example)
        leaves = [
            np.frombuffer(np.random.default_rng(1).bytes(leaf.nbytes), np.uint8)
            .copy()
            .view(leaf.dtype)
            .reshape(leaf.shape)
            if leaf.dtype.kind not in "bUc" and leaf.dtype != np.longdouble
            else np.ones(leaf.shape, leaf.dtype)
            for leaf in spec.leaves
        ]
        assert listener.publisher is not None
        listener.publisher.publish(spec.unflatten(leaves))
        found = remote.latest(None)
        assert found is not None
        for mine, theirs in zip(spec.flatten(found[1]), leaves, strict=True):
            assert mine.dtype == theirs.dtype
            np.testing.assert_array_equal(mine, theirs)


def test_the_spec_can_be_given_or_taken_from_the_server() -> None:
    spec = TreeSpec.from_example(VALUE)
    with serving(publishes=VALUE) as listener:
        publish(listener, 4)
        for given in (None, spec):
            with subscriber(listener, publishes=given) as remote:
                found = remote.latest(None)
                assert found is not None
                assert found[1]["step"] == 4


def test_a_server_that_publishes_nothing_says_so() -> None:
    with serving() as listener, subscriber(listener) as remote:
        with pytest.raises(ProtocolError, match="publishes nothing"):
            remote.latest(None)


# ---------------------------------------------------------------- wait_for


def test_wait_for_a_version_that_is_there_returns_the_newest() -> None:
    with serving(publishes=VALUE) as listener, subscriber(listener) as remote:
        publish(listener, 1)
        publish(listener, 2)
        assert remote.wait_for(1, None) == 2


def test_publish_wakes_a_client_that_waits() -> None:
    with serving(publishes=VALUE) as listener, subscriber(listener) as remote:
        waiter = Worker(lambda: remote.wait_for(2, None))
        wait_until(lambda: listener.acceptor._control._waiting, "it waits")
        publish(listener, 1)
        publish(listener, 2)
        assert waiter.result() == 2


def test_a_wait_for_a_version_ends_in_time() -> None:
    with serving(publishes=VALUE) as listener, subscriber(listener) as remote:
        publish(listener, 1)
        with pytest.raises(TimeoutError, match=r"version 2 did not come within 0.05 s \(newest: 1"):
            remote.wait_for(2, 0.05)
        assert remote.wait_for(1, 0) == 1


def test_the_end_of_the_server_ends_a_wait() -> None:
    with serving(publishes=VALUE) as listener, subscriber(listener) as remote:
        waiter = Worker(lambda: remote.wait_for(1, None))
        wait_until(lambda: listener.acceptor._control._waiting, "it waits")
        listener.acceptor.close()
        with pytest.raises(ConnectionClosedError, match="has gone"):
            waiter.result()
        with pytest.raises(ConnectionClosedError, match="has gone"):
            remote.latest(None)


def test_closing_the_client_ends_its_waits() -> None:
    with serving(publishes=VALUE) as listener, subscriber(listener) as remote:
        waiter = Worker(lambda: remote.wait_for(1, None))
        wait_until(lambda: listener.acceptor._control._waiting, "it waits")
        remote.close()
        with pytest.raises(ConnectionClosedError, match="is closed"):
            waiter.result()
        with pytest.raises(ConnectionClosedError, match="is closed"):
            remote.latest(None)


def test_threads_share_a_subscriber_and_none_waits_for_another() -> None:
    with serving(publishes=VALUE) as listener, subscriber(listener) as remote:
        waiter = Worker(lambda: remote.wait_for(2, None))
        wait_until(lambda: listener.acceptor._control._waiting, "it waits")
        publish(listener, 1)
        found = remote.latest(None)
        assert found is not None
        assert found[0] == 1
        publish(listener, 2)
        assert waiter.result() == 2


# ---------------------------------------------------------------- taken


def test_taken_waits_for_the_learner() -> None:
    who = identity()
    with serving() as listener, subscriber(listener, who) as remote:
        with connected(listener.port) as sock:
            open_wire(sock, who)
            sock.sendall(bytes(24))
            listener.ingress.wait_for_samples(3)
            with pytest.raises(TimeoutError, match=r"within 0.05 s"):
                remote.taken(3, 0.05)
            waiter = Worker(lambda: remote.taken(3, None))
            wait_until(lambda: listener.acceptor._control._draining, "it waits")
            assert listener.ingress.waiting == {1: True}
            listener.ingress.take(2)
            listener.ingress.take(3)
            waiter.result()
            assert listener.ingress.waiting == {1: False}


def test_nothing_sent_is_taken_at_once() -> None:
    with serving() as listener, subscriber(listener) as remote:
        remote.taken(0, 0)


def test_samples_of_earlier_connections_count_as_taken_when_they_are() -> None:
    who = identity()
    with serving() as listener, subscriber(listener, who) as remote:
        with connected(listener.port) as sock:
            open_wire(sock, who)
            sock.sendall(bytes(16))
            listener.ingress.wait_for_samples(2)
        wait_until(
            lambda: listener.acceptor.sessions.find((None, who.session)).queued == 2, "its end"
        )
        with pytest.raises(TimeoutError):
            remote.taken(2, 0)
        listener.ingress.take(2)
        remote.taken(2, None)


# ---------------------------------------------------------------- readers


def test_a_reader_is_listed_while_it_is_connected() -> None:
    with serving(publishes=VALUE) as listener:
        with subscriber(listener, role="reader") as remote:
            remote.open()
            (info,) = wait_until(listener.readers.snapshot, "the reader is listed")
            assert info.pid is None
            assert info.peer is not None
            assert info.peer.startswith("127.0.0.1:")
            publish(listener, 1)
            assert remote.wait_for(1, None) == 1
        wait_until(lambda: not listener.readers.snapshot(), "the reader is not listed")


def test_a_control_connection_of_a_producer_is_no_reader() -> None:
    with serving(publishes=VALUE) as listener, subscriber(listener) as remote:
        publish(listener, 1)
        assert remote.latest(None) is not None
        assert listener.readers.snapshot() == []


def test_readers_that_read_nothing_delay_neither_publish_nor_each_other() -> None:
    with serving(publishes=LARGE) as listener, contextlib.ExitStack() as stack:
        assert listener.publisher is not None
        listener.publisher.publish(LARGE)
        for _ in range(20):
            sock = stack.enter_context(connected(listener.port))
            open_wire(sock, role="reader")
            sock.sendall(Request("newest").encode())
        wait_until(
            lambda: sum(bool(one.out) for one in list(listener.acceptor._control._clients)) == 20,
            "all are being sent a value",
        )
        remote = stack.enter_context(subscriber(listener))
        for number in range(1, 6):
            version = listener.publisher.publish({"w": np.full(1 << 20, number, np.float32)})
            assert remote.wait_for(version, None) == version
            found = remote.latest(None)
            assert found is not None
            assert (found[1]["w"] == number).all()


def test_one_copy_of_a_version_serves_all_readers() -> None:
    with serving(publishes=LARGE) as listener, contextlib.ExitStack() as stack:
        assert listener.publisher is not None
        listener.publisher.publish(LARGE)
        for _ in range(8):
            sock = stack.enter_context(connected(listener.port))
            open_wire(sock, role="reader")
            sock.sendall(Request("newest").encode())
        clients = listener.acceptor._control._clients
        wait_until(lambda: sum(bool(one.out) for one in list(clients)) == 8, "all are sent it")
        assert len({id(one.out[-1].obj) for one in clients}) == 1


def test_a_reader_that_takes_nothing_is_dropped_in_the_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(control_module, "STALLED_SECONDS", 0.2)
    with serving(publishes=LARGE) as listener, connected(listener.port) as sock:
        assert listener.publisher is not None
        listener.publisher.publish(LARGE)
        open_wire(sock, role="reader")
        sock.sendall(Request("newest").encode())
        wait_until(lambda: "took nothing" in caplog.text, "it is dropped")
        wait_until(lambda: not listener.readers.snapshot(), "the reader is not listed")


@pytest.mark.parametrize(
    "sent",
    [b"\x00\x00\x00\x00", b"\xff" * 64, Request("newest").encode() * 2, b"\x01\x00\x00\x00\xc1"],
    ids=["empty", "too long", "two at once", "no msgpack"],
)
def test_a_malformed_request_ends_its_connection_alone(
    sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(publishes=VALUE) as listener, connected(listener.port) as sock:
        open_wire(sock, role="control")
        sock.sendall(sent)
        sock.settimeout(WATCHDOG)
        while sock.recv(4096):
            pass
        with subscriber(listener) as remote:
            assert remote.latest(None) is None
    assert "was disconnected" in caplog.text


def test_publish_calls_nothing_without_a_channel() -> None:
    with serving(publishes=VALUE) as listener:
        assert listener.publisher is not None
        assert listener.publisher.on_publish is not None
    assert listener.publisher.on_publish is None


# ---------------------------------------------------------------- the server goes and comes


def test_without_reconnect_another_server_is_not_accepted() -> None:
    with serving(publishes=VALUE) as first:
        publish(first, 1)
        with subscriber(first) as remote:
            assert remote.latest(None) is not None
            first.acceptor.close()
            with serving(publishes=VALUE, instance_id=b"j" * 16) as second:
                remote._open_stream = lambda deadline: connected(second.port)
                with pytest.raises(ConnectionClosedError, match="has gone"):
                    remote.latest(None)


def test_with_reconnect_a_new_server_is_read_from_its_first_version_on() -> None:
    with serving(publishes=VALUE) as first:
        publish(first, 1)
        publish(first, 2)
        with subscriber(first, reconnect=True) as remote:
            assert remote.latest(None) is not None
            first.acceptor.close()
            with serving(publishes=VALUE, instance_id=b"j" * 16) as second:
                remote._open_stream = lambda deadline: connected(second.port)
                publish(second, 8)
                publish(second, 9)
                found = remote.latest(None)
                assert found is not None
                assert found[0] == 2
                assert found[1]["step"] == 9


def test_a_refusal_names_its_reason() -> None:
    with serving(publishes=VALUE, run_id="tuesday") as listener:
        with subscriber(listener) as remote:
            with pytest.raises(RefusedError, match="'tuesday'"):
                remote.latest(time.monotonic())
