"""Calls that no exception of a signal handler ends halfway.

Python runs signal handlers in the main thread, between any two steps: also after a call has made a
descriptor or a process, and before anything refers to it. A blocked signal does not help, because
another thread may get it, and the handler still runs in the main thread.
"""

from __future__ import annotations

import _thread
import contextvars
import threading
from collections.abc import Callable

__all__ = ["run_uninterrupted"]


def run_uninterrupted(call: Callable[[], object]) -> None:
    """Run a call to its end in another thread, and wait for it.

    A handler may still raise in the wait, and the call goes on. So the call leaves what it makes in
    an object that exists before and can close it: under a lock that the closing takes, too.

    In any other thread than the main one, where no handler runs, this just calls.

    Raises:
        Exception: what the call raises.
    """
    if threading.get_ident() != threading.main_thread().ident:
        call()
        return
    context = contextvars.copy_context()
    errors: list[BaseException] = []
    ended = threading.Lock()
    ended.acquire()

    def run() -> None:
        try:
            context.run(call)
        except BaseException as error:
            errors.append(error)
        finally:
            ended.release()

    try:
        # Not threading.Thread: an exception in its start() can leave the lock of an Event taken,
        # which the new thread waits for.
        _thread.start_new_thread(run, ())
    except RuntimeError as error:
        if "new thread" not in str(error):  # a handler has raised it
            raise
        call()  # as from Python 3.12 on while the interpreter ends
        return
    ended.acquire()
    if errors:
        try:
            raise errors.pop()
        finally:
            del run  # else traceback and frame would refer to each other
