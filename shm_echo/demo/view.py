"""Live progress of the demo: a table in place on a terminal, plain lines elsewhere.

The learner calls the view with a `Progress` several times a second. Into a file or a pipe, the view
writes at most one line per two seconds, and no control characters.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TextIO

from shm_echo.demo.run_records import SOLVED, Progress

__all__ = ["PlainView", "progress_view"]

_LINE_SECONDS = 2.0
_BAR = 24  # characters


def progress_view(stream: TextIO) -> AbstractContextManager[Callable[[Progress], None]]:
    """Return the view for the stream: a live table on a terminal, else plain lines."""
    if stream.isatty():
        return _LiveView(stream)
    return nullcontext(PlainView(stream))


class PlainView:
    """Writes one line per two seconds."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._next = clock()

    def __call__(self, progress: Progress) -> None:
        if (now := self._clock()) >= self._next:
            self._next = now + _LINE_SECONDS
            line = "  ".join(f"{name} {value}" for name, value in _facts(progress))
            print(line, file=self._stream, flush=True)


class _LiveView(AbstractContextManager[Callable[[Progress], None]]):
    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.live import Live

        self._live = Live(console=Console(file=stream), auto_refresh=False, transient=True)

    def __enter__(self) -> Callable[[Progress], None]:
        self._live.__enter__()
        return self._show

    def __exit__(self, *exc_info: object) -> None:
        self._live.__exit__(None, None, None)

    def _show(self, progress: Progress) -> None:
        from rich.table import Table

        table = Table.grid(padding=(0, 2))
        for name, value in _facts(progress):
            table.add_row(f"[dim]{name}[/dim]", value)
        table.add_row("[dim]ring[/dim]", _bar(progress.ring_fill))
        table.add_row("[dim]solved[/dim]", _bar((progress.history.last_mean or 0.0) / SOLVED))
        self._live.update(table, refresh=True)


def _facts(progress: Progress) -> list[tuple[str, str]]:
    history = progress.history
    rate = history.recent_throughput()
    mean = history.recent_mean
    facts = [
        ("time", f"{history.elapsed:.1f} s"),
        ("samples/s", f"{rate.samples:,.0f}"),
        ("transitions/s", f"{rate.transitions:,.0f}"),
        ("ring fill", f"{progress.ring_fill:.0%}"),
        ("producers", str(progress.producers)),
        ("policy version", f"{progress.version} (samples {progress.lag:.1f} behind)"),
        ("episodes", f"{len(history.returns):,}"),
        ("mean return", "-" if mean is None else f"{mean:.1f}"),
    ]
    if progress.deaths:
        facts.append(("actors killed", str(progress.deaths)))
    if progress.last_log:
        facts.append(("log:", progress.last_log))
    return facts


def _bar(fraction: float) -> str:
    full = round(_BAR * min(1.0, max(0.0, fraction)))
    return "█" * full + "░" * (_BAR - full)
