"""The arguments of a TcpTransport, and the examples that its wire cannot carry."""

from __future__ import annotations

import os
import pickle
import ssl
from typing import Any

import numpy as np
import pytest
import trustme

from shm_echo import Server, ShmTransport, TcpTransport, Transport


def with_certificate() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    return context


EXAMPLE = {"x": np.zeros(3, np.float32), "n": np.int64(0)}

BAD: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "port below 0": ({"port": -1}, ValueError, "port must be at least 0, not -1"),
    "port too large": ({"port": 65536}, ValueError, "port must be at most 65535, not 65536"),
    "port as text": ({"port": "5000"}, TypeError, "port must be an int, not str"),
    "port as bool": ({"port": True}, TypeError, "port must be an int, not bool"),
    "no threads": ({"num_threads": 0}, ValueError, "num_threads must be at least 1, not 0"),
    "many threads": ({"num_threads": 10**6}, ValueError, "num_threads must be at most 64"),
    "host as bytes": ({"host": b"::1"}, TypeError, "host must be text, not bytes"),
    "no host": ({"host": ""}, ValueError, "host must be an address or a host name, not ''"),
    "host as address": ({"host": "tcp://a"}, ValueError, "host must be an address or a host name"),
    "wire": ({"wire": "udp"}, ValueError, "wire must be 'echo', 'shm' or None, not 'udp'"),
    "token on echo": (
        {"wire": "echo", "token": "0123456789abcdef"},
        ValueError,
        "token needs wire='shm'",
    ),
    "tls on echo": (
        {"wire": "echo", "tls": ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)},
        ValueError,
        "tls needs wire='shm'",
    ),
    "run_id on echo": ({"wire": "echo", "run_id": "a"}, ValueError, "run_id needs wire='shm'"),
    "tls as bool": ({"tls": True}, TypeError, "tls must be an ssl.SSLContext or None, not bool"),
    "empty run_id": ({"run_id": ""}, ValueError, "run_id must have 1 to 64 characters, not 0"),
    "ingress_bytes": ({"ingress_bytes": 0}, ValueError, "ingress_bytes must be at least 1"),
    "dead_after": ({"dead_after": 1}, ValueError, "dead_after must be None or 2 to 86,400 seconds"),
    "dead_after as text": ({"dead_after": "x"}, TypeError, "dead_after must be None or a number"),
    "short token": ({"token": "short"}, ValueError, "token= has 5 characters"),
    "token as int": ({"token": 7}, TypeError, "token must be"),
}


@pytest.mark.parametrize(("arguments", "error", "words"), BAD.values(), ids=BAD)
def test_an_invalid_argument_is_rejected_by_name(
    arguments: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        TcpTransport(**{"port": 0, **arguments})


def test_the_defaults_are_those_that_the_documentation_promises() -> None:
    transport = TcpTransport(50051)
    assert isinstance(transport, Transport)
    assert transport.wire == "echo"
    assert transport.host == "127.0.0.1"
    assert transport.num_threads == min(8, len(os.sched_getaffinity(0)))
    assert transport.backing == "private"
    assert transport.address == "tcp://127.0.0.1:50051"
    assert repr(transport) == "TcpTransport(50051, host='127.0.0.1', wire='echo')"


@pytest.mark.parametrize(
    "arguments",
    [
        {"wire": "shm"},
        {"token": "0123456789abcdef"},
        {"run_id": "run-7"},
        {"tls": with_certificate()},
    ],
    ids=["by name", "token", "run", "tls"],
)
def test_what_echo_lacks_implies_the_other_wire(arguments: dict[str, Any]) -> None:
    assert TcpTransport(0, **arguments).wire == "shm"


def test_an_ipv6_address_may_stand_in_brackets() -> None:
    assert TcpTransport(5000, host="[::1]").address == "tcp://[::1]:5000"


def test_before_its_start_a_transport_can_be_pickled() -> None:
    transport = pickle.loads(pickle.dumps(TcpTransport(5000, 3, host="::", dead_after=None)))
    assert (transport.address, transport.num_threads) == ("tcp://[::]:5000", 3)
    assert transport.dead_after is None


# ---------------------------------------------------------------- examples


def test_publishing_needs_a_wire_that_carries_values() -> None:
    echo, shm = TcpTransport(0), TcpTransport(0, wire="shm")
    for transport in (echo, [echo], [echo, TcpTransport(0)]):
        with pytest.raises(ValueError, match=r"^publishes= needs a transport .* wire='shm'$"):
            Server(EXAMPLE, 2, transport, publishes=EXAMPLE)
    for other in (None, shm, [echo, shm], [echo, ShmTransport()]):
        Server(EXAMPLE, 2, other, publishes=EXAMPLE)


@pytest.mark.parametrize(
    "example",
    [np.zeros(0, np.float32), {"a": np.zeros((0, 2), np.int8), "b": np.zeros(0)}],
    ids=["one leaf", "two"],
)
def test_an_example_without_bytes_is_refused_when_the_server_is_made(example: Any) -> None:
    with pytest.raises(ValueError, match="leaves of 0 bytes only"):
        Server(example, 2, TcpTransport(0))
    Server(example, 2)  # the ring itself takes it


def test_a_leaf_without_bytes_may_stand_beside_others() -> None:
    Server({"a": np.zeros(0), "b": np.float32(0)}, 2, TcpTransport(0))


def test_an_axis_that_the_wire_cannot_tell_is_refused_by_its_leaf() -> None:
    long_axis = np.zeros((0, 2**32), np.uint8)
    with pytest.raises(ValueError, match=r"\['b'\]\['c'\]: uint8 \(0, 4294967296\) has a length"):
        Server({"a": np.float32(0), "b": {"c": long_axis}}, 2, TcpTransport(0))
    Server({"a": np.float32(0), "b": np.zeros((0, 2**32 - 1), np.uint8)}, 2, TcpTransport(0))


def test_a_sample_larger_than_all_queues_is_refused() -> None:
    with pytest.raises(ValueError, match="a sample has 20 bytes, and ingress_bytes=19"):
        Server(EXAMPLE, 2, TcpTransport(0, ingress_bytes=19))
    Server(EXAMPLE, 2, TcpTransport(0, ingress_bytes=20))


def test_one_of_several_transports_refuses_as_it_does_alone() -> None:
    with pytest.raises(ValueError, match="leaves of 0 bytes only"):
        Server(np.zeros(0), 2, [ShmTransport(), TcpTransport(0)])
