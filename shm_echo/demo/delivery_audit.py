"""Judges whether everything that was sent arrived once and whole.

What it is: a checker that is shown the stamp of every sample that the learner received and, at
the end, how many samples each actor process began to send and how many it knew to be sent (see
`ledger`).

What it guarantees: `verdict().intact` is true only if each process's samples were exactly
0, 1, ... n-1, each whole and once, for an n between those two numbers. A SIGKILL inside a send
leaves open how much of that send was committed, and nothing else.

What it leaves to others: draining the ring before the verdict. Samples of one process may
overtake each other where one of them refilled the hole that a dead producer left, so a gap is
final only when nothing more can come.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from shm_echo.demo.fragment import Stamp
from shm_echo.demo.ledger import Sends

__all__ = ["Continuity", "ContinuityChecker"]


@dataclass(frozen=True)
class Continuity:
    """What became of all samples.

    Attributes:
        received: samples that arrived whole, each counted once.
        torn: samples whose checksum does not fit their bytes.
        duplicated: samples that had arrived before.
        lost: samples that were sent, as the ledger or later samples show, and never came.
        unsent: samples that nobody had begun to send.
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
        """Whether nothing was torn, duplicated, lost or made up."""
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
        """How many samples with a sequence number below this one are here."""
        return min(self.upto, below) + sum(sequence < below for sequence in self.early)


class ContinuityChecker:
    """Told of every sample as it arrives; asked for the verdict when no more can come."""

    def __init__(self) -> None:
        self._received: dict[tuple[int, int], _Received] = {}
        self._torn = 0
        self._duplicated = 0
        self._overtook = 0

    def arrived(self, stamp: Stamp, *, whole: bool) -> None:
        """Take note of one sample. The stamp of a torn one is not believed."""
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

    def verdict(self, ledger: Mapping[tuple[int, int], Sends]) -> Continuity:
        """Compare what arrived with what each (actor, incarnation) says it sent."""
        total = lost = unsent = 0
        for process in self._received.keys() | ledger.keys():
            received = self._received.get(process, _Received())
            sends = ledger.get(process, Sends(begun=0, returned=0))
            count = received.upto + len(received.early)
            must_be_here = max([sends.returned, *(s + 1 for s in received.early)])
            total += count
            unsent += count - received.count(below=sends.begun)
            lost += must_be_here - received.count(below=must_be_here)
        return Continuity(
            received=total,
            torn=self._torn,
            duplicated=self._duplicated,
            lost=lost,
            unsent=unsent,
            overtook=self._overtook,
        )
