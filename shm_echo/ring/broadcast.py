"""The broadcast of a server's newest value to its clients: a segment that one side writes.

There are one writer, any number of readers, and no queue: a reader gets a copy of the newest
version. The C side (csrc/broadcast.c) guarantees that a copy is of one version; this file
lays out the leaves in it, each at a multiple of 8 bytes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from shm_echo.errors import ConnectionClosedError
from shm_echo.ring.core import Result, check_result, ffi, lib
from shm_echo.ring.segment import Backing, Segment
from shm_echo.validation import check_count, seconds

if TYPE_CHECKING:
    from shm_echo.spec import LeafSpec, TreeSpec
    from shm_echo.spec.leaf import Array

__all__ = ["Publisher", "Subscriber", "broadcast_bytes", "leaf_arrays", "payload_bytes"]

_WAIT_SLICE = 0.1  # seconds between two checks of a blocked reader that the server is alive


class _BroadcastMapping:
    """One side of the broadcast: the segment, its C handle and the offsets of the leaves."""

    def __init__(self, spec: TreeSpec, segment: Segment, create: bool) -> None:
        self.spec = spec
        self.segment = segment
        self.offsets, self.nbytes = _offsets(spec)
        out = ffi.new("she_bcast **")
        make = lib.she_bcast_create if create else lib.she_bcast_attach
        memory = ffi.from_buffer(segment.mapping)
        digest = ffi.new("uint8_t[32]", spec.digest())
        check_result(
            make(memory, segment.size, self.nbytes, digest, out),
            "the broadcast segment could not be opened",
        )
        # The handle points into the mapping, which the segment keeps alive.
        self.pointer = ffi.gc(out[0], lib.she_bcast_free)


def _offsets(spec: TreeSpec) -> tuple[list[int], int]:
    offsets, end = [], 0
    for leaf in spec.leaves:
        offsets.append(end)
        end += (leaf.nbytes + 7) & ~7  # the C side copies whole 8-byte words
    return offsets, end


def payload_bytes(spec: TreeSpec) -> int:
    """Return the size of one value, with each leaf at a multiple of 8 bytes."""
    return _offsets(spec)[1]


def leaf_arrays(spec: TreeSpec, memory: Array, *, writable: bool) -> list[Array]:
    """Return the leaves of a value as arrays over its bytes.

    Args:
        spec: the spec of the value.
        memory: `payload_bytes(spec)` bytes, which nothing else writes any more.
        writable: False for arrays that cannot be made writable again.
    """
    whole = memory if writable else _read_only(memory)  # over a read-only memoryview
    offsets, _ = _offsets(spec)
    return [
        _leaf_at(whole, offset, leaf) for offset, leaf in zip(offsets, spec.leaves, strict=True)
    ]


def broadcast_bytes(spec: TreeSpec) -> int:
    """Return the size of the segment for values like an example, in bytes.

    Raises:
        ValueError: a value is too large.
    """
    _, nbytes = _offsets(spec)
    size = int(lib.she_bcast_bytes(nbytes)) if nbytes < 2**61 else 0
    if size == 0:
        raise ValueError(
            f"the published example has {nbytes:,} bytes, and at most 2**61 - 1 can be published"
        )
    return size


def _read_only(memory: Array) -> Array:
    return np.frombuffer(memory.data.toreadonly(), np.uint8)


def _leaf_at(whole: Array, offset: int, leaf: LeafSpec) -> Array:
    """Return a leaf as an array over the memory, or over a copy if it would not be aligned there.

    Leaves lie at multiples of 8 bytes, and a long double needs one of 16.
    """
    if offset % leaf.dtype.alignment:
        own = whole[offset : offset + leaf.nbytes].copy()
        whole, offset = own if whole.flags.writeable else _read_only(own), 0
    array: Array = np.ndarray(leaf.shape, leaf.dtype, whole, offset)
    return array


class Publisher:
    """The writing side. Threads may share it.

    Attributes:
        on_publish: called after each version, and at the end; None calls nothing. It must not wait.

    Raises:
        ShmTooSmallError: there is no room for three copies of the value.
        ValueError: the value is too large for a segment.
    """

    def __init__(self, spec: TreeSpec, backing: Backing, *, guarded: bool = False) -> None:
        segment = Segment.allocate(broadcast_bytes(spec), backing, guarded=guarded)
        self._mapping = _BroadcastMapping(spec, segment, create=True)
        self._lock = threading.Lock()
        self.segment = self._mapping.segment
        self.spec = spec
        self.on_publish: Callable[[], None] | None = None
        self.closed = False

    @property
    def version(self) -> int:
        """The number of the newest version; 0 before the first."""
        return int(lib.she_bcast_latest(self._mapping.pointer))

    def publish(self, value: Any) -> int:
        """Make `value` the newest version, and return its number.

        Raises:
            SpecMismatchError: the value differs from the example; nothing was published.
        """
        cast = self._mapping
        arrays = [np.ascontiguousarray(leaf) for leaf in cast.spec.check(value)]
        with self._lock:
            version = lib.she_bcast_begin(cast.pointer)
            for offset, array in zip(cast.offsets, arrays, strict=True):
                source = ffi.cast("void *", array.ctypes.data)
                lib.she_bcast_write(cast.pointer, version, offset, source, array.nbytes)
            lib.she_bcast_end(cast.pointer, version)
        cast.segment.check_intact()
        if self.on_publish is not None:
            self.on_publish()
        return int(version)

    def copy_newest(self) -> tuple[int, Array] | None:
        """Return the newest version and a copy of its bytes, all of one version.

        Returns:
            None before the first version, and if the writer overtook the copy: try again.
        """
        mapping = self._mapping
        memory = np.empty(max(1, mapping.nbytes), np.uint8)
        target = ffi.cast("void *", memory.ctypes.data)
        overtaken = ffi.new("int *")
        version = int(lib.she_bcast_read(mapping.pointer, target, mapping.nbytes, overtaken))
        return (version, memory[: mapping.nbytes]) if version else None

    def close(self) -> None:
        """Wake the readers that wait for a version: no further one follows."""
        self.closed = True
        lib.she_bcast_close(self._mapping.pointer)
        self.segment.close()
        if self.on_publish is not None:
            self.on_publish()


class Subscriber:
    """The reading side. Threads may share it."""

    def __init__(self, spec: TreeSpec, fd: int, server: int, address: str) -> None:
        self._mapping = _BroadcastMapping(
            spec, Segment.from_fd(fd, broadcast_bytes(spec)), create=False
        )
        self._server = server
        self._address = address
        self._last: tuple[int, list[Array]] | None = None  # the newest version read, read-only
        self._closed = False

    def latest(self, timeout: float, writable: bool = False) -> tuple[int, Any] | None:
        """Return the newest version and its value, or None before the first.

        Args:
            timeout: seconds to try again if the writer overtakes a copy.
            writable: return arrays that no other call returns; else they are read-only, and the
                same ones until the next version, in a tree of their own.

        Raises:
            TimeoutError: the writer overtook every copy within `timeout` seconds.
        """
        limit = seconds("timeout", timeout)
        mapping, last = self._mapping, self._last
        unchanged = last is not None and lib.she_bcast_latest(mapping.pointer) == last[0]
        if last is not None and unchanged and not writable:
            return last[0], mapping.spec.unflatten(last[1])
        found = self._read(limit)
        if found is None:
            return None
        version, memory = found
        arrays = leaf_arrays(mapping.spec, memory, writable=writable)
        if not writable:
            self._last = version, arrays
        return version, mapping.spec.unflatten(arrays)

    def _read(self, limit: float | None) -> tuple[int, Array] | None:
        """Copy the newest version into fresh memory; all leaves in one read, so of one version."""
        mapping = self._mapping
        memory = np.empty(max(1, mapping.nbytes), np.uint8)
        target = ffi.cast("void *", memory.ctypes.data)
        overtaken = ffi.new("int *")
        deadline: float | None = None
        while True:
            version = int(lib.she_bcast_read(mapping.pointer, target, mapping.nbytes, overtaken))
            if version:
                mapping.segment.check_intact()
                return version, memory
            mapping.segment.check_intact()
            if not overtaken[0]:
                return None
            now = time.monotonic()
            if limit is None:
                continue
            deadline = now + limit if deadline is None else deadline
            if now >= deadline:
                raise TimeoutError(
                    f"the server published faster than this process could copy for {limit:g} s"
                )

    def wait_for(self, version: int, timeout: float | None) -> int:
        """Block until the newest version is at least `version`; return the newest.

        Raises:
            TimeoutError: the version was not published within `timeout` seconds.
            ConnectionClosedError: this side was closed.
            ConnectionClosedError: the server has closed or ended.
        """
        version = check_count("version", version, 0, most=2**63)
        timeout = seconds("timeout", timeout)
        deadline = None if timeout is None else time.monotonic() + timeout
        pointer = self._mapping.pointer
        while True:
            left = (
                _WAIT_SLICE if deadline is None else min(_WAIT_SLICE, deadline - time.monotonic())
            )
            result = lib.she_bcast_wait(pointer, version, max(0, int(left * 1e9)))
            newest = int(lib.she_bcast_latest(pointer))
            self._mapping.segment.check_intact()
            if newest >= version:
                return newest
            if self._closed:
                raise ConnectionClosedError(f"the client of {self._address} is closed")
            if result == Result.CLOSED or lib.she_process_gone(self._server):
                raise ConnectionClosedError(
                    f"the server of {self._address} has gone; its newest version is {newest}"
                )
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError(
                    f"version {version} did not come within {timeout:g} s (newest: {newest})"
                )

    def close(self) -> None:
        """End the waits of other threads, within a tenth of a second."""
        self._closed = True
