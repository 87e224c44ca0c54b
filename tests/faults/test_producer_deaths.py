"""Producers end without closing: the learner learns it by its policy, and no sample is lost."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shm_echo import ProducerDiedError, Server, ShmTransport
from tests.faults.roles import leave, leave_as_grandchild, send_some
from tests.support.processes import METHODS, start
from tests.support.samples import example
from tests.support.threads import Worker
from tests.support.waiting import WATCHDOG, wait_until

pytestmark = pytest.mark.usefixtures("shm_unchanged")

Serve = Callable[..., Server]


@pytest.fixture
def serve(name: str) -> Iterator[Serve]:
    """Starts the server of the test, with batches of two."""
    servers = []

    def make(policy: str, **options: int) -> Server:
        server = Server(
            example(),
            transport=ShmTransport(name),
            on_producer_death=policy,  # type: ignore[arg-type]
            **{"batch_size": 2, "num_buffers": 8} | options,
        )
        servers.append(server.start())
        return server

    yield make
    for server in servers:
        server.close()


def left(server: Server) -> None:
    wait_until(lambda: not server.producers(), "nobody is attached")


# ---------------------------------------------------------------- how it ended


@pytest.mark.parametrize("how", ["_exit", "SIGKILL", "SIGTERM", "SIGABRT", "SIGSEGV"])
def test_a_blocked_learner_learns_the_pid_and_the_signal_of_a_death(
    name: str, serve: Serve, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve("raise")
    expected = None if how == "_exit" else signal.Signals[how]
    with start(leave, name, how) as child:
        child.expect("sent")
        learner = Worker(server.sample)
        learner.wait_until_asleep()
        child.say("leave")
        with pytest.raises(ProducerDiedError) as death:
            learner.result()
    assert (death.value.pid, death.value.signal) == (child.pid, expected)
    words = "ended" if expected is None else f"was ended by {how}"
    assert str(death.value) == f"producer pid {child.pid} {words} without closing its client"
    assert [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING] == [
        f"producer pid {child.pid} {words} without closing"
    ]
    # What it sent is there, and the learner can go on.
    assert server.sample(timeout=0, partial=True).batch["sequence"].tolist() == [0]  # type: ignore[union-attr]


def test_the_exit_code_of_a_child_is_left_for_its_parent(name: str, serve: Serve) -> None:
    server = serve("raise")
    script = f"""
import os, signal
from tests.faults.roles import attach
client = attach({name!r})
os.kill(os.getpid(), signal.SIGKILL)
"""
    with subprocess.Popen([sys.executable, "-c", script]) as child:
        with pytest.raises(ProducerDiedError):
            server.sample()
        assert child.wait(WATCHDOG) == -signal.SIGKILL


@pytest.mark.parametrize("method", METHODS)
def test_the_signal_is_reported_for_every_start_method(
    name: str, serve: Serve, method: str
) -> None:
    server = serve("raise")
    with start(leave, name, "SIGKILL", method=method) as child:
        child.expect("sent")
        child.say("leave")
        with pytest.raises(ProducerDiedError) as death:
            server.sample(timeout=WATCHDOG)
    assert death.value.pid == child.pid
    # The fork server waits for its children at once; then only a recent kernel tells.
    assert death.value.signal == signal.SIGKILL or (
        death.value.signal is None and method == "forkserver"
    )


@pytest.mark.parametrize("orphaned", [False, True])
def test_the_death_of_a_process_that_is_no_child_is_noticed_too(
    name: str, serve: Serve, orphaned: bool
) -> None:
    server = serve("raise")
    with start(leave_as_grandchild, name, "SIGKILL", orphaned, method="subprocess") as parent:
        pid = parent.hear()
        parent.expect("sent")
        if orphaned:
            assert parent.wait() == 0
        assert [p.pid for p in server.producers()] == [pid]
        parent.say("leave")
        with pytest.raises(ProducerDiedError) as death:
            server.sample(timeout=WATCHDOG)
    assert death.value.pid == pid
    # The signal of a zombie can be read, but another process may have waited for an orphan already.
    assert death.value.signal in ((signal.SIGKILL, None) if orphaned else (signal.SIGKILL,))


# ---------------------------------------------------------------- the policies


def test_raise_reports_each_death_once_and_loses_no_sample(name: str, serve: Serve) -> None:
    server = serve("raise")
    pids = []
    for _ in range(3):
        with start(leave, name, "SIGKILL") as child:
            child.expect("sent")
            child.say("leave")
            pids.append(child.pid)
            child.wait()
            left(server)
    told = []
    for _ in pids:
        with pytest.raises(ProducerDiedError) as death:
            server.sample(timeout=0)
        told.append(death.value.pid)
    assert told == pids
    assert len(server.sample(timeout=0).batch["sequence"]) == 2  # type: ignore[union-attr]
    assert len(server.flush().batch["sequence"]) == 1  # type: ignore[union-attr]


def test_raise_comes_before_batches_that_are_ready(name: str, serve: Serve) -> None:
    server = serve("raise")
    with start(send_some, name, 1, 4) as child:
        child.expect("sent")
        child.end()
    left(server)
    with pytest.raises(ProducerDiedError):
        server.sample()
    for _ in range(2):
        assert len(server.sample(timeout=0).batch["sequence"]) == 2  # type: ignore[union-attr]


def test_raise_if_last_waits_for_the_others_and_hands_out_complete_batches_first(
    name: str, serve: Serve
) -> None:
    server = serve("raise_if_last")
    with start(send_some, name, 1, 3) as first, start(send_some, name, 2, 2) as last:
        first.expect("sent")
        last.expect("sent")
        first.end()
        wait_until(lambda: len(server.producers()) == 1, "the first one's end is noticed")
        for _ in range(2):  # another one is there, and two batches are complete
            assert len(server.sample(timeout=0).batch["sequence"]) == 2  # type: ignore[union-attr]
        with pytest.raises(TimeoutError):
            server.sample(timeout=0)
        learner = Worker(server.sample)
        learner.wait_until_asleep()
        last.kill(signal.SIGTERM)
        with pytest.raises(ProducerDiedError) as death:
            learner.result()
        assert death.value.pid == first.pid  # the oldest death that was not reported
        with pytest.raises(ProducerDiedError) as death:
            server.sample()
        assert (death.value.pid, death.value.signal) == (last.pid, signal.SIGTERM)
    assert len(server.flush().batch["sequence"]) == 1  # type: ignore[union-attr]


def test_raise_if_last_does_not_raise_when_the_last_one_closed_and_none_died(
    name: str, serve: Serve
) -> None:
    server = serve("raise_if_last")
    with start(send_some, name, 1, 1) as child:
        child.expect("sent")
        child.say("close")
        assert child.wait() == 0
    left(server)
    with pytest.raises(TimeoutError, match="0 producers attached"):
        server.sample(timeout=0.3)


@pytest.mark.parametrize("policy", ["warn", "raise_if_last"])
def test_other_producers_fill_the_batch_of_a_dead_one(name: str, serve: Serve, policy: str) -> None:
    server = serve(policy)
    with start(send_some, name, 1, 1) as dead, start(send_some, name, 2, 0) as alive:
        dead.expect("sent")
        alive.expect("sent")
        learner = Worker(server.sample)
        dead.end()
        wait_until(lambda: len(server.producers()) == 1, "the death is noticed")
        with start(send_some, name, 3, 1):
            assert sorted(learner.result().batch["producer"].tolist()) == [1, 3]


# ---------------------------------------------------------------- leaving in good order


PRELUDE = """
from tests.faults.roles import attach
from tests.support.samples import Maker
"""


def run(script: str, *options: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, *options, "-c", PRELUDE + script],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        timeout=WATCHDOG,
    )
    assert done.returncode == 0, done.stderr
    return done


LEAVING = {
    "a local client": "def main():\n    client = attach({name!r})\nmain()",
    "a global client": "client = attach({name!r})",
    "a global client and sys.exit": "import sys\nclient = attach({name!r})\nsys.exit(0)",
    "a slot that was never ended": "client = attach({name!r})\nslot = client.reserve()",
}

BLOCKED = """
import threading
from shm_echo import SendTimeoutError
client = attach({name!r})
def fill():
    while True:
        client.send(Maker(0).sample(0))
threading.Thread(target=fill, daemon=True).start()
try:
    while True:
        client.send(Maker(0).sample(0), timeout=0.05)
except SendTimeoutError:
    print("full")
"""


def test_a_daemon_thread_that_waits_for_room_does_not_keep_its_program_from_ending(
    name: str, serve: Serve
) -> None:
    server = serve("warn", num_buffers=2)
    assert run(BLOCKED.format(name=name)).stdout == "full\n"
    left(server)


@pytest.mark.parametrize("warnings", ["default", "error"])
@pytest.mark.parametrize("script", LEAVING.values(), ids=LEAVING)
def test_a_program_that_ends_without_closing_is_detached_with_a_warning(
    name: str, serve: Serve, script: str, warnings: str
) -> None:
    server = serve("warn", num_buffers=2)
    done = run(script.format(name=name), "-W", f"{warnings}::ResourceWarning")
    left(server)
    assert "ResourceWarning" in done.stderr
    assert f"<ShmClient of {name}> was not closed" in done.stderr
