"""Leases under arbitrary orders of taking, keeping, dropping and filling."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from shm_echo import RingFullError, Server
from shm_echo.errors import BatchesHeldError
from tests.support.numbered import EXAMPLE, numbered, numbers_of

# Ways to keep (a part of) a batch, each with what it must show ever after.
KEEP: list[Callable[[dict[str, Any]], Any]] = [
    lambda batch: batch["x"],
    lambda batch: batch["x"][1:, ::2],
    lambda batch: batch["x"].T,
    lambda batch: batch["n"][:1],
    lambda batch: batch["x"].reshape(-1).view(np.uint8),
    lambda batch: np.asarray(memoryview(batch["n"])),
    lambda batch: batch["x"][0],
]

steps = st.lists(
    st.one_of(
        st.tuples(st.just("fill"), st.integers(1, 6)),
        st.tuples(st.just("take"), st.integers(0, len(KEEP) - 1)),
        st.tuples(st.just("flush"), st.integers(0, len(KEEP) - 1)),
        st.tuples(st.just("drop"), st.integers(0, 50)),
    ),
    max_size=60,
)


@settings(max_examples=80, deadline=None)
@given(steps, st.integers(1, 3), st.integers(3, 5))
def test_held_batches_never_change_and_every_sample_arrives_as_sent(
    script: list[tuple[str, int]], rows: int, buffers: int
) -> None:
    kept: list[tuple[Any, bytes]] = []
    sent, came = 0, 0
    with Server(EXAMPLE, rows, num_buffers=buffers, lease=True, lease_timeout=0) as server:
        for verb, how in script:
            if verb == "fill":
                with contextlib.suppress(RingFullError):
                    for _ in range(how):
                        server.submit(numbered(sent), timeout=0)
                        sent += 1
            elif verb == "drop" and kept:
                kept.pop(how % len(kept))
            elif verb in ("take", "flush"):
                with contextlib.suppress(TimeoutError, BatchesHeldError):
                    sample = server.sample(timeout=0, partial=verb == "flush")
                    assert sample is not None
                    numbers = numbers_of(sample.batch)
                    assert numbers == list(range(came, came + len(numbers)))
                    came += len(numbers)
                    if numbers:
                        view = KEEP[how](sample.batch)
                        kept.append((view, view.tobytes()))
                    del sample
            for view, content in kept:
                assert view.tobytes() == content
        assert server.info().store_size == sent - came
    for view, content in kept:
        assert view.tobytes() == content
