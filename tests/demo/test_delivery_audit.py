"""The audit of the demo: it detects lost, torn, duplicated and unsent samples."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

from shm_echo.demo.delivery_audit import DeliveryAudit, DeliveryReport
from shm_echo.demo.fragment import Stamp, example, pack, unpack
from shm_echo.demo.ledger import Sends


def stamp(sequence: int, *, actor: int = 0, incarnation: int = 0) -> Stamp:
    return Stamp(actor=actor, incarnation=incarnation, sequence=sequence, version=1)


def judge(sequences: Iterable[int], *, begun: int, returned: int) -> DeliveryReport:
    audit = DeliveryAudit()
    for sequence in sequences:
        audit.record(stamp(sequence), whole=True)
    return audit.report({(0, 0): Sends(begun=begun, returned=returned)})


def test_all_samples_of_a_process_that_ended_in_order_are_intact() -> None:
    found = judge(range(5), begun=5, returned=5)

    assert found.intact
    assert found == DeliveryReport(5, torn=0, duplicated=0, lost=0, unsent=0, overtook=0)


@pytest.mark.parametrize("arrived", [4, 5, 6])
def test_any_number_of_samples_of_the_send_during_a_kill_may_have_arrived(
    arrived: int,
) -> None:
    assert judge(range(arrived), begun=6, returned=4).intact


def test_a_gap_in_the_send_in_which_a_process_was_killed_is_lost() -> None:
    assert judge([0, 1, 2, 3, 5], begun=6, returned=4).lost == 1


def test_a_gap_is_lost() -> None:
    found = judge([0, 1, 3, 4], begun=5, returned=5)

    assert not found.intact
    assert found.lost == 1


def test_a_gap_that_only_a_later_sample_shows_is_lost() -> None:
    assert judge([0, 2], begun=3, returned=1).lost == 1


def test_a_missing_end_is_lost() -> None:
    assert judge(range(3), begun=5, returned=5).lost == 2


def test_a_process_of_which_nothing_arrived_lost_all_that_it_sent() -> None:
    assert judge([], begun=3, returned=3).lost == 3


def test_a_sample_that_comes_twice_is_a_duplicate() -> None:
    found = judge([0, 1, 1, 2], begun=3, returned=3)

    assert not found.intact
    assert (found.duplicated, found.received) == (1, 3)


def test_an_early_sample_that_comes_twice_is_a_duplicate() -> None:
    assert judge([0, 2, 2, 1], begun=3, returned=3).duplicated == 1


def test_overtaking_is_counted_but_harmless() -> None:
    found = judge([0, 3, 1, 2, 4], begun=5, returned=5)

    assert found.intact
    assert found.overtook == 1


def test_a_sample_that_no_process_began_to_send_is_found() -> None:
    found = judge([0, 1, 2], begun=2, returned=2)

    assert not found.intact
    assert found.unsent == 1


def test_a_sample_of_a_process_that_never_was_is_found() -> None:
    audit = DeliveryAudit()
    audit.record(stamp(0, incarnation=7), whole=True)

    assert audit.report({}).unsent == 1


def test_each_incarnation_counts_for_itself() -> None:
    audit = DeliveryAudit()
    for incarnation in range(2):
        for sequence in range(3):
            audit.record(stamp(sequence, incarnation=incarnation), whole=True)

    assert audit.report({(0, 0): Sends(3, 3), (0, 1): Sends(3, 3)}).intact


def test_a_torn_sample_is_counted_and_its_stamp_not_trusted() -> None:
    audit = DeliveryAudit()
    audit.record(stamp(0), whole=False)

    found = audit.report({(0, 0): Sends(1, 1)})

    assert (found.torn, found.received, found.lost) == (1, 0, 1)
    assert not found.intact


def batch_of(*stamps: Stamp) -> dict[str, dict[str, np.ndarray]]:
    """Return a ring batch with random bytes and right checksums."""
    rng = np.random.default_rng(0)
    steps = {
        name: np.frombuffer(rng.bytes(leaf.nbytes * len(stamps)), leaf.dtype)
        .reshape(len(stamps), *leaf.shape)
        .copy()
        for name, leaf in example()["steps"].items()
    }
    return pack(steps, list(stamps))


def test_unpacking_returns_the_stamps_of_whole_samples() -> None:
    stamps = [stamp(3, actor=1), stamp(4, incarnation=2)]

    assert unpack(batch_of(*stamps)) == [(one, True) for one in stamps]


@pytest.mark.parametrize("name", sorted(example()["steps"]))
def test_one_flipped_bit_in_any_leaf_is_torn(name: str) -> None:
    batch = batch_of(stamp(0), stamp(1), stamp(2))
    batch["steps"][name][1].view(np.uint8).flat[-1] ^= 1

    assert [whole for _, whole in unpack(batch)] == [True, False, True]


@pytest.mark.parametrize("name", ["actor", "incarnation", "sequence", "version"])
def test_a_stamp_of_another_sample_is_torn(name: str) -> None:
    batch = batch_of(stamp(0), stamp(1))
    batch["stamp"][name][0] += 1

    assert [whole for _, whole in unpack(batch)] == [False, True]


def test_rows_of_two_samples_mixed_are_torn() -> None:
    batch = batch_of(stamp(0), stamp(1))
    batch["steps"]["obs"][0, 16:] = batch["steps"]["obs"][1, 16:]

    assert [whole for _, whole in unpack(batch)] == [False, True]
