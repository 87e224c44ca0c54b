"""The audit of the other tests: it detects torn, lost, duplicated and foreign samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.support.samples import Audit, Maker


def audited(*batches: dict[str, Any]) -> Audit:
    audit = Audit()
    for batch in batches:
        audit.take(batch)
    return audit


def test_what_was_sent_passes_and_so_does_the_uncounted_end_of_a_killed_producer() -> None:
    audit = audited(Maker(1).batch(0, 5), Maker(2, 3).batch(0, 2), Maker(1).batch(5, 1))

    audit.check({(1, 0): 6, (2, 3): range(1, 3), (4, 0): 0})
    assert audit.received == 8


@pytest.mark.parametrize("key", ["producer", "incarnation", "sequence", "payload", "checksum"])
def test_one_changed_bit_anywhere_is_a_torn_sample(key: str) -> None:
    batch = Maker(1).batch(0, 4)
    batch[key][2] ^= np.uint64(1 << 40)

    with pytest.raises(AssertionError, match="torn"):
        audited(batch)


def test_half_of_a_payload_from_another_sample_is_torn() -> None:
    batch = Maker(1).batch(0, 4)
    batch["payload"][1, 8:] = batch["payload"][2, 8:]

    with pytest.raises(AssertionError, match="torn"):
        audited(batch)


@pytest.mark.parametrize(
    ("batches", "words"),
    [
        ([(0, 3), (4, 2)], "are missing"),
        ([(1, 3)], "are missing"),
        ([(0, 3), (2, 1)], "came twice"),
        ([(0, 4)], "sent 5, 4 came"),
        ([(0, 6)], "sent 5, 6 came"),
        ([(3, 2), (0, 3)], "out of order"),
    ],
)
def test_lost_duplicated_and_reordered_samples_are_detected(
    batches: list[tuple[int, int]], words: str
) -> None:
    audit = audited(*(Maker(1).batch(first, count) for first, count in batches))

    with pytest.raises(AssertionError, match=words):
        audit.check({(1, 0): 5})


def test_samples_that_no_producer_sent_are_detected() -> None:
    with pytest.raises(AssertionError, match="nobody can have sent"):
        audited(Maker(1, incarnation=1).batch(0, 1)).check({(1, 0): 0})
