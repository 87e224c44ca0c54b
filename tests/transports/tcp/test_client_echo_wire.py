"""The handshake of echo's wire without sockets: built, read in pieces, and compared."""

from __future__ import annotations

import struct
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest

from shm_echo.errors import EchoWireError, ProtocolError, SpecMismatchError
from shm_echo.spec import TreeSpec
from shm_echo.transports.tcp.echo_wire import HelloReader, WireLeaf, require_equal, server_hello

PEER = "learner:50051"
EXAMPLE = {
    "a": np.zeros((), np.int64),
    "b": np.zeros((2, 3), np.float32),
    "z": np.zeros(0, np.int8),
}
# As seen of id-echo 0.2.1.
HELLO = bytes.fromhex(
    "4543484f 01 03000000 08000000 00000000 04000000 02000000 02000000 03000000"
    "01000000 01000000 00000000"
)


def read(hello: bytes, piece: int = 1 << 30) -> HelloReader:
    """Feed all of the bytes, a few at a time."""
    reader = HelloReader(PEER)
    while hello and reader.missing:
        size = min(piece, reader.missing)
        reader.feed(hello[:size])
        hello = hello[size:]
    assert not hello, "bytes after the hello"
    return reader


def test_the_hello_has_the_bytes_that_echo_sends() -> None:
    assert server_hello(TreeSpec.from_example(EXAMPLE)) == HELLO


@pytest.mark.parametrize("piece", [1, 2, 3, 5, 8, 100])
def test_a_hello_is_read_in_pieces_and_its_end_is_known(piece: int) -> None:
    reader = read(HELLO, piece)
    assert reader.missing == 0
    assert reader.leaves == [WireLeaf(8, ()), WireLeaf(4, (2, 3)), WireLeaf(1, (0,))]
    require_equal(TreeSpec.from_example(EXAMPLE), reader.leaves)


@pytest.mark.parametrize("end", range(len(HELLO)))
def test_a_hello_that_is_cut_anywhere_misses_bytes(end: int) -> None:
    assert read(HELLO[:end], 1).missing > 0


def test_leaves_come_in_the_order_of_optree() -> None:
    """An OrderedDict keeps the order in which it was filled, unlike a dict."""
    example = OrderedDict(z=np.zeros(1, np.float64), a=np.zeros((), np.int8))
    spec = TreeSpec.from_example(example)
    assert spec.optree_order == (1, 0)
    assert read(server_hello(spec)).leaves == [WireLeaf(8, (1,)), WireLeaf(1, ())]
    sorted_spec = TreeSpec.from_example(dict(example))
    assert sorted_spec.optree_order == (0, 1)
    assert read(server_hello(sorted_spec)).leaves == [WireLeaf(1, ()), WireLeaf(8, (1,))]


def test_numbers_beyond_32_bits_are_refused_by_the_leaf() -> None:
    spec = TreeSpec.from_example({"x": np.zeros((0, 2**32), np.int8)})
    with pytest.raises(ValueError, match=r"\['x'\]: 1 bytes \(0, 4294967296\) does not fit into"):
        server_hello(spec)


# ---------------------------------------------------------------- other peers


@pytest.mark.parametrize("kind", [ValueError, ProtocolError, ConnectionError, EchoWireError])
def test_another_magic_is_an_error_in_the_words_of_echo(kind: type[Exception]) -> None:
    with pytest.raises(
        kind,
        match=r"^Unexpected handshake magic b'HTTP' from learner:50051; "
        r"is the peer an echo server\?$",
    ):
        read(b"HTTP")


def test_another_version_is_an_error_in_the_words_of_echo() -> None:
    with pytest.raises(
        ValueError,
        match=r"^Unsupported echo wire version 2 from learner:50051 \(this client supports 1\)$",
    ):
        read(b"ECHO\x02")


@pytest.mark.parametrize(
    ("rest", "what"),
    [
        (struct.pack("<I", 2**32 - 1), "4,294,967,295 leaves"),
        (struct.pack("<III", 1, 4, 65), "a leaf with 65 axes"),
        (struct.pack("<III", 1, 4, 2**31), "a leaf with 2,147,483,648 axes"),
    ],
)
def test_absurd_numbers_are_refused_before_memory_is_taken(rest: bytes, what: str) -> None:
    with pytest.raises(EchoWireError, match=f"^{PEER} describes {what}"):
        read(b"ECHO\x01" + rest)


# ---------------------------------------------------------------- mismatches


@pytest.mark.parametrize(
    ("ours", "text"),
    [
        (
            {**EXAMPLE, "b": np.zeros((3, 2), np.float32)},
            r"Server spec mismatch: \['b'\]: expected 4 bytes \(2, 3\), got 4 bytes \(3, 2\)",
        ),
        (
            {**EXAMPLE, "a": np.zeros((), np.int16)},
            r"Server spec mismatch: \['a'\]: expected 8 bytes \(\), got 2 bytes \(\)",
        ),
        (
            {"a": EXAMPLE["a"]},
            r"Server spec mismatch: the example: 3 leaves, and the client's example has 1",
        ),
    ],
)
def test_a_mismatch_shows_both_examples(ours: dict[str, Any], text: str) -> None:
    with pytest.raises(SpecMismatchError, match=text) as error:
        require_equal(TreeSpec.from_example(ours), read(HELLO).leaves)
    assert isinstance(error.value, ValueError)
    message = str(error.value)
    assert "Server: [8 bytes (), 4 bytes (2, 3), 1 bytes (0,)]" in message
    assert "client: [['a']: " in message


def test_a_mismatch_of_many_leaves_stays_readable() -> None:
    many = TreeSpec.from_example([np.zeros(i, np.int8) for i in range(1, 101)])
    with pytest.raises(SpecMismatchError) as error:
        require_equal(many, read(HELLO).leaves)
    assert "(100 in all)" in str(error.value)
    assert len(str(error.value)) < 1000
