"""The C core, loaded and bound: `lib` and `ffi` of the cffi module, and the `_core_cpython` types.

Also the numbers that the C side returns, and the sentences for those that mean a broken ring. The
enumerations repeat csrc/include/shm_echo/ring.h; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Any

from shm_echo.errors import ProtocolError

try:
    import shm_echo.ring._core_cpython as _core_cpython
    from shm_echo.ring._core_cffi import ffi, lib
except ModuleNotFoundError:
    from shm_echo.ring.build_check import require_build

    require_build()
    raise

_core_cpython.bind(int(ffi.cast("uintptr_t", lib.she_api_table())))

__all__ = ["Result", "_core_cpython", "checked", "ffi", "layout_bytes", "lib", "make_config"]


class Result(IntEnum):
    """What the C functions return (``enum she_result``), and what `_core_cpython` adds."""

    OK = 0
    FULL = 1
    CLOSED = 2
    STOPPED = 3
    REVOKED = 4
    GIVEN_UP = 5
    TIMEOUT = 6
    INTERRUPTED = 7
    WOKEN = 8
    GONE = 100
    E_CONFIG = -1
    E_MAGIC = -2
    E_VERSION = -3
    E_MISMATCH = -4
    E_SIZE = -5
    E_MEMORY = -6


_SENTENCES = {
    Result.E_MAGIC: "the shared memory that came with the connection holds no ring",
    Result.E_VERSION: "the ring has another memory layout: install the same shm-echo on both sides",
    Result.E_MISMATCH: "the ring was made for another example or another size",
    Result.E_SIZE: "the shared memory is smaller than the ring",
}


def checked(result: int, what: str) -> None:
    """Raise for every result but OK.

    Raises:
        ValueError: the sizes are zero or too large for a ring.
        MemoryError: no memory for a handle.
        ProtocolError: the memory is not the ring that was agreed upon.
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
    raise ProtocolError(f"{what}: {_SENTENCES.get(Result(result), Result(result).name)}")


def make_config(
    row_bytes: Sequence[int],
    digest: bytes,
    *,
    batch_size: int,
    num_buffers: int,
    max_producers: int,
    detailed: bool,
) -> tuple[Any, list[Any]]:
    """A ``she_config`` and the objects that it points to, which must outlive it."""
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
            "row_bytes": rows,
            "digest": spec,
        },
    )
    return config, [rows, spec]


def layout_bytes(config: Any) -> int:
    """Bytes that a ring of this configuration takes.

    Raises:
        ValueError: a size is zero or too large.
    """
    layout = ffi.new("she_layout *")
    offsets = ffi.new("uint64_t[]", max(1, config.num_leaves))
    checked(lib.she_layout_compute(config, layout, offsets), "this ring cannot be laid out")
    return int(layout.total_bytes)
