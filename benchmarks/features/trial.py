"""The frame of a trial: an interpreter of its own, whose last line of output is the cell."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["NO", "YES", "ends_within", "killing", "main", "start"]

YES, NO = "yes", "no"
SPAWN = multiprocessing.get_context("spawn")


def main(trials: Mapping[str, Callable[[], str]]) -> None:
    """Run the trial that the command line names, print its cell, and exit with threads running."""
    cell = trials[sys.argv[1]]()
    for child in multiprocessing.active_children():
        child.kill()
    print(cell, flush=True)
    os._exit(0)


def start(target: Callable[..., None], *args: Any) -> Any:
    """Start a process that runs `target`."""
    process = SPAWN.Process(target=target, args=args, daemon=True)
    process.start()
    return process


def ends_within(seconds: float, call: Callable[[], Any]) -> bool:
    """Return True if the call ends in time, with any result."""

    def run() -> None:
        with contextlib.suppress(Exception):  # an error is an end, too
            call()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    return not thread.is_alive()


def killing(begin: Callable[[int], Any], count: int) -> threading.Thread:
    """Start `count` processes one after the other in a thread, and SIGKILL each while it sends."""

    def run() -> None:
        for number in range(count):
            process = begin(number)
            # A spawned process takes a while to import what it needs; then each has another moment.
            time.sleep(1.5 + number * 0.037 % 0.2)
            process.kill()
            process.join()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread
