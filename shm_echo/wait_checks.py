"""Looks, between two waits for a batch, for events that concern the learner.

These are a dead producer, leases that hold every buffer, no attached producer, a producer that
stopped in the middle of a sample, and words of the ring that a stray write has hit. Habits of the
learner that cost it time or samples are reported here, too, once. Nothing here waits:
`shm_echo.consumer` does.
"""

from __future__ import annotations

import gc
import logging
import threading
from typing import Any

from shm_echo.errors import BatchesHeldError, ProducerDiedError
from shm_echo.ring.core import _core_cpython, ffi, lib
from shm_echo.ring.damage import DamageCheck
from shm_echo.ring.producers import Producers
from shm_echo.server_options import ServerOptions
from shm_echo.stream_end import all_wait_for_rest

__all__ = ["WaitChecks"]

_log = logging.getLogger("shm_echo")

# Seconds of one wait in C. Between slices Python handles signals and looks for other events.
_WAIT_SLICE = 0.1
# Likewise while leases hold every buffer. JAX and others let a reference go only in a collection of
# garbage, so each slice begins with one of the youngest generation, which takes 4 to 60 us.
_HELD_SLICE = 0.002
# Seconds that leases may hold every buffer until a warning.
_HELD_WARNING = 5.0
# Seconds without a producer until the first warning, and between later ones.
_NO_PRODUCER_FIRST_WARNING, _NO_PRODUCER_NEXT_WARNING = 5.0, 60.0
_WAYS_TO_END = (
    "; a timeout, until='producers_closed' or on_producer_death='raise' would end the wait"
)
# Seconds that a sample may stay unfinished until a warning names its producer.
_STRAGGLER_AFTER = 5.0
# Seconds for which all producers may wait for an incomplete batch until a warning says so.
_ALL_WAIT_AFTER = 5.0
# The bits of `enum notice` in csrc/python/receiver.h.
_MANY_COPIES, _STALE_ARRAY = 1, 2


