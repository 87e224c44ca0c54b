"""``shm-echo serve``: a server for mechestim clients.

Prints one line for each address when clients can connect; where they cannot be written it does not
serve. SIGTERM and Ctrl-C end it: running operations are finished, clients are told, sockets are
removed; a second signal ends it at once. Exit status 0 then, 2 when it cannot start as asked.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

from shm_echo.cli import arguments, listeners, quotas
from shm_echo.errors import ShmEchoError

if TYPE_CHECKING:
    from shm_echo.control.server.control_server import ControlServer

__all__ = ["add_parser", "run"]

_ENDING = frozenset({signal.SIGTERM, signal.SIGINT})


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command and its options."""
    parser = subparsers.add_parser(
        "serve",
        help="serve mechestim clients, and count their FLOPs",
        description=(
            "Runs the operations of mechestim programs that are started with "
            "MECHESTIM_SERVER_URL set to this server's address. Serves processes of this user, "
            "other users that are allowed, and at tcp:// addresses whoever holds a token. Prints a "
            "line for each address when clients can connect. Ctrl-C and SIGTERM end it, with exit "
            "status 0 once running operations are finished; a second one ends it at once. Exit "
            "status 2 when it cannot start as asked, 1 when that line cannot be written."
        ),
    )
    listeners.add_options(parser)
    parser.add_argument(
        "--max-flop-budget",
        type=arguments.flops,
        metavar="N",
        help=(
            "FLOPs that the sessions of one user, or of one token, may spend in all, such as 1e12; "
            "nothing restores it (default: no ceiling)"
        ),
    )
    quotas.add_options(
        parser, None, "threads for this user, processes for everybody else", blas_threads=1
    )
    parser.add_argument(
        "--max-sessions",
        type=arguments.count,
        default=1024,
        metavar="N",
        help="number of sessions at once (default: %(default)s)",
    )
    parser.add_argument(
        "--max-sessions-per-user",
        type=arguments.count,
        metavar="N",
        help="number of sessions at once of one user, or token (default: as --max-sessions)",
    )
    parser.add_argument(
        "-v", "--verbose", action="count", default=0, help="log more to stderr; twice: all"
    )


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
    from shm_echo.mechestim.service.status import StatusService

    service = quotas.service_of(
        args, args.max_flop_budget, args.max_sessions, args.max_sessions_per_user
    )
    servers: list[ControlServer] = []
    try:
        offered = {"mechestim": service, "status": StatusService(service)}
        servers = listeners.servers_of(args, offered)
        listeners.without_tokens()
        for server in servers:
            server.start()
        if listeners.takes_strangers(args):
            service.keep_worker_ready()
        for server in servers:
            print(f"serving mechestim at {server.url} (pid {os.getpid()})", flush=True)
        signal.sigwait(_ENDING)
        for number in _ENDING:
            signal.signal(number, _at_once)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
    finally:
        for server in servers:
            server.close()
        service.close(timeout=60.0)
    return 0


def _at_once(number: int, _: Any) -> None:
    os._exit(128 + number)
