"""A learner that forks: the child inherits its server and its batches, and must not touch them."""

from __future__ import annotations

import gc
import os
import sys
from typing import Any

import numpy as np
import pytest

from shm_echo import Sample, Server, ShmTransport
from shm_echo.errors import ForkedHandleError
from tests.faults.roles import attach
from tests.support.processes import start
from tests.support.samples import Audit, Maker, example
from tests.support.waiting import WATCHDOG

pytestmark = pytest.mark.usefixtures("shm_unchanged")

MAKER = Maker(1)


def use_server(pipe: Any, server: Server) -> None:
    """Everything that a server can do is refused, and its end is harmless."""
    for use in (
        server.sample,
        server.flush,
        lambda: next(iter(server.dataset_iter())),
        lambda: server.submit(MAKER.sample(0)),
        lambda: server.publish({"w": np.zeros(2)}),
    ):
        with pytest.raises(ForkedHandleError, match="call its connector"):
            use()
    with pytest.raises(RuntimeError, match="belongs to the parent process"):
        server.start()
    server.close()
    gc.collect()
    pipe.send("done")
    sys.exit(0)


def test_a_child_cannot_use_its_parents_server_and_its_exit_does_not_end_it(name: str) -> None:
    with Server(
        example(), 1, ShmTransport(name), num_buffers=2, publishes={"w": np.zeros(2)}
    ) as server:
        with start(use_server, server) as child:
            child.expect("done")
            assert child.wait() == 0
        with attach(name) as client:  # the socket is there, and answers
            client.send(MAKER.sample(0))
            sample = server.sample(timeout=WATCHDOG)
            assert sample is not None
            assert sample.batch["sequence"].tolist() == [0]


def drop(pipe: Any, held: list[Sample]) -> None:
    held.clear()
    gc.collect()
    pipe.send("dropped")


@pytest.mark.parametrize("lease", [False, True])
@pytest.mark.parametrize("debug", ["0", "1"])
def test_a_batch_that_a_child_drops_stays_held_by_its_parent(
    name: str, lease: bool, debug: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHM_ECHO_DEBUG", debug)
    audit = Audit()
    with Server(example(), 2, ShmTransport(name), num_buffers=3, lease=lease) as server:
        with attach(name) as client:
            client.send_batch(MAKER.batch(0, 2))
            held = [server.sample(timeout=WATCHDOG)]
            with start(drop, held) as child:
                child.expect("dropped")
                assert child.wait() == 0
            client.send_batch(MAKER.batch(2, 4))
            # Six samples in a ring of six: the two of the held batch are still taken.
            with pytest.raises(TimeoutError):
                client.send(MAKER.sample(6), timeout=0)
            (first,) = held
            assert first is not None
            assert first.batch["sequence"].tolist() == [0, 1]
            audit.take(first.batch)


def serve_anew(pipe: Any, address: str) -> None:
    with (
        Server(example(), 1, ShmTransport(address), num_buffers=2) as server,
        attach(address) as client,
    ):
        client.send(MAKER.sample(0))
        sample = server.sample(timeout=WATCHDOG)
        assert sample is not None
        pipe.send((os.getpid(), sample.batch["sequence"].tolist()))


def test_a_child_of_a_learner_can_run_a_server_of_its_own(name: str) -> None:
    with (
        Server(example(), 1, ShmTransport(name), num_buffers=2),
        start(serve_anew, f"{name}-2") as child,
    ):
        child.expect((child.pid, [0]))
        assert child.wait() == 0
