"""Numbered samples: each has its number twice, so that a mixture of two is detected."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

__all__ = ["EXAMPLE", "numbered", "numbers_of", "stacked"]

EXAMPLE: dict[str, Any] = {"x": np.zeros(3, np.float32), "n": np.int64(0)}


def numbered(i: int) -> dict[str, Any]:
    """Return the sample with the number `i`."""
    return {"x": np.full(3, i, np.float32), "n": np.int64(i)}


def stacked(numbers: Iterable[int]) -> dict[str, Any]:
    """Return samples with these numbers, for `send_batch`."""
    n = np.array(list(numbers), np.int64)
    return {"x": np.repeat(n.astype(np.float32)[:, None], 3, axis=1), "n": n}


def numbers_of(batch: dict[str, Any]) -> list[int]:
    """Return the numbers of a batch's samples, and fail if a sample is torn."""
    assert set(batch) == {"x", "n"}
    assert (batch["x"] == batch["n"][:, None]).all(), "a sample is torn"
    return [int(i) for i in batch["n"]]
