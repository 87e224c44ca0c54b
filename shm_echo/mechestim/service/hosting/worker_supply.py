"""The worker processes of a service: each session on one gets a fresh one, or the one kept ready.

The first answer of a worker takes about a second, so a service may keep one worker ready for the
next session.
"""

from __future__ import annotations

import logging

from shm_echo.control.fork_safety import FORK_LOCK
from shm_echo.mechestim.service.hosting.session_hosts import ProcessHost
from shm_echo.mechestim.service.hosting.supervisor import Supervisor
from shm_echo.mechestim.service.hosting.worker_process import WorkerProcess

__all__ = ["WorkerSupply"]

_log = logging.getLogger("shm_echo.mechestim")


class WorkerSupply:
    """Starts worker processes, and keeps one ready on request.

    A worker ends with the thread that has started it, so `assign`, `start_spare` and `close` run on
    the supervisor's thread.

    Attributes:
        keeps_spare: True to start another worker whenever a session takes the one kept ready.
        closing: True to start no further worker to be kept ready.
    """

    def __init__(self) -> None:
        self.keeps_spare = False
        self.closing = False
        self._spare: WorkerProcess | None = None

    def assign(self, host: ProcessHost, supervisor: Supervisor) -> None:
        """Assign a session to a worker. A session that gets none receives the reason."""
        spare, self._spare = self._spare, None
        try:
            with FORK_LOCK:
                if spare is None or not _assigned(host, spare):
                    host.start()
        except OSError as error:
            _log.error("cannot start a worker process: %s", error)
            host.fail(f"the server cannot start a worker process: {error.strerror or error}")
        else:
            supervisor.watch(host.pidfd, host.reap)
        if self.keeps_spare:
            supervisor.call_soon(self.start_spare)

    def start_spare(self) -> None:
        """Start a worker for the next session, unless one is ready."""
        if self._spare is None and not self.closing:
            try:
                with FORK_LOCK:
                    self._spare = WorkerProcess()
            except OSError as error:
                _log.warning("cannot keep a worker process ready: %s", error)

    def close(self) -> None:
        """Terminate the worker that is kept ready."""
        spare, self._spare = self._spare, None
        if spare is not None:
            spare.terminate()

    def after_fork_in_child(self) -> None:
        """Forget the parent's worker, in the child of a fork."""
        self.closing = True
        if self._spare is not None:
            self._spare.after_fork_in_child()
            self._spare = None


def _assigned(host: ProcessHost, spare: WorkerProcess) -> bool:
    """Assign a session to the ready worker. Return False if that worker has died meanwhile."""
    try:
        host.assign(spare)
    except OSError:
        return False
    return True
