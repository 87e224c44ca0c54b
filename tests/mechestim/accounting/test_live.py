"""The live display in a terminal, in a notebook and without either; every end cleans up."""

from __future__ import annotations

import builtins
import importlib.util
import io
import os
import pty
import re
import select
import signal
import subprocess
import sys
import textwrap
import threading
import time
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import mechestim as me
from shm_echo.mechestim.accounting.live import BudgetLive
from tests.support.scripts import ROOT
from tests.support.spending import quiet, spend
from tests.support.waiting import WATCHDOG

HAS_RICH = importlib.util.find_spec("rich") is not None
needs_rich = pytest.mark.skipif(not HAS_RICH, reason="rich (the extra live) is not installed")


def live_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "mechestim-live"]


# ---------------------------------------------------------------- without a terminal


def test_without_a_terminal_the_summary_is_printed_once_at_the_end(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with me.budget_live():
        with quiet(1000, namespace="net"):
            spend(250, "exp")
        assert capsys.readouterr().out == ""
        assert live_threads() == []
    out = capsys.readouterr().out
    assert out.startswith("mechestim FLOP Budget Summary\n")
    assert "[net]" in out
    assert re.search(r"exp +250 +\(100.0%\) +\[1 call\]", out)


def test_a_context_that_is_still_open_is_shown_too(capsys: pytest.CaptureFixture[str]) -> None:
    with quiet(1000, namespace="net"):
        with me.budget_live():
            spend(250, "exp")
        out = capsys.readouterr().out
        assert "250  (25.0%)" in out
    assert me.budget_summary_dict()["flops_used"] == 250  # and it is not counted twice


def test_the_summary_is_printed_after_an_exception_as_well(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(KeyError), me.budget_live(), quiet():
        spend(250)
        raise KeyError
    assert "250" in capsys.readouterr().out


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), "1", True, None])
def test_an_invalid_refresh_is_rejected(value: Any) -> None:
    with pytest.raises(ValueError, match="refresh_s must be a number of seconds > 0"):
        me.budget_live(refresh_s=value)


def test_a_display_is_used_by_one_block_at_a_time(capsys: pytest.CaptureFixture[str]) -> None:
    live = me.budget_live()
    with live, pytest.raises(RuntimeError, match="is open already"), live:
        pytest.fail("the inner block ran")
    with live:
        pass


# ---------------------------------------------------------------- in a notebook


