"""Which module may import which: read from the sources, and seen in fresh interpreters."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import shm_echo
from tests.support.scripts import run_script

PACKAGE = Path(shm_echo.__file__).parent

HEAVY = ("numpy", "optree", "cffi", "posix_ipc", "msgpack")


def modules() -> Iterator[tuple[str, Path]]:
    """Every module of the package, by its dotted name."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = ("shm_echo", *path.relative_to(PACKAGE).with_suffix("").parts)
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def is_typing_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in (
        "TYPE_CHECKING",
        "typing.TYPE_CHECKING",
    )


def imported(tree: ast.AST, *, typing_too: bool) -> set[str]:
    """The modules that a source names in imports, wherever in it they stand."""
    found: set[str] = set()
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where something comes from"
            assert node.module is not None
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif typing_too or not is_typing_only(node):
            found |= imported(node, typing_too=typing_too)
    return found


def reaches(target: str, names: set[str]) -> bool:
    return any(name == target or name.startswith(f"{target}.") for name in names)


# What each part must not import, not even inside a function.
FORBIDDEN: dict[str, tuple[str, ...]] = {
    "shm_echo.control": (
        "numpy",
        "optree",
        "cffi",
        "posix_ipc",
        "shm_echo.ring",
        "shm_echo.spec",
        "shm_echo.transports",
        "shm_echo.server",
        "shm_echo.consumer",
        "shm_echo.metrics",
    ),
    "shm_echo.spec": (
        "cffi",
        "posix_ipc",
        "msgpack",
        "shm_echo.ring",
        "shm_echo.transports",
        "shm_echo.server",
        "shm_echo.control",
    ),
    "shm_echo.ring": (
        "msgpack",
        "shm_echo.transports",
        "shm_echo.server",
        "shm_echo.consumer",
        "shm_echo.local_producer",
        "shm_echo.control",
    ),
    "shm_echo.transports": ("shm_echo.server", "shm_echo.consumer", "shm_echo.local_producer"),
    "shm_echo.trajectory": ("shm_echo.ring", "shm_echo.transports", "shm_echo.control"),
    "shm_echo.loader": ("torch", "shm_echo.torch"),
    "shm_echo.errors": ("numpy", "optree", *(f"shm_echo.{part}" for part in ("ring", "spec"))),
    "shm_echo.validation": ("numpy", "shm_echo"),
    "shm_echo.metrics": ("numpy", "shm_echo.server", "shm_echo.transports", "shm_echo.control"),
    "shm_echo.mechestim": tuple(
        f"shm_echo.{part}" for part in ("ring", "spec", "transports", "consumer", "server")
    ),
    "shm_echo.mechestim.local": ("shm_echo.control",),
    "shm_echo.mechestim.remote": ("shm_echo.mechestim.local", "shm_echo.mechestim.service"),
    "shm_echo.mechestim.service": ("shm_echo.mechestim.remote",),
}


@pytest.mark.parametrize("part", FORBIDDEN)
def test_arrows_point_down_only(part: str) -> None:
    checked = 0
    for name, path in modules():
        if name == part or name.startswith(f"{part}."):
            names = imported(ast.parse(path.read_text()), typing_too=False)
            for target in FORBIDDEN[part]:
                assert not reaches(target, names), f"{name} imports {target}"
            checked += 1
    assert checked, f"there is no {part}"


# Who may import what an extra brings. Each does so when it is used, or is imported only then.
EXTRAS: dict[str, tuple[str, ...]] = {
    "shm_echo.loader.progress": ("rich",),
    "shm_echo.jax": ("jax",),
    "shm_echo.mechestim.accounting.live": ("rich", "IPython"),
    "shm_echo.mechestim.accounting.summaries": ("rich",),
    "shm_echo.mechestim.accounting.plot": ("matplotlib",),
    "shm_echo.mechestim.accounting.rich_tables": ("rich",),
    "shm_echo.torch": ("torch",),
}


def extras_of(name: str) -> tuple[str, ...]:
    """Return what a module may import beside the declared dependencies."""
    package = name.startswith("shm_echo.torch.")
    return EXTRAS.get("shm_echo.torch" if package else name, ())


def test_the_library_does_not_import_the_programs_around_it() -> None:
    for name, path in modules():
        if not name.startswith(("shm_echo.demo", "shm_echo.cli")):
            names = imported(ast.parse(path.read_text()), typing_too=True)
            for target in ("shm_echo.demo", "shm_echo.cli", "gymnasium", "matplotlib", "rich"):
                if target not in extras_of(name):
                    assert not reaches(target, names), f"{name} imports {target}"


