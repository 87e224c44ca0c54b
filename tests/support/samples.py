"""Samples that show tearing, loss, duplication and mixing, and the audit that checks them.

A sample has its producer and incarnation (the number of processes that were this producer before),
a number from 0, and a payload that differs in every sample, with a checksum over all of it. An
audit checks each batch when it arrives, and at the end compares the received with the sent samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Audit", "Maker", "example"]

U64 = np.uint64
Words = npt.NDArray[np.uint64]

# Odd, so that a change of any one word changes the sum; drawn once, so that all processes agree.
_WEIGHTS = np.random.default_rng(20240607).integers(0, 2**63, 1 << 18, U64) * U64(2) + U64(1)


def example(words: int = 16) -> dict[str, Any]:
    """Return the example of a ring for samples with a payload of `words` 8-byte words."""
    return {
        "producer": U64(0),
        "incarnation": U64(0),
        "sequence": U64(0),
        "payload": np.zeros(words, U64),
        "checksum": U64(0),
    }


def _payload(producer: int, incarnation: int, sequence: Words, words: int) -> Words:
    key = (sequence << U64(20)) ^ U64(producer << 10 ^ incarnation)
    return np.asarray(key[:, None] * _WEIGHTS[:words] + _WEIGHTS[::-1][:words])


def _checksum(header: list[Words], payload: Words) -> Words:
    total = (payload * _WEIGHTS[3 : 3 + payload.shape[-1]]).sum(-1, dtype=U64)
    for part, weight in zip(header, _WEIGHTS[:3], strict=True):
        total = total + part * weight
    return total


@dataclass(frozen=True)
class Maker:
    """Makes the samples of one process.

    Attributes:
        producer: the number of the producer.
        incarnation: the number of processes that were this producer before.
        words: length of the payload.
    """

    producer: int
    incarnation: int = 0
    words: int = 16

    def sample(self, sequence: int) -> dict[str, Any]:
        """Return one sample."""
        return {key: stack[0] for key, stack in self.batch(sequence, 1).items()}

    def batch(self, first: int, count: int) -> dict[str, Any]:
        """Return `count` samples, stacked."""
        sequence = np.arange(first, first + count, dtype=U64)
        who = [np.full(count, number, U64) for number in (self.producer, self.incarnation)]
        payload = _payload(self.producer, self.incarnation, sequence, self.words)
        return {
            "producer": who[0],
            "incarnation": who[1],
            "sequence": sequence,
            "payload": payload,
            "checksum": _checksum([*who, sequence], payload),
        }

    def write(self, slot: Any, sequence: int) -> None:
        """Write one sample into a reserved slot."""
        for key, value in self.sample(sequence).items():
            slot[key][...] = value


class Audit:
    """Collects what the learner gets, and compares it with what was sent."""

    def __init__(self) -> None:
        self._came: list[Words] = []

    def take(self, batch: Mapping[str, Any]) -> None:
        """Check every sample of a batch, and note where it came from.

        Raises:
            AssertionError: one is torn: not what any producer made.
        """
        keys = [np.array(batch[key], U64) for key in ("producer", "incarnation", "sequence")]
        whole = _checksum(keys, batch["payload"]) == batch["checksum"]
        assert whole.all(), f"torn: {[tuple(map(int, k)) for k in np.stack(keys, 1)[~whole]]}"
        self._came.append(np.stack(keys, 1))

    @property
    def received(self) -> int:
        """Return the number of received samples."""
        return sum(map(len, self._came))

    def sequences(self) -> dict[tuple[int, int], list[int]]:
        """Return the received numbers of each (producer, incarnation), in the order of arrival."""
        found: dict[tuple[int, int], list[int]] = {}
        for rows in self._came:
            for producer, incarnation, sequence in rows.tolist():
                found.setdefault((producer, incarnation), []).append(sequence)
        return found

    def check(self, sent: Mapping[tuple[int, int], int | range], *, in_order: bool = True) -> None:
        """Check that the received samples are exactly the sent ones.

        Args:
            sent: the number of samples that each (producer, incarnation) has sent; a range if the
                process was killed before it could count the last ones.
            in_order: check that each producer's samples arrived in the order of their sends.
                Aborted claims change the order: their slots are filled later.

        Raises:
            AssertionError: samples are lost, duplicated, foreign or out of order.
        """
        found = self.sequences()
        foreign = set(found) - set(sent)
        assert not foreign, f"nobody can have sent these: {sorted(foreign)}"
        for who, count in sent.items():
            came = found.get(who, [])
            doubled = len(came) - len(set(came))
            assert not doubled, f"{doubled} samples of {who} came twice"
            ordered = sorted(came)
            lost = sorted(set(range(len(came))).symmetric_difference(came))
            assert not lost, f"of {who}, samples around {lost[:5]} are missing"
            possible = count if isinstance(count, range) else range(count, count + 1)
            assert len(came) in possible, f"{who} sent {count}, {len(came)} came"
            assert not in_order or came == ordered, f"samples of {who} came out of order"
