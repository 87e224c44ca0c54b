"""The progress bars of loops: `DataLoader(..., progress=True)`.

One display at the bottom of the terminal has a bar for each loop that runs. rich (the extra `live`)
draws it, on standard error. Only the loops draw it, before they wait for a batch, and at most ten
times a second. So a process that a loop forks meanwhile inherits no lock that is held.
"""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import os
import sys
import threading
import time
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any

from shm_echo.uninterrupted import run_uninterrupted

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

__all__ = ["ProgressBar", "require_rich"]

_SECONDS_BETWEEN_DRAWINGS = 0.1


def require_rich() -> None:
    """Refuse `progress=True` where rich is not installed.

    Raises:
        ImportError: it is not.
    """
    if importlib.util.find_spec("rich") is None:
        raise ImportError("progress=True needs rich: pip install 'shm-echo[live]'", name="rich")


class ProgressBar:
    """The bar of a loop. It goes when the loop ends, or when nothing refers to the loop.

    Args:
        loop: the iterator.
        epoch: number of the epoch.
        batches: the batches of the epoch; their number is `len()` of it, if it has one.
        done: batches of it that were delivered before, as when a job goes on.
    """

    def __init__(self, loop: object, epoch: int, batches: Any, done: int) -> None:
        self._began = self._drawn = time.monotonic()
        self._batches = done
        self._items = 0
        self._waited = 0.0
        self._task = _display.new_task()
        # Before anything is shown: an interrupt may come at any time. Inside of rich it would leave
        # the terminal without its cursor, so rich is called where none can come.
        self._end = weakref.finalize(loop, _display.remove, self._task)
        run_uninterrupted(
            partial(_display.add, self._task, f"epoch {epoch}", _length(batches), done)
        )

    def batch(self, items: int, waited: float) -> None:
        """Count a batch.

        Args:
            items: items in it.
            waited: seconds that the loop has waited for it.
        """
        self._batches += 1
        self._items += items
        self._waited += waited

    def draw(self) -> None:
        """Draw the bar, if that was not done a moment ago."""
        now = time.monotonic()
        if now - self._drawn >= _SECONDS_BETWEEN_DRAWINGS:
            self._drawn = now
            run_uninterrupted(partial(_display.draw, self._task, self._batches, self._text(now)))

    def _text(self, now: float) -> str:
        seconds = now - self._began
        return f"{self._items / seconds:,.0f} items/s, waiting {self._waited / seconds:4.0%}"

    def close(self) -> None:
        """Draw the bar as it is now, for the last time."""
        now = time.monotonic()
        run_uninterrupted(partial(_display.draw, self._task, self._batches, self._text(now)))
        run_uninterrupted(self._end)


def _length(batches: Any) -> int | None:
    try:
        return len(batches)
    except TypeError:
        return None


class _Display:
    """The bars of all loops of this process."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a finalizer of a loop may run under it
        self._progress: Progress | None = None
        self._tasks: dict[int, TaskID] = {}
        self._numbers = itertools.count()

    def new_task(self) -> int:
        """Return the number of a bar, which is not shown yet."""
        return next(self._numbers)

    def add(self, task: int, text: str, total: int | None, done: int) -> None:
        """Show a new bar, if this is a place where one can be shown."""
        with self._lock:
            if self._progress is None:
                self._progress = _opened()
            if self._progress is not None:
                self._tasks[task] = self._progress.add_task(
                    text, total=total, completed=done, speed=""
                )
                self._progress.refresh()

    def draw(self, task: int, batches: int, text: str) -> None:
        """Set a bar, and draw all of them."""
        with self._lock:
            if self._progress is not None and task in self._tasks:
                self._progress.update(
                    self._tasks[task], completed=batches, speed=text, refresh=True
                )

    def remove(self, task: int) -> None:
        """End a bar. The display ends with the last one, and leaves it on the screen."""
        with self._lock:
            progress, shown = self._progress, self._tasks.pop(task, None)
            if progress is None or shown is None:
                return
            # Any exception: the terminal may be gone, and a finalizer must not raise.
            with contextlib.suppress(Exception):
                if self._tasks:
                    progress.remove_task(shown)
                    progress.refresh()
                    return
                self._progress = None
                try:
                    progress.stop()
                except KeyboardInterrupt:  # in a finalizer, which no other thread can run
                    progress.console.show_cursor(True)
                    raise

    def forget(self) -> None:
        """In the child of a fork: write to the terminal as before the display."""
        self._lock = threading.RLock()
        progress, self._progress = self._progress, None
        self._tasks = {}
        if progress is not None:
            # rich has put its own streams in their places, which would draw the bars again.
            for name in ("stdout", "stderr"):
                stream = getattr(sys, name)
                original = getattr(stream, "rich_proxied_file", None)
                if original is not None:
                    setattr(sys, name, original)


def _opened() -> Progress | None:
    """Return a display that has begun; None if this is no terminal or notebook, or is in use."""
    from rich.console import Console
    from rich.errors import LiveError
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    if not console.is_jupyter and (not _is_terminal(sys.stderr) or console.is_dumb_terminal):
        return None
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),  # all columns fit into 80
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
        console=console,
        auto_refresh=False,
        # Output into a file stays there; that into the same terminal goes above the bars.
        redirect_stdout=_is_terminal(sys.stdout),
    )
    try:
        progress.start()
    except LiveError:  # the program has a display of its own
        return None
    return progress


def _is_terminal(stream: Any) -> bool:
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):  # None, or closed
        return False


_display = _Display()
os.register_at_fork(after_in_child=_display.forget)
