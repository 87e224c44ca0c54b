"""The arguments of a Server: every invalid one is rejected by its name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from shm_echo import Server, ShmClient, ShmTransport
from shm_echo.validation import seconds
from tests.support.numbered import EXAMPLE, numbered, numbers_of

NAN = float("nan")


class Impostor:
    """An object with two of the three members of a transport."""

    backing = "private"

    def start(self, ingress: Any) -> None: ...


BAD: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "no batch": ({"batch_size": 0}, ValueError, "batch_size must be at least 1, not 0"),
    "a negative batch": ({"batch_size": -4}, ValueError, "batch_size must be at least 1, not -4"),
    "half a batch": ({"batch_size": 2.5}, TypeError, "batch_size must be an int, not float"),
    "a true batch": ({"batch_size": True}, TypeError, "batch_size must be an int, not bool"),
    "batch as text": ({"batch_size": "32"}, TypeError, "batch_size must be an int, not str"),
    "one buffer": ({"num_buffers": 1}, ValueError, "num_buffers must be at least 2, not 1"),
    "two leased buffers": (
        {"num_buffers": 2, "lease": True},
        ValueError,
        "num_buffers must be at least 3 with lease=True, not 2",
    ),
    "buffers as None": ({"num_buffers": None}, TypeError, "num_buffers must be an int"),
    "no drainers": ({"num_drainers": 0}, ValueError, "num_drainers must be at least 1, not 0"),
    "no queue": (
        {"producer_queue_size": 0},
        ValueError,
        "producer_queue_size must be at least 1, not 0",
    ),
    "an address as transport": (
        {"transport": "cartpole"},
        TypeError,
        r"must be a Transport, a list of them or None, not 'cartpole'; ShmTransport",
    ),
    "a transport's port": ({"transport": 50051}, TypeError, r"; TcpTransport\(50051\) listens at"),
    "a transport's url": (
        {"transport": "tcp://127.0.0.1:50051"},
        TypeError,
        r"not 'tcp://127.0.0.1:50051'; TcpTransport\(port, host=...\) listens at a port$",
    ),
    "half a transport": ({"transport": Impostor()}, TypeError, "transport must be a Transport"),
    "unknown death policy": (
        {"on_producer_death": "panic"},
        ValueError,
        "on_producer_death must be one of 'warn', 'raise', 'raise_if_last', not 'panic'",
    ),
    "a negative lease_timeout": ({"lease_timeout": -1}, ValueError, "lease_timeout must be"),
    "lease_timeout that is no number": ({"lease_timeout": NAN}, ValueError, "lease_timeout must"),
    "lease_timeout as text": ({"lease_timeout": "5"}, TypeError, "lease_timeout must be None or a"),
    "nothing published": ({"publishes": {}}, ValueError, "no array leaves"),
    "a list published": ({"publishes": {"w": [1.0]}}, TypeError, r"\['w'\]\[0\]"),
}


@pytest.mark.parametrize(("arguments", "error", "words"), BAD.values(), ids=BAD)
def test_an_invalid_argument_is_rejected_by_name(
    arguments: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        Server(EXAMPLE, **{"batch_size": 2, **arguments})


BAD_EXAMPLES: dict[str, tuple[Any, type[Exception], str]] = {
    "no leaves": ({"a": None, "b": ()}, ValueError, "no array leaves"),
    "a Python number": ({"a": [np.zeros(2), 1.0]}, TypeError, r"\['a'\]\[1\].*a Python float"),
    "Python objects": ({"a": np.array([None])}, TypeError, r"\['a'\].*holds Python objects"),
    "objects inside": (
        (np.zeros(2, [("f", np.float32), ("o", object)]),),
        TypeError,
        r"\[0\].*holds Python objects",
    ),
}


@pytest.mark.parametrize(("example", "error", "words"), BAD_EXAMPLES.values(), ids=BAD_EXAMPLES)
def test_an_invalid_example_is_rejected_with_the_path_of_the_leaf(
    example: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        Server(example, 2)


BAD_TRANSPORTS: dict[str, tuple[tuple[Any, ...], str]] = {
    "unknown backing": (("n", "ramdisk"), "backing must be 'auto', 'posix' or 'memfd'"),
    "private backing": (("n", "private"), "backing must be 'auto', 'posix' or 'memfd'"),
    "no producers": (("n", "auto", 0), "max_producers must be at least 1, not 0"),
    "too many producers": (("n", "auto", 65535), "max_producers must be at most 65534, not 65535"),
    "an empty name": (("",), "address ''"),
    "a tcp address": (("tcp://localhost:1",), "address 'tcp://localhost:1'"),
}


@pytest.mark.parametrize(("arguments", "words"), BAD_TRANSPORTS.values(), ids=BAD_TRANSPORTS)
def test_an_invalid_argument_of_the_transport_is_rejected_by_name(
    arguments: tuple[Any, ...], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        ShmTransport(*arguments)


def test_the_smallest_ring_of_two_samples_works() -> None:
    with Server(EXAMPLE, 1, num_buffers=2) as server:
        for i in range(7):
            server.submit(numbered(i))
            sample = server.sample()
            assert sample is not None
            assert numbers_of(sample.batch) == [i]


# ---------------------------------------------------------------- the numbers of every call


@pytest.mark.parametrize("value", [None, float("inf"), 1e12, 10**30])
def test_a_timeout_of_none_or_of_many_years_waits_without_limit(value: Any) -> None:
    assert seconds("timeout", value) is None


@pytest.mark.parametrize("value", [0, 0.0, 2, 2.5, np.float32(2.5), np.int64(3)])
def test_a_time_out_may_be_any_real_number_from_0_up(value: Any) -> None:
    limit = seconds("timeout", value)
    assert type(limit) is float
    assert limit == value


@pytest.mark.parametrize("value", [-1, -0.001, NAN, np.float64("nan"), float("-inf")])
def test_a_negative_or_nan_timeout_is_a_value_error(value: Any) -> None:
    with pytest.raises(ValueError, match="timeout must be None or a number >= 0"):
        seconds("timeout", value)


@pytest.mark.parametrize("value", ["1", b"1", [1], 1j, object(), True])
def test_a_time_out_that_is_no_number_is_a_type_error(value: Any) -> None:
    with pytest.raises(TypeError, match="timeout must be None or a number of seconds"):
        seconds("timeout", value)


@pytest.mark.parametrize("call", ["sample", "flush"])
@pytest.mark.parametrize("value", [-1, NAN, "1"])
def test_sample_rejects_an_invalid_timeout(call: str, value: Any) -> None:
    with (
        Server(EXAMPLE, 2) as server,
        pytest.raises((TypeError, ValueError), match="timeout must be None or a number"),
    ):
        getattr(server, call)(value)


@pytest.mark.parametrize("value", [float("inf"), 1e12, 1e300])
def test_taking_a_batch_accepts_a_time_out_longer_than_any_clock(value: float) -> None:
    with Server(EXAMPLE, 1) as server:
        server.submit(numbered(3))
        sample = server.sample(timeout=value)
        assert sample is not None
        assert numbers_of(sample.batch) == [3]


@pytest.mark.parametrize("number", [np.int64, np.uint8, np.int32])
def test_every_count_of_the_public_classes_may_be_any_integer(number: Any, name: str) -> None:
    transport = ShmTransport(
        name, max_producers=number(3), allow_uids={number(7): ["ring"]}, services={}
    )
    assert type(transport.max_producers) is int
    transport = ShmTransport(name, max_producers=number(3))
    server = Server(
        EXAMPLE,
        number(2),
        transport,
        num_buffers=number(200),  # 400 samples: more than a uint8 can count
        num_drainers=number(1),
        producer_queue_size=number(4),
        publishes=EXAMPLE,
    )
    counts = (server.batch_size, server.num_buffers, server.num_drainers)
    assert all(type(count) is int for count in (*counts, server.producer_queue_size))
    with server, ShmClient(name, EXAMPLE, server_uid=number(0)) as client:
        for i in range(400):
            client.send(numbered(i), timeout=30)
        assert server.info().store_size == 400
        server.publish(numbered(1))
        assert client.wait_for(number(1), timeout=30) == 1
        client.close()
        batches = server.dataset_iter(until="producers_closed", min_producers=number(1))
        assert sum(len(numbers_of(sample.batch)) for sample in batches) == 400
