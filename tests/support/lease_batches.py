"""Batches of a server that lends or copies: taken in one call, and where their memory lies."""

from __future__ import annotations

from typing import Any

import numpy as np

from shm_echo import Sample, Server
from tests.support.numbered import numbered, numbers_of

__all__ = ["address", "root", "submit", "take"]


def submit(server: Server, *numbers: int) -> None:
    for number in numbers:
        server.submit(numbered(number), timeout=0)


def take(server: Server, *numbers: int) -> Sample:
    """Submit a batch of these numbers and take it."""
    submit(server, *numbers)
    sample = server.sample(timeout=60)
    assert sample is not None
    assert numbers_of(sample.batch) == list(numbers)
    return sample


def root(array: Any) -> Any:
    while isinstance(array, np.ndarray):
        array = array.base
    return array


def address(array: Any) -> int:
    return int(array.__array_interface__["data"][0])
