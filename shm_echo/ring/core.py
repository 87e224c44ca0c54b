"""The loaded C core: `lib` and `ffi` of `_core_cffi`, to whose functions `_core_cpython` is bound.

The result codes of the C side are here too, with the messages for those that mean a broken ring.
The enumeration repeats csrc/include/shm_echo/ring.h; a test keeps the two equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Any

from shm_echo.errors import ProtocolError

try:
    import shm_echo.ring._core_cpython as _core_cpython
    from shm_echo.ring._core_cffi import ffi, lib
    from shm_echo.ring._core_cpython import Slot
except ModuleNotFoundError:
    from shm_echo.ring.build_check import require_build

    require_build()
    raise

_core_cpython.bind(int(ffi.cast("uintptr_t", lib.she_api_table())))

__all__ = [
    "Result",
    "Slot",
    "_core_cpython",
    "check_result",
    "ffi",
    "layout_bytes",
    "lib",
    "make_config",
]


class Result(IntEnum):
    """The result codes of the C functions (`enum she_result`), and GONE of `_core_cpython`."""

    OK = 0
    FULL = 1
    CLOSED = 2
    STOPPED = 3
    REVOKED = 4
    GIVEN_UP = 5
    TIMEOUT = 6
    INTERRUPTED = 7
    WOKEN = 8
    CORRUPTED = 9
    GONE = 100
    E_CONFIG = -1
    E_MAGIC = -2
    E_VERSION = -3
    E_MISMATCH = -4
    E_SIZE = -5
    E_MEMORY = -6


_MESSAGES = {
    Result.E_MAGIC: "the shared memory that came with the connection holds no ring",
    Result.E_VERSION: "the layout version differs: install the same shm-echo on both sides",
    Result.E_MISMATCH: "the ring was made for another example or another size",
    Result.E_SIZE: "the shared memory is smaller than the ring",
}


def check_result(result: int, what: str) -> None:
    """Raise the exception of a result, unless it is OK.

    Args:
        result: a result code of the C side.
        what: the beginning of the message: the operation that failed.

    Raises:
        ValueError: the sizes are zero or too large for a ring.
        MemoryError: there is no memory for a handle.
        ProtocolError: the memory does not hold the ring that both sides agreed upon.
    """
    if result == Result.OK:
        return
    if result == Result.E_CONFIG:
        raise ValueError(
            f"{what}: sizes must be positive, with at most 2**31 samples in the ring and less than "
            "2**63 bytes"
        )
    if result == Result.E_MEMORY:
        raise MemoryError(what)
    raise ProtocolError(f"{what}: {_MESSAGES.get(Result(result), Result(result).name)}")


def make_config(
    row_bytes: Sequence[int],
    digest: bytes,
    *,
    batch_size: int,
    num_buffers: int,
    max_producers: int,
    detailed: bool,
    run_rows: int = 0,
) -> tuple[Any, list[Any]]:
    """Return a `she_config` and the objects that it points to, which must outlive it.

    Args:
        row_bytes: of one slot, per leaf.
        digest: of the tree spec.
        batch_size: slots per batch.
        num_buffers: batches in the ring.
        max_producers: the number of producers that may be attached at once.
        detailed: True to keep commit times and histograms.
        run_rows: 0, or the number of rows in a slot of a loader's ring.
    """
    rows = ffi.new("uint64_t[]", list(row_bytes))
    spec = ffi.new("uint8_t[32]", digest)
    config = ffi.new(
        "she_config *",
        {
            "batch_size": batch_size,
            "num_buffers": num_buffers,
            "num_leaves": len(row_bytes),
            "max_producers": max_producers,
            "detailed": int(detailed),
            "run_rows": run_rows,
            "row_bytes": rows,
            "digest": spec,
        },
    )
    return config, [rows, spec]


def layout_bytes(config: Any) -> int:
    """Return the size of a ring of this configuration, in bytes.

    Raises:
        ValueError: a size is zero or too large.
    """
    layout = ffi.new("she_layout *")
    offsets = ffi.new("uint64_t[]", max(1, config.num_leaves))
    check_result(lib.she_layout_compute(config, layout, offsets), "this ring cannot be laid out")
    return int(layout.total_bytes)
