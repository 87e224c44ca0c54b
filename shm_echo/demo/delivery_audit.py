"""Checks that every sample that was sent arrived once and whole.

The audit records the stamp of every sample that the learner received. At the end it gets the number
of samples that each actor process began to send, and the number whose send returned (see `ledger`).

`report().intact` is true only if the samples of each process were exactly 0, 1, ... n-1, each whole
and once, for an n between those two numbers. After a SIGKILL inside a send, only the number of
samples that this send committed is unknown.

Drain the ring before the report: samples of one process may overtake each other, if one of them
refilled the hole that a dead producer left, so that a gap is final only when no sample can follow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from shm_echo.demo.fragment import Stamp
from shm_echo.demo.ledger import Sends

__all__ = ["DeliveryAudit", "DeliveryReport"]


@dataclass(frozen=True)
class DeliveryReport:
    """The counts of samples by their fate.

    Attributes:
        received: samples that arrived whole, each counted once.
        torn: samples whose checksum does not match their bytes.
        duplicated: samples that had arrived before.
        lost: samples that were sent, as the ledger or later samples show, and did not arrive.
        unsent: samples that arrived although no process had begun to send them.
        overtook: samples that arrived before an earlier one of the same process.
    """

    received: int
    torn: int
    duplicated: int
    lost: int
    unsent: int
    overtook: int

    @property
    def intact(self) -> bool:
        """Return True if no sample was torn, duplicated, lost or made up."""
        return not (self.torn or self.duplicated or self.lost or self.unsent)


@dataclass
class _Received:
    """The samples of one process: 0 .. upto-1, and the later ones in `early`."""

    upto: int = 0
    early: set[int] = field(default_factory=set)

    def __contains__(self, sequence: int) -> bool:
        return sequence < self.upto or sequence in self.early

    def add(self, sequence: int) -> None:
        self.early.add(sequence)
        while self.upto in self.early:
            self.early.remove(self.upto)
            self.upto += 1

    def count(self, below: int) -> int:
        """Return the number of received samples with a sequence number below this one."""
        return min(self.upto, below) + sum(sequence < below for sequence in self.early)


class DeliveryAudit:
    """Records every sample as it arrives, and reports when no more can arrive."""

    def __init__(self) -> None:
        self._received: dict[tuple[int, int], _Received] = {}
        self._torn = 0
        self._duplicated = 0
        self._overtook = 0

    def record(self, stamp: Stamp, *, whole: bool) -> None:
        """Record one sample. The stamp of a torn one is not trusted."""
        if not whole:
            self._torn += 1
            return
        received = self._received.setdefault((stamp.actor, stamp.incarnation), _Received())
        if stamp.sequence in received:
            self._duplicated += 1
            return
        if stamp.sequence > received.upto:
            self._overtook += 1
        received.add(stamp.sequence)

    def report(self, ledger: Mapping[tuple[int, int], Sends]) -> DeliveryReport:
        """Compare the received samples with the sends of each (actor, incarnation)."""
        total = lost = unsent = 0
        for process in self._received.keys() | ledger.keys():
            received = self._received.get(process, _Received())
            sends = ledger.get(process, Sends(begun=0, returned=0))
            count = received.upto + len(received.early)
            must_be_here = max([sends.returned, *(s + 1 for s in received.early)])
            total += count
            unsent += count - received.count(below=sends.begun)
            lost += must_be_here - received.count(below=must_be_here)
        return DeliveryReport(
            received=total,
            torn=self._torn,
            duplicated=self._duplicated,
            lost=lost,
            unsent=unsent,
            overtook=self._overtook,
        )
