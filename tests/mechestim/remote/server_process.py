"""A mechestim server in a process of its own, to be stopped and killed."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.mechestim.remote.client_script import ROOT

_PROGRAM = """
import sys
from shm_echo.mechestim.service.metering.quotas import Quotas
from tests.mechestim.remote.serving import serving
with serving(Quotas(busy_s=float(sys.argv[1]))) as server:
    print(server.url, flush=True)
    sys.stdin.read()
"""

# Where there is this before the program, a sort goes on when the process gets a SIGUSR1.
_SORTS_WHEN_TOLD = """
import signal, threading
from shm_echo.mechestim.service.operations.dispatch import Dispatcher
told = threading.Event()
signal.signal(signal.SIGUSR1, lambda *_: told.set())
perform = Dispatcher.perform
def perform_when_told(self, name, *args):
    if name == "sort":
        told.wait()
    return perform(self, name, *args)
Dispatcher.perform = perform_when_told
"""


@dataclass
class Apart:
    """Where it serves, and its process."""

    url: str
    process: subprocess.Popen[str]

    def let_sort(self) -> None:
        """Have the sort that waits go on, see ``server_apart``."""
        self.process.send_signal(signal.SIGUSR1)


@contextmanager
def server_apart(busy_s: float = 5.0, sorts_when_told: bool = False) -> Iterator[Apart]:
    """A server that another process runs, until the block ends.

    Args:
        busy_s: of its quotas.
        sorts_when_told: ``sort`` is an operation that runs until ``let_sort`` is called.
    """
    program = (_SORTS_WHEN_TOLD if sorts_when_told else "") + _PROGRAM
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(busy_s)],
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
