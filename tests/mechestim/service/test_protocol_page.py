"""The protocol page against the code: no word and no extension type is missing."""

from __future__ import annotations

import re

from shm_echo.mechestim import wire
from shm_echo.mechestim.service.board import Board
from shm_echo.mechestim.service.budgets import Budgets
from shm_echo.mechestim.service.ceiling import Ceiling, Purse
from shm_echo.mechestim.service.gate import Turn
from shm_echo.mechestim.service.limits import Quotas
from shm_echo.mechestim.service.objects import Objects
from shm_echo.mechestim.service.operations import Operations
from tests.support.metering import ROOT

PAGE = (ROOT / "docs/reference/protocol.md").read_text()


def words() -> set[str]:
    quotas = Quotas()
    purse = Purse(Ceiling(None), Board(), {}, Turn())
    return set(Operations(Objects(quotas), Budgets(quotas, purse), quotas, Turn())._words)


def test_every_word_of_a_session_is_on_the_page() -> None:
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
