"""Finds the words of the ring that a stray write has hit, and has them mended.

The C core decides (csrc/ring_check.c): a word is mended only while no live producer can hold its
slot. This module chooses the moment, writes the log lines and raises the error. A learner whose
batches come never gets here, because the check follows a wait without progress.
"""

from __future__ import annotations

import logging
from typing import Any

from shm_echo.errors import RingCorruptedError
from shm_echo.ring.core import Result, ffi
from shm_echo.ring.damage_text import describe, log_mended
from shm_echo.ring.producers import Producers

__all__ = ["DamageCheck"]

_log = logging.getLogger("shm_echo")

# Seconds without progress until the first check, and between later ones: one slice of a wait.
_CHECK_EVERY = 0.1
# Seconds that a damaged word may wait for its owner until a warning names the possible owners.
_UNSETTLED_AFTER = 5.0
# A bound on the words that one check mends: a program that scribbles all the time must not keep the
# learner here.
_MOST_AT_ONCE = 100


class DamageCheck:
    """The check of one ring. The thread that samples calls it.

    Args:
        consumer: the ring's `she_consumer`.
        producers: the attached producers.
    """

    def __init__(self, consumer: Any, producers: Producers) -> None:
        self._consumer = consumer
        self._producers = producers
        self._damage = ffi.new("she_damage *")
        self._progress: tuple[int, int] | None = None  # next batch, its samples that were seen
        self._check_at = 0.0  # monotonic time
        self._unsettled: tuple[int, float] | None = None  # the slot, and since when
        self._reported = False

    def look(self, now: float, *, last: bool) -> None:
        """Check the words if the learner has waited without progress.

        Args:
            now: the monotonic time.
            last: the learner's time is up after this call.

        Raises:
            RingCorruptedError: the batch waits for a damaged word, and either `last` is true, or
                only samples of this process itself could explain it.
        """
        progress = int(self._consumer.next_batch), int(self._consumer.looked)
        if progress != self._progress:
            self._progress, self._check_at = progress, now + _CHECK_EVERY
            self._unsettled = None
            return
        if now >= self._check_at:
            self._check_at = now + _CHECK_EVERY
            self._check(now)
        if self._unsettled is not None:
            self._wait_for_owner(now, last)

    def _check(self, now: float) -> None:
        self._producers.mend()
        damage, mended = self._damage, list[str]()
        while len(mended) < _MOST_AT_ONCE:
            result = self._producers.check(damage)
            if result != Result.WOKEN:
                break
            mended.append(describe(damage))
        if mended:
            log_mended(mended)
        if result != Result.CORRUPTED:
            self._unsettled = None
        elif self._unsettled is None or self._unsettled[0] != damage.slot:
            self._unsettled, self._reported = (int(damage.slot), now), False

    def _wait_for_owner(self, now: float, last: bool) -> None:
        assert self._unsettled is not None
        slot, since = self._unsettled
        if not last and now - since < _UNSETTLED_AFTER:
            return
        damage = self._damage
        suspects = [int(damage.suspect[i]) for i in range(damage.suspects)]
        detail = (
            f"slot {slot} was overwritten (by {damage.value:#x}), and it is not given away because "
            f"{self._names(suspects)} may still be writing into it"
        )
        if not self._reported:
            self._reported = True
            _log.warning("the shared memory of the ring is damaged: %s", detail)
        if last or all(map(self._producers.is_own, suspects)):
            raise RingCorruptedError(detail, slot=slot)

    def _names(self, owners: list[int]) -> str:
        pids = (self._producers.pid_of(owner) for owner in owners)
        names = [f"pid {pid}" if pid else "this process" for pid in pids]
        return " or ".join(dict.fromkeys(names))  # the server's own threads are one process
