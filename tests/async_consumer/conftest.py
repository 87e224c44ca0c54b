"""No test of this folder leaves a helper thread."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator

import pytest

from tests.support.async_batches import helpers
from tests.support.waiting import wait_until


@pytest.fixture(autouse=True)
def no_helper_stays() -> Iterator[None]:
    yield
    gc.collect()
    wait_until(lambda: not helpers(), "the helper thread has ended")


@pytest.fixture
def name() -> str:
    return f"async-{os.getpid()}"
