"""What a session shows of itself: a page of counters that its service can read at any time.

One session writes, the service reads, and the page may lie in memory that the two share as
processes. So the service knows what a session had charged and what it was doing when its process
was killed. Counters are 64-bit words that are written whole.

    word 0   objects that the session holds        word 5   FLOPs of operations that have started
         1   bytes of its arrays                        6   FLOPs promised to the running one
         2   requests that it has begun                 7   index of the operation that runs
         3   when the running one began (ns), or 0      8   it is in the middle of writing a message
         4   contexts that are open                     9   when its client was welcomed (ns), or 0
    from 16  [FLOPs, calls] of each operation, in the order of ``NAMES``
"""

from __future__ import annotations

import mmap
import time

from shm_echo.mechestim.registry import OPS

__all__ = ["NAMES", "StatsPage"]

# Operations by the names that charges are booked under. What a client names itself is "(deducted)".
NAMES: tuple[str, ...] = (
    "(deducted)",
    *sorted({op.book_name for op in OPS.values() if op.counted}),
)
_INDEX = {name: i for i, name in enumerate(NAMES)}

_OBJECTS, _BYTES, _REQUESTS, _SINCE, _CONTEXTS, _FLOPS, _PROMISED, _OP, _WRITING, _BORN = range(10)
_TABLE = 16
_SIZE = 8 * (_TABLE + 2 * len(NAMES))
_MOST = 2**64 - 1


class StatsPage:
    """The counters of one session.

    Args:
        fd: shared memory made by `shared_memory.sealed_memory`; None for memory of this process.
    """

    SIZE = _SIZE

    def __init__(self, fd: int | None = None) -> None:
        self._map = mmap.mmap(-1 if fd is None else fd, _SIZE)
        self._words = memoryview(self._map).cast("Q")

    # For the session ----

    def open(self) -> None:
        """The session begins: its client has been welcomed."""
        self._words[_BORN] = time.monotonic_ns()

    def begin(self) -> int:
        """A request begins; when, in nanoseconds."""
        words = self._words
        words[_REQUESTS] += 1
        words[_SINCE] = now = time.monotonic_ns()
        return now

    def idle(self) -> None:
        """Nothing runs: the session waits for its client."""
        self._words[_SINCE] = 0

    def resume(self) -> None:
        """What had begun runs again."""
        self._words[_SINCE] = time.monotonic_ns()

    def note(self, objects: int, size: int, contexts: int) -> None:
        """What the session holds now."""
        words = self._words
        words[_OBJECTS] = objects
        words[_BYTES] = size
        words[_CONTEXTS] = contexts

    def end(self, objects: int, size: int, contexts: int) -> int:
        """The request is over; when, in nanoseconds.

        Args:
            objects, size, contexts: what the session holds now.
        """
        words = self._words
        words[_SINCE] = 0
        words[_OBJECTS] = objects
        words[_BYTES] = size
        words[_CONTEXTS] = contexts
        return time.monotonic_ns()

    def spend(self, name: str, flops: int) -> None:
        """An operation starts, which is paid for."""
        words = self._words
        at = _TABLE + 2 * _INDEX.get(name, 0)
        words[at + 1] += 1
        try:
            words[at] += flops
            words[_FLOPS] += flops
        except ValueError:  # no word holds so many
            words[at] = min(words[at] + flops, _MOST)
            words[_FLOPS] = min(words[_FLOPS] + flops, _MOST)

    def promise(self, name: str, flops: int) -> None:
        """An operation is about to run, and is paid for."""
        words = self._words
        words[_OP] = _INDEX.get(name, 0)
        words[_PROMISED] = min(words[_PROMISED] + flops, _MOST)

    def take_back(self, flops: int) -> None:
        """The operation was refused before it started."""
        words = self._words
        words[_PROMISED] = max(words[_PROMISED] - flops, 0)

    def settle(self, charges: list[tuple[str, int]]) -> None:
        """The operations have started, whatever became of them."""
        words = self._words
        for name, flops in charges:
            self.spend(name, flops)
        words[_PROMISED] = 0

    @property
    def writing(self) -> bool:
        """Part of a message has been sent."""
        return bool(self._words[_WRITING])

    @writing.setter
    def writing(self, value: bool) -> None:
        self._words[_WRITING] = value

    # For the service ----

    @property
    def objects(self) -> int:
        """Objects that the session holds."""
        return self._words[_OBJECTS]

    @property
    def bytes(self) -> int:
        """Bytes of its arrays."""
        return self._words[_BYTES]

    @property
    def contexts(self) -> int:
        """Budgets that are open, the default one included."""
        return self._words[_CONTEXTS]

    @property
    def requests(self) -> int:
        """Requests that have begun."""
        return self._words[_REQUESTS]

    @property
    def flops(self) -> int:
        """FLOPs of the operations that have started, what runs now not included."""
        return self._words[_FLOPS]

    @property
    def promised(self) -> int:
        """FLOPs of what runs now."""
        return self._words[_PROMISED]

    @property
    def age_s(self) -> float:
        """For how long its client has been served; 0 before."""
        born = self._words[_BORN]
        return max(0.0, (time.monotonic_ns() - born) / 1e9) if born else 0.0

    @property
    def running_s(self) -> float | None:
        """For how long a request has been running; None while the client is waited for."""
        since = self._words[_SINCE]
        return max(0.0, (time.monotonic_ns() - since) / 1e9) if since else None

    def bury(self) -> None:
        """The session was killed: the operation that it was in stays charged."""
        words = self._words
        if words[_PROMISED]:
            self.settle([(NAMES[min(words[_OP], len(NAMES) - 1)], words[_PROMISED])])
        words[_SINCE] = 0

    def tallies(self) -> dict[str, tuple[int, int]]:
        """``{operation: (FLOPs, calls)}`` of those that were called."""
        table = self._words[_TABLE : _TABLE + 2 * len(NAMES)].tolist()
        return {
            name: (table[2 * i], table[2 * i + 1])
            for i, name in enumerate(NAMES)
            if table[2 * i + 1]
        }

    def close(self) -> None:
        """Let go of the memory. Idempotent; the counters cannot be read afterwards."""
        self._words.release()
        self._map.close()
