"""One ring in one segment: created by its owner, or opened by a producer.

Both sides compute the same layout from the same configuration. No value read from the shared memory
is used as an address or a length.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from shm_echo.ring.core import _core_cpython, check_result, ffi, layout_bytes, lib, make_config
from shm_echo.ring.segment import Backing, Segment

if TYPE_CHECKING:
    from shm_echo.spec import TreeSpec

__all__ = ["MAX_PRODUCERS", "Lease", "Ring", "RingConfig", "ring_bytes"]

# What a batch is to the learner: lent until nothing refers to it (True), or until the next one
# (False); "copy" also copies the batch for which the last free buffer would be lent.
Lease = Literal[True, False, "copy"]
# `enum lease_mode` of csrc/python/receiver.h.
_LEASE_MODES: dict[Lease, int] = {False: 0, True: 1, "copy": 2}

# Raises the exception of a result, from (result, samples sent, time-out).
RaiseForResult = Callable[[int, int, "float | None"], None]


@dataclass(frozen=True)
class RingConfig:
    """The sizes of a ring, beside its tree spec.

    Attributes:
        batch_size: samples per batch.
        num_buffers: batches in the ring.
        max_producers: the number of producers that may be attached at once.
        detailed: True to keep commit times and histograms.
        run_rows: 0, or the rows in a slot of a loader's ring, whose `batch_size` counts slots.
    """

    batch_size: int
    num_buffers: int
    max_producers: int
    detailed: bool
    run_rows: int = 0

    @property
    def capacity(self) -> int:
        """Slots in the ring."""
        return self.batch_size * self.num_buffers


# A slot number fits into 32 bits (SHE_MAX_CAPACITY in layout.h).
_MAX_SAMPLES = 2**31
# Owner ids have 16 bits, of which two values are taken (SHE_MAX_PRODUCERS in layout.h).
MAX_PRODUCERS = 65534


def ring_bytes(spec: TreeSpec, config: RingConfig) -> int:
    """Return the size of a ring, in bytes, without making one.

    Raises:
        ValueError: it would have more samples or bytes than any ring can have.
    """
    if config.capacity > _MAX_SAMPLES:
        raise ValueError(
            f"batch_size={config.batch_size:,} and num_buffers={config.num_buffers:,} make "
            f"{config.capacity:,} samples, and a ring has at most {_MAX_SAMPLES:,}"
        )
    if config.capacity * spec.nbytes >= 2**63:
        raise ValueError(
            f"{config.capacity:,} samples of {spec.nbytes:,} bytes do not fit into a ring, which "
            f"has less than 2**63 bytes: use a smaller batch_size or num_buffers"
        )
    c_config, keepalive = _c_config(spec, config)
    size = layout_bytes(c_config)
    del keepalive
    return size


class Ring:
    """A mapped ring: its C handle, and the factory of its producers and its consumer."""

    def __init__(self, spec: TreeSpec, config: RingConfig, segment: Segment, pointer: Any) -> None:
        self.spec = spec
        self.config = config
        self.segment = segment
        self.pointer = pointer
        self.closed = False
        self.leaves = spec.leaf_table
        self._handle = _core_cpython.Handle(int(ffi.cast("uintptr_t", pointer)), segment.mapping)

    @classmethod
    def create(
        cls, spec: TreeSpec, config: RingConfig, backing: Backing, *, guarded: bool = False
    ) -> Ring:
        """Allocate and format a ring; `guarded` as for `Segment.allocate`.

        Raises:
            ShmTooSmallError: there is no room for it.
            ValueError: a size is zero or too large.
        """
        c_config, keepalive = _c_config(spec, config)
        segment = Segment.allocate(layout_bytes(c_config), backing, guarded=guarded)
        out = ffi.new("she_ring **")
        memory = ffi.from_buffer(segment.mapping)
        try:
            check_result(
                lib.she_ring_create(memory, segment.size, c_config, os.getpid(), out),
                "the ring could not be made",
            )
        except BaseException:
            segment.close()
            raise
        del keepalive
        return cls(spec, config, segment, out[0])

    @classmethod
    def attach(cls, spec: TreeSpec, config: RingConfig, fd: int) -> Ring:
        """Open the ring behind a descriptor. The descriptor is closed, even after a failure.

        Raises:
            ProtocolError: the memory does not hold the ring of this spec and configuration.
            ValueError: the memory is smaller than the ring.
        """
        c_config, keepalive = _c_config(spec, config)
        segment = Segment.from_fd(fd, layout_bytes(c_config))
        out = ffi.new("she_ring **")
        memory = ffi.from_buffer(segment.mapping)
        check_result(
            lib.she_ring_attach(memory, segment.size, c_config, out), "the ring could not be opened"
        )
        del keepalive
        return cls(spec, config, segment, out[0])

    def sender(
        self,
        owner: int,
        raise_for_result: RaiseForResult,
        server: int = -1,
        watch: Callable[[], None] | None = None,
        *,
        same_kind: bool = False,
        watch_after: float = 0.0,
    ) -> _core_cpython.Sender:
        """Return a producer over this ring.

        Args:
            owner: its id in the ring.
            raise_for_result: called with a result, the samples sent and the time-out; raises the
                exception of that result.
            server: pidfd of the owning process, or -1.
            watch: called before each wait for room, at least ten times a second; may raise.
            same_kind: cast arrays by NumPy's rule of this name; otherwise only exact dtypes fit.
            watch_after: seconds that a call has waited for room before `watch` is called at all.
        """
        return _core_cpython.Sender(
            self._handle,
            owner,
            self.leaves,
            self.spec.plan,
            self.spec.fast_flatten,
            self.spec.unflatten,
            partial(self._check, same_kind=same_kind),
            raise_for_result,
            server,
            watch,
            same_kind,
            int(watch_after * 1e9),
        )

    def receiver(self, *, lease: Lease, writable: bool, poisoned: bool) -> _core_cpython.Receiver:
        """Return the consumer of this ring. A ring may have only one."""
        return _core_cpython.Receiver(
            self._handle, self.leaves, _LEASE_MODES[lease], writable, poisoned
        )

    @property
    def lent(self) -> int:
        """Batch buffers that the learner holds now: a hint for messages."""
        return min(int(lib.she_lent(self.pointer)), self.config.num_buffers)

    def _check(self, tree: Any, stacked: bool, *, same_kind: bool) -> list[Any]:
        if stacked:
            return self.spec.check_stacked(tree, same_kind=same_kind)[1]
        return self.spec.check(tree, same_kind=same_kind)

    def close(self) -> None:
        """Close the ring: no new claims, and every call that sleeps on it wakes and fails."""
        self.closed = True
        lib.she_ring_close(self.pointer)


def _c_config(spec: TreeSpec, config: RingConfig) -> tuple[Any, list[Any]]:
    rows = max(1, config.run_rows)
    return make_config(
        [rows * leaf.nbytes for leaf in spec.leaves],
        spec.digest(),
        batch_size=config.batch_size,
        num_buffers=config.num_buffers,
        max_producers=config.max_producers,
        detailed=config.detailed,
        run_rows=config.run_rows,
    )
