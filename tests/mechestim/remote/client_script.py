"""Tests whose body runs in a client: a process of its own, in which NumPy cannot be imported.

A test that is marked with `in_a_client` runs
`python -m tests.mechestim.remote.client_script MODULE FUNCTION` with the address of the `server`
fixture, and passes when that program does. Test modules that use it import nothing at their top
that a client must not.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.mechestim.remote.server_process import RunningServer

ROOT = Path(__file__).resolve().parents[3]
WITHOUT = ("numpy", "optree", "cffi", "posix_ipc", "opt_einsum")

# Variables of the test run that a client must not inherit; colors would change the messages.
_NOT_INHERITED = ("MECHESTIM_", "FORCE_COLOR", "PYTHON_COLORS")

_BLOCK = f"""
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {WITHOUT!r}:
            raise ModuleNotFoundError(f"{{name}} is not for clients", name=name)

sys.meta_path.insert(0, Missing())
sys.argv = sys.argv[1:]
"""


def environment(url: str, **more: str) -> dict[str, str]:
    """Return the environment variables of a client of the server at `url`."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(_NOT_INHERITED)}
    return {**kept, "MECHESTIM_SERVER_URL": url, "PYTHONPATH": str(ROOT), **more}


def command(source: str, *arguments: str) -> list[str]:
    """Return the command that runs `source` where NumPy cannot be imported."""
    return [sys.executable, "-W", "error", "-c", _BLOCK + source, "client", *arguments]


def run_client(
    url: str, source: str, *arguments: str, timeout: float = 170, cwd: Path = ROOT, **more: Any
) -> subprocess.CompletedProcess[str]:
    """Run `source` as a client and wait for its end."""
    variables = more.pop("env", {})
    return subprocess.run(
        command(source, *arguments),
        env=environment(url, **variables),
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=timeout,
        **more,
    )


_CALL = "from tests.mechestim.remote.client_script import main; main(*sys.argv[1:])"


def in_a_client(test: Callable[[], None]) -> Callable[[RunningServer], None]:
    """Run the body of a test in a client of the `server` fixture; a decorator."""

    def run(server: RunningServer) -> None:
        done = run_client(server.url, _CALL, test.__module__, test.__name__)
        assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]

    run.__name__ = test.__name__
    run.__doc__ = test.__doc__
    run.body = test  # type: ignore[attr-defined]
    return run


def main(module: str, function: str) -> None:
    """Run the body of one test."""
    found = importlib.import_module(module)
    getattr(found, function).body()
    assert not set(WITHOUT) & set(sys.modules)