class WaitChecks:
    """The checks of one server. The thread that samples calls them.

    Args:
        receiver: the ring's C consumer.
        consumer: its `she_consumer`.
        producers: the attached producers, and those that died.
        options: the arguments of the server.
    """

    def __init__(
        self,
        receiver: _core_cpython.Receiver,
        consumer: Any,
        producers: Producers,
        options: ServerOptions,
    ) -> None:
        self._receiver = receiver
        self._consumer = consumer
        self._producers = producers
        self._batch_size = options.config.batch_size
        self._num_buffers = options.config.num_buffers
        self._lease = options.lease
        self._on_death = options.on_death
        self._lease_timeout = options.lease_timeout
        self._expects_producers = options.transport is not None
        self._damage = DamageCheck(consumer, producers)
        self._no_producer_since: float | None = None  # monotonic time
        self._warn_no_producer_at = 0.0  # monotonic time of the next warning
        self._straggler: tuple[int, int, float] | None = None  # owner, position, since
        self._straggler_reported: tuple[int, int] | None = None
        self._held_reported = False
        self._reported = 0  # notices
        self._second_sampler_reported = False
        self._all_wait_since: float | None = None  # monotonic time
        self._all_wait_reported = False

    # ---------------------------------------------------------------- before a take, and after

    def new_sampler(
        self, before: threading.Thread | None, now: threading.Thread, copy: bool
    ) -> threading.Thread:
        """Return the thread that samples now, and warn, once, if it may read stale arrays."""
        stale = self._lease is False and before is not None and not copy
        if stale and not self._second_sampler_reported:
            self._second_sampler_reported = True
            _log.warning(
                "threads %r and %r sample one server with lease=False: the sample() of each ends "
                "the batch of the other; use lease='copy', or dataset_iter(copy=True)",
                before.name if before else None,
                now.name,
            )
        return now

    def report(self, notices: int) -> None:
        """Log each notice of the C consumer once."""
        fresh, self._reported = notices & ~self._reported, notices
        if fresh & _MANY_COPIES:
            _log.warning(
                "more than a tenth of the last 100 batches were copied, because arrays of earlier "
                "ones hold all but one of the %d batch buffers: raise num_buffers above %d, or "
                "keep fewer batches",
                self._num_buffers,
                self._num_buffers,
            )
        if fresh & _STALE_ARRAY:
            _log.warning(
                "with lease=False an array of an old batch is still referred to two batches later, "
                "when it shows other samples: drop it, or use lease='copy'"
            )

    def before_taking(self) -> None:
        """Check what ends a `sample()` even if a batch is complete.

        Raises:
            ProducerDiedError: a producer died, and `on_death` is "raise".
        """
        if self._on_death == "raise":
            self._raise_death()

    def deaths(self) -> None:
        """Check for deaths while no batch is complete.

        Raises:
            ProducerDiedError: a producer died, where `on_death` asks for the error.
        """
        if self._on_death == "raise" or (
            self._on_death == "raise_if_last" and self._producers.active == 0
        ):
            self._raise_death()

    # ---------------------------------------------------------------- during a wait

    def slice(self) -> float:
        """Return the seconds to wait until the next look.

        While leases hold every buffer, collect the youngest garbage first. No lock of the library
        but the server's is held, which is re-entrant: a finalizer may call `sample()`.
        """
        if self._receiver.held < self._num_buffers:
            return _WAIT_SLICE
        gc.collect(0)
        return _HELD_SLICE

    def damage(self, now: float, *, last: bool) -> None:
        """Check for overwritten words of the ring while no batch is complete.

        Args:
            now: the monotonic time.
            last: the time of this `sample()` is up.

        Raises:
            RingCorruptedError: the batch waits for a word that cannot be mended.
        """
        self._damage.look(now, last=last)

    def look(self, now: float, waited: float, who: str = "") -> None:
        """Check for everything but deaths while no batch is complete.

        Args:
            now: the monotonic time.
            waited: seconds that this `sample()` has waited.
            who: the part of a message that counts the producers that have come, or nothing.

        Raises:
            BatchesHeldError: leases have held every buffer for `lease_timeout` seconds.
        """
        self._check_held(waited)
        self._warn_of_straggler(now)
        self._warn_of_mutual_wait(now)
        self._warn_without_producers(now, who)

    def held_text(self) -> str:
        """Return the part of a message that says that leases hold every buffer, or nothing."""
        if self._receiver.held < self._num_buffers:
            return ""
        return f", and arrays of earlier batches hold all {self._num_buffers} batch buffers"

    def _raise_death(self) -> None:
        death = self._producers.next_death()
        if death is not None:
            raise ProducerDiedError(*death)

    def _check_held(self, waited: float) -> None:
        if self._receiver.held < self._num_buffers:
            self._held_reported = False
            return
        limit = self._lease_timeout
        if limit is not None and waited >= limit:
            # Everything else may hold a reference, too, but this takes half a second in a large
            # program, so only the error that it may avert is a reason for it.
            gc.collect()
            if self._receiver.held >= self._num_buffers:
                raise BatchesHeldError(self._num_buffers, limit)
        elif waited >= _HELD_WARNING and not self._held_reported:
            self._held_reported = True
            _log.warning(
                "sample() has waited %.0f s%s: server.held() lists them", waited, self.held_text()
            )

    def _warn_without_producers(self, now: float, who: str) -> None:
        """Warn while no producer is attached; the clock runs across calls of sample()."""
        if self._producers.active or not self._expects_producers:
            self._no_producer_since = None
        elif self._no_producer_since is None:
            self._no_producer_since = now
            self._warn_no_producer_at = now + _NO_PRODUCER_FIRST_WARNING
        elif now >= self._warn_no_producer_at:
            self._warn_no_producer_at = now + _NO_PRODUCER_NEXT_WARNING
            _log.warning(
                "sample() waits, and no producer has been attached for %.0f s%s",
                now - self._no_producer_since,
                who or _WAYS_TO_END,
            )

    def _warn_of_straggler(self, now: float) -> None:
        """Warn of a producer that claimed a slot of the awaited batch and has not committed it."""
        owner, position = ffi.new("uint32_t *"), ffi.new("uint64_t *")
        if not lib.she_straggler(self._consumer, owner, position):
            self._straggler = None
            return
        claim = int(owner[0]), int(position[0])
        if self._straggler is None or self._straggler[:2] != claim:
            self._straggler = (*claim, now)
        elif now - self._straggler[2] >= _STRAGGLER_AFTER and self._straggler_reported != claim:
            self._straggler_reported = claim
            _log.warning(
                "the batch waits for one sample that pid %s began %.0f s ago and has not finished: "
                "it is stopped, or slow inside reserve()",
                self._producers.pid_of(claim[0]) or "of this process",
                now - self._straggler[2],
            )

    def _warn_of_mutual_wait(self, now: float) -> None:
        """Warn if every producer waits for the incomplete batch that the learner waits for."""
        if not all_wait_for_rest(self._producers, self._consumer):
            self._all_wait_since, self._all_wait_reported = None, False
        elif self._all_wait_since is None:
            self._all_wait_since = now
        elif now - self._all_wait_since >= _ALL_WAIT_AFTER and not self._all_wait_reported:
            self._all_wait_reported = True
            _log.warning(
                "sample() waits for a batch of %d, of which %d samples are there, and every "
                "producer (%d) waits in wait() until they are taken: sample(partial=True) takes "
                "them",
                self._batch_size,
                lib.she_committed(self._consumer),
                self._producers.active,
            )
