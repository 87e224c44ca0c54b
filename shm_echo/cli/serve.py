"""`shm-echo serve`: a server for mechestim clients.

Prints one line for each address once clients can connect; if that line cannot be written, the
server ends. SIGTERM and Ctrl-C end it in order, with exit status 0: running operations finish,
clients are notified, sockets are removed. A second signal ends it at once. The exit status is 2 if
the server cannot start with these options.
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

_STOP_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT})


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command and its options."""
    parser = subparsers.add_parser(
        "serve",
        help="serve mechestim clients, and count their FLOPs",
        description=(
            "Runs the operations of mechestim programs that are started with "
            "MECHESTIM_SERVER_URL set to this server's address. Serves processes of this user, "
            "users that --allow-uid lists, and holders of a token at tcp:// addresses. Prints a "
            "line for each address once clients can connect. Ctrl-C and SIGTERM end it, with exit "
            "status 0, after the running operations have finished; a second signal ends it at "
            "once. The exit status is 2 if it cannot start with these options, and 1 if that line "
            "cannot be written."
        ),
    )
    listeners.add_options(parser)
    parser.add_argument(
        "--max-flop-budget",
        type=arguments.flops,
        metavar="N",
        help=(
            "most FLOPs that the sessions of one user, or of one token, may spend in all, such as "
            "1e12; no client can restore it (default: no ceiling)"
        ),
    )
    quotas.add_options(
        parser, None, "threads for this user, processes for other clients", blas_threads=1
    )
    parser.add_argument(
        "--max-sessions",
        type=arguments.count,
        default=1024,
        metavar="N",
        help="most sessions at once (default: %(default)s)",
    )
    parser.add_argument(
        "--max-sessions-per-user",
        type=arguments.count,
        metavar="N",
        help="most sessions at once of one user, or of one token (default: as --max-sessions)",
    )
    parser.add_argument(
        "-v",
        "--verbose",
        action="count",
        default=0,
        help="log more to stderr; repeat it to log everything",
    )


def run(args: argparse.Namespace) -> int:
    """Serve until a signal comes, and return the exit status."""
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
    # Before any thread starts, those of BLAS included, because threads inherit the mask. A thread
    # with these signals unblocked would take them and end the process at once.
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
    from shm_echo.mechestim.service.status import StatusService

    service = quotas.make_service(
        args, args.max_flop_budget, args.max_sessions, args.max_sessions_per_user
    )
    servers: list[ControlServer] = []
    try:
        offered = {"mechestim": service, "status": StatusService(service)}
        servers = listeners.make_servers(args, offered)
        listeners.remove_tokens_from_environment()
        for server in servers:
            server.start()
        if listeners.admits_other_users(args):
            service.keep_worker_ready()
        for server in servers:
            print(f"serving mechestim at {server.url} (pid {os.getpid()})", flush=True)
        signal.sigwait(_STOP_SIGNALS)
        for number in _STOP_SIGNALS:
            signal.signal(number, _exit_now)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)
    finally:
        for server in servers:
            server.close()
        service.close(timeout=60.0)
    return 0


def _exit_now(number: int, _: Any) -> None:
    os._exit(128 + number)
