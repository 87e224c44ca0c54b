"""The examples in the docstrings of the package run, and print the results that they show."""

from __future__ import annotations

import ast
import doctest
import tempfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import shm_echo

PACKAGE = Path(shm_echo.__file__).parent


def docstrings(node: ast.AST, name: str) -> Iterator[tuple[str, str]]:
    """Yield the dotted name and the docstring of everything in a module, from its source.

    At run time, the array's methods have NumPy's docstrings, with examples that are not ours.
    """
    if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
        yield name, ast.get_docstring(node) or ""
    for child in ast.iter_child_nodes(node):
        yield from docstrings(child, f"{name}.{getattr(child, 'name', '')}".rstrip("."))


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


# The stub of the C types has their docstrings: tests/ring/test_slot_type.py compares them.
SOURCES = [*sorted(PACKAGE.rglob("*.py")), PACKAGE / "ring/_core_cpython.pyi"]

EXAMPLES = {
    name: (module_name(path), text)
    for path in SOURCES
    if ">>> " in path.read_text()
    for name, text in docstrings(ast.parse(path.read_text()), module_name(path))
    if ">>> " in text
}


@pytest.mark.parametrize(
    "name",
    [
        "server.Server",
        "trajectory.TrajectoryAccumulator",
        "transports.shm.ShmTransport",
        "transports.shm_client.ShmClient",
        "ring._core_cpython.Slot",
    ],
)
def test_a_class_of_the_data_plane_has_an_example(name: str) -> None:
    assert f"shm_echo.{name}" in EXAMPLES


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_prints_the_results_that_it_shows(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, text = EXAMPLES[name]
    if module.startswith("shm_echo.torch"):
        pytest.importorskip("torch")
    names = dict(vars(import_module(module)))
    example = doctest.DocTestParser().get_doctest(text, names, name, None, None)
    with tempfile.TemporaryDirectory() as folder:  # apart: the examples' servers have fixed names
        monkeypatch.setenv("SHM_ECHO_RUNTIME_DIR", f"{folder}/shm-echo")
        results = doctest.DocTestRunner().run(example)
    assert results.attempted > 0
    assert results.failed == 0
