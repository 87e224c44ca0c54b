"""What a TcpClient writes: the bytes of all kinds of samples, within the window, in step."""

from __future__ import annotations

import signal
import threading
from collections import OrderedDict
from typing import Any, NamedTuple

import numpy as np
import pytest

from shm_echo import ConnectionClosedError, SendTimeoutError, SpecMismatchError
from tests.support.ack_server import pair
from tests.support.numbered import EXAMPLE, numbered, stacked
from tests.support.tcp_ends import ACK, numbered_bytes, payload
from tests.support.threads import Worker
from tests.support.waiting import wait_until


class Point(NamedTuple):
    x: Any
    y: Any


RANDOM = np.random.default_rng(7)


def floats(*shape: int) -> Any:
    return RANDOM.random(shape, np.float32)


# Small leaves, large ones, both sides of the size from which a leaf is not gathered, more leaves
# than one system call takes, no bytes in a leaf, nodes that C does not walk by itself.
SAMPLES: dict[str, Any] = {
    "one leaf": floats(6),
    "one number": np.array(5, np.int64),
    "small leaves": {"b": floats(2), "a": np.array(3, np.int16), "c": [floats(1), floats(0)]},
    "large leaves": {"image": floats(100, 70), "next": floats(100, 70), "reward": floats()},
    "around the limit": [floats(127), floats(128), floats(129), floats(1), floats(128)],
    "many small leaves": [floats(1) for _ in range(3000)],
    "many large leaves": [floats(130) for _ in range(1100)],
    "more small bytes than are gathered at once": [floats(100) for _ in range(400)],
    "namedtuple": {"p": Point(floats(3), floats(2)), "t": (floats(1), None)},
    "ordered": OrderedDict(z=floats(2), a=floats(3)),
}


@pytest.fixture(params=[False, True], ids=["", "keeps copies"])
def keeps(request: pytest.FixtureRequest) -> bool:
    """Return if the client is to keep copies, from which it sends, then, too."""
    return bool(request.param)


@pytest.fixture(params=SAMPLES)
def sample(request: pytest.FixtureRequest) -> Any:
    return SAMPLES[request.param]


def mapped(tree: Any, function: Any) -> Any:
    import optree

    return optree.tree_map(function, tree)


def test_a_sample_is_the_bytes_of_its_leaves(sample: Any, keeps: bool) -> None:
    with pair(sample, reconnect=keeps) as (server, client):
        for factor in (1, 2):
            scaled = mapped(sample, lambda leaf, f=factor: leaf * leaf.dtype.type(f))
            writer = Worker(client.send, scaled)
            assert server.read() == payload(scaled)
            writer.result()
        assert client._in_flight_count == 2
        server.ack(2)
        client.wait()
        assert client._in_flight_count == 0


def test_strided_leaves_are_sent_in_the_order_of_their_elements(sample: Any) -> None:
    reversed_sample = mapped(sample, lambda leaf: np.flip(np.flip(leaf).copy()))
    with pair(sample) as (server, client):
        writer = Worker(client.send, reversed_sample)
        assert server.read() == payload(sample)
        writer.result()


@pytest.mark.parametrize("count", [0, 1, 3, 7])
@pytest.mark.parametrize("window", [1, 4, 100])
def test_a_batch_is_its_samples_one_after_the_other(
    sample: Any, count: int, window: int, keeps: bool
) -> None:
    stack = mapped(
        sample, lambda leaf: np.stack([leaf * leaf.dtype.type(i) for i in range(count)] or [leaf])
    )
    if count == 0:
        stack = mapped(stack, lambda leaf: leaf[:0])
    with pair(sample, max_inflight_msgs=window, reconnect=keeps) as (server, client):
        writer = Worker(client.send_batch, stack)
        for i in range(count):
            assert server.read() == payload(mapped(stack, lambda leaf, i=i: leaf[i]))
            server.ack()
        assert writer.result() == count
        client.wait()


def test_numbers_and_casts_are_sent_as_the_example_says() -> None:
    with pair(EXAMPLE, cast="same_kind") as (server, client):
        client.send({"x": np.ones(3, np.float64), "n": 1})
        client.send({"x": np.full(3, 2, np.int16), "n": np.int8(2)})
        assert server.read(2) == numbered_bytes([1, 2])


# ---------------------------------------------------------------- what does not fit


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (
            {"x": np.zeros(2, np.float32), "n": 0},
            r"^Payload size 16 != expected 20: \['x'\]: expected float32 \(3,\), got float32 \(2",
        ),
        (
            {"x": np.zeros(3, np.float64), "n": 0},
            r"^Payload size 32 != expected 20: \['x'\]: expected float32 \(3,\), got float64 \(3",
        ),
        (
            {"x": np.zeros(3, np.int32), "n": 0},
            r"^\['x'\]: expected float32 \(3,\), got int32 \(3,\)$",
        ),
        ({"n": 0}, r"^Payload size 8 != expected 20: \['x'\]: .* the key is missing"),
        (
            {"x": np.zeros(3, np.float32), "n": "0"},
            r"^\['n'\]: expected int64 \(\), got a Python str",
        ),
    ],
)
def test_a_wrong_sample_names_the_leaf_and_sends_nothing(wrong: Any, text: str) -> None:
    with pair(EXAMPLE) as (server, client):
        with pytest.raises(SpecMismatchError, match=text):
            client.send(wrong)
        client.send(numbered(1))
        assert server.read() == numbered_bytes([1])
        assert not server.has_bytes()


