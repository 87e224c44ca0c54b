"""The ``shm-echo`` command: one sub-command a file, which loads what it needs when it runs.

Nothing is loaded before ``main`` is called, which takes Ctrl-C from then on.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

__all__ = ["main"]

_OF_SIGINT, _OF_SIGPIPE = 128 + 2, 128 + 13


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status.

    That is 1 when standard output cannot be written, and says so; without a word that of a program
    that SIGPIPE ends when whoever reads it has gone, as in ``shm-echo status --watch | head``, and
    that of one that SIGINT ends on Ctrl-C.
    """
    try:
        from shm_echo.cli import output

        with output.guarded():
            return _run(argv)
    except KeyboardInterrupt:
        return _OF_SIGINT


def _run(argv: Sequence[str] | None) -> int:
    from shm_echo.cli.output import UnwritableError

    name = "shm-echo"
    try:
        try:
            parser, commands = _parser()
            args = parser.parse_args(argv)
            name = f"shm-echo {args.command}"
            status: int = commands[args.command].run(args)
        finally:
            sys.stdout.flush()  # --help and --version end with an exception
    except UnwritableError as error:
        if error.reader_gone:
            return _OF_SIGPIPE
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    return status


def _parser() -> tuple[argparse.ArgumentParser, dict[str, Any]]:
    import argparse

    from shm_echo import __version__
    from shm_echo.cli import demo, run, serve, status

    parser = argparse.ArgumentParser(
        prog="shm-echo",
        description=(
            "NumPy data and metered compute, shared by the processes of one Linux host. "
            "'shm-echo COMMAND --help' says more about a command."
        ),
    )
    parser.add_argument("--version", action="version", version=f"shm-echo {__version__}")
    choices = parser.add_subparsers(
        title="commands", required=True, metavar="COMMAND", dest="command"
    )
    commands = {"demo": demo, "serve": serve, "status": status, "run": run}
    for command in commands.values():
        command.add_parser(choices)
    return parser, commands


if __name__ == "__main__":
    sys.exit(main())
