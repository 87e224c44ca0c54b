"""The measurements of a loader about its loop, and the hint to a loop that waits too much."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass

__all__ = ["LoaderStats", "LoopMeter", "cpu_share", "is_stopped"]

_log = logging.getLogger("shm_echo")

# The hint needs a loop that has run for a while: the first batches wait for the workers' start.
_HINT_AFTER_SECONDS = 10.0
_HINT_AFTER_BATCHES = 20
# A loop that waits for a larger part of its time is bound by its data.
_WAIT_SHARE = 1 / 3


@dataclass(frozen=True)
class LoaderStats:
    """The figures of a loader, over all its loops. See `DataLoader.stats`.

    Attributes:
        batches: batches that loops have got.
        items: items in them.
        seconds: time that loops have run for, from the first call for a batch to the last batch.
        wait_seconds: the part of it in which the loop waited for batches; with `num_workers=0`
            it made them.
        worker_cpu_shares: for each worker, in the order of their numbers, the share of a CPU that
            its process has used since it was started, from 0 to 1 (more if it has threads); 0
            while there is no process.
        worker_busy_shares: for each worker the share of its time in which it made items rather than
            waited for the loop to make room, from 0 to 1. If all are near 1, more workers would
            help, as long as there are CPUs for them. 0 for one that has not begun.
        worker_deaths: workers that ended or were killed and were replaced.
        runs_redone: runs of rows that were made again because the worker that had begun them died.
        items_redone: items in those runs.
        copied_batches: batches that were copied, because the loop held all but one of the buffers.
        held_batches: batches in the ring that the program still refers to.
        ready_batches: batches that are complete and wait for the loop.
        nbytes: bytes of the ring; 0 with `num_workers=0`, and before the first batch if there is no
            `example=`.
    """

    batches: int = 0
    items: int = 0
    seconds: float = 0.0
    wait_seconds: float = 0.0
    worker_cpu_shares: tuple[float, ...] = ()
    worker_busy_shares: tuple[float, ...] = ()
    worker_deaths: int = 0
    runs_redone: int = 0
    items_redone: int = 0
    copied_batches: int = 0
    held_batches: int = 0
    ready_batches: int = 0
    nbytes: int = 0

    @property
    def items_per_second(self) -> float:
        """Items per second of the loops; 0 before the first batch."""
        return self.items / self.seconds if self.seconds > 0 else 0.0

    @property
    def wait_share(self) -> float:
        """The share of the loops' time in which they waited, from 0 to 1."""
        return self.wait_seconds / self.seconds if self.seconds > 0 else 0.0


class LoopMeter:
    """Counts batches and times waits, over all loops of one loader.

    Args:
        num_workers: for the text of the hint.
    """

    def __init__(self, num_workers: int) -> None:
        self.batches = self.items = 0
        self.seconds = self.wait_seconds = 0.0
        self._num_workers = num_workers
        self._hinted = False

    def stats(self) -> LoaderStats:
        """Return the figures of a loader whose workers are not started."""
        shares = (0.0,) * self._num_workers
        return LoaderStats(
            self.batches, self.items, self.seconds, self.wait_seconds, shares, shares
        )

    def waited(self, began: float, ended: float, before: float | None, items: int) -> None:
        """Count one call for a batch.

        Args:
            began: monotonic time at which the call began.
            ended: monotonic time at which it had its batch.
            before: the time at which the call before it in the same loop ended; None for a first
                call.
            items: items of the batch.
        """
        self.batches += 1
        self.items += items
        self.wait_seconds += ended - began
        self.seconds += ended - (began if before is None else before)
        if not self._hinted and self._waits_too_much():
            self._hinted = True
            _log.warning(
                "the loop over a DataLoader has waited for batches for %.0f %% of %.0f s: %s",
                100 * self.wait_seconds / self.seconds,
                self.seconds,
                self._advice(),
            )

    def _waits_too_much(self) -> bool:
        return (
            self.batches >= _HINT_AFTER_BATCHES
            and self.seconds >= _HINT_AFTER_SECONDS
            and self.wait_seconds > self.seconds * _WAIT_SHARE
        )

    def _advice(self) -> str:
        if self._num_workers == 0:
            return "with num_workers=0 it makes them itself, and num_workers=1 or more would help"
        cpus = len(os.sched_getaffinity(0))
        if self._num_workers < cpus:
            return (
                f"more than num_workers={self._num_workers} may help "
                f"(this process may use {cpus} CPUs)"
            )
        return (
            f"num_workers={self._num_workers} is not enough for items that cost this much, and "
            f"this process may use {cpus} CPUs: cheaper items or more CPUs would help"
        )


def cpu_share(pid: int) -> float:
    """Return the share of a CPU that a process has used in its life; 0 if it has ended."""
    fields = _stat_fields(pid)
    if not fields:
        return 0.0
    tick = os.sysconf("SC_CLK_TCK")
    with open("/proc/uptime") as file:
        uptime = float(file.read().split()[0])
    user, system, started = int(fields[11]), int(fields[12]), int(fields[19])
    return (user + system) / tick / max(uptime - started / tick, 1 / tick)


def is_stopped(pid: int) -> bool:
    """Return True if a process is stopped, by a signal or by a debugger."""
    return _stat_fields(pid)[:1] in (["T"], ["t"])


def _stat_fields(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat behind the name; [] if the process has gone."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            # The name may hold spaces.
            return file.read().rpartition(")")[2].split()
    except OSError:
        return []
