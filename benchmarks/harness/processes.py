"""Producer processes: clean ones, started quickly, stopped at any moment.

They come from a fork server that has imported the libraries once and has no threads of its own, so
a producer inherits nothing from the consumer, and a round is not mostly imports.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
from collections.abc import Callable, Iterator, Mapping
from multiprocessing.context import ForkServerContext
from typing import Any

from harness.children import ChildDiedError, watching

__all__ = ["Program", "Stop", "context", "producers", "running"]

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
    "harness.tcp.children",
]

Stop = Any  # a ctypes bool in shared memory: reading it costs a producer some 50 ns
Program = tuple[Callable[..., None], tuple[Any, ...]]  # a target and its arguments, behind the stop
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
    programs: dict[str, Program] = {
        f"producer {index} of {name}": (target, (index, *args)) for index in range(count)
    }
    with running(programs, interrupt) as stop:
        yield stop


@contextlib.contextmanager
def running(
    programs: Mapping[str, Program], interrupt: Callable[[], None] | None = None
) -> Iterator[Stop]:
    """Run `target(stop, *args)` of each program in a process of its own; see `producers`.

    Args:
        programs: by the name that an error gives to the process. They are started in this order,
            and ended in the reverse order.
        interrupt: ends a wait of the main thread that no signal interrupts.

    Raises:
        ChildDiedError: a process ended too early.
    """
    stop = context().RawValue(ctypes.c_bool, False)
    children = {
        title: context().Process(target=target, args=(stop, *args), daemon=True)
        for title, (target, args) in programs.items()
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
        for child in reversed(children.values()):
            if child.pid is None:
                continue
            child.join(0.1)
            if child.is_alive():
                child.kill()
                child.join()
