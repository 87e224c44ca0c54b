"""The main function of a worker process, which serves one session.

The process has descriptors of the connection, of the statistics and of the ceiling, and none of the
server's other ones. Its memory is limited, and the kernel kills it when the server ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import logging
import os
import resource
import signal
import socket
from typing import Any

from shm_echo.mechestim.accounting.settings import settings
from shm_echo.mechestim.local import namespace
from shm_echo.mechestim.service.metering.flop_ceiling import Ceiling
from shm_echo.mechestim.service.metering.quotas import Quotas
from shm_echo.mechestim.service.metering.shared_memory import FileLock
from shm_echo.mechestim.service.metering.stats_page import StatsPage
from shm_echo.mechestim.service.session.inherited_handshake import perform_handshake
from shm_echo.mechestim.service.session.session import Session, SessionEnvironment

__all__ = ["main"]

_PR_SET_PDEATHSIG = 1  # of <linux/prctl.h>


def main(parent: int) -> None:
    """Wait for the assignment of a session, and serve it until its client has gone.

    Args:
        parent: The pid of the process that has started this one.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server ends its workers itself
    _die_with_parent(parent)
    assert namespace is not None  # its import loads NumPy and all operations before a session comes
    logging.basicConfig(format="mechestim worker %(process)d: %(message)s")
    assigned = _assignment()
    if assigned is not None:
        _serve(*assigned)


def _assignment() -> tuple[dict[str, Any], list[int]] | None:
    """Return the settings and the descriptors of a session; None if the server has none for it."""
    with socket.socket(fileno=os.dup(0)) as channel:
        # The session must not read the channel through standard input.
        os.dup2(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC), 0)
        data, fds, _, _ = socket.recv_fds(channel, 1 << 16, 3)
        # The server closes its end after the settings; without a session it closes it at once.
        while more := channel.recv(1 << 16):
            data += more
    return (json.loads(data), fds) if len(fds) == 3 else None


def _serve(config: dict[str, Any], fds: list[int]) -> None:
    quotas = Quotas(**config["quotas"])
    _limit_memory(quotas)
    if config["weights"]:
        settings.change({"weights": config["weights"]})
    connection, stats_fd, ceiling_fd = fds
    sock = socket.socket(fileno=connection)
    stats, lock = StatsPage(stats_fd), FileLock(stats_fd)
    ceiling = Ceiling(config["limit"], ceiling_fd)
    session = Session(
        sock, quotas, SessionEnvironment(ceiling, stats, lock, weights=config["weights"])
    )
    signal.signal(signal.SIGTERM, lambda *_: session.end("the server is shutting down"))
    # The server blocks SIGTERM for `sigwait`, and a worker inherits its mask.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    if config["handshake"] and not perform_handshake(sock, quotas):
        sock.close()
    else:
        session.run()


def _die_with_parent(parent: int) -> None:
    """Make the kernel kill this process when its server ends."""
    with contextlib.suppress(AttributeError):  # a C library without prctl
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # the server had ended before the call above
        os._exit(1)


def _limit_memory(quotas: Quotas) -> None:
    """Limit the address space to its present size and the session's share."""
    allowed = quotas.memory
    if allowed is None:
        allowed = quotas.max_bytes + quotas.max_call_bytes
    with open("/proc/self/statm") as file:
        taken = int(file.read().split()[0]) * resource.getpagesize()  # the first field, in pages
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = taken + allowed
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)  # above it, setrlimit would fail
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold a client's arrays
