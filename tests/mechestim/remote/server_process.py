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

# With this before the program, `sort` waits until the process receives a SIGUSR1.
_HOLDS_SORTS = """
import signal, threading
from shm_echo.mechestim.service.operations.dispatch import Dispatcher
released = threading.Event()
signal.signal(signal.SIGUSR1, lambda *_: released.set())
perform = Dispatcher.perform
def perform_when_released(self, name, *args):
    if name == "sort":
        released.wait()
    return perform(self, name, *args)
Dispatcher.perform = perform_when_released
"""


@dataclass
class RunningServer:
    """The address of a server, and its process."""

    url: str
    process: subprocess.Popen[str]

    def release_sort(self) -> None:
        """Let the waiting `sort` run: see `run_server`."""
        self.process.send_signal(signal.SIGUSR1)


@contextmanager
def run_server(busy_s: float = 5.0, hold_sorts: bool = False) -> Iterator[RunningServer]:
    """Run a server in another process until the block ends.

    Args:
        busy_s: The quota of this name.
        hold_sorts: `sort` runs until `release_sort` is called.
    """
    program = (_HOLDS_SORTS if hold_sorts else "") + _PROGRAM
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
        yield RunningServer(process.stdout.readline().strip(), process)
    finally:
        process.stdin.close()
        process.kill()
        process.wait()
        process.stdout.close()
