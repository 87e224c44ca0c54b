"""The ledger: its rows outlive the processes that wrote them."""

from __future__ import annotations

import signal
import subprocess
import sys

from shm_echo.demo.ledger import Ledger, LedgerRow, Sends
from tests.support.waiting import WATCHDOG

CHILD = """
import os, signal, sys
from shm_echo.demo.ledger import LedgerRow
row = LedgerRow(int(sys.argv[1]), 1)
for _ in range(3):
    row.begin(2)
    row.end()
row.begin(2)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_counts_of_a_killed_process_remain_up_to_the_send_it_was_in() -> None:
    ledger = Ledger(2)
    child = subprocess.run(
        [sys.executable, "-c", CHILD, str(ledger.fd)],
        pass_fds=[ledger.fd],
        check=False,
        timeout=WATCHDOG,
    )

    assert child.returncode == -signal.SIGKILL
    assert ledger.read(1) == Sends(begun=8, returned=6)
    assert ledger.read(1).inside
    assert ledger.read(0) == Sends(begun=0, returned=0)
    ledger.close()


def test_a_cleared_row_counts_from_zero_again() -> None:
    ledger = Ledger(1)
    row = LedgerRow(ledger.fd, 0)
    assert [row.begin(2), row.begin(1)] == [0, 2]

    ledger.clear(0)

    assert row.begin(1) == 0
    assert ledger.read(0) == Sends(begun=1, returned=0)
    ledger.close()
