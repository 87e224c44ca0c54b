"""Every test here begins with settings, books and a default budget as a new process has them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from shm_echo.mechestim.accounting import active_account, process_books
from shm_echo.mechestim.accounting.settings import configure


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(active_account, "_default", None)
    token = active_account.active_view.set(None)
    process_books.reset()
    yield
    configure(symmetry_warnings=True, check_nan_inf=False, op_log=0, weights=None)
    process_books.reset()
    active_account.active_view.reset(token)
