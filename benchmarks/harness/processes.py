"""Producer processes: clean ones, started quickly, stopped whatever they are doing.

They come from a fork server that has imported the libraries once and has no threads of its own, so
a producer inherits nothing from the consumer, and a round is not mostly imports.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
from collections.abc import Callable, Iterator
from multiprocessing.context import ForkServerContext
from typing import Any

__all__ = ["Stop", "context", "producers"]

PRELOAD = [
    "numpy",
    "optree",
    "echo",
    "faster_fifo",
    "faster_fifo_reduction",
    "shm_echo.transports.shm",
    "shm_echo.transports.shm_client",
    "harness.ours",
    "harness.peers",
    "harness.limit",
]

Stop = Any  # a ctypes bool in shared memory: reading it costs a producer some 50 ns
_context: ForkServerContext | None = None


def context() -> ForkServerContext:
    """The multiprocessing context that all of a benchmark's processes and queues come from."""
    global _context
    if _context is None:
        _context = multiprocessing.get_context("forkserver")
        _context.set_forkserver_preload(PRELOAD)  # what is not installed is passed over
    return _context


@contextlib.contextmanager
def producers(target: Callable[..., None], count: int, *args: Any) -> Iterator[Stop]:
    """Run ``target(stop, index, *args)`` in ``count`` processes; they are ended on leaving.

    ``stop.value`` asks them to. Whoever is blocked in a peer's send does not hear it: it is killed.
    """
    stop = context().RawValue(ctypes.c_bool, False)
    children = [
        context().Process(target=target, args=(stop, index, *args), daemon=True)
        for index in range(count)
    ]
    for child in children:
        child.start()
    try:
        yield stop
    finally:
        stop.value = True
        for child in children:
            child.join(0.1)
            if child.is_alive():
                child.kill()
                child.join()
