"""The examples in the docstrings of `local` and `symmetry` run and print what they show."""

from __future__ import annotations

import ast
import doctest
from importlib import import_module
from pathlib import Path

import pytest

import shm_echo.mechestim

pytestmark = pytest.mark.local_only("internals")

PACKAGE = Path(shm_echo.mechestim.__file__).parent
# Docstrings as they are written: at run time, methods have NumPy's own, whose examples are NumPy's.
EXAMPLES = {
    f"{path.parent.name}.{path.stem}:{getattr(node, 'name', '')}": text
    for room in ("local", "symmetry")
    for path in sorted((PACKAGE / room).glob("[!_]*.py"))
    for node in ast.walk(ast.parse(path.read_text()))
    if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
    and (text := ast.get_docstring(node))
    and ">>>" in text
}


@pytest.mark.parametrize("place", EXAMPLES)
def test_an_example_prints_what_it_shows(place: str) -> None:
    names = vars(import_module(f"shm_echo.mechestim.{place.partition(':')[0]}"))
    example = doctest.DocTestParser().get_doctest(EXAMPLES[place], dict(names), place, None, None)
    assert doctest.DocTestRunner().run(example).failed == 0
