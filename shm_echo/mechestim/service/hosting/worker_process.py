"""Worker processes, from the interpreter's start to the session that they are given.

Starting an interpreter with NumPy takes some tenths of a second. So a worker is started first and
told afterwards whom to serve, over its standard input: a service can keep one ready.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["WorkerProcess"]

_WORKER_CODE = (
    "import sys; sys.path[:] = {path!r}; "
    "from shm_echo.mechestim.service.hosting.worker_main import main; main(int(sys.argv[1]))"
)
# Each worker computes on one thread: there are as many workers as sessions.
_THREAD_COUNT_VARIABLES = (
    "OPENBLAS_NUM_THREADS",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
)
# A worker is no client, is told the weights, and lets nobody in.
_WITHHELD_VARIABLES = frozenset(
    {
        *("MECHESTIM_SERVER_URL", "MECHESTIM_WEIGHTS_FILE"),
        *("MECHESTIM_TOKEN", "MECHESTIM_TOKEN_FILE"),
    }
)


class WorkerProcess:
    """A process that waits for a session to serve.

    The kernel ends it together with the thread that has made it, so that must be a lasting one.

    Attributes:
        process: for its exit code.
        pidfd: readable once it has ended.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self) -> None:
        environment = {
            name: value for name, value in os.environ.items() if name not in _WITHHELD_VARIABLES
        }
        environment.update(dict.fromkeys(_THREAD_COUNT_VARIABLES, "1"))
        self._channel, theirs = socket.socketpair()
        self.pidfd = -1
        with theirs:
            try:
                self.process = subprocess.Popen(
                    [sys.executable, "-c", _WORKER_CODE.format(path=sys.path), str(os.getpid())],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    env=environment,
                    start_new_session=True,  # Ctrl-C is for the server, which tells its workers
                )
                self.pidfd = os.pidfd_open(self.process.pid)
            except BaseException:
                self._channel.close()
                raise

    def assign(self, config: Mapping[str, Any], fds: Sequence[int]) -> None:
        """Tell it whom to serve.

        Args:
            config: what ``worker.main`` needs to know.
            fds: the connection, the stats and the ceiling; they stay the caller's.

        Raises:
            OSError: it has ended.
        """
        data = json.dumps(config).encode()
        with self._channel as channel:
            sent = socket.send_fds(channel, [data], fds, socket.MSG_NOSIGNAL)
            channel.sendall(data[sent:], socket.MSG_NOSIGNAL)

    def terminate(self) -> None:
        """End it without a session, and let go of it."""
        self._channel.close()
        self.process.kill()
        self.process.wait()
        self.close()

    def close(self) -> None:
        """Let go of a process that has ended."""
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1

    def after_fork_in_child(self) -> None:
        """Close what a forked child has inherited."""
        self._channel.close()
        self.process.returncode = 0  # not this process's child
        self.close()
