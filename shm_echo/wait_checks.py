"""Looks, between two waits for a batch, for events that concern the learner.

These are a dead producer, leases that hold every buffer, no attached producer, a producer that
stopped in the middle of a sample, and words of the ring that a stray write has hit. Nothing here
waits: `shm_echo.consumer` does.
"""

from __future__ import annotations

import logging
from typing import Any

from shm_echo.errors import BatchesHeldError, ProducerDiedError
from shm_echo.ring.core import _core_cpython, ffi, lib
from shm_echo.ring.damage import DamageCheck
from shm_echo.ring.producers import Producers
from shm_echo.stream_end import all_wait_for_rest

__all__ = ["WaitChecks"]

_log = logging.getLogger("shm_echo")

# Seconds without a producer until the first warning, and between later ones.
_NO_PRODUCER_FIRST_WARNING, _NO_PRODUCER_NEXT_WARNING = 5.0, 60.0
# Seconds that a sample may stay unfinished until a warning names its producer.
_STRAGGLER_AFTER = 5.0
# Seconds for which all producers may wait for an incomplete batch until a warning says so.
_ALL_WAIT_AFTER = 5.0


class WaitChecks:
    """The checks of one server. The thread that samples calls them.

    Args:
        receiver: the ring's C consumer.
        consumer: its `she_consumer`.
        producers: the attached producers, and those that died.
        batch_size: samples per batch.
        num_buffers: batches in the ring.
        on_death: "warn", "raise" or "raise_if_last".
        lease_timeout: seconds to wait for held batches; None waits without limit.
        expects_producers: warn while no producer is attached.
    """

    def __init__(
        self,
        receiver: _core_cpython.Receiver,
        consumer: Any,
        producers: Producers,
        *,
        batch_size: int,
        num_buffers: int,
        on_death: str,
        lease_timeout: float | None,
        expects_producers: bool,
    ) -> None:
        self._receiver = receiver
        self._consumer = consumer
        self._producers = producers
        self._batch_size = batch_size
        self._num_buffers = num_buffers
        self._on_death = on_death
        self._lease_timeout = lease_timeout
        self._expects_producers = expects_producers
        self._damage = DamageCheck(consumer, producers)
        self._no_producer_since: float | None = None  # monotonic time
        self._warn_no_producer_at = 0.0  # monotonic time of the next warning
        self._straggler: tuple[int, int, float] | None = None  # owner, position, since
        self._straggler_reported: tuple[int, int] | None = None
        self._all_wait_since: float | None = None  # monotonic time
        self._all_wait_reported = False

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
        """Check for everything else while no batch is complete.

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

    def _raise_death(self) -> None:
        death = self._producers.next_death()
        if death is not None:
            raise ProducerDiedError(*death)

    def _check_held(self, waited: float) -> None:
        held, limit = self._receiver.held, self._lease_timeout
        if limit is not None and held >= self._num_buffers and waited >= limit:
            raise BatchesHeldError(held, limit)

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
                who,
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