def test_nothing_but_the_declared_dependencies_is_imported() -> None:
    declared = {"shm_echo", "numpy", "optree", "cffi", "posix_ipc", "msgpack", "opt_einsum"}
    for name, path in modules():
        if name.startswith(("shm_echo.demo", "shm_echo.cli")):
            continue
        allowed = declared | set(extras_of(name))
        for target in imported(ast.parse(path.read_text()), typing_too=True):
            top = target.partition(".")[0]
            assert top in allowed or top in sys.stdlib_module_names, f"{name} imports {target}"


# ---------------------------------------------------------------- in fresh interpreters

_LOADED = """
import sys
before = set(sys.modules)
{imports}
loaded = {{name.partition(".")[0] for name in set(sys.modules) - before}}
print(sorted(loaded & {heavy}))
print("ours:", sorted(name for name in sys.modules if name.startswith("shm_echo.")))
"""


def loaded_by(imports: str) -> tuple[list[str], list[str]]:
    """Which heavy packages, and which modules of ours, some imports load."""
    lines = run_script(_LOADED.format(imports=imports, heavy=set(HEAVY))).splitlines()
    return ast.literal_eval(lines[0]), ast.literal_eval(lines[1].removeprefix("ours: "))


def test_importing_the_package_loads_nothing_heavy_and_nothing_of_its_own() -> None:
    heavy, ours = loaded_by("import shm_echo")
    assert heavy == []
    assert ours == []


def test_looking_at_its_names_loads_nothing_either() -> None:
    looks = "import shm_echo; dir(shm_echo); shm_echo.__all__; shm_echo.__version__"
    assert loaded_by(looks) == ([], [])


def test_the_errors_load_nothing_heavy() -> None:
    heavy, ours = loaded_by("from shm_echo import ConnectionClosedError, ShmEchoError")
    assert heavy == []
    assert ours == [
        "shm_echo.connection_errors",
        "shm_echo.error_base",
        "shm_echo.errors",
        "shm_echo.loader_errors",
    ]


def test_the_control_plane_loads_no_numpy_and_no_ring() -> None:
    names = " ,".join(name for name, _ in modules() if name.startswith("shm_echo.control"))
    heavy, ours = loaded_by(f"import {names}")
    assert set(heavy) <= {"msgpack"}
    leaves = (
        "shm_echo.control",
        "shm_echo.copying",
        "shm_echo.error",
        "shm_echo.connection_errors",
        "shm_echo.loader_errors",
        "shm_echo.validation",
    )
    assert all(name.startswith(leaves) for name in ours)


def test_what_a_client_connects_with_imports_no_cryptography() -> None:
    ends = ("shm_echo.control.client", "shm_echo.control.protocol", "shm_echo.control.address")
    names = ", ".join(name for name, _ in modules() if name.startswith(ends))
    loaded = ast.literal_eval(run_script(f"import sys, {names}; print(sorted(sys.modules))"))
    for module in ("hashlib", "hmac", "random", "secrets", "ssl", "tempfile"):
        assert module not in loaded, module


def test_an_accumulator_needs_no_ring() -> None:
    heavy, ours = loaded_by("from shm_echo import TrajectoryAccumulator")
    assert "cffi" not in heavy
    assert not any(name.startswith(("shm_echo.ring", "shm_echo.control")) for name in ours)


def test_an_in_process_server_needs_no_control_plane() -> None:
    _, ours = loaded_by(
        "import numpy; from shm_echo import Server; Server(numpy.zeros(1), 1).start().close()"
    )
    assert not any(name.startswith("shm_echo.control") for name in ours)


_CLIENT = """
import os, sys
os.environ["MECHESTIM_SERVER_URL"] = "ipc:///nowhere"
import mechestim as me
me.BudgetContext, me.add, me.linalg.svd, me.random.normal, me.pi
print(sorted(sys.modules))
"""


def test_a_client_that_names_operations_has_not_imported_what_calling_them_takes() -> None:
    loaded = set(ast.literal_eval(run_script(_CLIENT)))
    assert "shm_echo.mechestim.remote.api.namespace" in loaded
    for heavy in (*HEAVY, "dataclasses", "inspect"):
        assert heavy not in loaded
    for part in (
        "shm_echo.control",
        "shm_echo.error_base",
        "shm_echo.errors",
        "shm_echo.mechestim.costs",
        "shm_echo.mechestim.local",
        "shm_echo.mechestim.symmetry",
    ):
        assert not [name for name in loaded if reaches(part, {name})], part


def test_naming_a_price_imports_its_family_alone() -> None:
    _, ours = loaded_by(
        "from shm_echo.mechestim.registry import OPS; OPS['sort'].cost; OPS['add'].counted"
    )
    assert "shm_echo.mechestim.costs.flops.sorting" in ours
    assert "shm_echo.mechestim.costs.flops.einsum" not in ours
