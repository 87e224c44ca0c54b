"""Warnings of sessions reach their sessions, also when the program changes `warnings`."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from shm_echo.mechestim.service.session import warning_capture
from tests.support.threads import Worker


@pytest.fixture(autouse=True)
def put_back() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        yield


def caught_on_a_thread() -> list[Any]:
    def work() -> list[Any]:
        caught: list[Any] = []
        warning_capture.collect_into(caught)
        warnings.warn("of a session", RuntimeWarning, stacklevel=1)
        return caught

    found: list[Any] = Worker(work).result()
    return found


def test_warnings_go_to_the_list_of_their_context_only() -> None:
    with warnings.catch_warnings(record=True) as shown:
        warning_capture.install()
        assert [str(one) for one in caught_on_a_thread()] == ["of a session"]
        assert shown == []
        warnings.warn("of the program", RuntimeWarning, stacklevel=1)
    assert [str(one.message) for one in shown] == ["of the program"]


def test_warnings_are_captured_again_after_the_program_has_restored_showwarning() -> None:
    with warnings.catch_warnings():
        warning_capture.install()
    with warnings.catch_warnings(record=True) as shown:
        warning_capture.install()
        assert len(caught_on_a_thread()) == 1
        assert shown == []
