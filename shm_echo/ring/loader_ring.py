"""A loader's ring: workers fill the batches that the training loop's process has announced.

A slot of this ring is a *run*: up to `run_rows` rows of one batch that one worker makes together.
csrc/include/shm_echo/loader_ring.h has the rules. This module knows nothing of datasets, samplers
or processes: it hands out announced batches in their order, and takes back what a dead worker held.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from shm_echo.errors import ConnectionClosedError, ForkedHandleError, RingCorruptedError
from shm_echo.ring.core import Result, _core_cpython, check_result, ffi, lib
from shm_echo.ring.loader_records import (
    FailedRun,
    LateRow,
    LoaderBatch,
    LoaderRingStats,
    LoaderSizes,
)
from shm_echo.ring.ring import Ring, ring_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import numpy.typing as npt

    from shm_echo.ring.host_pinning import CudaLibrary
    from shm_echo.ring.segment import Backing
    from shm_echo.spec import TreeSpec

__all__ = [
    "FailedRun",
    "LateRow",
    "LoaderBatch",
    "LoaderRing",
    "LoaderRingStats",
    "LoaderSizes",
    "loader_sender",
]

# SHE_NOBODY in loader_ring.h.
_NOBODY = 2**32 - 1
# The longest slice of a wait is SLICE_NS in binding.h; a longer time-out only has to be positive.
_LONGEST_WAIT_NS = 10**12


class LoaderRing:
    """A loader's ring in the process of the training loop.

    Batches are lent: their memory is not written again until nothing refers to them. A batch is
    copied where the last free buffer would be lent, so that one buffer always circulates.

    A batch gets into the hands of the caller through a handover, as with `Server`'s consumer (see
    shm_echo/consumer.py), so that an interrupt at any moment loses nothing:

    ```python
    handover = ring.handover()
    try:
        handover.begin(-1.0)
        batch = ring.take(handover)
        handover.confirm()
        return batch
    except BaseException:
        handover.put_back()
        raise
    ```

    Args:
        ring: the ring, created by this process.
        sizes: its sizes.
        reuse: True for batches whose memory is used again from the next `take` on, even while
            something refers to it.
        writable: True for arrays that the training loop may write.
        poisoned: True to overwrite the memory of each batch that is given back.
    """

    def __init__(
        self, ring: Ring, sizes: LoaderSizes, *, reuse: bool, writable: bool, poisoned: bool
    ) -> None:
        self.sizes = sizes
        self._ring = ring
        self._receiver = receiver = ring.receiver(
            lease=False if reuse else "copy", writable=writable, poisoned=poisoned
        )
        self.handover = receiver.handover
        self.wake = receiver.wake
        # The receiver owns the consumer, so this pointer keeps the receiver alive.
        self._consumer = ffi.gc(
            ffi.cast("she_consumer *", receiver.address()), lambda _pointer, _keep=receiver: None
        )
        self._announced_batch = ffi.new("uint64_t *")

    @staticmethod
    def bytes_needed(spec: TreeSpec, sizes: LoaderSizes) -> int:
        """Return the size of a ring, in bytes, without making it.

        Raises:
            ValueError: a size is not positive, or too large for any ring.
        """
        return ring_bytes(spec, sizes.config())

    @classmethod
    def create(
        cls,
        spec: TreeSpec,
        sizes: LoaderSizes,
        backing: Backing = "memfd",
        *,
        reuse: bool = False,
        writable: bool = True,
        poisoned: bool = False,
    ) -> LoaderRing:
        """Allocate a ring.

        Args:
            spec: of one item.
            sizes: the sizes of the ring.
            backing: where the memory comes from.
            reuse, writable, poisoned: as for the class.

        Raises:
            ShmTooSmallError: there is no room for it.
            ValueError: a size is not positive, or too large.
        """
        config = sizes.config()
        ring_bytes(spec, config)  # its messages name what is too large
        ring = Ring.create(spec, config, backing)
        return cls(ring, sizes, reuse=reuse, writable=writable, poisoned=poisoned)

    @property
    def spec(self) -> TreeSpec:
        """The spec of one item."""
        return self._ring.spec

    @property
    def nbytes(self) -> int:
        """The size of the ring, in bytes."""
        return self._ring.segment.size

    @property
    def closed(self) -> bool:
        """Return True if the ring is closed."""
        return self._ring.closed

    def fileno(self) -> int:
        """Return the descriptor of the memory, for the workers."""
        return self._ring.segment.fileno()

    def pin(self, cuda: CudaLibrary) -> None:
        """Page-lock the memory for a GPU, until `close`.

        Raises:
            RuntimeError: CUDA refused the registration.
        """
        self._ring.segment.pin(cuda)

    def close(self) -> None:
        """Close the ring: workers that claim get an error, and so does every wait.

        Batches that the caller holds stay as they are.
        """
        # Every step may be done again: an exception of a signal handler may end this call anywhere.
        self._ring.close()
        self._receiver.wake()
        self._receiver.close()
        self._ring.segment.close()

    # ---------------------------------------------------------------- announcing

    def announce(self, first_row: int, epoch: int, indices: npt.NDArray[np.int64]) -> bool:
        """Announce a batch; return False if no buffer is free.

        Args:
            first_row: the number of its first row in the order of all epochs.
            epoch: the number of the epoch, for the workers.
            indices: the items of its rows: C-contiguous int64.

        Raises:
            ValueError: there are no indices, or more than a batch has.
        """
        rows = len(indices)
        if not 1 <= rows <= self.sizes.batch_size:
            raise ValueError(f"a batch has 1 to {self.sizes.batch_size} rows, not {rows}")
        pointer = ffi.from_buffer("int64_t[]", indices)
        if len(pointer) != rows:
            raise ValueError(f"indices must be int64, not {indices.dtype}")
        handover = self._receiver.handover()
        handover.begin(-1.0)
        try:
            result = lib.she_loader_announce(
                self._consumer, first_row, epoch, pointer, rows, self._announced_batch
            )
        finally:
            handover.confirm()
        if result == Result.FULL:
            return False
        check_result(result, "the batch could not be announced")
        return True

    def cancel(self) -> None:
        """Cancel every announced batch that was not taken.

        Nothing of them is handed out any more. Rows that workers are making are waited for by later
        calls. A batch that an interrupted call has taken is dropped, too.
        """
        handover = self._receiver.handover()
        handover.begin(-1.0)
        try:
            self._receiver.forget()
            lib.she_loader_cancel(self._consumer)
        finally:
            handover.confirm()

    # ---------------------------------------------------------------- taking

    def take(self, handover: _core_cpython.Handover) -> LoaderBatch | None:
        """Return the next announced batch, or None if it is not complete.

        With `reuse`, the memory of the batch before is given back.

        Args:
            handover: begun by the caller; keeps the batch until it confirms.

        Raises:
            RingCorruptedError: another process has truncated the memory.
        """
        arrays = handover.take(False)
        if arrays is None:
            return None
        failed = handover.failed
        return LoaderBatch(
            arrays,
            handover.rows,
            handover.first_row,
            tuple(FailedRun(*run) for run in failed) if failed else (),
        )

    def ready_wait(self, timeout: float) -> Result:
        """Wait until something happens, for at most a tenth of a second.

        Call it with a handover begun.

        Args:
            timeout: seconds.

        Returns:
            OK: the next batch is complete. WOKEN, INTERRUPTED: a buffer may have become free, so
            announce, and look again. TIMEOUT. CLOSED: the ring is closed.
        """
        return Result(self._receiver.wait(int(min(max(0.0, timeout) * 1e9, _LONGEST_WAIT_NS))))

    # ---------------------------------------------------------------- workers

    def admit(self, owner: int) -> None:
        """Let a worker claim runs under an owner id from 1 to `max_workers`.

        The id is free: no process that had it before writes any more. Its `row_of` is forgotten.
        """
        self._consumer.last_owner = max(self._consumer.last_owner, owner)
        lib.she_reinstate(self._ring.pointer, owner)

    def recover(self, owner: int) -> int:
        """Give the runs of a worker whose process has ended to the others.

        Returns:
            The number of runs that it had claimed and not finished.
        """
        lib.she_revoke(self._ring.pointer, owner)
        runs = lib.she_recover(self._ring.pointer, owner)
        lib.she_wake_consumer(self._consumer)
        return int(runs)

    def delivered(self, owner: int) -> int:
        """Return the number of rows of taken batches that were made under an owner id."""
        return int(self._consumer.taken_by[owner])

    # ---------------------------------------------------------------- observing

    def straggler(self) -> LateRow | None:
        """Return the first unfinished row of the awaited batch; None if there is none."""
        late = ffi.new("she_late_row *")
        if not lib.she_loader_straggler(self._consumer, late):
            return None
        owner = None if late.owner == _NOBODY else int(late.owner)
        return LateRow(int(late.slot), int(late.row), int(late.index), owner)

    def row_of(self, owner: int) -> int | None:
        """Return the row that a worker makes now, or made when it died; None if none."""
        row = ffi.new("uint64_t *")
        return int(row[0]) if lib.she_loader_row_of(self._ring.pointer, owner, row) else None

    def index_of(self, row: int) -> int | None:
        """Return the item of a row that is announced and not taken; None if there is none."""
        index = ffi.new("int64_t *")
        return int(index[0]) if lib.she_loader_index(self._consumer, row, index) else None

    def held_by(self, owner: int) -> int:
        """Return the number of runs that a worker has claimed and not finished."""
        return int(lib.she_held(self._ring.pointer, owner))

    def waited_ns(self, owner: int) -> int:
        """Return the nanoseconds for which workers have waited for runs under an owner id.

        The number only grows, and includes a wait that goes on.
        """
        view = ffi.new("she_producer_view *")
        lib.she_producer_stats(self._ring.pointer, owner, view)
        return int(view.blocked_ns)

    def stats(self) -> LoaderRingStats:
        """Return the state of the ring."""
        view = ffi.new("she_loader_view *")
        lib.she_loader_stats(self._consumer, view)
        return LoaderRingStats(
            int(view.announced),
            int(view.taken),
            int(view.ready),
            int(view.free_buffers),
            self._receiver.held,
            self._receiver.copied,
        )


def loader_sender(
    spec: TreeSpec,
    sizes: LoaderSizes,
    fd: int,
    owner: int,
    *,
    trainer: int = -1,
    watch: Callable[[], None] | None = None,
    same_kind: bool = False,
) -> _core_cpython.Sender:
    """Open a loader's ring in a worker, and return what claims its runs.

    `claim_run` of it raises ConnectionClosedError when the ring is closed, when the worker's claims
    are revoked, or when the process of the training loop has ended.

    Args:
        spec: of one item.
        sizes: the sizes of the ring.
        fd: its memory. The descriptor is closed, even after a failure.
        owner: the owner id of this worker.
        trainer: a pidfd of the training loop's process, or -1.
        watch: called before each wait for a run, at least ten times a second; may raise.
        same_kind: cast arrays by NumPy's rule of this name; otherwise only exact dtypes fit.

    Raises:
        ProtocolError: the memory does not hold the ring of this spec and these sizes.
        ValueError: the memory is smaller than the ring, or there is no such owner id.
    """
    ring = Ring.attach(spec, sizes.config(), fd)

    def raise_for_result(result: int, sent: int, timeout: float | None) -> None:
        worker = weak()
        if result == Result.TIMEOUT:
            raise TimeoutError(f"no run to make within {timeout:g} s")
        if result == Result.CORRUPTED and worker is not None:
            slot = worker.lost_slot
            raise RingCorruptedError(
                f"slot {slot} of the loader's ring was overwritten by another program", slot=slot
            )
        if result == Result.STOPPED and worker is not None and worker.retired:
            raise ForkedHandleError(
                "the loader's ring was opened before the fork, and so was the run"
            )
        raise ConnectionClosedError(_ENDS.get(result, Result(result).name), sent)

    sender = ring.sender(owner, raise_for_result, trainer, watch, same_kind=same_kind)
    weak = weakref.ref(sender)  # else the two would refer to each other
    return sender


_ENDS: dict[int, str] = {
    Result.CLOSED: "the loader has closed its ring",
    Result.REVOKED: "the loader has revoked this worker's claims",
    Result.STOPPED: "this worker's sender is stopped",
    Result.GONE: "the process of the training loop has ended",
    Result.GIVEN_UP: "the loader has given the rows of this worker to another one",
}
