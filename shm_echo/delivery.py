"""Taking batches out of the ring: the waiting, and everything that can end it.

One object between the server's public face and the C consumer. It waits in slices, and between two
slices it looks at what a learner should know: a dead producer, a stream that has ended, buffers
that are all held, nobody attached, a producer that has stopped in the middle of a sample.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from shm_echo.arguments import seconds
from shm_echo.errors import BatchesHeldError, ProducerDiedError
from shm_echo.metrics import NO_TIMES, HistSnapshot, SampleInfo
from shm_echo.ring.core import Result, _fast, ffi, lib
from shm_echo.ring.producers import Producers
from shm_echo.ring.ring import Ring

__all__ = ["Delivery"]

_log = logging.getLogger("shm_echo")

_SLICE = 0.1  # seconds
_REMEMBER: dict[str, Literal["none", "all", "last"]] = {
    "warn": "none",
    "raise": "all",
    "raise_if_last": "last",
}
_LONELY_AFTER, _LONELY_AGAIN = 5.0, 60.0
_STUCK_AFTER = 5.0


class Delivery:
    """The learner's end of one ring.

    Args:
        ring: to take batches from.
        receiver: its consumer.
        on_death: "warn", "raise" or "raise_if_last".
        lease_timeout: seconds to wait for held batches; None for ever.
        expects_producers: whether to warn when nobody is attached.
    """

    def __init__(
        self,
        ring: Ring,
        receiver: _fast.Receiver,
        *,
        on_death: str,
        lease_timeout: float | None,
        expects_producers: bool,
    ) -> None:
        self._ring = ring
        self._receiver = receiver
        # The receiver owns the consumer; whoever holds this pointer keeps the receiver.
        self._consumer = ffi.gc(
            ffi.cast("she_consumer *", receiver.address()), lambda _pointer, _keep=receiver: None
        )
        self.producers = Producers(ring, self._consumer, remember=_REMEMBER[on_death])
        self._on_death = on_death
        self._lease_timeout = lease_timeout
        self._expects_producers = expects_producers
        self._turn = threading.RLock()  # only its holder can release it
        self._closed = False
        self._lonely_since: float | None = None
        self._lonely_at = 0.0  # when to say so
        self.sampler: threading.Thread | None = None  # who sampled last
        self._stuck: tuple[int, int, float] | None = None  # owner, position, since
        self._stuck_told: tuple[int, int] | None = None

    # ---------------------------------------------------------------- taking

    def take(
        self,
        timeout: float | None,
        *,
        partial: bool = False,
        until_closed_by: int | None = None,
        copy: bool = False,
    ) -> tuple[list[Any], SampleInfo] | None:
        """The arrays of the next batch and the metrics, or None at the end.

        Args:
            timeout: seconds, None for ever.
            partial: end the batch now.
            until_closed_by: end after so many producers have attached and all have left.
            copy: give private arrays, and free the ring's memory at once.
        """
        timeout = seconds("timeout", timeout)
        receiver, turn = self._receiver, self._turn
        try:
            if not turn.acquire(timeout=-1 if timeout is None else timeout):
                raise TimeoutError(f"another thread was sampling for {timeout:g} s")
            if self._closed:
                return None
            self.sampler = threading.current_thread()
            if self._on_death == "raise":
                self._raise_death()
            receiver.release()
            if receiver.ready():
                arrays: list[Any] | None = receiver.take()
            else:
                arrays = self._wait_and_take(timeout, partial, until_closed_by)
            if arrays is None:
                return self._nothing() if partial and not self._closed else None
            if not partial and len(arrays[0]) == 0:
                return None
            if copy:  # here, so that no other thread's turn gives the batch back meanwhile
                arrays = [np.array(array) for array in arrays]
                receiver.release()
            return arrays, self.info()
        finally:
            # Whether the turn was ours is left to the lock: an interrupt may come after it was
            # taken and before anything else. Nothing of Python may run before it is let go.
            try:  # noqa: SIM105
                turn.release()
            except RuntimeError:
                pass

    def _wait_and_take(
        self, timeout: float | None, partial: bool, until_closed_by: int | None
    ) -> list[Any] | None:
        """The next batch, or None when there is none to come."""
        deadline = None if timeout is None else time.monotonic() + timeout
        receiver = self._receiver
        # The consumer is used without the interpreter lock, too: leases that end in other threads
        # meanwhile only nudge it.
        receiver.waiting = True
        try:
            if partial:
                ready = self._end_batch(deadline, timeout)
            else:
                ready = self._wait(deadline, timeout, self._stream_end(until_closed_by))
                if not ready and not self._closed:  # the stream has ended: what is left?
                    ready = self._end_batch(None, None)
                    if not ready and not self._closed:
                        self._raise_death_while_waiting()
            return receiver.take() if ready else None
        except BaseException:
            # At once, before another sample is sent: it belongs into this batch.
            if self._consumer.sealed:
                lib.she_unseal(self._consumer)
            raise
        finally:
            receiver.waiting = False

    def _stream_end(self, producers: int | None) -> Callable[[], bool] | None:
        if producers is None:
            return None
        registry = self.producers
        return lambda: registry.attached_total >= producers and registry.active == 0

    def _wait(
        self,
        deadline: float | None,
        timeout: float | None,
        ended: Callable[[], bool] | None = None,
        again: Callable[[], None] | None = None,
    ) -> bool:
        """True when the batch is complete; False when the ring was closed or the stream ended.

        ``again`` is called before each look.
        """
        receiver = self._receiver
        began = time.monotonic()
        while True:
            # Before the wait: whoever leaves after this look wakes us, and we look again.
            over = ended is not None and ended()
            if again is not None:
                again()
            slice_ = 0.0 if over else _SLICE
            if deadline is not None:
                slice_ = min(slice_, max(0.0, deadline - time.monotonic()))
            result = receiver.wait(int(slice_ * 1e9))
            if result == Result.OK:
                return True
            if result == Result.CLOSED or self._closed or over:
                return False
            now = time.monotonic()
            self._raise_death_while_waiting()
            if deadline is not None and now >= deadline:
                raise TimeoutError(
                    f"no batch of {self._ring.config.batch_size} samples within {timeout:g} s "
                    f"({self.info().store_size} samples are there, "
                    f"{self.producers.active} producers attached)"
                )
            self._check_held(now - began)
            self._look_for_stuck(now)
            self._look_for_company(now)

    def _end_batch(self, deadline: float | None, timeout: float | None) -> bool:
        """Seal the batch and wait for what is still being written into it."""
        if not self._pending():
            return False
        consumer = self._consumer
        # Sealed again before each look: a claim may have been given up meanwhile.
        return self._wait(deadline, timeout, again=lambda: lib.she_seal(consumer))

    def _pending(self) -> bool:
        return bool(lib.she_pending(self._consumer))

    def _nothing(self) -> tuple[list[Any], SampleInfo]:
        return [np.empty((0, *shape), dtype) for dtype, shape in self._ring.leaves], self.info()

    # ---------------------------------------------------------------- what ends or colours a wait

    def _raise_death(self) -> None:
        death = self.producers.next_death()
        if death is not None:
            raise ProducerDiedError(*death)

    def _raise_death_while_waiting(self) -> None:
        if self._on_death == "raise" or (
            self._on_death == "raise_if_last" and self.producers.active == 0
        ):
            self._raise_death()

    def _check_held(self, waited: float) -> None:
        held, buffers = self._receiver.held, self._ring.config.num_buffers
        limit = self._lease_timeout
        if limit is not None and held >= buffers and waited >= limit:
            raise BatchesHeldError(held, limit)

    def _look_for_company(self, now: float) -> None:
        """Nobody is attached: say so after a while, and then now and then, across calls."""
        if self.producers.active or not self._expects_producers:
            self._lonely_since = None
        elif self._lonely_since is None:
            self._lonely_since, self._lonely_at = now, now + _LONELY_AFTER
        elif now >= self._lonely_at:
            self._lonely_at = now + _LONELY_AGAIN
            _log.warning(
                "sample() waits, and no producer has been attached for %.0f s",
                now - self._lonely_since,
            )

    def _look_for_stuck(self, now: float) -> None:
        """A producer that has claimed a slot of the awaited batch and does not finish it."""
        owner, position = ffi.new("uint32_t *"), ffi.new("uint64_t *")
        if not lib.she_straggler(self._consumer, owner, position):
            self._stuck = None
            return
        claim = int(owner[0]), int(position[0])
        if self._stuck is None or self._stuck[:2] != claim:
            self._stuck = (*claim, now)
        elif now - self._stuck[2] >= _STUCK_AFTER and self._stuck_told != claim:
            self._stuck_told = claim
            _log.warning(
                "the batch waits for one sample that pid %s began %.0f s ago and has not finished: "
                "it is stopped, or slow inside reserve()",
                self.producers.pid_of(claim[0]) or "of this process",
                now - self._stuck[2],
            )

    def nobody_samples(self) -> str | None:
        """Why a full ring will not be emptied while this thread waits, or None if it may be."""
        sampler = self.sampler
        if sampler is None:
            return "nobody has sampled yet"
        if sampler is threading.current_thread():
            return "this very thread is the one that samples"
        if not sampler.is_alive():
            return "the thread that sampled has ended"
        return None

    # ---------------------------------------------------------------- metrics

    def info(self) -> SampleInfo:
        """The metrics of this moment."""
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
        """Count durations from now on."""
        self._receiver.reset_times()

    def close(self) -> None:
        """The next look of a waiting learner ends its wait."""
        self._closed = True
