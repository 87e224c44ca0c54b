"""``shm-echo run``: a program as the client of a server of its own.

The server is this process; the program gets one end of a socket pair. When the program has ended,
what it spent is printed to stderr, and its exit status is ours (128 + N for signal N).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING, Any

from shm_echo.cli import arguments, listeners, quotas

if TYPE_CHECKING:
    from shm_echo.mechestim.service.metering.principals import Principal

__all__ = ["add_parser", "run"]

_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_LOOK_S = 0.25
_GRACE_S = 5.0  # for a program whose time is over to end by itself, and again after SIGTERM
_FROM_THE_TERMINAL = 0x80  # si_code SI_KERNEL: all processes of the terminal have got it


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command and its options."""
    parser = subparsers.add_parser(
        "run",
        help="run a mechestim program under a FLOP budget that it cannot lift",
        description=(
            "Starts a private server, runs a Python program as its client, and prints to stderr "
            "what the program has spent. The exit status is the program's: 128 + N if signal N "
            "ended it, and 2 if it cannot be started as asked."
        ),
    )
    parser.add_argument(
        "--flop-budget",
        type=arguments.flops,
        required=True,
        metavar="N",
        help="FLOPs that the program may spend in all, such as 1e9",
    )
    quotas.add_options(parser, "threads", "threads", blas_threads=None)
    parser.add_argument(
        "program", help="the Python program: a file, or a folder with a __main__.py"
    )
    arguments_of_it = parser.add_argument(
        "args", nargs=argparse.REMAINDER, metavar="ARG", help="its arguments, options included"
    )
    arguments_of_it.required = False  # nor does the message about a missing program name it


def run(args: argparse.Namespace) -> int:
    """Run the program; returns the exit status."""
    why_not = _unusable(args.program)
    if why_not:
        print(f"shm-echo run: {why_not}", file=sys.stderr)
        return 2
    quotas.apply_environment(args.blas_threads)
    listeners.without_tokens()  # of some other server; the program needs none
    try:
        return _run(args)
    except ValueError as error:
        print(f"shm-echo run: {error}", file=sys.stderr)
        return 2


def _unusable(program: str) -> str | None:
    """Why Python would not run this; None if it would, as far as one can see."""
    if not os.path.exists(program):
        return f"there is no program {program}"
    if os.path.isdir(program) and not os.path.isfile(os.path.join(program, "__main__.py")):
        return f"{program} is a folder without a __main__.py"
    return None if os.access(program, os.R_OK) else f"{program} must not be read by this user"


def _run(args: argparse.Namespace) -> int:
    # Before there are threads, those of BLAS included: signals are for sigtimedwait alone.
    signal.pthread_sigmask(signal.SIG_BLOCK, {*_PASSED_ON, signal.SIGCHLD})

    # A program with threads of its own keeps to one session: there is one descriptor.
    service = quotas.service_of(args, args.flop_budget, max_sessions=1)
    ours, theirs = socket.socketpair()
    spent = service.adopt(ours, isolation=args.isolation)
    with theirs:
        os.set_inheritable(theirs.fileno(), True)
        # What begins with a hyphen would be an option of Python.
        program = f"./{args.program}" if args.program.startswith("-") else args.program
        pid = os.posix_spawn(
            sys.executable,
            [sys.executable, program, *args.args],
            {**os.environ, "MECHESTIM_SERVER_URL": f"fd://{theirs.fileno()}"},
            setsigmask=(),
        )
    try:
        for number in signal.sigpending().intersection(_PASSED_ON):
            signal.sigwait({number})  # it came before there was a program
            _tell(pid, number)
        status = _wait(pid, args.wall_time)
    finally:
        service.close()
    print(_summary(spent, args.flop_budget), file=sys.stderr)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _wait(pid: int, wall_time: float | None) -> int:
    """Wait for the program, pass signals on, and see to it that it ends."""
    started = time.monotonic()
    overdue = [signal.SIGTERM, signal.SIGKILL]
    while True:
        came: Any = signal.sigtimedwait({*_PASSED_ON, signal.SIGCHLD}, _LOOK_S)
        if came is not None and came.si_signo in _PASSED_ON and came.si_code != _FROM_THE_TERMINAL:
            _tell(pid, came.si_signo)
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return status
        if wall_time is not None and overdue:
            deadline = started + wall_time + _GRACE_S * (3 - len(overdue))
            if time.monotonic() > deadline:
                _tell(pid, overdue.pop(0))


def _tell(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _summary(spent: Principal, budget: int) -> str:
    from shm_echo.mechestim.accounting.report import summary_text

    tallies = spent.tallies()
    used = spent.ceiling.spent
    books = {
        "flop_budget": budget,
        "flops_used": used,
        "flops_remaining": budget - used,
        "operations": {
            name: {"flop_cost": flops, "calls": calls} for name, (flops, calls) in tallies.items()
        },
    }
    return summary_text(books)
