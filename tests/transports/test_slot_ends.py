"""Ends of slots: code that runs inside a commit, other threads, garbage and dropped clients."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from shm_echo import ConnectionClosedError, Server, ShmClient, ShmTransport, Slot
from shm_echo.errors import ForkedHandleError
from tests.support.processes import start
from tests.support.slots import Box, Pair, pair
from tests.support.threads import Worker

F4 = np.float32
X = np.arange(4, dtype=F4)


@pytest.fixture(autouse=True)
def _nothing_on_flatten() -> Iterator[None]:
    yield
    Box.on_flatten = None


# ---------------------------------------------------------------- code that runs in a commit


def reserved_box(both: Pair, on_flatten: Callable[[], object]) -> Slot:
    slot = both.client.reserve(timeout=0)
    slot["box"].a[:] = 1
    Box.on_flatten = on_flatten
    return slot


def box_pair(name: str) -> Any:
    return pair(name, {"box": Box(np.zeros(4, F4), np.zeros(2, F4))})


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_while_a_node_is_taken_apart_propagates_and_the_slot_is_given_back(
    name: str, error: type[BaseException]
) -> None:
    def interrupt() -> None:
        raise error

    with box_pair(name) as both:
        slot = reserved_box(both, interrupt)
        with pytest.raises(error):
            slot.commit()
        Box.on_flatten = None
        assert not slot.is_open
        both.nothing_was_sent()


class Key:
    """Equal to "x", or interrupted when that is asked."""

    interrupts = False

    def __hash__(self) -> int:
        return hash("x")

    def __eq__(self, other: object) -> bool:
        if self.interrupts:
            raise KeyboardInterrupt
        return other == "x"


def test_an_interrupt_in_the_comparison_of_a_key_propagates(name: str) -> None:
    with pair(name, {"x": np.zeros(4, F4)}) as both:
        slot, key = both.client.reserve(timeout=0), Key()
        slot.tree = {key: slot["x"]}
        key.interrupts = True
        with pytest.raises(KeyboardInterrupt):
            slot.commit()
        both.nothing_was_sent()


def test_a_node_that_is_taken_apart_may_end_the_slot(name: str) -> None:
    refusals = []

    def end_it() -> None:
        Box.on_flatten = None
        slot.abort()
        with pytest.raises(ConnectionClosedError) as caught:
            slot.commit()
        refusals.append(caught.value)

    with box_pair(name) as both:
        slot = reserved_box(both, end_it)
        slot.commit()
        assert len(refusals) == 1
        (producer,) = both.server.producers()
        assert (producer.held, producer.samples) == (0, 1)
        assert both.taken()["box"].a.tolist() == [1] * 4


def test_a_node_that_is_taken_apart_may_close_the_client(name: str) -> None:
    with box_pair(name) as both:
        slot = reserved_box(both, both.client.close)
        slot.commit()
        Box.on_flatten = None
        assert both.taken()["box"].a.tolist() == [1] * 4


def commit_in_child(pipe: Any, slot: Slot) -> None:
    with pytest.raises(ForkedHandleError, match="created before the fork"):
        slot.commit()
    pipe.send("refused")


def test_a_slot_that_is_being_committed_belongs_to_the_parent_of_a_fork(name: str) -> None:
    def fork() -> None:
        Box.on_flatten = None
        with start(commit_in_child, slot) as child:
            child.expect("refused")
            assert child.wait() == 0
        assert [p.held for p in both.server.producers()] == [1]

    with box_pair(name) as both:
        slot = reserved_box(both, fork)
        slot.commit()
        assert both.taken()["box"].a.tolist() == [1] * 4


# ---------------------------------------------------------------- ends


@pytest.mark.parametrize("holder", ["array", "tree"])
def test_the_arrays_of_a_collected_slot_are_read_only(name: str, holder: str) -> None:
    with pair(name, {"x": np.zeros(4, F4)}) as both:
        slot = both.client.reserve()
        kept = slot["x"] if holder == "array" else slot.tree
        del slot
        gc.collect()
        array = kept if holder == "array" else kept["x"]
        with pytest.raises(ValueError, match="read-only"):
            array[:] = 1
        both.nothing_was_sent()


def test_a_slot_in_its_own_tree_is_collected_and_given_back(name: str) -> None:
    with pair(name, {"x": np.zeros(4, F4)}) as both:
        slot = both.client.reserve()
        slot["me"] = slot
        died: list[object] = []
        watcher = weakref.ref(slot, died.append)
        del slot
        gc.collect()
        assert died == [watcher]
        both.nothing_was_sent()


def test_a_client_may_be_dropped_while_its_slot_is_open(name: str) -> None:
    example = {"x": np.zeros(4, F4)}
    with Server(example, 1, ShmTransport(name), num_buffers=2) as server:
        client = ShmClient(name, example)
        slot = client.reserve()
        client.close()
        del client
        gc.collect()
        slot["x"] = X
        slot.commit()
        sample = server.sample(timeout=0)
        assert sample is not None
        assert sample.batch["x"].tolist() == [X.tolist()]


def test_slots_end_in_any_order_and_in_any_thread(name: str) -> None:
    example = {"n": np.int64(0)}
    with Server(example, 8, ShmTransport(name), num_buffers=2) as server:
        with ShmClient(name, example) as client:
            slots = [client.reserve(timeout=0) for _ in range(8)]
            for n in (3, 0, 7, 5, 1, 6, 2, 4):
                slots[n]["n"] = n
                Worker(slots[n].commit).result()
        sample = server.sample(timeout=0)
        assert sample is not None
        assert sample.batch["n"].tolist() == list(range(8))