class Cell:
    """The display of a notebook: it keeps the outputs, and a test can wait for more."""

    def __init__(self) -> None:
        self.shown: list[str] = []
        self.changed = threading.Condition()
        self.fails = False

    def show(self, picture: Any) -> None:
        if self.fails:
            raise OSError("the browser is gone")
        with self.changed:
            self.shown.append(picture.data)
            self.changed.notify_all()

    update = show

    def wait_for(self, test: Callable[[str], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: any(map(test, self.shown)), WATCHDOG)


@pytest.fixture
def cell(monkeypatch: pytest.MonkeyPatch) -> Cell:
    found = Cell()

    def display(picture: Any, display_id: bool) -> Cell:
        assert display_id
        found.show(picture)
        return found

    ipython, views = types.ModuleType("IPython"), types.ModuleType("IPython.display")
    ipython.get_ipython = lambda: types.SimpleNamespace(kernel=object())  # type: ignore[attr-defined]
    views.display = display  # type: ignore[attr-defined]
    views.HTML = lambda data: types.SimpleNamespace(data=data)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", views)
    return found


def test_in_a_notebook_one_output_follows_the_books(
    cell: Cell, capsys: pytest.CaptureFixture[str]
) -> None:
    with me.budget_live(refresh_s=0.01):
        with quiet(1000, namespace="<net>"):
            spend(250, "exp")
            cell.wait_for(lambda text: "&lt;net&gt; [#######......" in text and "25.0%" in text)
            spend(500, "log")
            cell.wait_for(lambda text: " 75.0%" in text and "750 of 1,000 FLOPs  log" in text)
        assert live_threads() == ["mechestim-live"]
    assert live_threads() == []
    assert cell.shown[0].startswith("<pre>0 FLOPs in 0.0 s")
    assert "750 of 1,000" in cell.shown[-1]
    assert capsys.readouterr().out == ""


def test_the_last_picture_is_the_final_state(cell: Cell) -> None:
    with me.budget_live(refresh_s=1000), quiet(1000, namespace="net"):
        spend(250)
    assert len(cell.shown) == 2
    assert "250 of 1,000" in cell.shown[-1]


def test_a_display_that_fails_warns_at_the_end_and_does_not_stop_the_block(cell: Cell) -> None:
    live = me.budget_live(refresh_s=0.01)

    def use() -> None:
        with live:
            cell.fails = True
            thread = live._thread
            assert thread is not None
            thread.join(WATCHDOG)
            with budget:
                spend(5)

    budget = quiet()
    with pytest.warns(me.MechEstimWarning, match=r"stopped: OSError\('the browser is gone'\)"):
        use()
    assert budget.flops_used == 5
    assert live_threads() == []


def test_a_display_that_cannot_begin_raises_and_leaves_no_thread(cell: Cell) -> None:
    cell.fails = True
    live = me.budget_live()
    with pytest.raises(OSError, match="the browser is gone"), live:
        pytest.fail("the block ran")
    assert live_threads() == []
    cell.fails = False
    with live:
        pass


def test_any_books_can_be_shown(cell: Cell) -> None:
    """The client shows those of its server."""
    books = {
        "flops_used": 3,
        "by_namespace": {"far": {"flop_budget": 4, "flops_used": 3, "operations": {"exp": {}}}},
    }
    with BudgetLive(lambda: books, refresh_s=0.01):
        pass
    assert "75.0%   3 of 4 FLOPs  exp" in cell.shown[-1].replace("%  3", "%   3")


# ---------------------------------------------------------------- in a terminal


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, program: str, **env: str) -> None:
        self.screen = ""
        ours, theirs = pty.openpty()
        self._ours = ours
        self.process = subprocess.Popen(
            [sys.executable, "-X", "dev", "-W", "error", "-c", textwrap.dedent(program)],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=ROOT,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "30", **env},
            start_new_session=True,
        )
        os.close(theirs)

    @property
    def text(self) -> str:
        """Return the text on the screen so far, without escape sequences."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.screen)

    def read_until(self, pattern: str) -> None:
        """Read the output of the program until a line matches."""
        deadline = time.monotonic() + WATCHDOG
        while not re.search(pattern, self.text):
            assert time.monotonic() < deadline, f"no {pattern!r} in time:\n{self.text[-2000:]}"
            assert self._read(), f"the program ended before {pattern!r}:\n{self.text}"

    def end(self) -> int:
        """Read until the program ends, and return its exit code."""
        while self._read():
            pass
        return self.process.wait(WATCHDOG)

    def _read(self) -> bool:
        assert select.select([self._ours], [], [], WATCHDOG)[0], (
            f"no output arrived:\n{self.screen}"
        )
        try:
            data = os.read(self._ours, 65536)
        except OSError:  # EIO: no process has the other side open
            return False
        self.screen += data.decode()
        return bool(data)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)


@contextmanager
def terminal(program: str, **env: str) -> Iterator[Terminal]:
    found = Terminal(program, **env)
    try:
        yield found
    finally:
        found.close()


HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"  # the cursor


@needs_rich
def test_in_a_terminal_bars_follow_the_books_and_prints_scroll_above() -> None:
    with terminal(
        """
        import sys
        import mechestim as me
        from tests.support.spending import spend
        with me.budget_live(refresh_s=0.01):
            with me.BudgetContext(1000, quiet=True, namespace="[red]net"):
                spend(250, "exp")
                input()
                print("a line of the program")
                spend(500, "log")
                input()
        print("after")
        """
    ) as screen:
        screen.read_until(r"\[red\]net .* 25\.0% 250 of 1,000 FLOPs exp")
        os.write(screen._ours, b"\n")
        screen.read_until(r" 75\.0% 750 of 1,000 FLOPs log")
        os.write(screen._ours, b"\n")
        assert screen.end() == 0
        assert "a line of the program" in screen.screen
        assert screen.screen.rstrip().endswith("after")
        assert screen.screen.count(HIDE) == screen.screen.count(SHOW) == 1
        assert screen.screen.index(HIDE) < screen.screen.index(SHOW)


@needs_rich
def test_an_exception_ends_the_display_and_shows_the_cursor_again() -> None:
    with terminal(
        """
        import threading
        import mechestim as me
        from tests.support.spending import spend
        try:
            with me.budget_live(refresh_s=0.01), me.BudgetContext(10, quiet=True):
                spend(5)
                spend(6)
        except me.BudgetExhaustedError as error:
            print("threads:", [thread.name for thread in threading.enumerate()])
        """
    ) as screen:
        assert screen.end() == 0
        assert "threads: ['MainThread']" in screen.screen
        assert screen.screen.rindex(SHOW) > screen.screen.rindex(HIDE)
        assert "50.0%" in screen.screen


@needs_rich
def test_ctrl_c_ends_the_display_and_shows_the_cursor_again() -> None:
    with terminal(
        """
        import threading
        import mechestim as me
        from tests.support.spending import spend
        try:
            with me.budget_live(refresh_s=0.01), me.BudgetContext(10, quiet=True, namespace="net"):
                spend(5)
                threading.Event().wait()
        except KeyboardInterrupt:
            print("threads:", [thread.name for thread in threading.enumerate()])
        """
    ) as screen:
        screen.read_until(r"net .* 50\.0%")
        screen.process.send_signal(signal.SIGINT)
        assert screen.end() == 0
        assert "threads: ['MainThread']" in screen.screen
        assert screen.screen.rindex(SHOW) > screen.screen.rindex(HIDE)


@needs_rich
def test_a_display_inside_of_another_one_and_of_richs_own_leaves_the_terminal_in_order() -> None:
    with terminal(
        """
        import mechestim as me
        from rich.live import Live
        from tests.support.spending import spend
        with Live("mine"), me.budget_live(refresh_s=0.01), me.budget_live(refresh_s=0.01):
            with me.BudgetContext(10, quiet=True):
                spend(5)
        print("done")
        """
    ) as screen:
        assert screen.end() == 0
        assert screen.screen.rstrip().endswith("done")
        assert screen.screen.rindex(SHOW) > screen.screen.rindex(HIDE)


@pytest.mark.parametrize(
    ("env", "hidden"),
    [({}, "rich"), pytest.param({"TERM": "dumb"}, "", marks=needs_rich)],
    ids=["no rich", "dumb terminal"],
)
def test_a_terminal_that_cannot_show_bars_gets_the_text_at_the_end(
    env: dict[str, str], hidden: str
) -> None:
    with terminal(
        f"""
        import importlib.util
        look = importlib.util.find_spec
        importlib.util.find_spec = lambda name, *a: None if name == {hidden!r} else look(name, *a)
        import mechestim as me
        from tests.support.spending import spend
        with me.budget_live(refresh_s=0.01), me.BudgetContext(10, quiet=True, namespace="net"):
            spend(5)
            print("inside")
        """,
        **env,
    ) as screen:
        assert screen.end() == 0
        inside, _, after = screen.screen.partition("inside")
        assert inside == ""
        assert "mechestim FLOP Budget Summary" in after
        assert "5  (50.0%)" in after
        assert "\x1b[" not in after


# ---------------------------------------------------------------- the session, printed


def test_the_summary_is_printed_as_text_without_a_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with quiet(1000, namespace="net"):
        spend(250, "exp")
    assert me.budget_summary() is None
    out = capsys.readouterr().out
    assert out.startswith("mechestim FLOP Budget Summary\n" + 50 * "=" + "\n")
    assert out.endswith("exp                       250  (100.0%)  [1 call]\n")


@needs_rich
def test_the_summary_is_printed_as_tables_in_a_terminal_with_rich() -> None:
    with terminal(
        """
        import mechestim as me
        from tests.support.spending import spend
        spend(3, "log")
        with me.BudgetContext(1000, quiet=True, namespace="[red]net[/]"):
            spend(250, "exp")
        me.budget_summary()
        """
    ) as screen:
        assert screen.end() == 0
    text = screen.text
    assert re.search(r"\(default\) .* 1\.00e\+15 .* 3 \(0\.0%\)", text)
    assert re.search(r"\[red\]net\[/\] .* 1,000 .* 250 \(25\.0%\) .* 750 ", text)
    assert re.search(r"\[red\]net\[/\] \N{EM DASH} by operation", text)
    assert re.search(r"exp .* 250 .* 100\.0% .* 1 ", text)
    assert re.search(r"Total .* 1\.00e\+15 .* 253 ", text)


def test_the_summary_is_printed_to_an_output_without_a_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    me.budget_summary()  # print() to nowhere
    output = io.StringIO()
    monkeypatch.setattr(sys, "stdout", output)
    me.budget_summary()
    assert output.getvalue().startswith("mechestim FLOP")


def test_printing_the_summary_imports_neither_rich_nor_matplotlib(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = builtins.__import__

    def watched(name: str, *args: Any) -> Any:
        assert name.partition(".")[0] not in ("rich", "matplotlib"), name
        return real(name, *args)

    monkeypatch.setattr(builtins, "__import__", watched)
    with me.budget_live(), quiet() as budget:
        spend(1)
    me.budget_summary()
    budget.summary()
