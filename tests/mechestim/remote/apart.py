"""A mechestim server in a process of its own, to be stopped and killed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.mechestim.remote.inside import ROOT

_PROGRAM = """
import sys
from shm_echo.mechestim.service.limits import Quotas
from tests.mechestim.remote.serving import serving
with serving(Quotas(busy_s=float(sys.argv[1]))) as server:
    print(server.url, flush=True)
    sys.stdin.read()
"""


@dataclass
class Apart:
    """Where it serves, and its process."""

    url: str
    process: subprocess.Popen[str]


@contextmanager
def server_apart(busy_s: float = 5.0) -> Iterator[Apart]:
    """A server that another process runs, until the block ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, str(busy_s)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield Apart(process.stdout.readline().strip(), process)
    finally:
        process.stdin.close()
        process.kill()
        process.wait()
        process.stdout.close()
