"""The progress bars of loops, at a terminal of their own."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from typing import Any

import pytest

from shm_echo import DataLoader
from tests.support.loop_datasets import Numbers
from tests.support.mechestim_server import ROOT
from tests.support.terminal import Terminal

if importlib.util.find_spec("rich") is None:
    pytest.skip("rich is not installed", allow_module_level=True)

HIDDEN, SHOWN = b"\x1b[?25l", b"\x1b[?25h"

START = """
import os, sys, time
from shm_echo import DataLoader
from tests.support.loop_datasets import Failing, Numbers

class Talking(Numbers):
    def __getitem__(self, index):
        if index == 9:
            print(f"worker says {type(sys.stdout).__name__}", flush=True)
        return super().__getitem__(index)

def loader(dataset=Numbers(12), **arguments):
    return DataLoader(dataset, 2, progress=True, **arguments)
"""


def at_terminal(program: str) -> tuple[int, bytes]:
    """Run a program at a terminal; return its exit code and what it has written."""
    with Terminal([sys.executable, "-c", START + program], {"TERM": "xterm"}) as terminal:
        return terminal.wait(), terminal.said


def test_a_loop_has_a_bar_that_stays_at_its_end() -> None:
    code, said = at_terminal("""
for num_workers in (0, 1):
    with loader(num_workers=num_workers) as batches:
        for epoch in range(2):
            for batch in batches:
                print("batch", int(batch[0, 0]))
print("the end")
""")
    assert code == 0
    assert said.count(HIDDEN) == said.count(SHOWN) == 4
    for text in (b"epoch 0", b"epoch 1", b"6/6", b"items/s", b"waiting", b"batch 10"):
        assert text in said
    assert said.rstrip().endswith(b"the end")


ENDS = """
def a_break():
    for batch in loader(): break

def an_exception():
    for batch in loader(): 1 / 0

def an_item():
    list(loader(Failing(12, 5), num_workers=1))

def a_dropped_iterator():
    loop = iter(loader()); next(loop); loop = None

def an_interrupt():
    for batch in loader(): raise KeyboardInterrupt

def nested():
    l = loader(num_workers=1)
    for batch in l:
        for number, inner in enumerate(l):
            if number == 2: break

def an_unknown_length():
    assert len(list(loader(sampler=iter([1, 2, 3])))) == 2

for end in (a_break, an_exception, an_item, a_dropped_iterator, an_interrupt, nested,
            an_unknown_length):
    try:
        end()
    except (KeyError, ZeroDivisionError, KeyboardInterrupt):
        pass
    print("behind", end.__name__, flush=True)
"""


def test_the_terminal_is_as_before_however_a_loop_ends() -> None:
    code, said = at_terminal(ENDS)
    assert code == 0
    parts = said.split(b"behind ")
    assert len(parts) == 8
    for part in parts[:7]:
        assert part.count(HIDDEN) == part.count(SHOWN) == 1, part
    assert HIDDEN not in parts[7]


def test_a_loop_that_still_runs_at_the_exit_leaves_the_terminal_as_before() -> None:
    code, said = at_terminal("loop = iter(loader(num_workers=1))\nnext(loop)\n")
    assert code == 0
    assert said.count(HIDDEN) == said.count(SHOWN) == 1


@pytest.mark.parametrize("when", [b"epoch 0", b"in the loop"])
def test_ctrl_c_leaves_the_terminal_as_before(when: bytes) -> None:
    program = START + "for batch in loader(): print('in the loop'); time.sleep(60)\n"
    with Terminal([sys.executable, "-c", program], {"TERM": "xterm"}) as terminal:
        terminal.read_until(when)
        terminal.type(b"\x03")
        assert terminal.wait() != 0
        said = terminal.said
    assert said.count(SHOWN) == said.count(HIDDEN) == 1
    assert b"KeyboardInterrupt" in said


def test_workers_and_displays_of_the_program_are_left_alone() -> None:
    code, said = at_terminal("""
from rich.console import Console
from rich.live import Live

l = loader(Talking(12), num_workers=1)
for batch in l:
    if not int(batch[0, 0]):
        for inner in l: pass   # its workers are forked while the bar is shown
with Live("mine", console=Console(stderr=True), auto_refresh=False):
    print(sum(1 for _ in loader()), "batches")
""")
    assert code == 0
    assert said.count(b"worker says TextIOWrapper") == 2
    assert b"6 batches" in said


def test_nothing_is_written_where_there_is_no_terminal() -> None:
    program = START + "print(len(list(loader(num_workers=1))))"
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True,
        env={**os.environ, "FORCE_COLOR": "1", "TTY_COMPATIBLE": "1"},
    )  # fmt: skip
    assert (run.stdout, run.stderr) == ("6\n", "")


def test_nor_at_a_terminal_that_can_draw_nothing() -> None:
    with Terminal([sys.executable, "-c", START + "list(loader())"], {"TERM": "dumb"}) as terminal:
        assert (terminal.wait(), terminal.said) == (0, b"")


def test_without_rich_it_is_an_error_that_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found: Any = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "rich" else found(name, *a)
    )
    with pytest.raises(ImportError, match=r"progress=True needs rich: pip install 'shm-echo\[li"):
        DataLoader(Numbers(4), progress=True)
    DataLoader(Numbers(4))
