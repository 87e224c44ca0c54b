"""A start of the nursery that the trainer's death cuts short."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Any

import pytest

from tests.support.loader_pools import METHODS
from tests.support.waiting import WATCHDOG, process_state, wait_until

DYING = """
import os, signal, sys
from shm_echo.loader.nursery_process import NurseryProcess
from tests.support.loader_datasets import Numbers
from tests.support.loader_pools import PoolLoop

def die(nursery):
    print(nursery.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    NurseryProcess._watch_process = die  # what comes just after the start
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
