"""Arrays that outlive their batch: they show old or other samples, and never crash.

Memory stays mapped exactly as long as an array over it lives, even if the batch, the server or the
interpreter ends before.
"""

from __future__ import annotations

import gc
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shm_echo import Server, ShmTransport
from tests.support.numbered import EXAMPLE, numbered, numbers_of
from tests.support.scripts import run_script


def batch_of(server: Server, *numbers: int) -> Any:
    for number in numbers:
        server.submit(numbered(number))
    sample = server.sample()
    assert sample is not None
    return sample.batch


def mappings() -> int:
    """Return the number of shared segments of the library that this process has mapped.

    The whole name is compared: files of a folder called shm-echo may be mapped too.
    """
    maps = Path("/proc/self/maps").read_text()
    return len(re.findall(r" (?:/dev/shm/shm-echo-|/memfd:shm-echo )", maps))


@pytest.fixture
def no_garbage_collector() -> Any:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("lease", [False, True, "copy"], ids=["plain", "leased", "copy"])
def test_a_view_is_readable_after_close_and_shows_the_same_samples(name: str, lease: Any) -> None:
    with Server(EXAMPLE, 2, ShmTransport(name), lease=lease) as server:
        batch = batch_of(server, 1, 2)
    assert numbers_of(batch) == [1, 2]
    assert server.sample() is None  # which gives the batch back
    assert numbers_of(batch) == [1, 2]


@pytest.mark.parametrize("lease", [False, True, "copy"], ids=["plain", "leased", "copy"])
def test_a_view_is_readable_when_its_server_is_gone_from_memory(lease: Any) -> None:
    kept = []
    for i in range(6):
        server = Server(EXAMPLE, 2, lease=lease).start()
        kept.append(batch_of(server, i, i)["x"][:, 1])
        if i % 2:
            server.close()
        del server
        gc.collect()
    for i, column in enumerate(kept):
        assert column.tolist() == [i, i]


def test_views_of_every_batch_may_be_kept_and_read_at_any_time() -> None:
    kept = []
    with Server(EXAMPLE, 2, num_buffers=2, lease=False) as server:
        for i in range(100):
            kept.append(batch_of(server, i, i))
    for i, batch in enumerate(kept):
        assert numbers_of(batch) == [98 + i % 2] * 2


@pytest.mark.parametrize("backing", ["posix", "memfd"])
@pytest.mark.parametrize("lease", [False, True, "copy"], ids=["plain", "leased", "copy"])
@pytest.mark.usefixtures("no_garbage_collector")
def test_memory_is_unmapped_with_the_last_view_without_a_garbage_collection(
    name: str, backing: Any, lease: Any
) -> None:
    before = mappings()
    server = Server(EXAMPLE, 2, ShmTransport(name, backing), lease=lease).start()
    assert mappings() > before
    batch = batch_of(server, 1, 2)
    server.close()
    del server
    assert mappings() > before
    last = batch["x"][1]
    del batch
    assert mappings() > before
    assert last.tolist() == [2, 2, 2]
    del last
    assert mappings() == before


@pytest.mark.usefixtures("no_garbage_collector")
def test_a_server_that_is_dropped_unmaps_its_memory_at_once(name: str) -> None:
    before = mappings()
    server = Server(EXAMPLE, 2, ShmTransport(name), publishes={"w": np.zeros(2)}).start()
    batch_of(server, 1, 2)
    server.publish({"w": np.ones(2)})
    server.close()
    del server
    assert mappings() == before


# ---------------------------------------------------------------- the end of the interpreter

ENDINGS = {
    "the server runs": "",
    "the server is closed": "server.close()",
    "the server is gone": "server.close(); del server; gc.collect()",
    "views form a cycle": "cycle = [batch]; cycle.append(cycle)",
    "a view is in a default argument": "def f(kept=batch['x'][1:]): return kept",
    "a module keeps a view": "sys.modules['json'].kept = batch['x'].T",
    "sys.exit with views": "sys.exit(0)",
    "a daemon thread samples": (
        "import threading; threading.Thread(target=server.sample, daemon=True).start()"
    ),
}


