"""Exceptions of signal handlers at any instant of taking a batch lose no sample and double none."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from tests.faults.aimed_interrupts import WAYS, take_interrupted
from tests.support.processes import start

pytestmark = pytest.mark.usefixtures("shm_unchanged")

INTERRUPTS = 400
# After a Python function has returned, CPython 3.10 runs signal handlers before the caller stores
# the value. No callee can prevent that: docs/how-to/zero-copy.md has the figures.
CAN_LOSE = ("sample", "flush") if sys.version_info < (3, 11) else ()
LOST_OF_1000 = 20


def check(way: str, lease: Any, interrupts: int) -> None:
    with start(take_interrupted, way, lease, interrupts, method="forkserver") as child:
        sent, lost, wrong = child.hear()
        assert child.wait() == 0
    assert sent >= interrupts
    assert wrong == 0
    assert lost <= (LOST_OF_1000 * interrupts // 1000 if way in CAN_LOSE else 0)


@pytest.mark.parametrize("lease", [False, True, "copy"])
@pytest.mark.parametrize("way", WAYS)
def test_an_interrupted_take_leaves_its_batch_to_the_next_one(way: str, lease: Any) -> None:
    check(way, lease, INTERRUPTS)


@pytest.mark.nightly
@pytest.mark.parametrize("lease", [False, True, "copy"])
@pytest.mark.parametrize("way", WAYS)
def test_an_interrupted_take_leaves_its_batch_for_long(way: str, lease: Any) -> None:
    check(way, lease, 10 * INTERRUPTS)
