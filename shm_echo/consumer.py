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
from shm_echo.ring.ingress_meter import IngressMeter, sum_of
from shm_echo.ring.producers import Producers
from shm_echo.ring.ring import Ring
from shm_echo.server_options import ServerOptions
from shm_echo.stream_end import StreamEnd
from shm_echo.validation import seconds
from shm_echo.wait_checks import WaitChecks
from shm_echo.wait_limits import NotReadyError, PolledWait, WaitLimit

__all__ = ["Consumer", "Sample"]

# Seconds to wait for the lock of a helper that was woken, which takes some 50 us. A very busy
# machine may take longer: then the next call unseals, and a call without time raises.
_HELPER_WAKES_WITHIN = 1.0
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
            ring,
            self._consumer,
            remember=_DEATHS_TO_REPORT[options.on_death],
            reserved=options.own_producers,
        )
        self._attached = self.producers.attached
        self.meters: list[IngressMeter] = []  # of transports with threads of their own
        self.checks = WaitChecks(receiver, self._consumer, self.producers, options)
        self.held = HeldBatches(receiver, options.debug)
        self._closed = False
        self.sampler: threading.Thread | None = None  # the thread that sampled last

    @property
    def receiver(self) -> _core_cpython.Receiver:
        """Return the ring's C consumer."""
        return self._receiver

    # ---------------------------------------------------------------- taking

    def take(
        self,
        handover: _core_cpython.Handover,
        timeout: float | None,
        partial: bool = False,
        until_closed_by: int | None = None,
        copy: bool = False,
        polled: PolledWait | None = None,
    ) -> Sample | None:
        """Return the next batch, or None at the end of the stream.

        Args:
            handover: keeps the batch until the caller confirms.
            timeout: seconds to wait; None waits without limit.
            partial: end the batch now and return the samples that it has.
            until_closed_by: the number of producers that must have attached before the stream can
                end; it ends when all of them have left. None for a stream without an end.
            copy: return private arrays and free the ring's memory at once.
            polled: make one round of this wait, whose limit holds instead of `timeout`.

        Raises:
            NotReadyError: the round has ended, and the wait has not.
        """
        timeout = seconds("timeout", timeout)
        if polled is not None:
            if not handover.begin(0.0):  # held while another thread, or the helper, waits
                if polled.passed(time.monotonic()):
                    raise self._timeout_error(polled, self._stream_end(until_closed_by))
                polled.end_early()
        elif not self._begin(handover, timeout):
            raise TimeoutError(f"another thread was sampling for {timeout:g} s")
        if self._closed:
            return None
        sampler = threading.current_thread()
        if sampler is not self.sampler:
            self.sampler = self.checks.new_sampler(self.sampler, sampler, copy)
        self.checks.before_taking()
        arrays = handover.take(copy)
        if arrays is None:
            limit = WaitLimit(timeout) if polled is None else polled
            arrays = self._wait_and_take(handover, limit, partial, until_closed_by, copy)
        if arrays is None and partial and not self._closed:
            arrays = self._empty_batch()
        if arrays is None or (not partial and len(arrays[0]) == 0):
            return None
        if self._receiver.notices:
            self.checks.report(self._receiver.notices)
        if self.held.debug:
            self.held.record(arrays)
        return Sample(self._unflatten(arrays), self.info())

    def _begin(self, handover: _core_cpython.Handover, timeout: float | None) -> bool:
        """Wait for the turn of a call that may sleep; return False if it did not come in time."""
        if self._receiver.watching:
            # The helper of the coroutines only sleeps there, and gives its lock back when it wakes.
            self._receiver.wake()
            timeout = None if timeout is None else max(timeout, _HELPER_WAKES_WITHIN)
        return handover.begin(-1.0 if timeout is None else timeout)

    def _wait_and_take(
        self,
        handover: _core_cpython.Handover,
        limit: WaitLimit,
        partial: bool,
        until_closed_by: int | None,
        copy: bool,
    ) -> list[Any] | None:
        """Wait for the next batch and take it; return None when no batch will come."""
        receiver, arrays = self._receiver, None
        # The C wait runs without the interpreter lock: a lease that ends in another thread
        # meanwhile only wakes the consumer and leaves the release to it.
        before, receiver.waiting = receiver.waiting, True
        try:
            while arrays is None:  # a finalizer that runs meanwhile may take the batch
                if partial:
                    ready = self._seal_and_wait(limit)
                else:
                    ready = self._wait(limit, self._stream_end(until_closed_by))
                    if not ready and not self._closed:  # take the rest; without one, it is the end
                        ready = self._seal_and_wait(limit)
                        if not ready and not self._closed:
                            self.checks.deaths()
                if not ready:
                    break
                arrays = handover.take(copy)
            return arrays
        except NotReadyError:
            raise  # the next round continues with the sealed batch
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
        limit: WaitLimit,
        end: StreamEnd | None = None,
        before_slice: Callable[[], None] | None = None,
    ) -> bool:
        """Return True when the batch is complete, False when the ring closed or the stream ended.

        Args:
            limit: how long to wait, and who sleeps.
            end: the end of the stream; None if it has none.
            before_slice: called before each slice.

        Raises:
            TimeoutError: the limit passed.
            NotReadyError: the round of a polled wait has ended.
            ProducerDiedError: a producer died, where `on_death` asks for the error.
            BatchesHeldError: leases have held every buffer for `lease_timeout` seconds.
            RingCorruptedError: the batch waits for an overwritten word that cannot be mended.
        """
        receiver = self._receiver
        while True:
            # Checked before the wait: a producer that leaves after the check wakes the wait, and
            # the loop checks again.
            stream_ended = end is not None and end.rest_is_due()
            if before_slice is not None:
                before_slice()
            slice_ = limit.slice(0.0 if stream_ended else self.checks.slice())
            result = receiver.wait(int(slice_ * 1e9))
            if result == Result.OK:
                return True
            if result == Result.CLOSED or self._closed or stream_ended:
                return False
            now = time.monotonic()
            self.checks.deaths()
            late = limit.passed(now)
            self.checks.damage(now, last=late)
            if late:
                raise self._timeout_error(limit, end)
            self.checks.look(now, now - limit.began, end.text if end else "")
            limit.end_of_round(result == Result.WOKEN)

    def _timeout_error(self, limit: WaitLimit, end: StreamEnd | None) -> TimeoutError:
        stored, attached = self.info().store_size, self.producers.active
        return TimeoutError(
            f"no batch of {self._ring.config.batch_size} samples within {limit.timeout:g} s "
            f"({stored} {'sample is' if stored == 1 else 'samples are'} there, "
            f"{attached} producer{'' if attached == 1 else 's'} attached{self.checks.held_text()}"
            f"{end.text if end else ''})"
        )

    def _seal_and_wait(self, limit: WaitLimit) -> bool:
        """End the batch here and wait for the samples that are still being written into it."""
        if not self._has_samples():
            return False
        consumer = self._consumer
        # Sealed again before each slice, because an aborted claim may have left a hole meanwhile.
        return self._wait(limit, before_slice=lambda: lib.she_seal(consumer))

    def around_each_take(self, before: Callable[[], None], after: Callable[[], None]) -> None:
        """Call `before` at the beginning of each later take, and `after` at its end.

        This replaces the method, so that a server without such calls pays for none. The arguments
        are named: a call through `*args` would let an interrupt in between lose a batch.
        """
        take = self.take

        def take_between_calls(
            handover: _core_cpython.Handover,
            timeout: float | None,
            partial: bool = False,
            until_closed_by: int | None = None,
            copy: bool = False,
            polled: PolledWait | None = None,
        ) -> Sample | None:
            before()
            try:
                return take(handover, timeout, partial, until_closed_by, copy, polled)
            finally:
                after()

        self.take = take_between_calls  # type: ignore[method-assign]

    def unseal(self) -> None:
        """Undo what the rounds of a polled wait for a partial batch have left sealed."""
        if not self._consumer.sealed:
            return
        self._receiver.wake()  # the helper that waits holds the lock until it wakes
        handover = self._receiver.handover()
        if handover.begin(_HELPER_WAKES_WITHIN):  # unseals, as each call's does
            handover.confirm()

    def _has_samples(self) -> bool:
        return bool(lib.she_pending(self._consumer))

    def _empty_batch(self) -> list[Any]:
        return [np.empty((0, *leaf.shape), leaf.dtype) for leaf in self._ring.spec.leaves]

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
            memcpy, queue_dwell = HistSnapshot._make(copies), HistSnapshot._make(dwell)
        else:
            memcpy = queue_dwell = NO_TIMES
        if self.meters:
            ingress = sum_of([meter.figures() for meter in self.meters])
            return SampleInfo(
                stored,
                self.producers.active_local + ingress.connections,
                ingress.queue_depth_sum,
                ingress.queue_depth_max,
                blocked + ingress.push_blocked_count,
                stored + taken - own,
                full,
                cas,
                lost,
                retries,
                ingress.drain_round,
                memcpy,
                ingress.queue_dwell,
                copied,
                lent,
            )
        return SampleInfo(
            stored,
            len(self._attached),
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
        for meter in self.meters:
            meter.reset_histograms()

    def close(self) -> None:
        """Make a waiting learner end its wait at its next check."""
        self._closed = True
        self._receiver.close()
