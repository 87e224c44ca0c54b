"""The protocol page lists every session call and every extension type of the code."""

from __future__ import annotations

import re

from shm_echo.mechestim import wire
from shm_echo.mechestim.service.metering.budgets import Budgets
from shm_echo.mechestim.service.metering.flop_ceiling import Ceiling, SessionLedger
from shm_echo.mechestim.service.metering.quotas import Quotas
from shm_echo.mechestim.service.metering.stats_page import StatsPage
from shm_echo.mechestim.service.objects.handle_table import HandleTable
from shm_echo.mechestim.service.operations.dispatch import Dispatcher
from shm_echo.mechestim.service.scheduling.scheduler import SchedulerSlot
from tests.support.mechestim_server import ROOT

PAGE = (ROOT / "docs/reference/protocol.md").read_text()


def words() -> set[str]:
    quotas = Quotas()
    ledger = SessionLedger(Ceiling(None), StatsPage(), {}, SchedulerSlot())
    return set(
        Dispatcher(
            HandleTable(quotas), Budgets(quotas, ledger), quotas, SchedulerSlot()
        )._session_calls
    )


def test_every_session_call_is_on_the_page() -> None:
    rows = "\n".join(line for line in PAGE.splitlines() if line.startswith("| `"))
    named = set(re.findall(r"`([a-z_]+(?:\.[a-z_]+)+|[a-z_]+)`", rows))
    assert {word for word in words() if not word.startswith("ndarray.")} - named == set()


def test_every_extension_type_is_on_the_page() -> None:
    codes = {
        value
        for name, value in vars(wire).items()
        if name.isupper() and name[0] != "_" and type(value) is int and value < 128
    }
    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)}
    assert listed == codes - {wire.ARENA}, "13 was never used"
