"""`shm-echo status`: shows the sessions, budgets and arrays of a mechestim server.

Prints the totals, the FLOPs that each user or token has spent, and the sessions. With `--watch` it
repeats that until Ctrl-C, in place if `rich` is installed and standard output is a terminal. The
exit status is 0, 1 if no server answers, and 130 on Ctrl-C.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

from shm_echo.cli import arguments
from shm_echo.cli.listeners import DEFAULT_URL
from shm_echo.errors import ShmEchoError

__all__ = ["add_parser", "report", "run"]


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command and its options."""
    parser = subparsers.add_parser(
        "status",
        help="show the sessions, budgets and arrays of a mechestim server",
        description=(
            "Shows the sessions, budgets, arrays and requests per second of a server. The exit "
            "status is 1 if no server answers."
        ),
    )
    parser.add_argument(
        "url",
        nargs="?",
        default=DEFAULT_URL,
        help="the server's address: ipc:///path.sock or a bare name (default: %(default)s)",
    )
    parser.add_argument(
        "--watch", action="store_true", help="repeat until Ctrl-C (exit status 130)"
    )
    parser.add_argument(
        "--interval",
        type=arguments.seconds,
        default=1.0,
        metavar="S",
        help="seconds between two reports of --watch, such as 0.5 (default: %(default)g)",
    )


def run(args: argparse.Namespace) -> int:
    """Show the server's state, and return the exit status."""
    from shm_echo.control.client.client_connection import connect
    from shm_echo.mechestim.remote.connection.connect import server_uid

    try:
        with connect(args.url, "status", server_uid=server_uid()) as connection:

            def read() -> dict[str, Any]:
                return connection.request("read", {})[0]

            if args.watch:
                _watch(read, args.interval)
            else:
                print(report(read()))
    except (ShmEchoError, ValueError) as error:
        print(f"shm-echo status: {error}", file=sys.stderr)
        return 1
    return 0


def _watch(read: Callable[[], dict[str, Any]], interval: float) -> None:
    live_view = _live_view() if sys.stdout.isatty() else None
    if live_view is None:
        while True:
            print(report(read()), end="\n\n", flush=True)
            time.sleep(interval)
    with live_view as view:
        while True:
            view.update(report(read()))
            time.sleep(interval)


def _live_view() -> Any:
    """Return a view that redraws in place; None if `rich` is not installed."""
    try:
        from rich.live import Live
        from rich.text import Text
    except ImportError:
        return None

    class View(Live):
        def update(self, text: Any, *, refresh: bool = True) -> None:
            super().update(Text(text), refresh=refresh)

    return View(auto_refresh=False)


def report(state: dict[str, Any]) -> str:
    """Format the server's state as text."""
    lines = [
        f"mechestim server {state['version']}, pid {state['pid']}, up {_time(state['uptime_s'])}, "
        f"isolation: {state['isolation']}",
        f"sessions: {state['sessions']} of {state['max_sessions']}   "
        f"arrays: {state['objects']:,} ({_bytes(state['bytes'])})   "
        f"requests: {state['requests']:,} ({state['requests_per_s']:,.0f}/s)",
    ]
    rows: list[tuple[str, ...]]
    if state["principals"]:
        rows = [
            (
                principal["label"],
                f"{principal['sessions']}",
                f"{principal['flops']:,}",
                "none" if principal["ceiling"] is None else f"{principal['ceiling']:,}",
                _share(principal["flops"], principal["ceiling"]),
            )
            for principal in state["principals"]
        ]
        lines += ["", *_table(("who", "sessions", "FLOPs", "ceiling", "spent"), rows)]
    if state["rows"]:
        rows = [
            (
                row["principal"],
                str(row["pid"]),
                _time(row["age_s"]),
                f"{row['objects']:,}",
                _bytes(row["bytes"]),
                f"{row['contexts']:,}",
                f"{row['requests']:,}",
                f"{row['flops']:,}",
                "idle" if row["running_s"] is None else f"runs for {_time(row['running_s'])}",
            )
            for row in state["rows"]
        ]
        head = (
            *("session of", "pid", "age", "arrays", "bytes"),
            *("budgets", "requests", "FLOPs", "now"),
        )
        lines += ["", *_table(head, rows)]
        hidden = state["sessions"] - len(state["rows"])
        if hidden > 0:
            lines.append(f"  ... and {hidden:,} more")
    return "\n".join(lines)


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    """Align a table: the first and the last column to the left, the others to the right."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    last = len(head) - 1
    return [
        "  "
        + "  ".join(
            cell.ljust(width) if i in (0, last) else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in [head, *rows]
    ]


def _share(part: int, whole: int | None) -> str:
    return "" if whole is None else f"{part / whole:.1%}"


def _bytes(size: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def _time(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = int(seconds) // 60
    return f"{minutes // 60}:{minutes % 60:02}:{int(seconds) % 60:02}"