_SHM = "ShmTransport(sys.argv[1])"
SETTINGS = [
    *(pytest.param(_SHM, True, code, id=when) for when, code in ENDINGS.items()),
    pytest.param(_SHM, False, "", id="not leased"),
    pytest.param("None", True, "", id="no transport"),
    pytest.param("None", False, "", id="no transport, not leased"),
]


@pytest.mark.parametrize(("transport", "lease", "ending"), SETTINGS)
def test_an_interpreter_ends_silently_with_views_alive(
    name: str, transport: str, lease: Any, ending: str
) -> None:
    printed = run_script(
        f"""
        import gc, sys, json, warnings
        import numpy as np
        from shm_echo import Server, ShmTransport

        warnings.simplefilter("ignore", ResourceWarning)  # of a server that is not closed

        example = {{"x": np.ones((4, 3), np.float32)}}
        server = Server(example, 2, {transport}, lease={lease}).start()
        for _ in range(4):
            server.submit(example)
        batch = server.sample().batch
        view, line = batch["x"][1:], memoryview(batch["x"])
        print(view.sum())
        {ending}
        """,
        name,
    )
    assert printed == "12.0\n"


# ---------------------------------------------------------------- the poison switch

_STALE = """
    import logging
    import numpy as np
    from shm_echo import Server

    logging.getLogger("shm_echo").setLevel(logging.ERROR)  # it warns of this program

    example = {"f": np.float64(0), "i": np.zeros(2, np.int16), "u": np.uint8(0)}
    server = Server(example, 2, num_buffers=3, lease=False)
    for i in range(4):
        server.submit({"f": float(i), "i": np.full(2, i, np.int16), "u": i})
    stale = server.sample().batch
    fresh = server.sample().batch
    print([stale[key].tolist() for key in "fiu"])
    print([fresh[key].tolist() for key in "fiu"])
    server.submit({"f": 9.0, "i": np.full(2, 9, np.int16), "u": 9})
    print(server.flush().batch["f"].tolist())
    server.close()
"""


@pytest.mark.parametrize("value", ["1", "true", "yes", "on"])
def test_in_debug_mode_a_released_batch_is_poisoned(value: str) -> None:
    lines = run_script(_STALE, env={"SHM_ECHO_DEBUG": value}).splitlines()
    assert lines == [
        "[[nan, nan], [[-1, -1], [-1, -1]], [255, 255]]",
        "[[2.0, 3.0], [[2, 2], [3, 3]], [2, 3]]",
        "[9.0]",
    ]


@pytest.mark.parametrize("value", ["", "0", "off"])
def test_without_debug_mode_a_released_batch_is_not_written(value: str) -> None:
    lines = run_script(_STALE, env={"SHM_ECHO_DEBUG": value}).splitlines()
    assert lines[0] == "[[0.0, 1.0], [[0, 0], [1, 1]], [0, 1]]"


def test_in_debug_mode_copies_are_not_poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHM_ECHO_DEBUG", "1")
    with Server(EXAMPLE, 2) as server:
        batches = server.dataset_iter(copy=True)
        kept = []
        for i in range(9):
            server.submit(numbered(i))
            server.submit(numbered(i))
            kept.append(next(batches).batch)
        assert [numbers_of(batch) for batch in kept] == [[i, i] for i in range(9)]


def test_in_debug_mode_a_leased_batch_is_poisoned_only_without_references(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SHM_ECHO_DEBUG", "1")
    with Server(EXAMPLE, 2, lease=True) as server:
        kept = batch_of(server, 0, 1)
        for i in range(12):
            server.submit(numbered(i))
            other = server.flush()
            assert other is not None
            assert numbers_of(other.batch) == [i]
            assert numbers_of(kept) == [0, 1]
            del other
            if i % 2:
                del kept
                kept = batch_of(server, 0, 1)
