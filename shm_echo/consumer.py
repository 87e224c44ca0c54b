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

from shm_echo.held_batches import HeldBatches
from shm_echo.metrics import NO_TIMES, HistSnapshot, SampleInfo
from shm_echo.ring.core import Result, _core_cpython, ffi, lib
from shm_echo.ring.producers import Producers
from shm_echo.ring.ring import Ring
from shm_echo.server_options import ServerOptions
from shm_echo.stream_end import StreamEnd
from shm_echo.validation import seconds
from shm_echo.wait_checks import WaitChecks

__all__ = ["Consumer", "Sample"]

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

    An exception, of a signal handler for example, may come at any moment, and the next call must
    then return the batch that an interrupted one has taken. So the function that returns a batch to
    the caller ends like this, in Python (csrc/python/handover.c says why):

    ```python
    handover = consumer.handover()
    try:
        sample = consumer.take(handover, ...)
        handover.confirm()
        return sample
    except BaseException:
        handover.put_back()
        raise
    ```

    Args:
        ring: the ring to take batches from.
        options: the arguments of the server.
    """

    def __init__(self, ring: Ring, options: ServerOptions) -> None:
        self._ring = ring
        self._unflatten = ring.spec.unflatten
        self._receiver = receiver = ring.receiver(
            lease=options.lease, writable=options.writable, poisoned=options.debug
        )
        self.handover = receiver.handover  # of C: it costs no call of a Python function
        # The receiver owns the consumer, so this pointer keeps the receiver alive.
        self._consumer = ffi.gc(
            ffi.cast("she_consumer *", receiver.address()), lambda _pointer, _keep=receiver: None
        )
        self.producers = Producers(
            ring, self._consumer, remember=_DEATHS_TO_REPORT[options.on_death]
        )
        self.checks = WaitChecks(receiver, self._consumer, self.producers, options)
        self.held = HeldBatches(receiver, options.debug)
        self._closed = False
        self.sampler: threading.Thread | None = None  # the thread that sampled last

    # ---------------------------------------------------------------- taking

    def take(
        self,
        handover: _core_cpython.Handover,
        timeout: float | None,
        partial: bool = False,
        until_closed_by: int | None = None,
        copy: bool = False,
    ) -> Sample | None:
        """Return the next batch, or None at the end of the stream.

        Args:
            handover: keeps the batch until the caller confirms.
            timeout: seconds to wait; None waits without limit.
            partial: end the batch now and return the samples that it has.
            until_closed_by: the number of producers that must have attached before the stream can
                end; it ends when all of them have left. None for a stream without an end.
            copy: return private arrays and free the ring's memory at once.
        """
        timeout = seconds("timeout", timeout)
        if not handover.begin(-1.0 if timeout is None else timeout):
            raise TimeoutError(f"another thread was sampling for {timeout:g} s")
        if self._closed:
            return None
        sampler = threading.current_thread()
        if sampler is not self.sampler:
            self.sampler = self.checks.new_sampler(self.sampler, sampler, copy)
        self.checks.before_taking()
        arrays = handover.take(copy)
        if arrays is None:
            arrays = self._wait_and_take(handover, timeout, partial, until_closed_by, copy)
        if arrays is None and partial and not self._closed:
            arrays = self._empty_batch()
        if arrays is None or (not partial and len(arrays[0]) == 0):
            return None
        if self._receiver.notices:
            self.checks.report(self._receiver.notices)
        if self.held.debug:
            self.held.record(arrays)
        return Sample(self._unflatten(arrays), self.info())

    def _wait_and_take(
        self,
        handover: _core_cpython.Handover,
        timeout: float | None,
        partial: bool,
        until_closed_by: int | None,
        copy: bool,
    ) -> list[Any] | None:
        """Wait for the next batch and take it; return None when no batch will come."""
        deadline = None if timeout is None else time.monotonic() + timeout
        receiver, arrays = self._receiver, None
        # The C wait runs without the interpreter lock: a lease that ends in another thread
        # meanwhile only wakes the consumer and leaves the release to it.
        before, receiver.waiting = receiver.waiting, True
        try:
            while arrays is None:  # a finalizer that runs meanwhile may take the batch
                if partial:
                    ready = self._seal_and_wait(deadline, timeout)
                else:
                    ready = self._wait(deadline, timeout, self._stream_end(until_closed_by))
                    if not ready and not self._closed:  # take the rest; without one, it is the end
                        ready = self._seal_and_wait(deadline, timeout)
                        if not ready and not self._closed:
                            self.checks.deaths()
                if not ready:
                    break
                arrays = handover.take(copy)
            return arrays
        except BaseException:
            # Unseal at once: the next sample that is sent still belongs into this batch.
            if self._consumer.sealed:
                lib.she_unseal(self._consumer)
            raise
        finally:
            receiver.waiting = before

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
            slice_ = 0.0 if stream_ended else self.checks.slice()
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
                    f"{self.producers.active} producers attached{self.checks.held_text()}"
                    f"{end.text if end else ''})"
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

    def _empty_batch(self) -> list[Any]:
        return [np.empty((0, *shape), dtype) for dtype, shape in self._ring.leaves]

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
        stored, taken, own, full, blocked, cas, lost, retries, copied, lent = receiver.stats()
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
            copied,
            lent,
        )

    def reset_histograms(self) -> None:
        """Restart the histograms."""
        self._receiver.reset_times()

    def close(self) -> None:
        """Make a waiting learner end its wait at its next check."""
        self._closed = True
        self._receiver.close()
