"""Fixtures of the transport tests."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.folders import socket_folder
from tests.support.leftovers import open_descriptors
from tests.support.waiting import wait_until


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder with a path that is short enough for sockets."""
    with socket_folder() as path:
        yield path


@pytest.fixture
def no_descriptor_is_left() -> Iterator[None]:
    """Fail if the test leaves a descriptor open."""
    gc.collect()
    before = open_descriptors()
    yield
    gc.collect()  # the traceback of an expected error may hold what it went through
    wait_until(lambda: open_descriptors() <= before, "all descriptors are closed")
