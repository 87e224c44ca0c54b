"""The examples in the docstrings of the client run, and print the values that they show."""

from __future__ import annotations

import doctest
import importlib

import pytest

MODULES = (
    "wire",
    "remote.arrays.signed_function",
    "remote.connection.packed_array",
    "remote.dtypes.dtypes",
)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_hold(name: str) -> None:
    result = doctest.testmod(importlib.import_module(f"shm_echo.mechestim.{name}"))
    assert result.attempted > 0
    assert result.failed == 0
