"""`shm-echo run`: runs a program as the client of a server of its own.

The server is this process; the program gets one end of a socket pair. When the program has ended,
this command prints the FLOPs that it spent to stderr, and returns its exit status (128 + N for
signal N).
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

_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_POLL_S = 0.25  # between two checks of the wall time
# A program whose time is over has this long to end by itself, and again after SIGTERM.
_GRACE_S = 5.0
# The si_code of a signal from the terminal, which the kernel sends to the program as well.
_SI_KERNEL = 0x80


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command and its options."""
    parser = subparsers.add_parser(
        "run",
        help="run a mechestim program under a FLOP budget that it cannot lift",
        description=(
            "Starts a private server, runs a Python program as its client, and prints the FLOPs "
            "that the program spent to stderr. The exit status is the program's, 128 + N if signal "
            "N ended it, and 2 if it cannot start with these options."
        ),
    )
    parser.add_argument(
        "--flop-budget",
        type=arguments.flops,
        required=True,
        metavar="N",
        help="most FLOPs that the program may spend in all, such as 1e9",
    )
    quotas.add_options(parser, "threads", "threads", blas_threads=None)
    parser.add_argument(
        "program", help="the Python program: a file, or a folder with a __main__.py"
    )
    program_arguments = parser.add_argument(
        "args", nargs=argparse.REMAINDER, metavar="ARG", help="the program's arguments and options"
    )
    # argparse would list "args" as missing, too, when only the program is.
    program_arguments.required = False


def run(args: argparse.Namespace) -> int:
    """Run the program, and return the exit status."""
    problem = _program_problem(args.program)
    if problem:
        print(f"shm-echo run: {problem}", file=sys.stderr)
        return 2
    quotas.apply_environment(args.blas_threads)
    # They would be tokens of another server; the program needs none.
    listeners.remove_tokens_from_environment()
    try:
        return _run(args)
    except ValueError as error:
        print(f"shm-echo run: {error}", file=sys.stderr)
        return 2


def _program_problem(program: str) -> str | None:
    """Return the reason why Python cannot run this program; None if no reason is known."""
    if not os.path.exists(program):
        return f"the program {program} does not exist"
    if os.path.isdir(program) and not os.path.isfile(os.path.join(program, "__main__.py")):
        return f"{program} is a folder without a __main__.py"
    return None if os.access(program, os.R_OK) else f"this user may not read {program}"


def _run(args: argparse.Namespace) -> int:
    # Before any thread starts, those of BLAS included, because threads inherit the mask: these
    # signals are for sigtimedwait in _wait, not for a handler.
    signal.pthread_sigmask(signal.SIG_BLOCK, {*_FORWARDED, signal.SIGCHLD})

    # One session is enough: the program inherits one descriptor, which its threads share.
    service = quotas.make_service(args, args.flop_budget, max_sessions=1)
    server_socket, client_socket = socket.socketpair()
    principal = service.adopt(server_socket, isolation=args.isolation)
    with client_socket:
        os.set_inheritable(client_socket.fileno(), True)
        # Python would take a name that begins with a hyphen for one of its options.
        program = f"./{args.program}" if args.program.startswith("-") else args.program
        pid = os.posix_spawn(
            sys.executable,
            [sys.executable, program, *args.args],
            {**os.environ, "MECHESTIM_SERVER_URL": f"fd://{client_socket.fileno()}"},
            setsigmask=(),
        )
    try:
        for number in signal.sigpending().intersection(_FORWARDED):
            signal.sigwait({number})  # it came before the program was started
            _send_signal(pid, number)
        status = _wait(pid, args.wall_time)
    finally:
        service.close()
    print(_summary(principal, args.flop_budget), file=sys.stderr)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _wait(pid: int, wall_time: float | None) -> int:
    """Wait for the program and forward signals; terminate it when its wall time is over."""
    started = time.monotonic()
    # One signal after the other, _GRACE_S apart, once the wall time is over. The service ends the
    # session at that time, so a program gets one _GRACE_S to notice it.
    escalation = [signal.SIGTERM, signal.SIGKILL]
    while True:
        signal_info: Any = signal.sigtimedwait({*_FORWARDED, signal.SIGCHLD}, _POLL_S)
        if (
            signal_info is not None
            and signal_info.si_signo in _FORWARDED
            and signal_info.si_code != _SI_KERNEL
        ):
            _send_signal(pid, signal_info.si_signo)
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return status
        if wall_time is not None and escalation:
            deadline = started + wall_time + _GRACE_S * (3 - len(escalation))
            if time.monotonic() > deadline:
                _send_signal(pid, escalation.pop(0))


def _send_signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _summary(principal: Principal, budget: int) -> str:
    from shm_echo.mechestim.accounting.report import summary_text

    tallies = principal.tallies()
    used = principal.ceiling.spent
    books = {
        "flop_budget": budget,
        "flops_used": used,
        "flops_remaining": budget - used,
        "operations": {
            name: {"flop_cost": flops, "calls": calls} for name, (flops, calls) in tallies.items()
        },
    }
    return summary_text(books)
