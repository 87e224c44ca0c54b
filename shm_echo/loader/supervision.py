"""The consequences of a worker's death: replace it, or give up. No processes, no clocks.

A death counts against the row that the worker was at, and not against rows that it merely held. If
the dataset makes the rows of a run together, the first death only has them made one by one, which
shows the row. Workers that die before they have finished anything point to no row: three of them in
a row end the loader, too.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass

from shm_echo.errors import WorkerDiedError

__all__ = ["Death", "Supervisor", "Verdict"]

# The most deaths that a row, or a start, may cause: the third one ends the loader. A worker that
# was killed from outside (by the kernel for memory, or by hand) twice at one row is bad luck.
_MOST_DEATHS = 3


@dataclass(frozen=True)
class Death:
    """The end of a worker that nobody had asked for.

    Attributes:
        worker, pid: its number, and its process.
        code: its exit status, or the negative number of the signal that ended it.
        row: the row that it was at; None if it was at none.
        index: the item of that row; None if unknown.
        productive: True if another worker has done something since the last death.
        batched: True if it made the rows of its run together.
        hung: True if the loader killed it because it hung.
        attached: True if it had got the ring.
        stack: its Python stack at a crash.
    """

    worker: int
    pid: int
    code: int
    row: int | None
    index: int | None
    productive: bool
    batched: bool = False
    hung: bool = False
    attached: bool = False
    stack: str = ""

    @property
    def outside(self) -> bool:
        """True if another process killed it while it waited for work: it says nothing about us."""
        killed = self.code in (-signal.SIGKILL, -signal.SIGTERM)
        return self.attached and self.row is None and killed


@dataclass(frozen=True)
class Verdict:
    """The decision about a death.

    Attributes:
        error: ends the loader, if it is not None; otherwise the worker is replaced.
        singly: True if the rows of the run that begins at the death's row are made one by one.
    """

    error: WorkerDiedError | None = None
    singly: bool = False


class Supervisor:
    """Counts deaths, and decides what follows from each."""

    def __init__(self) -> None:
        self.deaths = 0
        self._by_row: dict[int, int] = {}
        self._singly: set[int] = set()
        self._idle_deaths = 0

    @property
    def singly(self) -> tuple[int, ...]:
        """The rows at which runs begin whose rows are made one by one."""
        return tuple(sorted(self._singly))

    def on_death(self, death: Death) -> Verdict:
        """Count a death, and return what follows from it."""
        self.deaths += 1
        row = death.row
        if death.productive:
            self._idle_deaths = 0
        if row is None:
            self._idle_deaths += not (death.productive or death.outside)
            if self._idle_deaths >= _MOST_DEATHS:
                return Verdict(_error(death, self._idle_deaths, at_row=False))
            return Verdict()
        if death.batched and row not in self._singly:
            self._singly.add(row)
            return Verdict(singly=True)
        count = self._by_row[row] = self._by_row.get(row, 0) + 1
        if count >= _MOST_DEATHS:
            return Verdict(_error(death, count, at_row=True))
        return Verdict()


def _error(death: Death, count: int, *, at_row: bool) -> WorkerDiedError:
    killed = death.code < 0
    return WorkerDiedError(
        death.worker,
        death.pid,
        signal=-death.code if killed else None,
        exit_status=None if killed else death.code,
        index=death.index,
        deaths=count,
        at_row=at_row,
        hung=death.hung,
        stack=death.stack,
    )
