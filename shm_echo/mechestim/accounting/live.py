"""`budget_live()`: bars that show the books while the code inside the block runs.

A timer thread reads the books and draws them, in a terminal through rich (the extra `live`), in a
notebook through IPython's own display. Operations do no work for it: they only wait for the lock
while the timer thread copies the books. Anywhere else, such as in a pipe or a file, or without
rich, the summary is printed once, as text, at the end of the block.

At every end of the block, Ctrl-C included, the thread ends and the terminal is restored. A display
that fails while it draws warns at the end of the block; it never stops the code inside.
"""

from __future__ import annotations

import html
import importlib.util
import sys
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Protocol

from shm_echo.mechestim.accounting import active_account, context, process_books
from shm_echo.mechestim.accounting.report import bars_text, session_text
from shm_echo.mechestim.errors import MechEstimWarning

__all__ = ["BudgetLive", "budget_live", "rich_terminal"]

Books = Mapping[str, Any]


class BudgetLive:
    """Shows books while its `with` block runs.

    Args:
        source: Returns books in the form of `budget_summary_dict(by_namespace=True)`; called in the
            timer thread.
        refresh_s: Seconds between two calls of `source`.

    Raises:
        ValueError: `refresh_s` is not a positive number of seconds.
    """

    def __init__(self, source: Callable[[], Books], refresh_s: float = 0.25) -> None:
        is_number = isinstance(refresh_s, (int, float)) and not isinstance(refresh_s, bool)
        if not is_number or not 0 < refresh_s <= threading.TIMEOUT_MAX:
            raise ValueError(f"refresh_s must be a number of seconds > 0, got {refresh_s!r}")
        self._source = source
        self._refresh_s = refresh_s
        self._screen: _Screen | None = None
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()
        self._started = 0.0
        self._failure: Exception | None = None
        self._open = False

    def __enter__(self) -> BudgetLive:
        if self._open:
            raise RuntimeError("this budget_live() is open already")
        self._open = True
        self._started = time.monotonic()
        self._failure = None
        self._ended.clear()
        try:
            self._screen = _find_screen()
            if self._screen is not None:
                self._draw()
                # A daemon: a block that never ends must not prevent the program from ending.
                self._thread = threading.Thread(
                    target=self._run, name="mechestim-live", daemon=True
                )
                self._thread.start()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        shown = self._screen is not None
        self._close()
        if not shown:
            print(session_text(self._source()))
        elif self._failure is not None:
            warnings.warn(
                MechEstimWarning(f"the live display of budgets stopped: {self._failure!r}"),
                stacklevel=2,
            )

    def _run(self) -> None:
        while not self._ended.wait(self._refresh_s):
            try:
                self._draw()
            except Exception as error:
                self._failure = error
                return

    def _draw(self) -> None:
        if self._screen is not None:
            self._screen.draw(self._source(), time.monotonic() - self._started)

    def _close(self) -> None:
        """End the thread, draw the final state, and restore the terminal."""
        thread, self._thread = self._thread, None
        screen = self._screen
        try:
            self._ended.set()
            if thread is not None and thread.ident is not None:
                thread.join()
            if thread is not None and self._failure is None:
                try:
                    self._draw()
                except Exception as error:
                    self._failure = error
        finally:
            self._screen = None
            self._open = False
            if screen is not None:
                screen.close()


def budget_live(refresh_s: float = 0.25) -> BudgetLive:
    """Show bars of all budgets, the open ones included, while the `with` block runs.

    In a terminal the bars need rich (the extra `live`). Without it, and where the output is no
    terminal, the summary is printed as text at the end of the block.

    Args:
        refresh_s: Seconds between two readings of the books.
    """
    return BudgetLive(_books, refresh_s)


def _books() -> dict[str, Any]:
    return process_books.snapshot(
        active_account.existing_default(), by_namespace=True, still_open=context.open_accounts()
    )


# Displays -----------------------------------------------------------------------------------------


class _Screen(Protocol):
    def draw(self, books: Books, elapsed_s: float) -> None: ...

    def close(self) -> None: ...


def _find_screen() -> _Screen | None:
    """Return a notebook or a terminal that can show bars, or None."""
    if _in_notebook():
        return _Notebook()
    return _Terminal.open() if rich_terminal() else None


def rich_terminal() -> bool:
    """Return True if the output goes to a terminal and rich is installed."""
    output = sys.stdout
    if output is None or output.closed or not output.isatty():
        return False
    return importlib.util.find_spec("rich") is not None


def _in_notebook() -> bool:
    """Return True if IPython runs this program in a notebook; imports nothing."""
    get_ipython = getattr(sys.modules.get("IPython"), "get_ipython", None)
    shell = get_ipython() if callable(get_ipython) else None
    # A notebook's shell, such as ipykernel's ZMQInteractiveShell, has a kernel; a terminal's not.
    return getattr(shell, "kernel", None) is not None


class _Terminal:
    """Bars that rich draws at the bottom of the terminal; the program's output scrolls above."""

    def __init__(self, live: Any) -> None:
        self._live = live

    @staticmethod
    def open() -> _Terminal | None:
        """Return a terminal, or None if rich cannot move the cursor or has another display open."""
        from rich.console import Console
        from rich.errors import LiveError
        from rich.live import Live

        console = Console()
        if console.is_dumb_terminal or not console.is_terminal:
            return None
        live = Live(console=console, auto_refresh=False)
        try:
            live.start()
        except LiveError:
            return None
        return _Terminal(live)

    def draw(self, books: Books, elapsed_s: float) -> None:
        from shm_echo.mechestim.accounting.rich_tables import bars

        self._live.update(bars(books, elapsed_s), refresh=True)

    def close(self) -> None:
        self._live.stop()


class _Notebook:
    """Bars in the output of a cell."""

    def __init__(self) -> None:
        self._handle: Any = None

    def draw(self, books: Books, elapsed_s: float) -> None:
        from IPython.display import HTML, display

        picture = HTML(f"<pre>{html.escape(bars_text(books, elapsed_s))}</pre>")
        if self._handle is None:
            self._handle = display(picture, display_id=True)
        else:
            self._handle.update(picture)

    def close(self) -> None:
        """Do nothing: the last bars stay in the cell."""
