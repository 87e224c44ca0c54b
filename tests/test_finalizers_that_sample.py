"""Finalizers that take a batch while another take is in progress.

Up to CPython 3.11 the allocation of any container may collect garbage, so a finalizer may run in
the middle of a take. Each test has it run at one allocation after the other.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from shm_echo import Sample, Server

EXAMPLE = np.int64(0)
# More allocations than one take makes.
ALLOCATIONS = 30


class Sampler:
    """A piece of garbage whose finalizer samples."""

    def __init__(self, server: Server, samples: list[Sample | None]) -> None:
        self._itself = self
        self._server = server
        self._samples = samples

    def __del__(self) -> None:
        self._samples.append(self._server.sample())


@pytest.fixture
def collector() -> Iterator[None]:
    thresholds = gc.get_threshold()
    gc.collect()
    gc.disable()
    yield
    gc.set_threshold(*thresholds)
    gc.enable()


def next_with_garbage(
    batches: Iterator[Sample], server: Server, allocations: int
) -> list[Sample | None]:
    """Take a batch, and another one in a finalizer after a number of allocations."""
    kept: list[Any] = [[] for _ in range(200)]  # lists that were freed are not allocated anew
    gc.collect()
    samples: list[Sample | None] = []
    Sampler(server, samples)
    gc.set_threshold(allocations)
    gc.enable()
    sample = next(batches)
    gc.disable()
    del kept
    samples.append(sample)
    gc.collect()  # the finalizer runs here, if it has not before
    return samples


@pytest.mark.parametrize("lease", ["copy", True, False])
@pytest.mark.parametrize("copy", [False, True])
def test_a_finalizer_in_the_middle_of_a_take_gets_another_batch(
    collector: None, lease: Any, copy: bool
) -> None:
    server = Server(EXAMPLE, 1, num_buffers=8, lease=lease).start()
    batches = server.dataset_iter(copy=copy)
    for allocations in range(1, ALLOCATIONS):
        for i in range(2):
            server.submit(np.int64(2 * allocations + i))
        samples = next_with_garbage(batches, server, allocations)
        values = sorted(int(sample.batch[0]) for sample in samples if sample is not None)
        if lease is False and not copy:  # the later of two takes ends the batch of the other
            assert len(values) == 2
        else:
            assert values == [2 * allocations, 2 * allocations + 1]
        assert server.info().store_size == 0
        del samples
    server.close()
