"""``shm-echo status``: what a mechestim server is doing.

Prints the totals, who has spent what, and the sessions; with ``--watch`` again and again until
Ctrl-C, as a live table where ``rich`` is installed. Exit status 0, 1 when no server answers, 130 on
Ctrl-C.
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
            "Shows the sessions, budgets, arrays and operations per second of a server. Exit "
            "status 1 when none answers."
        ),
    )
    parser.add_argument(
        "url",
        nargs="?",
        default=DEFAULT_URL,
        help="the server's address: ipc:///path.sock or a bare name (default: %(default)s)",
    )
    parser.add_argument(
        "--watch", action="store_true", help="show it again and again, until Ctrl-C (status 130)"
    )
    parser.add_argument(
        "--interval",
        type=arguments.seconds,
        default=1.0,
        metavar="S",
        help="seconds between two looks of --watch, such as 0.5 (default: %(default)g)",
    )


def run(args: argparse.Namespace) -> int:
    """Show the state; returns the exit status."""
    from shm_echo.control.client.client_connection import connect
    from shm_echo.mechestim.remote.connection.connect import server_uid

    try:
        with connect(args.url, "status", server_uid=server_uid()) as link:

            def read() -> dict[str, Any]:
                return link.request("read", {})[0]

            if args.watch:
                _watch(read, args.interval)
            else:
                print(report(read()))
    except (ShmEchoError, ValueError) as error:
        print(f"shm-echo status: {error}", file=sys.stderr)
        return 1
    return 0


def _watch(read: Callable[[], dict[str, Any]], interval: float) -> None:
    show = _live_view() if sys.stdout.isatty() else None
    if show is None:
        while True:
            print(report(read()), end="\n\n", flush=True)
            time.sleep(interval)
    with show as view:
        while True:
            view.update(report(read()))
            time.sleep(interval)


def _live_view() -> Any:
    """A view that is drawn in place; None without rich."""
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
    """The state as text."""
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
                one["label"],
                f"{one['sessions']}",
                f"{one['flops']:,}",
                "none" if one["ceiling"] is None else f"{one['ceiling']:,}",
                _share(one["flops"], one["ceiling"]),
            )
            for one in state["principals"]
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
    """Columns as wide as their widest entry, the first and the last to the left."""
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
