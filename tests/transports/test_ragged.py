"""Ragged leaves through every transport: what arrives, and what is refused."""

from __future__ import annotations

import contextlib
import gc
import pickle
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shm_echo import (
    ConnectionClosedError,
    Ragged,
    RaggedBatch,
    RaggedRow,
    Server,
    ShmClient,
    ShmTransport,
    SpecMismatchError,
    TcpClient,
    TcpTransport,
    TrajectoryAccumulator,
)
from tests.support.echo_socket import EchoSocket
from tests.support.processes import start
from tests.support.ragged_rows import DTYPES, random_row, require_padding
from tests.support.waiting import wait_until
from tests.transports.memory import MemoryTransport

EXAMPLE: dict[str, Any] = {
    "tokens": Ragged(np.int32, 6),
    "boxes": Ragged(np.float32, 3, (4,), padding_value=-1),
    "n": np.int64(0),
}
WAYS = ["submit", "memory", "shm", "tcp echo", "tcp shm"]
REMOTE = WAYS[1:]


def connect(way: str, server: Server, example: Any, **options: Any) -> Any:
    """Return a producer of a server; its transport is that of `transport_of`."""
    if way == "submit":
        return contextlib.nullcontext(Submitting(server))
    if way == "memory":
        assert isinstance(server._transport, MemoryTransport)
        return contextlib.closing(server._transport.connect())
    if way == "shm":
        return ShmClient(server.address, example, **options)
    return TcpClient("127.0.0.1", server.port, example, **options)


def transport_of(way: str) -> Any:
    if way == "submit":
        return None
    if way == "memory":
        return MemoryTransport()
    return ShmTransport() if way == "shm" else TcpTransport(port=0, wire=way[4:])  # type: ignore[arg-type]


class Submitting:
    """The server as its own producer."""

    def __init__(self, server: Server) -> None:
        self.send = server.submit


@contextmanager
def ends(way: str, example: Any = EXAMPLE, batch: int = 2, **options: Any) -> Iterator[Any]:
    with Server(example, batch, transport_of(way), **options) as server:
        with connect(way, server, example) as producer:
            yield server, producer


def sample_of(tokens: Any, boxes: int = 0, n: int = 0) -> dict[str, Any]:
    return {"tokens": tokens, "boxes": np.full((boxes, 4), n, np.float32), "n": n}


def take(server: Server) -> Any:
    sample = server.sample(timeout=30)
    assert sample is not None
    for key, value in (("tokens", 0), ("boxes", -1)):
        require_padding(sample.batch[key], value)
    return sample.batch


def token_rows(batch: Any) -> list[list[int]]:
    return [row.tolist() for row in batch["tokens"]]


# ---------------------------------------------------------------- what arrives


@pytest.mark.parametrize("way", WAYS)
def test_rows_of_all_lengths_arrive(way: str) -> None:
    with ends(way, num_buffers=4) as (server, producer):
        for n, tokens in enumerate([[], [1], np.arange(6, dtype=np.int32), (5, 6)]):
            producer.send(sample_of(tokens, boxes=n, n=n))
        batches = [take(server), take(server)]
    assert [row for batch in batches for row in token_rows(batch)] == [
        [],
        [1],
        list(range(6)),
        [5, 6],
    ]
    for n, boxes in enumerate([*batches[0]["boxes"], *batches[1]["boxes"]]):
        assert boxes.tolist() == [[n] * 4] * n
    assert [batch["n"].tolist() for batch in batches] == [[0, 1], [2, 3]]


@pytest.mark.parametrize("way", REMOTE)
def test_a_stack_of_samples_arrives(way: str) -> None:
    with ends(way, num_buffers=4) as (server, producer):
        rows = [[1], [], [2, 3], [4] * 6]
        boxes = np.ones((4, 2, 4), np.float32)
        assert producer.send_batch({"tokens": rows, "boxes": boxes, "n": np.arange(4)}) == 4
        first, second = take(server), take(server)
        assert token_rows(first) + token_rows(second) == rows
        assert first["boxes"].lengths.tolist() == [2, 2]
        # A batch that a learner got is a batch that a producer may send.
        producer.send_batch(first)
        assert token_rows(take(server)) == rows[:2]
        with pytest.raises(SpecMismatchError, match="max_length 6") as caught:
            producer.send_batch({"tokens": [[1], [1] * 7], "boxes": boxes[:2], "n": np.arange(2)})
        assert caught.value.path == "['tokens'][1]"