def test_a_batch_of_unequal_lengths_sends_nothing() -> None:
    with pair(EXAMPLE) as (server, client):
        batch = stacked(range(3))
        batch["n"] = batch["n"][:2]
        with pytest.raises(SpecMismatchError, match="expected 2 samples|expected 3 samples"):
            client.send_batch(batch)
        assert not server.has_bytes()


# ---------------------------------------------------------------- the window


@pytest.mark.parametrize("window", [1, 2, 5])
def test_a_send_waits_while_the_window_is_full(window: int) -> None:
    with pair(EXAMPLE, max_inflight_msgs=window) as (server, client):
        for i in range(window):
            client.send(numbered(i), timeout=0)
        with pytest.raises(SendTimeoutError, match=f"{window} samples in flight") as e:
            client.send(numbered(9), timeout=0)
        assert e.value.sent == 0
        waiting = Worker(client.send, numbered(window))
        waiting.wait_until_asleep()
        assert server.read(window) == numbered_bytes(range(window))
        assert not server.has_bytes()
        server.ack()
        waiting.result()
        assert server.read() == numbered_bytes([window])


def test_a_batch_that_times_out_says_how_many_samples_were_sent() -> None:
    with pair(EXAMPLE, max_inflight_msgs=4) as (server, client):
        with pytest.raises(SendTimeoutError) as error:
            client.send_batch(stacked(range(10)), timeout=0.05)
        assert error.value.sent == 4
        server.ack(4)
        assert server.read(4) == numbered_bytes(range(4))
        client.send(numbered(4))
        assert server.read() == numbered_bytes([4])


def test_a_batch_of_small_samples_has_a_window_of_its_own_unless_one_is_named() -> None:
    sample = np.zeros(3, np.int64)
    many = np.arange(3 * 2730).reshape(-1, 3)  # 64 KiB
    with pair(sample) as (server, client):
        with pytest.raises(SendTimeoutError, match="2730 samples in flight") as error:
            client.send_batch(np.concatenate([many, many]), timeout=0)
        assert error.value.sent == len(many)
        assert server.read(len(many)) == many.tobytes()
        with pytest.raises(SendTimeoutError):  # the window of `send` is full many times over
            client.send(sample, timeout=0)
        server.ack(len(many) - 32)
        wait_until(lambda: client._in_flight_count == 32, "the acknowledgements came")
        with pytest.raises(SendTimeoutError):
            client.send(sample, timeout=0)
        server.ack()
        client.send(sample)
        assert server.read() == sample.tobytes()
    with pair(sample, max_inflight_msgs=32) as (server, client):
        with pytest.raises(SendTimeoutError) as error:
            client.send_batch(many, timeout=0)
        assert error.value.sent == 32
    with pair(np.zeros(9000)) as (server, client):  # two of them have more than 64 KiB
        with pytest.raises(SendTimeoutError) as error:
            client.send_batch(np.zeros((40, 9000)), timeout=0.05)
        assert error.value.sent <= 32


def test_samples_that_the_kernel_puts_together_are_not_held_back_for_good() -> None:
    """After many samples without a wait, later ones may wait for an answer to earlier ones. Here
    none comes but the kernel's, and no further call of the client pushes them."""
    with pair(EXAMPLE, max_inflight_msgs=1000) as (server, client):
        for i in range(600):
            client.send(numbered(i))
            if i % 100 == 99:
                assert server.read(100) == numbered_bytes(range(i - 99, i + 1))
                server.ack(100)
                wait_until(lambda: client._in_flight_count == 0, "the acknowledgements came")
        for i in range(600, 605):
            client.send(numbered(i))
        assert server.read(5) == numbered_bytes(range(600, 605))
        waiting = Worker(client.wait)
        waiting.wait_until_asleep()
        server.ack(5)
        waiting.result()


def test_strange_bytes_are_skipped_and_one_ack_too_many_is_ignored() -> None:
    with pair(EXAMPLE, max_inflight_msgs=2) as (server, client):
        client.send(numbered(0))
        server.say(b"\x00\xffxyz")
        with pytest.raises(TimeoutError, match="1 samples are not acknowledged after 0.05 s"):
            client.wait(0.05)
        server.say(b"\x02" + ACK * 3)
        client.wait()
        client.send(numbered(1))
        assert client._in_flight_count == 1, "an acknowledgement for nothing counts for nothing"
        server.ack()
        client.wait()


