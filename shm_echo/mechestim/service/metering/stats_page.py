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

(
    _OBJECTS,
    _BYTES,
    _REQUESTS,
    _STARTED_AT,
    _CONTEXTS,
    _FLOPS,
    _RESERVED,
    _OPERATION,
    _WRITING,
    _OPENED_AT,
) = range(10)
_FIRST_TALLY = 16
_SIZE = 8 * (_FIRST_TALLY + 2 * len(NAMES))
_MAX_WORD = 2**64 - 1


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

    def begin_session(self) -> None:
        """The session begins: its client has been welcomed."""
        self._words[_OPENED_AT] = time.monotonic_ns()

    def begin_request(self) -> int:
        """A request begins; when, in nanoseconds."""
        words = self._words
        words[_REQUESTS] += 1
        words[_STARTED_AT] = now = time.monotonic_ns()
        return now

    def mark_idle(self) -> None:
        """Nothing runs: the session waits for its client."""
        self._words[_STARTED_AT] = 0

    def mark_running(self) -> None:
        """What had begun runs again."""
        self._words[_STARTED_AT] = time.monotonic_ns()

    def record_holdings(self, objects: int, size: int, contexts: int) -> None:
        """What the session holds now."""
        words = self._words
        words[_OBJECTS] = objects
        words[_BYTES] = size
        words[_CONTEXTS] = contexts

    def end_request(self, objects: int, size: int, contexts: int) -> int:
        """The request is over; when, in nanoseconds.

        Args:
            objects, size, contexts: what the session holds now.
        """
        words = self._words
        words[_STARTED_AT] = 0
        words[_OBJECTS] = objects
        words[_BYTES] = size
        words[_CONTEXTS] = contexts
        return time.monotonic_ns()

    def charge(self, name: str, flops: int) -> None:
        """An operation starts, which is paid for."""
        words = self._words
        at = _FIRST_TALLY + 2 * _INDEX.get(name, 0)
        words[at + 1] += 1
        try:
            words[at] += flops
            words[_FLOPS] += flops
        except ValueError:  # no word holds so many
            words[at] = min(words[at] + flops, _MAX_WORD)
            words[_FLOPS] = min(words[_FLOPS] + flops, _MAX_WORD)

    def reserve(self, name: str, flops: int) -> None:
        """An operation is about to run, and is paid for."""
        words = self._words
        words[_OPERATION] = _INDEX.get(name, 0)
        words[_RESERVED] = min(words[_RESERVED] + flops, _MAX_WORD)

    def release(self, flops: int) -> None:
        """The operation was refused before it started."""
        words = self._words
        words[_RESERVED] = max(words[_RESERVED] - flops, 0)

    def commit(self, charges: list[tuple[str, int]]) -> None:
        """The operations have started, whatever became of them."""
        words = self._words
        for name, flops in charges:
            self.charge(name, flops)
        words[_RESERVED] = 0

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
    def reserved(self) -> int:
        """FLOPs of what runs now."""
        return self._words[_RESERVED]

    @property
    def age_s(self) -> float:
        """For how long its client has been served; 0 before."""
        opened_at = self._words[_OPENED_AT]
        return max(0.0, (time.monotonic_ns() - opened_at) / 1e9) if opened_at else 0.0

    @property
    def running_s(self) -> float | None:
        """For how long a request has been running; None while the client is waited for."""
        started_at = self._words[_STARTED_AT]
        return max(0.0, (time.monotonic_ns() - started_at) / 1e9) if started_at else None

    def mark_killed(self) -> None:
        """The session was killed: the operation that it was in stays charged."""
        words = self._words
        if words[_RESERVED]:
            self.commit([(NAMES[min(words[_OPERATION], len(NAMES) - 1)], words[_RESERVED])])
        words[_STARTED_AT] = 0

    def tallies(self) -> dict[str, tuple[int, int]]:
        """``{operation: (FLOPs, calls)}`` of those that were called."""
        table = self._words[_FIRST_TALLY : _FIRST_TALLY + 2 * len(NAMES)].tolist()
        return {
            name: (table[2 * i], table[2 * i + 1])
            for i, name in enumerate(NAMES)
            if table[2 * i + 1]
        }

    def close(self) -> None:
        """Let go of the memory. Idempotent; the counters cannot be read afterwards."""
        self._words.release()
        self._map.close()