@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_every_dtype_and_shape_arrives_bit_by_bit(way: str, data: st.DataObject) -> None:
    dtype = np.dtype(data.draw(st.sampled_from(DTYPES)))
    trailing = tuple(data.draw(st.lists(st.integers(1, 3), max_size=2)))
    most = data.draw(st.integers(1, 20))
    lengths = data.draw(st.lists(st.integers(0, most), min_size=2, max_size=2))
    strided = data.draw(st.booleans())
    example = [Ragged(dtype, most, trailing), np.int64(0)]
    rows = [random_row(length, dtype, trailing) for length in lengths]
    with ends(way, example) as (server, producer):
        for n, row in enumerate(rows):
            given_row = np.repeat(row, 2, axis=0)[::2] if strided else row
            producer.send([given_row, n])
        sample = server.sample(timeout=30)
        assert sample is not None
        ragged, numbers = sample.batch
        assert numbers.tolist() == [0, 1]
        assert [row.tobytes() for row in ragged] == [row.tobytes() for row in rows]
        assert ragged.padded.shape == (2, most, *trailing)
        require_padding(ragged)


@pytest.mark.parametrize("way", WAYS)
def test_large_rows_arrive(way: str) -> None:
    """Copies of this size run without the interpreter lock."""
    example = [Ragged(np.uint8, 200_000), Ragged(np.int64, 30_000, padding_value=-100)]
    with ends(way, example) as (server, producer):
        for length in (0, 30_000):
            producer.send([np.full(length, 7, np.uint8), np.arange(length)])
        sample = server.sample(timeout=30)
        assert sample is not None
        small, large = sample.batch
        assert small.lengths.tolist() == large.lengths.tolist() == [0, 30_000]
        assert small[1].tolist() == [7] * 30_000
        assert large[1].tolist() == list(range(30_000))
        require_padding(small)
        require_padding(large, -100)


@pytest.mark.parametrize("way", WAYS)
def test_padding_is_rewritten_after_the_learner_wrote_into_its_batch(way: str) -> None:
    with ends(way, num_buffers=2, writable=True, lease=False) as (server, producer):
        for n in range(8):
            for _ in range(2):
                producer.send(sample_of([n] * (n % 7), boxes=n % 4, n=n))
            batch = take(server)
            assert token_rows(batch) == [[n] * (n % 7)] * 2
            batch["tokens"].padded[...] = 99
            batch["boxes"].padded[...] = 99


@pytest.mark.parametrize("way", REMOTE[1:])
def test_a_producer_may_cut_long_rows_off(way: str) -> None:
    cutting = {**EXAMPLE, "tokens": Ragged(np.int32, 6, truncate=True)}
    with ends(way) as (server, _), connect(way, server, cutting) as producer:
        producer.send(sample_of(np.arange(9, dtype=np.int32)))
        producer.send(sample_of(list(range(9))))
        assert token_rows(take(server)) == [list(range(6))] * 2


@pytest.mark.parametrize("way", REMOTE[1:])
def test_arrays_of_another_dtype_are_cast_on_demand(way: str) -> None:
    with ends(way) as (server, _), connect(way, server, EXAMPLE, cast="same_kind") as producer:
        producer.send(sample_of(np.arange(4)))
        producer.send_batch(
            {"tokens": [np.arange(2)], "boxes": np.ones((1, 1, 4)), "n": np.zeros(1, int)}
        )
        assert token_rows(take(server)) == [[0, 1, 2, 3], [0, 1]]


# ---------------------------------------------------------------- what is refused

