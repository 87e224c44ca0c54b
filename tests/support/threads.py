"""Threads whose results and exceptions come back to the test."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.waiting import WATCHDOG

__all__ = ["Worker", "wait_until_asleep"]


class Worker:
    """Runs `function(*args, **kwargs)` in a thread of its own, from now on."""

    def __init__(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        self._call = lambda: function(*args, **kwargs)
        self._result: Any = None
        self._error: BaseException | None = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self._result = self._call()
        except BaseException as error:
            self._error = error
        finally:
            del self._call

    def result(self, timeout: float = WATCHDOG) -> Any:
        """Return the result of the function, or raise its exception."""
        self.thread.join(timeout)
        assert not self.thread.is_alive(), f"the thread still runs after {timeout:g} s"
        if self._error is not None:
            raise self._error
        return self._result

    def wait_until_asleep(self) -> None:
        """Wait until the thread is blocked, or done."""
        wait_until_asleep(self.thread)


def wait_until_asleep(thread: threading.Thread) -> None:
    """Wait until a thread is blocked, or done.

    The kernel's word for it: a thread that merely waits for the interpreter lock looks the same, so
    it has to be found asleep several times in a row. A test must be right either way.
    """
    stat = Path(f"/proc/self/task/{thread.native_id}/stat")
    asleep = 0
    while asleep < 5 and thread.is_alive():
        time.sleep(0.002)
        try:
            state = stat.read_text().rpartition(")")[2].split()[0]
        except OSError:  # it has ended
            return
        asleep = asleep + 1 if state == "S" else 0
