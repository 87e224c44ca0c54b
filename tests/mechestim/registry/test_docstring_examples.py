"""The docstring examples of accounting, registry, costs and errors print their output."""

from __future__ import annotations

import doctest
import pkgutil
from importlib import import_module

import pytest

from shm_echo.mechestim import accounting, costs, registry

pytestmark = pytest.mark.local_only("internals")

PACKAGE = "shm_echo.mechestim"
MODULES = [
    PACKAGE,
    f"{PACKAGE}.errors",
    *(
        info.name
        for room in (accounting, costs, registry)
        for info in pkgutil.walk_packages(room.__path__, f"{room.__name__}.")
    ),
]


def examples() -> dict[str, doctest.DocTest]:
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = [
        test
        for name in MODULES
        if name != f"{accounting.__name__}.rich_tables"  # imports rich, which is optional
        for test in finder.find(import_module(name), name)
    ]
    return {test.name: test for test in found if test.examples}


EXAMPLES = examples()


def test_the_examples_are_found() -> None:
    assert f"{PACKAGE}.errors.BudgetExhaustedError" in EXAMPLES
    assert f"{PACKAGE}.accounting.context.BudgetContext" in EXAMPLES
    assert f"{PACKAGE}.costs.operands.broadcast" in EXAMPLES


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_prints_what_it_shows(name: str) -> None:
    assert doctest.DocTestRunner(verbose=False).run(EXAMPLES[name]).failed == 0
