"""The statistics of a session: a page of counters that its service can read at any time.

One session writes and the service reads, possibly from another process through shared memory. So
the service knows the charges and the running operation of a session whose process was killed.
Every counter is a 64-bit word, stored in one piece.

    word 0   objects that the session holds        word 5   FLOPs of operations that have started
         1   bytes of its arrays                        6   FLOPs reserved for the running operation
         2   requests that it has begun                 7   index of the running operation
         3   start of the running request (ns), or 0    8   1 while a message is partly sent
         4   open contexts                              9   time of the client's welcome (ns), or 0
    from 16  [FLOPs, calls] of each operation, in the order of `NAMES`
"""

from __future__ import annotations

import mmap
import time

from shm_echo.mechestim.registry import OPS

__all__ = ["NAMES", "StatsPage"]

# The names under which charges are booked. A client's own name (`deduct`) counts as "(deducted)":
# the page has no room for names that clients choose.
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
        fd: Memory from `shared_memory.sealed_memory`; None for memory of this process alone.

    Example:
        >>> stats = StatsPage()
        >>> stats.reserve("add", 100)
        >>> stats.commit([("add", 100)])
        >>> stats.flops, stats.reserved, stats.tallies()
        (100, 0, {'add': (100, 1)})
    """

    SIZE = _SIZE

    def __init__(self, fd: int | None = None) -> None:
        self._map = mmap.mmap(-1 if fd is None else fd, _SIZE)
        self._words = memoryview(self._map).cast("Q")

    # Called by the session ----

    def begin_session(self) -> None:
        """Record that the client has been welcomed."""
        self._words[_OPENED_AT] = time.monotonic_ns()

    def begin_request(self) -> int:
        """Record that a request begins. Return the time in nanoseconds."""
        words = self._words
        words[_REQUESTS] += 1
        words[_STARTED_AT] = now = time.monotonic_ns()
        return now

    def mark_idle(self) -> None:
        """Record that no request runs: the session waits for its client."""
        self._words[_STARTED_AT] = 0

    def mark_running(self) -> None:
        """Record that a request runs again, after a wait for the client."""
        self._words[_STARTED_AT] = time.monotonic_ns()

    def record_holdings(self, objects: int, size: int, contexts: int) -> None:
        """Record how much the session holds now."""
        words = self._words
        words[_OBJECTS] = objects
        words[_BYTES] = size
        words[_CONTEXTS] = contexts

    def end_request(self, objects: int, size: int, contexts: int) -> int:
        """Record that the request is over, and how much the session holds now.

        This repeats `mark_idle` and `record_holdings`: one call fewer for every request.

        Args:
            objects: The number of its objects.
            size: The bytes of its arrays.
            contexts: The number of its open contexts.

        Returns:
            The time in nanoseconds.
        """
        words = self._words
        words[_STARTED_AT] = 0
        words[_OBJECTS] = objects
        words[_BYTES] = size
        words[_CONTEXTS] = contexts
        return time.monotonic_ns()

    def charge(self, name: str, flops: int) -> None:
        """Charge an operation that starts now, in one step."""
        words = self._words
        at = _FIRST_TALLY + 2 * _INDEX.get(name, 0)
        words[at + 1] += 1
        try:
            words[at] += flops
            words[_FLOPS] += flops
        except ValueError:  # the sum exceeds 64 bits: the counter stays at its maximum
            words[at] = min(words[at] + flops, _MAX_WORD)
            words[_FLOPS] = min(words[_FLOPS] + flops, _MAX_WORD)

    def reserve(self, name: str, flops: int) -> None:
        """Reserve FLOPs for an operation that is about to start."""
        words = self._words
        words[_OPERATION] = _INDEX.get(name, 0)
        words[_RESERVED] = min(words[_RESERVED] + flops, _MAX_WORD)

    def release(self, flops: int) -> None:
        """Release FLOPs of an operation that was rejected before it started."""
        words = self._words
        words[_RESERVED] = max(words[_RESERVED] - flops, 0)

    def commit(self, charges: list[tuple[str, int]]) -> None:
        """Charge reserved FLOPs: the operations have started. Their outcome does not matter."""
        words = self._words
        for name, flops in charges:
            self.charge(name, flops)
        words[_RESERVED] = 0

    @property
    def writing(self) -> bool:
        """Return True if a message has been sent in part."""
        return bool(self._words[_WRITING])

    @writing.setter
    def writing(self, value: bool) -> None:
        self._words[_WRITING] = value

    # Called by the service ----

    @property
    def objects(self) -> int:
        """The number of objects that the session holds."""
        return self._words[_OBJECTS]

    @property
    def bytes(self) -> int:
        """The bytes of its arrays."""
        return self._words[_BYTES]

    @property
    def contexts(self) -> int:
        """The number of open budgets, the default one included."""
        return self._words[_CONTEXTS]

    @property
    def requests(self) -> int:
        """The number of requests that have begun."""
        return self._words[_REQUESTS]

    @property
    def flops(self) -> int:
        """The FLOPs of all started operations but the running one."""
        return self._words[_FLOPS]

    @property
    def reserved(self) -> int:
        """The FLOPs reserved for the running operation."""
        return self._words[_RESERVED]

    @property
    def age_s(self) -> float:
        """Seconds since the client was welcomed; 0 before."""
        opened_at = self._words[_OPENED_AT]
        return max(0.0, (time.monotonic_ns() - opened_at) / 1e9) if opened_at else 0.0

    @property
    def running_s(self) -> float | None:
        """Seconds since the running request began; None while the session waits for its client."""
        started_at = self._words[_STARTED_AT]
        return max(0.0, (time.monotonic_ns() - started_at) / 1e9) if started_at else None

    def mark_killed(self) -> None:
        """Charge the operation in which the session was killed."""
        words = self._words
        if words[_RESERVED]:
            # A worker that was killed may have left any value in the page.
            name = NAMES[min(words[_OPERATION], len(NAMES) - 1)]
            self.commit([(name, words[_RESERVED])])
        words[_STARTED_AT] = 0

    def tallies(self) -> dict[str, tuple[int, int]]:
        """Return `{operation: (FLOPs, calls)}` of the operations that were called."""
        table = self._words[_FIRST_TALLY : _FIRST_TALLY + 2 * len(NAMES)].tolist()
        return {
            name: (table[2 * i], table[2 * i + 1])
            for i, name in enumerate(NAMES)
            if table[2 * i + 1]
        }

    def close(self) -> None:
        """Release the memory. Idempotent; the counters cannot be read afterwards."""
        self._words.release()
        self._map.close()
