"""Every test here begins with settings, books and a default budget as a new process has them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from shm_echo.mechestim.accounting import current, session
from shm_echo.mechestim.accounting.settings import configure


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(current, "_default", None)
    token = current.frame_now.set(None)
    session.reset()
    yield
    configure(symmetry_warnings=True, check_nan_inf=False, op_log=0, weights=None)
    session.reset()
    current.frame_now.reset(token)
