"""A checkout that is not built: the ring names the command that builds it, the rest works."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

COUNT = "import mechestim as me; x = me.ones((4, 4)); print(me.backend, float((x @ x).sum()))"

# As in a Python without packages: NumPy is missing, and is imported before the ring.
WITHOUT_NUMPY = "import sys; sys.modules['numpy'] = None; "


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a copy of the sources, whose name needs quotes in a shell."""
    folder = tmp_path_factory.mktemp("a fresh clone")
    for package in ("shm_echo", "mechestim"):
        unbuilt = shutil.ignore_patterns("*.so", "__pycache__")
        shutil.copytree(ROOT / package, folder / package, ignore=unbuilt)
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def run(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MECHESTIM_")}
    return subprocess.run(
        [sys.executable, *args],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=120,
    )


def build_command(folder: Path, extra: str = "") -> str:
    # As the child sees it: its own sys.executable has no ".." in it.
    return f"{os.path.abspath(sys.executable)} -m pip install -e '{folder}{extra}'"


@pytest.mark.parametrize(
    "statement",
    [
        "from shm_echo import Server",
        "import shm_echo; shm_echo.ShmClient",
        "from shm_echo import ShmTransport",
        "import shm_echo.ring.ring",
        "import shm_echo.transports.slot",
        WITHOUT_NUMPY + "from shm_echo import Server",
    ],
)
def test_the_first_use_of_the_ring_names_the_command_that_builds_it(
    checkout: Path, statement: str
) -> None:
    done = run(checkout, "-c", statement)

    assert done.returncode == 1
    assert done.stderr.count("Traceback") == 1, done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("shm_echo.errors.NotBuiltError: ")
    assert last.endswith(f"build it with: {build_command(checkout)}")


def test_the_demo_names_the_build_command_in_one_line(checkout: Path) -> None:
    done = run(checkout, "-m", "shm_echo.cli.main", "demo")

    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("shm-echo demo: ")
    assert line.endswith(f"build it with: {build_command(checkout, '[demo]')}")


def test_the_package_and_its_errors_import_without_the_build(checkout: Path) -> None:
    done = run(checkout, "-c", "import shm_echo; print(shm_echo.__file__, shm_echo.ShmEchoError)")

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{checkout}/shm_echo/")


def test_mechestim_counts_without_the_build_in_both_modes(checkout: Path) -> None:
    (checkout / "count.py").write_text(COUNT)

    local = run(checkout, "count.py")
    served = run(checkout, "-m", "shm_echo.cli.main", "run", "--flop-budget", "1e6", "count.py")

    assert (local.returncode, local.stdout) == (0, "local 64.0\n"), local.stderr
    assert (served.returncode, served.stdout) == (0, "remote 64.0\n"), served.stderr


def test_another_import_error_is_not_mistaken_for_a_missing_build() -> None:
    """In a built checkout the module that is missing keeps its own error."""
    done = run(ROOT, "-c", WITHOUT_NUMPY + "from shm_echo import Server")

    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert re.match(r"ModuleNotFoundError: .*\bnumpy\b", last), done.stderr


def test_an_extension_module_that_does_not_load_keeps_its_own_error(
    checkout: Path, tmp_path: Path
) -> None:
    """A broken build is not a missing one: the message of the dynamic linker explains it."""
    shutil.copytree(checkout, tmp_path, dirs_exist_ok=True)
    for built in (ROOT / "shm_echo" / "ring").glob("*.so"):
        (tmp_path / "shm_echo" / "ring" / built.name).write_bytes(b"no shared object")

    done = run(tmp_path, "-c", "from shm_echo import Server")

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("ImportError: "), done.stderr
