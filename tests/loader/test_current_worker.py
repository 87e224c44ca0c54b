"""`worker_info` inside and outside of workers."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

import shm_echo.loader
from shm_echo.loader import WorkerInfo, worker_info
from shm_echo.loader.current_worker import set_worker_info


def test_a_process_that_is_no_worker_has_none() -> None:
    assert worker_info() is None


def test_a_worker_knows_its_number_seed_and_dataset() -> None:
    dataset = [1, 2, 3]
    set_worker_info(WorkerInfo(1, 4, 17, dataset))
    try:
        info = worker_info()
        assert info is not None
        assert (info.id, info.num_workers, info.seed) == (1, 4, 17)
        assert info.dataset is dataset
        assert repr(info) == "WorkerInfo(id=1, num_workers=4, seed=17)"
        with pytest.raises(FrozenInstanceError):
            info.id = 2  # type: ignore[misc]
    finally:
        set_worker_info(None)


def test_the_room_s_names_are_functions_whatever_was_imported() -> None:
    assert all(callable(getattr(shm_echo.loader, name)) for name in shm_echo.loader.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        shm_echo.loader.nothing  # noqa: B018