MISFITS = {
    "too long": np.zeros(7, np.int32),
    "too long a list": [0] * 7,
    "dtype": np.zeros(2, np.int64),
    "axes": np.zeros((2, 1), np.int32),
    "kind": [0.5],
    "range": [2**31],
    "number": 3,
    "none": None,
    "not written": RaggedRow(np.zeros(6, np.int32), -1),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_misfit_is_refused_before_anything_is_sent(way: str) -> None:
    with ends(way, batch=1) as (server, producer):
        for value in MISFITS.values():
            with pytest.raises(SpecMismatchError) as caught:
                producer.send(sample_of(value))
            assert caught.value.path == "['tokens']"
            assert str(caught.value).startswith("['tokens']: ")
        assert server.info().store_size == 0
        producer.send(sample_of([1]))
        assert token_rows(take(server)) == [[1]]


@pytest.mark.parametrize("way", ["shm", "tcp shm"])
@pytest.mark.parametrize(
    ("leaf", "words"),
    [
        (Ragged(np.int32, 7), "ragged int32 (<=7,)"),
        (Ragged(np.int64, 6), "ragged int64 (<=6,)"),
        (Ragged(np.int32, 6, padding_value=1), "ragged int32 (<=6,) padded with 1"),
        (np.zeros(6, np.int32), "int32 (6,)"),
    ],
)
def test_peers_with_different_declarations_are_refused(way: str, leaf: Any, words: str) -> None:
    with (
        Server(EXAMPLE, 2, transport_of(way)) as server,
        pytest.raises(SpecMismatchError) as caught,
    ):
        connect(way, server, {**EXAMPLE, "tokens": leaf})
    assert caught.value.path == "['tokens']"
    assert f"expected ragged int32 (<=6,), got {words} " in str(caught.value)


@pytest.mark.parametrize("way", ["shm", "tcp shm"])
def test_a_producer_without_an_example_takes_the_servers(way: str) -> None:
    example = {**EXAMPLE, "tokens": Ragged(np.int32, 6, truncate=True)}
    with (
        Server(example, 2, transport_of(way)) as server,
        pickle.loads(pickle.dumps(server.connector())).connect() as producer,
    ):
        producer.send(sample_of([1] * 9, boxes=1))
        producer.send(sample_of([]))
        assert token_rows(take(server)) == [[1] * 6, []]


# ---------------------------------------------------------------- slots

SLOTTED = ["shm", "tcp echo", "tcp shm"]


@pytest.mark.parametrize("way", SLOTTED)
def test_a_slot_is_written_by_rows_memory_or_replacement(way: str) -> None:
    with ends(way, batch=4) as (server, producer):
        for n in range(4):
            with producer.reserve() as slot:
                tokens = slot["tokens"]
                assert isinstance(tokens, RaggedRow)
                assert tokens.length == -1
                tokens.padded[...] = 77
                if n == 0:
                    tokens.set([1, 2])
                elif n == 1:
                    tokens.padded[:3] = 5
                    tokens.length = 3
                elif n == 2:
                    slot["tokens"] = np.arange(4, dtype=np.int32)
                else:
                    slot["tokens"] = []
                slot["boxes"].set(np.full((n % 3, 4), 8, np.float32))
                slot["n"][...] = n
        batch = take(server)
        assert token_rows(batch) == [[1, 2], [5, 5, 5], [0, 1, 2, 3], []]
        assert batch["boxes"].lengths.tolist() == [0, 1, 2, 0]


@pytest.mark.parametrize("way", SLOTTED)
def test_a_slot_whose_row_was_not_written_is_given_back(way: str) -> None:
    with ends(way) as (server, producer):
        for key, other in (("tokens", "boxes"), ("boxes", "tokens")):
            with (
                pytest.raises(SpecMismatchError, match="not set") as caught,
                producer.reserve() as slot,
            ):
                slot[other] = []
            assert caught.value.path == f"['{key}']"
        with pytest.raises(SpecMismatchError, match="no length 7"), producer.reserve() as slot:
            slot["boxes"] = []
            slot["tokens"]._length[...] = 7  # by no method of it
        assert server.info().store_size == 0
        for _ in range(2):
            producer.send(sample_of([1]))
        assert token_rows(take(server)) == [[1], [1]]


@pytest.mark.parametrize("way", SLOTTED)
def test_a_row_of_a_slot_is_a_row_for_another(way: str) -> None:
    with ends(way) as (server, producer):
        with producer.reserve() as first, producer.reserve() as second:
            for slot in (first, second):
                slot["boxes"] = []
            first["tokens"].set([1, 2, 3])
            second["tokens"] = first["tokens"]
        assert token_rows(take(server)) == [[1, 2, 3]] * 2
        with producer.reserve() as slot:
            slot["boxes"] = []
            slot["tokens"].set([4, 5, 6])
            slot["tokens"] = slot["tokens"].values[1:]  # memory of this very slot
        with producer.reserve() as slot:
            slot["boxes"] = []
            slot["tokens"].set([4, 5, 6])
            slot["tokens"] = slot["tokens"].padded[:2]
        assert token_rows(take(server)) == [[5, 6], [4, 5]]
        with producer.reserve() as slot:
            slot["boxes"].set([])
            slot["tokens"].set([1])
        with pytest.raises(ValueError, match="read-only"):
            slot["tokens"].set([2])


# ---------------------------------------------------------------- leases, publishing, echo


VIEWS: dict[str, Callable[[RaggedBatch], Any]] = {
    "row": lambda batch: batch[1],
    "slice": lambda batch: batch[1:],
    "rows": lambda batch: batch.to_list(),
    "trimmed": lambda batch: batch.trim(),
    "lengths": lambda batch: batch.lengths,
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_rows_and_views_keep_the_lease(view: Callable[[RaggedBatch], Any]) -> None:
    with ends("shm", num_buffers=4) as (server, producer):
        for n in range(2):
            producer.send(sample_of([n] * 3))
        kept = view(take(server)["tokens"])
        gc.collect()
        assert len(server.held()) == 1
        del kept
        gc.collect()
        assert server.held() == []


def test_copies_let_go_of_the_lease() -> None:
    with ends("shm") as (server, producer):
        for n in range(2):
            producer.send(sample_of([n] * 3))
        batch = take(server)
        packed, private = batch["tokens"].packed(), batch["tokens"].copy()
        with pytest.raises(ValueError, match="read-only"):
            batch["tokens"][0] = [1]
        del batch
        gc.collect()
        assert server.held() == []
        assert packed.values.tolist() == [0, 0, 0, 1, 1, 1]
        private[0] = [9]
        assert private[0].tolist() == [9]
        for sample in iterate_copies(server, producer):
            sample["tokens"][0] = [5, 5]
            assert sample["tokens"][0].tolist() == [5, 5]


def iterate_copies(server: Server, producer: Any) -> Iterator[Any]:
    for n in range(2):
        producer.send(sample_of([n]))
    for sample in server.dataset_iter(copy=True, timeout=30):
        yield sample.batch
        return


def test_partial_and_empty_batches() -> None:
    with ends("shm") as (server, producer):
        empty = server.flush()
        assert empty is not None
        assert isinstance(empty.batch["tokens"], RaggedBatch)
        assert len(empty.batch["tokens"]) == 0
        producer.send(sample_of([3]))
        partial = server.flush()
        assert partial is not None
        assert token_rows(partial.batch) == [[3]]


@pytest.mark.parametrize("way", ["shm", "tcp shm"])
def test_a_published_value_may_have_ragged_leaves(way: str) -> None:
    published = {"prompt": Ragged(np.int32, 5), "version": np.int64(0)}
    with (
        Server(EXAMPLE, 2, transport_of(way), publishes=published) as server,
        connect(way, server, EXAMPLE) as reader,
    ):
        for prompt in ([1, 2, 3], []):
            server.publish({"prompt": prompt, "version": len(prompt)})
            found = reader.latest()
            assert found is not None
            row = found[1]["prompt"]
            assert isinstance(row, RaggedRow)
            assert np.asarray(row).tolist() == prompt
            assert row.padded[len(prompt) :].tolist() == [0] * (5 - len(prompt))
            with pytest.raises(ValueError, match="read-only"):
                row.set([1])
        writable = reader.latest(writable=True)
        assert writable is not None
        writable[1]["prompt"].set([8])
        assert writable[1]["prompt"].values.tolist() == [8]
        with pytest.raises(SpecMismatchError, match="max_length 5"):
            server.publish({"prompt": [1] * 6, "version": 0})


def test_an_echo_peer_sees_two_plain_leaves() -> None:
    example = {"a": np.int64(0), "tokens": Ragged(np.int32, 3)}
    with Server(example, 2, TcpTransport(port=0)) as server:
        plain = {"a": np.int64(0), "tokens": (np.zeros(3, np.int32), np.int64(0))}
        with TcpClient("127.0.0.1", server.port, plain) as client:
            assert client.wire == "echo"
            client.send({"a": 1, "tokens": (np.array([5, 6, 0], np.int32), 2)})
            client.send({"a": 2, "tokens": (np.array([7, 0, 0], np.int32), 4)})
        sample = server.sample(timeout=30)
        assert sample is not None
        batch = sample.batch["tokens"]
        assert batch[0].tolist() == [5, 6]
        # Nothing has checked what came by this wire.
        with pytest.raises(ValueError, match="row 1: a row of at most 3 elements has no length 4"):
            batch.packed()
        peer = EchoSocket(server.port)
        assert peer.leaves == [(8, ()), (4, (3,)), (8, ())]
        peer.sock.close()


def test_a_trajectory_has_no_ragged_rows() -> None:
    with pytest.raises(TypeError, match=r"^\['steps'\]\['tokens'\]: a Ragged leaf"):
        TrajectoryAccumulator({"steps": {"tokens": Ragged(np.int32, 3), "n": np.zeros(4)}})


# ---------------------------------------------------------------- kills


def write_until_killed(pipe: Any, address: str) -> None:
    """Send a sample, then leave two slots behind in the middle of a row."""
    client = ShmClient(address, EXAMPLE)
    client.send(sample_of([1, 2]))
    slots: list[AbstractContextManager[Any]] = [client.reserve() for _ in range(2)]
    with ExitStack() as stack:
        for entered in map(stack.enter_context, slots):
            entered["tokens"].padded[:3] = 9
        pipe.send("writing")
        pipe.recv()


def test_half_a_row_of_a_killed_producer_is_seen_by_nobody(name: str) -> None:
    with Server(EXAMPLE, 3, ShmTransport(name)) as server, ShmClient(name, EXAMPLE) as other:
        with start(write_until_killed, name, method="forkserver") as child:
            child.expect("writing")
            child.kill()
            child.wait()
        wait_until(lambda: len(server.producers()) == 1, "the death is noticed")
        for n in range(2):
            other.send(sample_of([5] * n))
        assert sorted(token_rows(take(server))) == [[], [1, 2], [5]]


def test_a_closed_server_refuses_ragged_samples() -> None:
    with ends("shm") as (server, producer):
        server.close()
        with pytest.raises(ConnectionClosedError):
            producer.send(sample_of([1]))
