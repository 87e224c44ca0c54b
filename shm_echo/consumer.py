"""Takes batches out of the ring, and waits for them.

A `Consumer` stands between the public `Server` and the C consumer. It waits in slices. Between two
slices it checks if the stream has ended, and `shm_echo.wait_checks` looks for other events that
concern the learner.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np

from shm_echo.metrics import NO_TIMES, HistSnapshot, SampleInfo
from shm_echo.ring.core import Result, _core_cpython, ffi, lib
from shm_echo.ring.producers import Producers
from shm_echo.ring.ring import Ring
from shm_echo.stream_end import StreamEnd
from shm_echo.validation import seconds
from shm_echo.wait_checks import WaitChecks

__all__ = ["Consumer", "Sample"]

# Seconds of one wait in C. Between slices Python handles signals and looks for other events.
_WAIT_SLICE = 0.1
_DEATHS_TO_REPORT: dict[str, Literal["none", "all", "last"]] = {
    "warn": "none",
    "raise": "all",
    "raise_if_last": "last",
}


class Sample(NamedTuple):
    """A batch and the state of the ring when it was handed out.

    Attributes:
        batch: a tree like the example; each leaf has a leading axis of length `batch_size`, shorter
            in a partial batch.
        info: the metrics at that moment: see [SampleInfo][shm_echo.SampleInfo].
    """

    batch: Any
    info: SampleInfo


class Consumer:
    """The learner's end of one ring.

    Args:
        ring: the ring to take batches from.
        receiver: the ring's C consumer.
        on_death: "warn", "raise" or "raise_if_last".
        lease_timeout: seconds to wait for held batches; None waits without limit.
        expects_producers: warn while no producer is attached.
    """

    def __init__(
        self,
        ring: Ring,
        receiver: _core_cpython.Receiver,
        *,
        on_death: str,
        lease_timeout: float | None,
        expects_producers: bool,
    ) -> None:
        self._ring = ring
        self._receiver = receiver
        # The receiver owns the consumer, so this pointer keeps the receiver alive.
        self._consumer = ffi.gc(
            ffi.cast("she_consumer *", receiver.address()), lambda _pointer, _keep=receiver: None
        )
        self.producers = Producers(ring, self._consumer, remember=_DEATHS_TO_REPORT[on_death])
        self.checks = WaitChecks(
            receiver,
            self._consumer,
            self.producers,
            batch_size=ring.config.batch_size,
            num_buffers=ring.config.num_buffers,
            on_death=on_death,
            lease_timeout=lease_timeout,
            expects_producers=expects_producers,
        )
        # Held by the thread that samples. Re-entrant, because only its holder can release an RLock.
        self._sampling = threading.RLock()
        self._closed = False
        self.sampler: threading.Thread | None = None  # the thread that sampled last

    # ---------------------------------------------------------------- taking

    def take(
        self,
        timeout: float | None,
        *,
        partial: bool = False,
        until_closed_by: int | None = None,
        copy: bool = False,
    ) -> tuple[list[Any], SampleInfo] | None:
        """Return the arrays of the next batch and the metrics, or None at the end of the stream.

        Args:
            timeout: seconds to wait; None waits without limit.
            partial: end the batch now and return the samples that it has.
            until_closed_by: the number of producers that must have attached before the stream can
                end; it ends when all of them have left. None for a stream without an end.
            copy: return private arrays and free the ring's memory at once.
        """
        timeout = seconds("timeout", timeout)
        receiver, sampling = self._receiver, self._sampling
        try:
            if not sampling.acquire(timeout=-1 if timeout is None else timeout):
                raise TimeoutError(f"another thread was sampling for {timeout:g} s")
            if self._closed:
                return None
            self.sampler = threading.current_thread()
            self.checks.before_taking()
            receiver.release()
            if receiver.ready():
                arrays: list[Any] | None = receiver.take()
            else:
                arrays = self._wait_and_take(timeout, partial, until_closed_by)
            if arrays is None:
                return self._empty_batch() if partial and not self._closed else None
            if not partial and len(arrays[0]) == 0:
                return None
            if copy:  # while the lock is held: another thread's sample() would release the batch
                arrays = [np.array(array) for array in arrays]
                receiver.release()
            return arrays, self.info()
        finally:
            # The lock itself knows if this thread holds it: an interrupt may arrive right after
            # acquire() and before any other statement. No Python function may run before the
            # release, because a signal handler that raises there would skip it.
            try:  # noqa: SIM105
                sampling.release()
            except RuntimeError:
                pass

    def _wait_and_take(
        self, timeout: float | None, partial: bool, until_closed_by: int | None
    ) -> list[Any] | None:
        """Wait for the next batch; return None when no batch will come."""
        deadline = None if timeout is None else time.monotonic() + timeout
        receiver = self._receiver
        # The C wait runs without the interpreter lock: a lease that ends in another thread
        # meanwhile only wakes the consumer and leaves the release to it.
        receiver.waiting = True
        try:
            if partial:
                ready = self._seal_and_wait(deadline, timeout)
            else:
                ready = self._wait(deadline, timeout, self._stream_end(until_closed_by))
                if not ready and not self._closed:  # take the rest; without one, it is the end
                    ready = self._seal_and_wait(deadline, timeout)
                    if not ready and not self._closed:
                        self.checks.deaths()
            return receiver.take() if ready else None
        except BaseException:
            # Unseal at once: the next sample that is sent still belongs into this batch.
            if self._consumer.sealed:
                lib.she_unseal(self._consumer)
            raise
        finally:
            receiver.waiting = False

    def _stream_end(self, producers: int | None) -> StreamEnd | None:
        return None if producers is None else StreamEnd(self.producers, self._consumer, producers)

    def _wait(
        self,
        deadline: float | None,
        timeout: float | None,
        end: StreamEnd | None = None,
        before_slice: Callable[[], None] | None = None,
    ) -> bool:
        """Return True when the batch is complete, False when the ring closed or the stream ended.

        Args:
            deadline: the monotonic time at which to give up; None for no limit.
            timeout: the seconds that the deadline came from, for the message.
            end: the end of the stream; None if it has none.
            before_slice: called before each slice.

        Raises:
            TimeoutError: the deadline passed.
            ProducerDiedError: a producer died, where `on_death` asks for the error.
            BatchesHeldError: leases have held every buffer for `lease_timeout` seconds.
            RingCorruptedError: the batch waits for an overwritten word that cannot be mended.
        """
        receiver = self._receiver
        began = time.monotonic()
        while True:
            # Checked before the wait: a producer that leaves after the check wakes the wait, and
            # the loop checks again.
            stream_ended = end is not None and end.rest_is_due()
            if before_slice is not None:
                before_slice()
            slice_ = 0.0 if stream_ended else _WAIT_SLICE
            if deadline is not None:
                slice_ = min(slice_, max(0.0, deadline - time.monotonic()))
            result = receiver.wait(int(slice_ * 1e9))
            if result == Result.OK:
                return True
            if result == Result.CLOSED or self._closed or stream_ended:
                return False
            now = time.monotonic()
            self.checks.deaths()
            late = deadline is not None and now >= deadline
            self.checks.damage(now, last=late)
            if late:
                raise TimeoutError(
                    f"no batch of {self._ring.config.batch_size} samples within {timeout:g} s "
                    f"({self.info().store_size} samples are there, "
                    f"{self.producers.active} producers attached{end.text if end else ''})"
                )
            self.checks.look(now, now - began, end.text if end else "")

    def _seal_and_wait(self, deadline: float | None, timeout: float | None) -> bool:
        """End the batch here and wait for the samples that are still being written into it."""
        if not self._has_samples():
            return False
        consumer = self._consumer
        # Sealed again before each slice, because an aborted claim may have left a hole meanwhile.
        return self._wait(deadline, timeout, before_slice=lambda: lib.she_seal(consumer))

    def _has_samples(self) -> bool:
        return bool(lib.she_pending(self._consumer))

    def _empty_batch(self) -> tuple[list[Any], SampleInfo]:
        return [np.empty((0, *shape), dtype) for dtype, shape in self._ring.leaves], self.info()

    def reason_for_endless_wait(self) -> str | None:
        """Return the reason why no thread will empty a full ring, or None if one may."""
        sampler = self.sampler
        if sampler is None:
            return "no thread has sampled yet"
        if sampler is threading.current_thread():
            return "this thread is the one that samples"
        if not sampler.is_alive():
            return "the thread that sampled has ended"
        return None

    # ---------------------------------------------------------------- metrics

    def info(self) -> SampleInfo:
        """Return the metrics of this moment."""
        receiver = self._receiver
        stored, taken, own, full, blocked, cas, lost, retries = receiver.stats()
        if self._ring.config.detailed:
            copies, dwell = receiver.times()
            memcpy, queue_dwell = HistSnapshot(*copies), HistSnapshot(*dwell)
        else:
            memcpy = queue_dwell = NO_TIMES
        return SampleInfo(
            stored,
            self.producers.active,
            0,
            0,
            blocked,
            stored + taken - own,
            full,
            cas,
            lost,
            retries,
            NO_TIMES,
            memcpy,
            queue_dwell,
        )

    def reset_histograms(self) -> None:
        """Restart the histograms."""
        self._receiver.reset_times()

    def close(self) -> None:
        """Make a waiting learner end its wait at its next check."""
        self._closed = True
