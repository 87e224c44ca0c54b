"""``shm-echo serve``: a server for mechestim clients.

Prints one line when clients can connect. SIGTERM and Ctrl-C end it: running operations are
finished, clients are told, the socket is removed; a second signal ends it at once. Exit status 0
then, 2 when it cannot start as asked.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from typing import Any

from shm_echo.cli import arguments, quotas
from shm_echo.errors import ShmEchoError

__all__ = ["add_parser", "run"]

_ENDING = frozenset({signal.SIGTERM, signal.SIGINT})

DEFAULT_URL = "ipc:///tmp/mechestim.sock"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command and its options."""
    parser = subparsers.add_parser(
        "serve",
        help="serve mechestim clients, and count their FLOPs",
        description=(
            "Runs the operations of mechestim programs that are started with "
            "MECHESTIM_SERVER_URL set to this server's address. Serves processes of this user only."
        ),
    )
    parser.add_argument(
        "--url",
        default=DEFAULT_URL,
        help="where to serve: ipc:///path.sock or a bare name (default: %(default)s)",
    )
    parser.add_argument(
        "--max-flop-budget",
        type=arguments.flops,
        metavar="N",
        help=(
            "what the sessions of one user may spend in all, such as 1e12; nothing restores it "
            "(default: no ceiling)"
        ),
    )
    quotas.add_options(parser)
    parser.add_argument(
        "--max-sessions",
        type=arguments.count,
        default=1024,
        metavar="N",
        help="sessions at once (default: %(default)s)",
    )
    parser.add_argument(
        "--max-sessions-per-user",
        type=arguments.count,
        metavar="N",
        help="sessions at once of one user (default: as many as --max-sessions)",
    )
    parser.add_argument(
        "--isolation",
        choices=("threads", "process"),
        default="threads",
        help=(
            "where sessions run: on threads of the server, or each in a process of its own "
            "(default: %(default)s)"
        ),
    )
    parser.add_argument(
        "--memory",
        type=arguments.size,
        metavar="SIZE",
        help="with --isolation process: memory of a session's process (default: what it may hold)",
    )
    parser.add_argument(
        "--kernels",
        type=arguments.count,
        metavar="N",
        help="with --isolation threads: long operations at once (default: the number of CPUs)",
    )
    parser.add_argument(
        "--blas-threads",
        type=arguments.count,
        default=1,
        metavar="N",
        help="threads of one BLAS call (default: %(default)s)",
    )
    parser.add_argument("-v", "--verbose", action="count", default=0, help="log more; twice: all")


def run(args: argparse.Namespace) -> int:
    """Serve until a signal comes; returns the exit status."""
    logging.basicConfig(
        level=(logging.WARNING, logging.INFO, logging.DEBUG)[min(args.verbose, 2)],
        format="shm-echo serve: %(message)s",
    )
    quotas.apply_environment(args.blas_threads)
    try:
        return _serve(args)
    except (ShmEchoError, ValueError) as error:
        print(f"shm-echo serve: {error}", file=sys.stderr)
        return 2


def _serve(args: argparse.Namespace) -> int:
    # Before there are threads, those of BLAS included: whichever got a signal would end us at once.
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    from dataclasses import replace

    from shm_echo.control.listener import ControlServer
    from shm_echo.mechestim.service.service import MechestimService
    from shm_echo.mechestim.service.status import StatusService

    quotas.apply_weights(args.weights)
    limits = replace(quotas.quotas_of(args), max_flops=args.max_flop_budget, memory=args.memory)
    service = MechestimService(
        limits,
        max_sessions=args.max_sessions,
        max_sessions_per_user=args.max_sessions_per_user,
        isolation=args.isolation,
        kernels=args.kernels,
    )
    server = ControlServer(args.url, {"mechestim": service, "status": StatusService(service)})
    try:
        server.start()
        print(f"serving mechestim at {args.url} (pid {os.getpid()})", flush=True)
        signal.sigwait(_ENDING)
        for number in _ENDING:
            signal.signal(number, _at_once)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
    finally:
        server.close()
        service.close(patience=60.0)
    return 0


def _at_once(number: int, _: Any) -> None:
    os._exit(128 + number)
