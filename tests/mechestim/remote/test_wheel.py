"""The wheel `mechestim-client`: installed alone, it runs programs against a server."""

from __future__ import annotations

import ast
import importlib.metadata
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import msgpack
import pytest

from tests.boundaries.test_imports import imported, modules
from tests.mechestim.remote.client_script import ROOT, environment
from tests.mechestim.remote.server_process import RunningServer

PROJECT = ROOT / "packaging" / "client"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel, built with the tools of this environment."""
    try:
        needed = tuple(map(int, importlib.metadata.version("setuptools").split(".")[:1]))
        importlib.metadata.version("pip")
    except importlib.metadata.PackageNotFoundError as error:
        pytest.skip(f"nothing to build with: {error.name} is not installed")
    if needed < (77,):
        pytest.skip("setuptools is older than 77")
    folder = tmp_path_factory.mktemp("wheel")
    before = set(PROJECT.rglob("*"))
    command = [sys.executable, "-m", "pip", "wheel", "--no-build-isolation", "--no-deps"]
    done = subprocess.run(
        [*command, "--quiet", "--wheel-dir", str(folder), str(PROJECT)],
        capture_output=True,
        text=True,
        timeout=170,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert set(PROJECT.rglob("*")) == before, "building leaves files in the sources"
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a fresh environment that holds the wheel and msgpack."""
    folder = tmp_path_factory.mktemp("fresh") / "environment"
    venv.create(folder, with_pip=False, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    shutil.copytree(Path(msgpack.__file__).parent, site / "msgpack")
    return folder / "bin" / "python"


def run(python: Path, server: RunningServer, *arguments: str) -> subprocess.CompletedProcess[str]:
    variables = environment(server.url)
    del variables["PYTHONPATH"]
    return subprocess.run(
        [str(python), "-I", *arguments], env=variables, capture_output=True, text=True, timeout=120
    )


def test_the_wheel_is_pure_python_and_needs_msgpack_only(wheel: Path) -> None:
    assert wheel.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata,) = [name for name in names if name.endswith(".dist-info/METADATA")]
        lines = archive.read(metadata).decode().splitlines()
    assert [line for line in lines if line.startswith("Requires-Dist")] == [
        "Requires-Dist: msgpack>=1.0.5"
    ]
    version = importlib.metadata.version("shm-echo")
    assert f"Version: {version}" in lines
    assert not [name for name in names if name.endswith((".so", ".c", ".h"))]
    for absent in ("local", "service", "ring", "transports", "server"):
        assert not [
            name for name in names if f"/{absent}/" in name or name.endswith(f"/{absent}.py")
        ]


def test_every_module_that_a_module_of_the_wheel_imports_is_in_it(wheel: Path) -> None:
    of_the_tree = {name for name, _ in modules()}
    with zipfile.ZipFile(wheel) as archive:
        sources = {
            name.removesuffix(".py").replace("/", ".").removesuffix(".__init__"): archive.read(name)
            for name in archive.namelist()
            if name.startswith("shm_echo/") and name.endswith(".py")
        }
    assert "shm_echo.mechestim.remote.client_session" in sources
    for name, source in sources.items():
        needed = imported(ast.parse(source), typing_too=False) & of_the_tree
        assert needed <= set(sources), f"{name} needs {sorted(needed - set(sources))}"


def test_the_seed_program_runs_with_the_wheel_alone(python: Path, server: RunningServer) -> None:
    done = run(python, server, str(ROOT / "examples" / "metered" / "seed.py"))
    assert done.returncode == 0, done.stderr
    assert "196,608" in done.stdout


def test_every_name_is_there_with_the_wheel_alone(python: Path, server: RunningServer) -> None:
    source = """
import sys
import mechestim as me
for module in ("", "linalg", "fft", "random", "stats", "flops"):
    holder = getattr(me, module) if module else me
    for name in dir(holder):
        getattr(holder, name)
print(me.flops.einsum_cost("ij,jk,kl->il", [(2, 3), (3, 4), (4, 5)]))
print(me.einsum_path("ij,jk,kl->il", *map(me.ones, [(2, 3), (3, 4), (4, 5)]))[1].optimized_cost)
try:
    me.add([1], [1, 2, 3][1:])
    me.add([1, 2], [1, 2, 3])
except ValueError as error:
    print(error)
me.budget_summary()
me.vectorize(lambda x: x + 1)([1, 2])
assert "numpy" not in sys.modules
assert me.__file__.startswith(sys.prefix)
"""
    done = run(python, server, "-c", source)
    assert done.returncode == 0, done.stderr
    first, second, *rest = done.stdout.splitlines()
    assert first == second
    assert rest[0].startswith("operands could not be broadcast together")


def test_without_a_server_the_error_of_the_wheel_names_the_address(python: Path) -> None:
    nowhere = RunningServer("ipc:///nowhere/at/all.sock", None)  # type: ignore[arg-type]
    done = run(python, nowhere, "-c", "import mechestim as me; me.ones(1)")
    assert "no server at" in done.stderr
    assert "/nowhere/at/all.sock" in done.stderr
