"""The `shm-echo` command. Each sub-command is one module, which imports its needs when it runs.

This module imports next to nothing, so that `main` handles Ctrl-C from the first moment on.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

__all__ = ["main"]

# The statuses that a shell reports for a program that SIGINT or SIGPIPE ended: 128 + the number.
_SIGINT_STATUS, _SIGPIPE_STATUS = 128 + 2, 128 + 13


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line, and return the exit status.

    The status is 1, with a message, if standard output cannot be written. If the reader of standard
    output has gone, as in `shm-echo status --watch | head`, it is that of SIGPIPE, and on Ctrl-C
    that of SIGINT, both without a message.
    """
    try:
        from shm_echo.cli import output

        with output.guarded():
            return _run(argv)
    except KeyboardInterrupt:
        return _SIGINT_STATUS


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
            # In a finally, because --help and --version end with SystemExit.
            sys.stdout.flush()
    except UnwritableError as error:
        if error.reader_gone:
            return _SIGPIPE_STATUS
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    return status


def _parser() -> tuple[argparse.ArgumentParser, dict[str, Any]]:
    import argparse

    from shm_echo import __version__
    from shm_echo.cli import demo, loader, run, serve, status

    parser = argparse.ArgumentParser(
        prog="shm-echo",
        description=(
            "NumPy data and metered compute, shared by processes of one Linux host or of several. "
            "Run 'shm-echo COMMAND --help' for the options of a command."
        ),
    )
    parser.add_argument("--version", action="version", version=f"shm-echo {__version__}")
    choices = parser.add_subparsers(
        title="commands", required=True, metavar="COMMAND", dest="command"
    )
    commands = {"demo": demo, "loader": loader, "serve": serve, "status": status, "run": run}
    for command in commands.values():
        command.add_parser(choices)
    return parser, commands


if __name__ == "__main__":
    sys.exit(main())
