"""A take that an exception ends leaves its batch to the next one.

A custom node stands for a signal handler: it raises, or samples, while the batch is handed over.
tests/faults/test_aimed_interrupts.py has real signals at random instants.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optree
import pytest

from shm_echo import Sample, Server, ShmTransport
from tests.support.threads import Worker

Hook = Callable[[], None]
_hooks: list[Hook] = []


class Interrupted(BaseException):
    pass


class Box:
    """A node whose unflattening runs a hook once."""

    def __init__(self, value: Any) -> None:
        self.value = value


def _unflatten(_: Any, children: Any) -> Box:
    if _hooks and isinstance(next(iter(children)), np.ndarray):
        _hooks.pop()()
    return Box(*children)


@pytest.fixture(autouse=True)
def registered_box() -> Iterator[None]:
    everywhere = getattr(optree.registry, "__GLOBAL_NAMESPACE")
    optree.register_pytree_node(
        Box, lambda box: ((box.value,), None), _unflatten, namespace=everywhere
    )
    yield
    optree.unregister_pytree_node(Box, namespace=everywhere)
    _hooks.clear()


EXAMPLE = Box(np.int64(0))


def interrupt() -> None:
    raise Interrupted


def numbers(sample: Sample | None) -> list[int]:
    assert sample is not None
    return [int(n) for n in sample.batch.value]


def submit(server: Server, *values: int) -> None:
    for value in values:
        server.submit(Box(np.int64(value)), timeout=0)


@pytest.fixture(params=[False, True, "copy"], ids=["plain", "leased", "copy"])
def lease(request: pytest.FixtureRequest) -> Any:
    return request.param


WAYS: dict[str, Callable[[Server], Sample | None]] = {
    "sample": lambda server: server.sample(timeout=60),
    "flush": lambda server: server.flush(),
    "dataset_iter": lambda server: next(server.dataset_iter()),
    "dataset_iter(copy=True)": lambda server: next(server.dataset_iter(copy=True)),
}


@pytest.mark.parametrize("first", WAYS)
@pytest.mark.parametrize("then", WAYS)
def test_the_batch_of_an_interrupted_call_comes_next_whichever_call_that_is(
    lease: Any, first: str, then: str
) -> None:
    with Server(EXAMPLE, 2, num_buffers=3, lease=lease) as server:
        submit(server, 0, 1, 2, 3)
        for _ in range(3):  # more than once, too
            _hooks.append(interrupt)
            with pytest.raises(Interrupted):
                WAYS[first](server)
        sample = WAYS[then](server)
        assert numbers(sample) == [0, 1]
        if then == "dataset_iter(copy=True)":
            assert sample is not None
            assert sample.batch.value.flags.owndata
            assert sample.batch.value.flags.writeable
        assert numbers(server.sample(timeout=60)) == [2, 3]


def test_a_partial_batch_of_an_interrupted_flush_comes_next(lease: Any) -> None:
    with Server(EXAMPLE, 3, lease=lease) as server:
        submit(server, 0, 1)
        _hooks.append(interrupt)
        with pytest.raises(Interrupted):
            server.flush()
        submit(server, 2, 3, 4)
        assert numbers(server.flush()) == [0, 1]
        assert numbers(server.flush()) == [2, 3, 4]


def test_the_kept_traceback_of_an_interrupted_call_changes_nothing(lease: Any) -> None:
    with Server(EXAMPLE, 1, num_buffers=3, lease=lease) as server:
        errors = []
        for i in range(8):
            submit(server, i)
            _hooks.append(interrupt)
            with pytest.raises(Interrupted) as caught:
                server.sample()
            if lease is not True:  # there it would hold a batch
                errors.append(caught.value)
            del caught
            assert numbers(server.sample(timeout=60)) == [i]


def test_a_take_within_a_take_gets_the_next_batch(lease: Any) -> None:
    """As a finalizer may do that a collection of garbage runs in the middle of a sample()."""
    inner: list[list[int]] = []
    with Server(EXAMPLE, 1, num_buffers=4, lease=lease) as server:
        submit(server, 0, 1, 2)
        _hooks.append(lambda: inner.append(numbers(server.sample(timeout=60))))
        outer = server.sample(timeout=60)
        assert inner == [[1]]
        if lease is not False:
            assert numbers(outer) == [0]
        assert numbers(server.sample(timeout=60)) == [2]


def test_a_take_within_a_take_that_fails_loses_neither(lease: Any) -> None:
    def fail_inside() -> None:
        _hooks.append(interrupt)
        server.sample(timeout=60)

    with Server(EXAMPLE, 1, num_buffers=4, lease=lease) as server:
        submit(server, 0, 1, 2)
        _hooks.append(fail_inside)
        with pytest.raises(Interrupted):
            server.sample(timeout=60)
        came = [numbers(server.sample(timeout=60)) for _ in range(2 if lease is False else 3)]
        assert came == ([[1], [2]] if lease is False else [[0], [1], [2]])


def test_after_an_interrupt_another_thread_may_sample(lease: Any) -> None:
    with Server(EXAMPLE, 1, lease=lease) as server:
        submit(server, 0, 1)
        _hooks.append(interrupt)
        with pytest.raises(Interrupted):
            server.sample()
        assert numbers(Worker(server.sample, 60).result()) == [0]
        assert numbers(server.sample(timeout=60)) == [1]


def test_without_memory_for_a_copy_the_batch_stays_for_the_next_call() -> None:
    """Each array of dataset_iter(copy=True) needs memory, which NumPy's allocator may refuse."""
    huge = np.zeros(3 << 20, np.uint8)
    with Server(huge, 1, num_buffers=2) as server:
        server.submit(huge + np.uint8(7))
        resource = pytest.importorskip("resource")
        size = int(Path("/proc/self/statm").read_text().split()[0]) * 4096
        limits = resource.getrlimit(resource.RLIMIT_AS)
        batches = server.dataset_iter(copy=True)
        resource.setrlimit(resource.RLIMIT_AS, (size + (1 << 20), limits[1]))
        try:
            failed = None
            try:
                next(batches)
            except MemoryError as error:
                failed = error
        finally:
            resource.setrlimit(resource.RLIMIT_AS, limits)
        if failed is not None:  # the allocator may have had room already
            sample = server.sample(timeout=0)
            assert sample is not None
            assert (sample.batch == 7).all()


def rings() -> int:
    maps = Path("/proc/self/maps").read_text()
    return maps.count("/shm-echo-") + maps.count("/memfd:shm-echo")


def test_a_batch_that_nobody_took_keeps_no_ring_mapped_after_close(name: str, lease: Any) -> None:
    before = rings()
    gc.collect()
    gc.disable()
    try:
        server = Server(EXAMPLE, 1, ShmTransport(name), lease=lease).start()
        submit(server, 0)
        _hooks.append(interrupt)
        with contextlib.suppress(Interrupted):
            server.sample()
        server.close()
        assert server.sample() is None
        del server
        assert rings() == before
    finally:
        gc.enable()
