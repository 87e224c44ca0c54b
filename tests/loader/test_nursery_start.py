"""A start of the nursery that is cut short: by the trainer's death or an interrupt."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Any

import pytest

from shm_echo.loader import nursery_process
from tests.support.leftovers import child_processes, open_descriptors
from tests.support.loader_datasets import Numbers
from tests.support.loader_pools import METHODS, PoolLoop
from tests.support.waiting import WATCHDOG, process_state, wait_until

DYING = """
import os, signal, sys
from shm_echo.loader import nursery_process
from tests.support.loader_datasets import Numbers
from tests.support.loader_pools import PoolLoop

real = nursery_process.start_process

def start_and_die(*args):
    print(real(*args).pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    nursery_process.start_process = start_and_die
    PoolLoop(Numbers(8), method=sys.argv[1]).__enter__()
"""


@pytest.mark.parametrize("method", METHODS)
def test_a_trainer_that_dies_just_after_the_start_leaves_no_orphan(
    method: str, tmp_path: Any
) -> None:
    script = tmp_path / "dying.py"
    script.write_text(DYING)
    done = subprocess.run(
        [sys.executable, str(script), method],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdout=subprocess.PIPE,
        text=True,
        timeout=WATCHDOG,
    )
    assert done.returncode == -signal.SIGKILL
    nursery = int(done.stdout)
    wait_until(lambda: process_state(nursery) in ("", "Z"), "the nursery ends")


@pytest.mark.parametrize("where", ["in the start", "after it"])
@pytest.mark.parametrize("method", METHODS)
def test_an_interrupt_during_the_start_leaves_no_process(
    method: Any, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with PoolLoop(Numbers(8), method=method):
        pass  # what multiprocessing itself starts once, such as the fork server, is there now
    descriptors, children = open_descriptors(), child_processes(os.getpid())
    started: list[Any] = []
    real_start, real_open = nursery_process.start_process, os.pidfd_open

    def start(*args: Any) -> Any:
        started.append(real_start(*args))
        if where == "in the start":
            raise KeyboardInterrupt
        return started[0]

    def pidfd_open(pid: int) -> int:
        if started and pid == started[0].pid:
            raise KeyboardInterrupt
        return real_open(pid)

    with monkeypatch.context() as patch:
        patch.setattr(nursery_process, "start_process", start)
        patch.setattr(nursery_process.os, "pidfd_open", pidfd_open)
        with pytest.raises(KeyboardInterrupt):
            PoolLoop(Numbers(8), method=method).__enter__()
    nursery = started.pop()
    wait_until(lambda: process_state(nursery.pid) in ("", "Z"), "the nursery ends")
    nursery.wait()
    nursery.close()
    assert child_processes(os.getpid()) == children
    assert open_descriptors() == descriptors
