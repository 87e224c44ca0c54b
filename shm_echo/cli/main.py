"""The ``shm-echo`` command: one sub-command a file, which loads what it needs when it runs."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

from shm_echo import __version__
from shm_echo.cli import demo, run, serve, status

__all__ = ["main"]

_COMMANDS: dict[str, Any] = {"demo": demo, "serve": serve, "status": status, "run": run}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status.

    When whoever reads what is printed has gone, as in ``shm-echo status --watch | head``, the
    command ends with the status of a program that SIGPIPE ends.
    """
    parser = argparse.ArgumentParser(
        prog="shm-echo",
        description="Shared-memory pytree batches between the processes of one Linux host.",
    )
    parser.add_argument("--version", action="version", version=f"shm-echo {__version__}")
    commands = parser.add_subparsers(
        title="commands", required=True, metavar="COMMAND", dest="command"
    )
    for command in _COMMANDS.values():
        command.add_parser(commands)
    args = parser.parse_args(argv)
    try:
        status: int = _COMMANDS[args.command].run(args)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the last flush
        return 128 + signal.SIGPIPE
    return status


if __name__ == "__main__":
    sys.exit(main())
