"""The examples in the docstrings of the service run, and print the results that they show."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

from shm_echo.mechestim import service

FOLDER = Path(service.__file__).parent
MODULES = [
    ".".join((service.__name__, *path.relative_to(FOLDER).with_suffix("").parts))
    for path in sorted(FOLDER.rglob("*.py"))
    if ">>> " in path.read_text()
]


def test_some_modules_have_examples() -> None:
    assert MODULES


@pytest.mark.parametrize("name", MODULES)
def test_examples_print_the_results_that_they_show(name: str) -> None:
    results = doctest.testmod(importlib.import_module(name))
    assert results.attempted > 0
    assert results.failed == 0
