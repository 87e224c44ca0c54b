"""The rows of a run, measured: `rows_per_claim="measure"`.

Larger runs cost less per item, as the generators are set and the ring is asked once per run.
Smaller ones share the last rows of a batch out among the workers. So the smallest run is taken
whose items cost hardly more than those of the best one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from shm_echo.loader.private_run import PrivateRun
from shm_echo.spec import TreeSpec

__all__ = ["chosen_rows", "measured_rows"]

# The most that a run may have, so that a batch is more than one run of one worker.
_MOST_ROWS = 128
_MOST_BYTES = 4 * 2**20
# The cost of a run beside its items: a claim and a commit.
_CLAIM_SECONDS = 3e-6
# Each size is tried for so long, in each of some rounds: the fastest run of a size counts, because
# what else the machine does only makes runs slower.
_TRY_SECONDS = 0.005
_ROUNDS = 3
# A run may take so long: longer ones gain nothing, and hold a batch up.
_LONGEST_RUN_SECONDS = 0.02
# An item may cost so much more than in the best run.
_TOLERANCE = 1.1


def chosen_rows(seconds: Mapping[int, float]) -> int:
    """Return the rows of a run for measured times.

    Args:
        seconds: seconds that an item costs, by the rows of its run; at least one.

    Example:
        >>> chosen_rows({1: 42e-6, 8: 6e-6, 16: 3.2e-6, 32: 3.1e-6})
        16
    """
    best = min(seconds.values())
    return min(rows for rows, cost in seconds.items() if cost <= best * _TOLERANCE)


def measured_rows(
    fill: Callable[[Any], None], spec: TreeSpec, keys: Sequence[Any], epoch: int, first_row: int
) -> int:
    """Make items of a batch in runs of several sizes, and return the best size.

    They are made again when their batch is due. An item that raises ends the measurement.

    Args:
        fill: makes the items of a run.
        spec: of an item.
        keys: the keys of the batch.
        epoch: epoch.
        first_row: number of the batch's first row.

    Returns:
        The rows, or 0 if nothing could be measured.
    """
    seconds: dict[int, float] = {}
    sizes = _sizes(len(keys), spec.nbytes)
    try:
        for _ in range(_ROUNDS):
            for rows in sizes:
                if rows * min(seconds.values(), default=0.0) > _LONGEST_RUN_SECONDS:
                    break
                # Not the number of the batch's first row, whose item was made and is kept.
                run = _run(spec, keys[:rows], epoch, first_row + 1)
                cost = (_seconds_of(fill, run) + _CLAIM_SECONDS) / rows
                seconds[rows] = min(cost, seconds.get(rows, cost))
            if seconds[1] > _LONGEST_RUN_SECONDS:
                break
    except Exception:
        pass  # it comes again, where its batch is due
    return chosen_rows(seconds) if seconds else 0


def _sizes(batch_size: int, item_bytes: int) -> list[int]:
    """Return the sizes to try: powers of two, up to half a batch."""
    sizes = [1]
    while (rows := 2 * sizes[-1]) <= min(_MOST_ROWS, batch_size // 2):
        if rows * item_bytes > _MOST_BYTES:
            break
        sizes.append(rows)
    return sizes


def _run(spec: TreeSpec, keys: Sequence[Any], epoch: int, first_row: int) -> PrivateRun:
    arrays = [np.empty((len(keys), *leaf.shape), leaf.dtype) for leaf in spec.leaves]
    return PrivateRun(spec, arrays, tuple(keys), first_row, epoch)


def _seconds_of(fill: Callable[[Any], None], run: PrivateRun) -> float:
    """Return the seconds of the fastest of some calls."""
    fastest = float("inf")
    end = time.perf_counter() + _TRY_SECONDS
    while (began := time.perf_counter()) < end:
        fill(run)
        fastest = min(fastest, time.perf_counter() - began)
    return fastest
