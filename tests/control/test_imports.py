"""The imports of the control plane: none of the data plane, and no sockets in the protocol."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.control.harness import ROOT, WATCHDOG

PACKAGE = ROOT / "shm_echo" / "control"
FILES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
    if path != PACKAGE / "__init__.py"
}
PROTOCOL_MODULES = [module for module in FILES if module.startswith("protocol.")]


def imported_by(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            assert node.module is not None
            names.add(node.module)
    return names


@pytest.mark.parametrize("module", FILES)
def test_a_module_imports_only_its_own_package_errors_msgpack_and_the_standard_library(
    module: str,
) -> None:
    for name in imported_by(FILES[module]):
        if name.startswith("shm_echo"):
            leaves = ("shm_echo", "shm_echo.copying", "shm_echo.errors", "shm_echo.validation")
            assert name.startswith("shm_echo.control.") or name in leaves
        else:
            assert name.partition(".")[0] in {"msgpack", *sys.stdlib_module_names}


def loads(modules: list[str], forbidden: list[str]) -> str:
    """Import modules in a fresh interpreter in which others cannot be imported."""
    script = f"""
import sys
for name in {forbidden!r}:
    sys.modules[name] = None
for name in {modules!r}:
    __import__("shm_echo.control." + name)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=WATCHDOG
    )
    return done.stderr


def test_everything_loads_without_the_libraries_of_the_data_plane() -> None:
    assert loads(list(FILES), ["numpy", "optree", "cffi", "posix_ipc"]) == ""


def test_the_protocol_loads_where_there_are_no_sockets() -> None:
    assert len(PROTOCOL_MODULES) >= 6
    assert loads(PROTOCOL_MODULES, ["socket", "_socket", "fcntl", "ctypes", "subprocess"]) == ""
