"""shm_echo.torch where PyTorch is not installed: one sentence says what to install."""

from __future__ import annotations

import subprocess
import sys

_BLOCKED = """
import sys
sys.modules["torch"] = None
try:
    import shm_echo.torch
except ImportError as error:
    print(type(error).__name__, error.name, error)
import shm_echo.loader
print(sorted(name for name in sys.modules if name.startswith("shm_echo.torch")))
"""


def test_the_import_says_what_to_install() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _BLOCKED], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [
        "ModuleNotFoundError torch shm_echo.torch needs PyTorch: pip install 'shm-echo[torch]'",
        "[]",
    ]


def test_the_loader_itself_does_not_import_torch() -> None:
    code = "import sys; from shm_echo import DataLoader; list(DataLoader([1, 2], num_workers=1)); "
    code += "print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
