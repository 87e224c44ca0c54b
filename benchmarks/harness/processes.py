"""Producer processes: clean ones, started quickly, stopped at any moment.

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

from harness.children import ChildDiedError, watching

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
    """Return the multiprocessing context of all processes and queues of a benchmark."""
    global _context
    if _context is None:
        _context = multiprocessing.get_context("forkserver")
        _context.set_forkserver_preload(PRELOAD)  # ignores modules that are not installed
    return _context


@contextlib.contextmanager
def producers(
    name: str,
    target: Callable[..., None],
    count: int,
    *args: Any,
    interrupt: Callable[[], None] | None = None,
) -> Iterator[Stop]:
    """Run `target(stop, index, *args)` in `count` processes; they are ended on leaving.

    `stop.value` asks them to end. A producer that is blocked in a peer's send does not read it,
    and is killed.

    Args:
        name: of the contender, for the error.
        target: the program of a producer. It returns after `stop.value` was set, not before.
        count: the number of producers.
        args: more arguments of `target`.
        interrupt: ends a wait of the main thread that no signal interrupts.

    Raises:
        ChildDiedError: a producer ended too early.
    """
    stop = context().RawValue(ctypes.c_bool, False)
    children = {
        f"producer {index} of {name}": context().Process(
            target=target, args=(stop, index, *args), daemon=True
        )
        for index in range(count)
    }
    try:
        for title, child in children.items():
            try:
                child.start()
            except (BrokenPipeError, EOFError):  # it died before it had read its arguments
                raise ChildDiedError(f"{title} could not start") from None
        with watching(children, lambda: bool(stop.value), interrupt):
            yield stop
    finally:
        stop.value = True
        for child in children.values():
            if child.pid is None:
                continue
            child.join(0.1)
            if child.is_alive():
                child.kill()
                child.join()
