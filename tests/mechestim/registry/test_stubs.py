"""The checked-in type stubs match the registry and the library, and mypy accepts them."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from functools import reduce
from pathlib import Path
from typing import Any

import pytest

import shm_echo.mechestim as me
from shm_echo.mechestim.registry import OPS, Category
from tests.mechestim.calls import resolve
from tools import mechestim_stubs

ROOT = Path(__file__).parents[3]

PROGRAM = """\
import mechestim as me
from mechestim import linalg

with me.BudgetContext(flop_budget=10**6, quiet=True) as budget:
    x = me.zeros((3, 4))
    y: me.ndarray = me.exp(x + 1) @ me.ones(4)
    total: float = float(me.sum(y, axis=0, keepdims=True))
    shape: tuple[int, ...] = me.shape(x)
    q, r = me.divmod(x, 3)
    values, vectors = me.linalg.eigh(me.eye(3))
    rng = me.random.default_rng(0)
    noise: me.ndarray = rng.normal(size=(3, 4))
    state: me.ndarray = me.random.RandomState(1).randn(3)
    p: me.ndarray = me.stats.norm.pdf(x, loc=1)
    s = me.as_symmetric(me.eye(3), (0, 1))
    f: me.ndarray = me.float32(3) * s.sum(axis=0)
    same: bool = me.allclose(x, x)
    for i, plane in enumerate(x):
        x[i] = plane
    used: int = budget.flops_used
    try:
        linalg.inv(x)
    except linalg.LinAlgError:
        pass
"""

WRONG = """\
import mechestim as me
me.exp()
me.nosuchthing(1)
me.sum([1], axes=0)
me.save("x", 1)
n: int = me.exp(1)
me.random.default_rng().norml()
"""


@pytest.mark.parametrize("name", mechestim_stubs.stubs())
def test_the_stubs_are_those_of_the_registry(name: str) -> None:
    """If it fails, run `python -m tools.generate`."""
    assert (mechestim_stubs.TARGET / name).read_text() == mechestim_stubs.stubs()[name]


def declared(text: str) -> set[str]:
    """Return the public names that a stub declares or re-exports, members as `Class.member`."""
    found = set()
    for node in ast.parse(text).body:
        names = _names(node)
        found |= names
        if isinstance(node, ast.ClassDef):
            members = {m for child in node.body for m in _names(child)}
            found |= {f"{node.name}.{member}" for member in members}
    return {name for name in found if not any(p.startswith("_") for p in name.split("."))}


def _names(node: ast.stmt) -> set[str]:
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return {node.name}
    if isinstance(node, ast.AnnAssign):
        assert isinstance(node.target, ast.Name)
        return {node.target.id}
    if isinstance(node, ast.Assign):
        return {t.id for t in node.targets if isinstance(t, ast.Name)}
    if isinstance(node, ast.ImportFrom):
        return {alias.asname for alias in node.names if alias.asname}
    return set()


# Named tuples that NumPy keeps in other places under these names.
RESULTS = {
    "UniqueAllResult", "UniqueCountsResult", "UniqueInverseResult",
    "EigResult", "EighResult", "SlogdetResult",
}  # fmt: skip
# The classes whose members are looked up: those of other classes only instances have.
ARRAYS_AND_GENERATORS = {"ndarray", "SymmetricTensor", "Generator", "RandomState"}
# Operations that the installed NumPy is too old for.
LATER = {
    op.name
    for op in OPS.values()
    if op.category is not Category.UNSUPPORTED and op.numpy and resolve(op.numpy) is None
}


def test_every_operation_is_declared_in_the_stub_of_its_module() -> None:
    texts = mechestim_stubs.stubs()
    names = {"": declared(texts["__init__.pyi"])}
    for module in ("linalg", "fft", "random"):
        names[module] = declared(texts[f"{module}.pyi"])
    for op in OPS.values():
        first, _, rest = op.name.partition(".")
        if op.category is Category.UNSUPPORTED:
            assert op.name not in names[""]
        elif first == "stats":
            assert f"class _{rest.split('.')[0]}:" in texts["stats.pyi"]
        elif first in names:
            assert rest in names[first]
        elif not rest.startswith("__"):
            assert op.name in names[""]


@pytest.mark.parametrize("module", ["", "linalg", "fft", "random"])
def test_every_declared_name_exists_and_every_public_name_is_declared(module: str) -> None:
    text = mechestim_stubs.stubs()[f"{module or '__init__'}.pyi"]
    names = declared(text) - RESULTS - LATER
    owner: Any = getattr(me, module) if module else me
    top = {name for name in names if "." not in name}
    for name in names:
        first, _, member = name.partition(".")
        if f"{module}.{name}" in LATER:
            continue
        if first not in RESULTS and (not member or first in ARRAYS_AND_GENERATORS):
            reduce(getattr, name.split("."), owner)
    assert set(dir(owner)) - {n for n in dir(owner) if n.startswith("_")} - LATER <= top


def check(program: str, folder: Path) -> subprocess.CompletedProcess[str]:
    file = folder / "program.py"
    file.write_text(program)
    return subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--config-file=",
         f"--cache-dir={ROOT / '.mypy_cache'}", "--follow-imports=silent", str(file)],
        env={**os.environ, "MYPYPATH": str(ROOT)}, capture_output=True, text=True, timeout=150,
    )  # fmt: skip


def test_mypy_accepts_a_correct_program_and_rejects_a_wrong_one(tmp_path: Path) -> None:
    pytest.importorskip("mypy", reason="mypy comes with the extra 'test'")
    good = check(PROGRAM, tmp_path)
    assert [line for line in good.stdout.splitlines() if "program.py" in line] == []
    bad = check(WRONG, tmp_path)
    lines = [line for line in bad.stdout.splitlines() if "program.py" in line and "error" in line]
    assert [int(line.split(":")[1]) for line in lines] == [2, 3, 4, 5, 6, 7], bad.stdout
