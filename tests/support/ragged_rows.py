"""Rows of random bits for the tests of ragged leaves."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["DTYPES", "random_row", "require_padding"]

_RNG = np.random.default_rng(11)

DTYPES: list[Any] = [
    "bool",
    "i1",
    "u2",
    "<i4",
    ">i8",
    "f2",
    "f4",
    "f8",
    "c8",
    "S3",
    "U2",
    "M8[s]",
    "V5",
    [("a", "<i4"), ("b", "u1")],
]


def random_row(length: int, dtype: Any, trailing: tuple[int, ...] = ()) -> Any:
    """Return a row of random bits, with NaN and NaT of every kind."""
    dtype = np.dtype(dtype)
    shape = (length, *trailing)
    count = int(np.prod(shape))
    if dtype.kind == "b":
        return _RNG.integers(0, 2, shape).astype(dtype)
    if dtype.kind == "U":
        return _RNG.choice(np.array(["a", "äö", ""], dtype), shape)
    raw = _RNG.integers(0, 256, count * dtype.itemsize, np.uint8).tobytes()
    return np.frombuffer(bytearray(raw), dtype, count).reshape(shape)


def require_padding(batch: Any, value: Any = 0) -> None:
    """Fail unless everything behind the rows of a batch is the padding value."""
    behind = batch.padded[~batch.mask()]
    wanted = np.zeros(behind.shape, behind.dtype)
    if value:
        wanted[...] = value
    assert behind.tobytes() == wanted.tobytes()
