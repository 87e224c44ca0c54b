"""The workers as torch's iterators show them: objects like `multiprocessing.Process`."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import weakref
from collections.abc import Callable

__all__ = ["WorkerHandle", "WorkerHandles"]


class WorkerHandle:
    """A worker process, which is no child of this one.

    Args:
        pid: the process.

    Attributes:
        pid: the process.
    """

    daemon = True

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._pidfd = -1
        with contextlib.suppress(OSError):  # it has ended
            self._pidfd = os.pidfd_open(pid)
            weakref.finalize(self, os.close, self._pidfd)

    def is_alive(self) -> bool:
        """Return True until the process has ended."""
        return not self._has_ended(0.0)

    def join(self, timeout: float | None = None) -> None:
        """Wait until the process has ended.

        Args:
            timeout: seconds to wait at most; None for no limit.
        """
        self._has_ended(timeout)

    @property
    def exitcode(self) -> int | None:
        """None until the process has ended, then 0: only the parent learns of other codes."""
        return 0 if self._has_ended(0.0) else None

    def terminate(self) -> None:
        """End the process by SIGTERM. The loader replaces it, as it does with each that dies."""
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        """End the process by SIGKILL."""
        self._send(signal.SIGKILL)

    def _send(self, number: int) -> None:
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def _has_ended(self, timeout: float | None) -> bool:
        if self._pidfd < 0:
            return True
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        return bool(poll.poll(None if timeout is None else max(0, timeout) * 1000))

    def __repr__(self) -> str:
        return f"<worker of a DataLoader, pid {self.pid}>"


class WorkerHandles:
    """The handles of a loader's workers, which stay when the workers have ended.

    Args:
        pids: returns the processes of the workers that run now.
    """

    def __init__(self, pids: Callable[[], list[int]]) -> None:
        self._pids = pids
        self._known: list[WorkerHandle] = []

    def refresh(self) -> None:
        """Take note of the workers that run now."""
        known = {handle.pid: handle for handle in self._known}
        pids = self._pids()
        if pids:
            self._known = [known.get(pid) or WorkerHandle(pid) for pid in pids]

    def workers(self) -> list[WorkerHandle]:
        """Return the workers that run now; those of the last loop once they have ended."""
        self.refresh()
        return list(self._known)