def test_several_threads_share_the_window_and_no_sample_is_torn(keeps: bool) -> None:
    def send(client: Any, first: int) -> None:
        for i in range(first, first + 50, 5):
            client.send(numbered(i))
            client.send_batch(stacked(range(i + 1, i + 5)))

    ranges = [range(100 * k, 100 * k + 50) for k in range(4)]
    with pair(EXAMPLE, max_inflight_msgs=3, reconnect=keeps) as (server, client):
        threads = [Worker(send, client, one.start) for one in ranges]
        got = []
        for _ in range(200):
            got.append(server.read())
            server.ack()
        for thread in threads:
            thread.result()
        client.wait()
    known = {numbered_bytes([n]): n for one in ranges for n in one}
    numbers = [known[sample] for sample in got]
    for one in ranges:
        assert [n for n in numbers if n in one] == list(one)


# ---------------------------------------------------------------- samples that are cut

LARGE: dict[str, Any] = {"a": np.arange(1 << 20, dtype=np.int32), "b": np.arange(9, dtype=np.int8)}


def test_a_sample_that_a_time_out_cuts_counts_as_sent_and_the_next_call_writes_its_rest(
    keeps: bool,
) -> None:
    with pair(LARGE, receive_buffer=1 << 14, reconnect=keeps) as (server, client):
        client.send(LARGE, timeout=0.02)  # the first bytes fit into the sockets' buffers
        assert client._in_flight_count == 1
        second = {"a": LARGE["a"] + 1, "b": LARGE["b"] + 1}
        with pytest.raises(SendTimeoutError):
            client.send(second, timeout=0.02)
        writer = Worker(client.send, second)
        assert server.read() == payload(LARGE)
        assert server.read() == payload(second)
        writer.result()


def test_wait_writes_the_rest_of_a_cut_sample(
    keeps: bool,
) -> None:
    with pair(LARGE, receive_buffer=1 << 14, reconnect=keeps) as (server, client):
        client.send(LARGE, timeout=0.02)
        waiter = Worker(client.wait)
        assert server.read() == payload(LARGE)
        server.ack()
        waiter.result()


def test_other_threads_wait_for_a_sample_that_is_being_written(
    keeps: bool,
) -> None:
    with pair(LARGE, receive_buffer=1 << 14, reconnect=keeps) as (server, client):
        trees = [{"a": LARGE["a"] + i, "b": LARGE["b"] + i} for i in range(4)]
        writers = [Worker(client.send, tree) for tree in trees]
        known = {payload(tree) for tree in trees}
        assert {server.read() for _ in trees} == known
        for writer in writers:
            writer.result()


class Handled(Exception):
    """Raised by the handler of a signal."""


def raise_handled(*_: object) -> None:
    raise Handled


@pytest.mark.parametrize("call", ["send", "wait"])
def test_an_exception_of_a_signal_handler_leaves_the_stream_in_step(call: str) -> None:
    old = signal.signal(signal.SIGUSR1, raise_handled)
    try:
        with pair(LARGE, receive_buffer=1 << 14) as (server, client):
            if call == "wait":
                client.send(LARGE, timeout=0.02)
            main = threading.main_thread().ident
            assert main is not None
            timer = threading.Timer(0.05, signal.pthread_kill, (main, signal.SIGUSR1))
            timer.start()
            with pytest.raises(Handled):
                client.send(LARGE) if call == "send" else client.wait()
            timer.join()
            second = {"a": LARGE["a"] + 1, "b": LARGE["b"]}
            writer = Worker(client.send, second)
            assert server.read() == payload(LARGE)
            assert server.read() == payload(second)
            writer.result()
    finally:
        signal.signal(signal.SIGUSR1, old)


def test_a_signal_handler_may_send_in_the_middle_of_a_send() -> None:
    second = {"a": LARGE["a"] + 1, "b": LARGE["b"]}
    read: list[bytes] = []
    with pair(LARGE, receive_buffer=1 << 14) as (server, client):

        def send_too(*_: object) -> None:
            reader.append(Worker(lambda: read.extend((server.read(), server.read()))))
            client.send(second)

        reader: list[Worker] = []
        old = signal.signal(signal.SIGUSR1, send_too)
        try:
            main = threading.main_thread().ident
            assert main is not None
            threading.Timer(0.05, signal.pthread_kill, (main, signal.SIGUSR1)).start()
            client.send(LARGE)
        finally:
            signal.signal(signal.SIGUSR1, old)
        wait_until(lambda: reader, "the handler ran")
        reader[0].result()
    assert read == [payload(LARGE), payload(second)]


def test_a_closed_client_sends_nothing() -> None:
    with pair(EXAMPLE) as (_, client):
        client.close()
        for call in (
            lambda: client.send(numbered(0)),
            lambda: client.send_batch(stacked(range(2))),
            lambda: client.reserve(),
        ):
            with pytest.raises(ConnectionClosedError, match=r"^TcpClient for .* is closed$"):
                call()
        client.wait()  # as in echo: every sample that was sent has arrived
