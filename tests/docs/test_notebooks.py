"""What the notebooks page says of IPython, with IPython itself, which runs a notebook's cells."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from shm_echo import Server

interactiveshell = pytest.importorskip("IPython.core.interactiveshell")


class Notebook:
    """Cells that IPython runs one after the other, numbered from 1, and a server named `server`."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._shell = interactiveshell.InteractiveShell(user_ns={"server": server})
        self.cells = 0

    def run(self, cell: str) -> None:
        """Run one cell, after a batch for it has been submitted."""
        self.server.flush()
        for n in range(2):
            self.server.submit(np.float32(n))
        self.cells += 1
        self._shell.run_cell(cell, store_history=True)

    def held(self) -> int:
        """Return how many batches the notebook holds."""
        gc.collect()
        return len(self.server.held())


@pytest.fixture
def notebook(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Notebook]:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))  # the history of the cells goes there
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)  # IPython warns of another one than its own
    with Server(np.float32(0), batch_size=2, num_buffers=6) as server:
        yield Notebook(server)


def test_an_output_that_was_shown_holds_its_batch(notebook: Notebook) -> None:
    notebook.run("server.sample()")
    for _ in range(5):
        notebook.run("1")
    assert notebook.held() == 1


@pytest.mark.parametrize(
    "cell", ["server.sample();", "server.sample().batch.mean()", "s = server.sample()\ndel s"]
)
def test_an_output_that_was_not_shown_holds_none(notebook: Notebook, cell: str) -> None:
    notebook.run(cell)
    assert notebook.held() == 0


def test_xdel_drops_an_output_and_reset_does_not(notebook: Notebook) -> None:
    notebook.run("server.sample()")
    notebook.run("%reset -f out")
    assert notebook.held() == 1
    notebook.run("server.sample()")
    notebook.run("%xdel _3")
    assert notebook.held() == 1


def test_an_exception_holds_its_batch_until_the_next_one(notebook: Notebook) -> None:
    notebook.run("def step():\n    batch = server.sample().batch\n    1 / 0\nstep()")
    notebook.run("1")
    assert notebook.held() == 1
    notebook.run("2 / 0")
    assert notebook.held() == 0


def test_a_cell_that_starts_its_server_can_run_again_after_it_closed_the_first(
    notebook: Notebook,
) -> None:
    cell = (
        "import os, numpy as np\nfrom shm_echo import Server, ShmTransport\n"
        "if 'second' in globals():\n    second.close()\n"
        "second = Server(np.float32(0), 2, ShmTransport(f'notebook-{os.getpid()}')).start()"
    )
    notebook.run(cell)
    notebook.run(cell)
    notebook.run("assert not second.closed; second.close(); done = True")
    notebook.run("assert done")
    assert notebook._shell.user_ns["done"]
