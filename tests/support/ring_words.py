"""The words of a ring, for tests that overwrite them as a stray pointer would.

The offsets are those of csrc/include/shm_echo/layout.h.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from shm_echo import Server

__all__ = ["BEGUN", "HEADER", "REVOKED", "RingWords", "forgeries", "word"]

# Offsets of the header's words by name, in bytes.
HEADER = {
    "magic": 0,
    "layout_version": 8,
    "batch_size": 24,
    "digest": 56,
    "write_cursor": 128,
    "hole_gen": 256,
    "closed": 264,
    "space": 384,
    "awaited": 512,
    "data": 520,
    "taken_cursor": 640,
    "taken": 648,  # its upper half is `lent`
}
_LINE = 128
_RECORDS = 6 * _LINE  # they follow the header
REVOKED, BEGUN = 0, 64  # offsets in a record, in bytes

FREE, CLAIMED, COMMITTED, HOLE, SKIP = range(5)


def word(lap: int, owner: int, state: int) -> int:
    """Return a state word."""
    return (lap & (1 << 40) - 1) << 24 | owner << 8 | state


def forgeries(lap: int, owner: int) -> list[int]:
    """Return values that no step of the protocol leaves in a state word of this lap.

    Those that a step could write there at another moment are left out: no check can tell them.

    Args:
        lap: the lap of the word that is overwritten.
        owner: the id of a producer that may be attached.
    """
    return [
        word(lap - 1, owner, COMMITTED),
        word(lap + 7, owner, COMMITTED),
        word(lap + 1, owner, CLAIMED),
        word(lap, owner, CLAIMED),
        word(lap, 0xFFFF, CLAIMED),
        word(lap + 1000, 0, FREE),
        word(lap + 1000, 0, HOLE),
        word(lap, 0, SKIP),
        word(lap, 0, SKIP + 1),
        2**64 - 1,
        0xDEADBEEFCAFEF00D,
        0,
    ]


class RingWords:
    """The words of a running server's ring.

    Args:
        server: with a transport that has `max_producers`.
        max_producers: of that transport.
    """

    def __init__(self, server: Server, max_producers: int) -> None:
        ring = server._parts.ring
        self._memory = memoryview(ring.segment.mapping).cast("B")[: ring.segment.size].cast("Q")
        self._batch, self._buffers = ring.config.batch_size, ring.config.num_buffers
        self._lines = -(-self._batch // 8)  # cache lines of words in a batch
        self.states = _RECORDS + _LINE * (max_producers + 1)
        end = self.states + 64 * self._lines * self._buffers
        self.control = range(0, self.states, 8)
        self.all_states = range(self.states, end, 8)

    def __getitem__(self, offset: int) -> int:
        return self._memory[offset // 8]

    def __setitem__(self, offset: int, value: int) -> None:
        self._memory[offset // 8] = value

    def record(self, owner: int, field: int) -> int:
        """Return the offset of a word in the record of an owner."""
        return _RECORDS + _LINE * owner + field

    def state(self, slot: int) -> int:
        """Return the offset of a slot's state word."""
        batch, i = divmod(slot, self._batch)
        line, column = i % self._lines, i // self._lines
        return self.states + 8 * (8 * (batch * self._lines + line) + column)

    def values(self, offset: int, dice: random.Random) -> Iterator[int]:
        """Yield values for a stray write to a word, without end."""
        while True:
            if offset in self.all_states:
                seen = self[offset]
                yield dice.choice(forgeries(seen >> 24, dice.randrange(1, 4)))
            else:
                seen = self[offset]
                yield dice.choice(
                    [0, 1, 2**64 - 1, 1 << 60, seen ^ 1 << dice.randrange(64), dice.getrandbits(64)]
                )
