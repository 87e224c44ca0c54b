"""Builds ``mechestim-client`` from the sources of shm-echo: what a client imports, and no more.

What is built goes to a folder of its own, so that the sources stay as they are.
"""

from __future__ import annotations

import atexit
import os
import re
import shutil
import tempfile
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parents[2]
os.chdir(Path(__file__).parent)

# Packages that go in whole, with the packages below them.
WHOLE = (
    "shm_echo.control.protocol",
    "shm_echo.mechestim.accounting",
    "shm_echo.mechestim.costs",
    "shm_echo.mechestim.registry",
    "shm_echo.mechestim.remote",
    "shm_echo.mechestim.symmetry",
)
# The modules of the packages that do not.
PARTS = {
    "mechestim": {"__init__", "_finder", "errors", "fft", "flops", "linalg", "random", "stats"},
    "shm_echo": {
        *("__init__", "connection_errors", "copying", "error_base", "errors", "loader_errors"),
        "validation",
    },
    "shm_echo.control": {"__init__", "address", "descriptors", "peer"},
    "shm_echo.control.client": {"__init__", "client_stream", "socket_connect"},
    "shm_echo.mechestim": {
        *("__init__", "adaptive_spin", "backend_choice", "distributions", "errors", "fft"),
        *("flops", "linalg", "random", "stats", "wire"),
    },
}


class ClientBuild(build_py):
    """Leaves out the modules that only a server needs."""

    def find_package_modules(self, package: str, package_dir: str) -> list[tuple[str, str, str]]:
        found = super().find_package_modules(package, package_dir)
        wanted = PARTS.get(package)
        return [entry for entry in found if wanted is None or entry[1] in wanted]


scratch = tempfile.mkdtemp(prefix="mechestim-client-")
atexit.register(shutil.rmtree, scratch, ignore_errors=True)
version = re.search(r'^version = "([^"]+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
assert version is not None

setup(
    version=version[1],
    packages=[
        *PARTS,
        *find_packages(str(ROOT), include=[*WHOLE, *(f"{name}.*" for name in WHOLE)]),
    ],
    package_dir={"": os.path.relpath(ROOT)},
    package_data={"shm_echo": ["py.typed"], "mechestim": ["py.typed"]},
    include_package_data=False,
    cmdclass={"build_py": ClientBuild},
    options={
        "build": {"build_base": f"{scratch}/build"},
        "egg_info": {"egg_base": scratch},
        "bdist_wheel": {"bdist_dir": f"{scratch}/wheel"},
    },
)
