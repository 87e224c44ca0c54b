"""Worker processes, from the start of the interpreter to the assignment of a session.

Starting an interpreter with NumPy takes some tenths of a second. So a worker starts first and
receives its session afterwards, over its standard input: a service can keep one worker ready.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from shm_echo.control.peer import pidfd_of

__all__ = ["WorkerProcess"]

_WORKER_CODE = (
    "import sys; sys.path[:] = {path!r}; "
    "from shm_echo.mechestim.service.hosting.worker_main import main; main(int(sys.argv[1]))"
)
# A worker computes on one thread: with a pool of BLAS threads in each of many workers, they would
# contend for the CPUs.
_THREAD_COUNT_VARIABLES = (
    "OPENBLAS_NUM_THREADS",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
)
# A worker is no client, receives the weights with its session, and checks no tokens.
_WITHHELD_VARIABLES = frozenset(
    {
        *("MECHESTIM_SERVER_URL", "MECHESTIM_WEIGHTS_FILE"),
        *("MECHESTIM_TOKEN", "MECHESTIM_TOKEN_FILE"),
    }
)


class WorkerProcess:
    """A process that waits for a session to serve.

    The kernel kills it when the thread that has started it ends, so that thread must live as long
    as the service.

    Attributes:
        process: The child process, for its exit code.
        pidfd: A descriptor that is readable once the process has ended.

    Raises:
        OSError: The process cannot be started.
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
                    # The server's own search path: the worker must import the same modules.
                    [sys.executable, "-c", _WORKER_CODE.format(path=sys.path), str(os.getpid())],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    env=environment,
                    start_new_session=True,  # Ctrl-C reaches the server alone; it ends its workers
                )
                self.pidfd = pidfd_of(self.process.pid)
            except BaseException:
                self._channel.close()
                raise

    def assign(self, config: Mapping[str, Any], fds: Sequence[int]) -> None:
        """Assign a session to the process.

        Args:
            config: The settings that `worker_main` reads.
            fds: Descriptors of the connection, the statistics and the ceiling. The caller closes
                them.

        Raises:
            OSError: The process has ended.
        """
        data = json.dumps(config).encode()
        with self._channel as channel:
            # The descriptors go with the first bytes; the kernel may take fewer than all of them.
            sent = socket.send_fds(channel, [data], fds, socket.MSG_NOSIGNAL)
            channel.sendall(data[sent:], socket.MSG_NOSIGNAL)

    def terminate(self) -> None:
        """Kill a process that has no session, and release it."""
        self._channel.close()
        self.process.kill()
        self.process.wait()
        self.close()

    def close(self) -> None:
        """Release a process that has ended."""
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1

    def after_fork_in_child(self) -> None:
        """Close the descriptors that a forked child has inherited."""
        self._channel.close()
        self.process.returncode = 0  # no child of this process, so `Popen` must not wait for it
        self.close()
