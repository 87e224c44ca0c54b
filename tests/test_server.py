"""The life of a server: start, close, and calls before the one or after the other."""

from __future__ import annotations

import gc
import signal
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from shm_echo import ConnectionClosedError, Server, ShmClient, ShmTransport
from shm_echo.errors import AddressInUseError, RingFullError, ShmTooSmallError
from tests.support.leftovers import open_descriptors
from tests.support.numbered import EXAMPLE, numbered, numbers_of
from tests.support.scripts import run_script
from tests.support.threads import Worker, wait_until_asleep
from tests.support.waiting import wait_until


def taken(server: Server) -> list[int]:
    sample = server.sample(timeout=60)
    assert sample is not None
    return numbers_of(sample.batch)


ASKING: dict[str, Callable[[Server], Any]] = {
    "sample": lambda server: server.sample(),
    "flush": lambda server: server.flush(),
    "the iterator": lambda server: next(server.dataset_iter()),
    "submit": lambda server: server.submit(numbered(0)),
    "publish": lambda server: server.publish({"w": np.zeros(2)}),
    "info": lambda server: server.info(),
    "producers": lambda server: server.producers(),
    "reset_histograms": lambda server: server.reset_histograms(),
}


# ---------------------------------------------------------------- start


def test_a_with_statement_starts_the_server_and_closes_it(name: str) -> None:
    server = Server(EXAMPLE, 2, ShmTransport(name))
    with server as entered:
        assert entered is server
        with ShmClient(name, EXAMPLE) as client:
            client.send_batch({"x": np.zeros((2, 3), np.float32), "n": np.zeros(2, np.int64)})
        assert taken(server) == [0, 0]
        assert not server.closed
    assert server.closed
    assert server.sample() is None


def test_start_returns_the_server_so_that_it_can_be_chained(name: str) -> None:
    server = Server(EXAMPLE, 2, ShmTransport(name))
    assert server.start() is server
    with server:  # started already: that is fine
        assert server.info().store_size == 0


@pytest.mark.parametrize("ask", ASKING.values(), ids=ASKING)
def test_a_server_with_a_transport_must_be_started(name: str, ask: Callable[[Server], Any]) -> None:
    with pytest.raises(RuntimeError, match=r"call start\(\) first, or use the server in a with"):
        ask(Server(EXAMPLE, 2, ShmTransport(name), publishes={"w": np.zeros(2)}))


def test_a_server_without_a_transport_starts_by_itself() -> None:
    server = Server(EXAMPLE, 2)
    server.submit(numbered(1))
    server.submit(numbered(2))
    assert taken(server) == [1, 2]
    server.close()


def test_threads_may_be_the_first_to_use_a_server_all_at_once() -> None:
    for _ in range(20):
        server = Server(EXAMPLE, 4, num_buffers=2)
        together = threading.Barrier(4)

        def first(i: int, server: Server = server, together: Any = together) -> None:
            together.wait()
            server.submit(numbered(i))

        for worker in [Worker(first, i) for i in range(4)]:
            worker.result()
        assert sorted(taken(server)) == [0, 1, 2, 3]
        server.close()


def test_a_running_server_cannot_be_started_again(name: str) -> None:
    with (
        Server(EXAMPLE, 2, ShmTransport(name)) as server,
        pytest.raises(RuntimeError, match="is running already$"),
    ):
        server.start()


def test_a_closed_server_cannot_be_started_again(name: str) -> None:
    server = Server(EXAMPLE, 2, ShmTransport(name)).start()
    server.close()
    with pytest.raises(RuntimeError, match="was closed: make a new one"):
        server.start()
    with pytest.raises(RuntimeError, match="was closed: make a new one"), server:
        pass


def test_a_start_that_failed_leaves_no_descriptor_and_may_be_tried_again(name: str) -> None:
    second = Server(EXAMPLE, 2, ShmTransport(name), publishes={"w": np.zeros(2)})
    with Server(EXAMPLE, 2, ShmTransport(name)):
        gc.collect()
        before = open_descriptors()
        with pytest.raises(AddressInUseError, match=name):
            second.start()
        gc.collect()  # the traceback had the mapping, which has a descriptor of its own
        # The first server may still be about to drop the connection by which it was found alive.
        wait_until(lambda: open_descriptors() <= before, "all descriptors are closed")
    with second:
        assert second.publish({"w": np.ones(2)}) == 1


def test_a_ring_that_is_too_large_is_rejected_with_its_size(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shm_echo.ring.segment.free_under_limit", lambda: (4096, "/a/limit"))
    with pytest.raises(ShmTooSmallError, match=r"/a/limit has 4,096"):
        Server(EXAMPLE, 2, ShmTransport(name)).start()


def test_invalid_sizes_are_rejected() -> None:
    with pytest.raises(ValueError, match="a ring has at most 2,147,483,648"):
        Server(EXAMPLE, 2**31).start()


# ---------------------------------------------------------------- close


def test_close_may_be_called_twice_and_from_several_threads_at_once(name: str) -> None:
    server = Server(EXAMPLE, 2, ShmTransport(name)).start()
    for worker in [Worker(server.close) for _ in range(4)]:
        worker.result()
    server.close()
    assert server.closed


def test_a_server_may_be_closed_before_it_was_started(name: str) -> None:
    server = Server(EXAMPLE, 2, ShmTransport(name))
    server.close()
    assert server.closed
    assert server.sample() is None


def test_after_close_sample_returns_none_and_submit_raises(name: str) -> None:
    server = Server(EXAMPLE, 2, ShmTransport(name), publishes={"w": np.zeros(2)}).start()
    server.submit(numbered(0))
    server.close()
    assert server.sample() is None
    assert server.sample(timeout=0) is None
    assert server.flush() is None
    assert list(server.dataset_iter()) == []
    assert server.producers() == []
    server.reset_histograms()
    for ask in (ASKING["submit"], ASKING["publish"], ASKING["info"]):
        with pytest.raises(ConnectionClosedError, match="this server is closed"):
            ask(server)


def test_close_ends_a_blocked_sample_with_none(name: str) -> None:
    with Server(EXAMPLE, 2, ShmTransport(name)) as server:
        learner = Worker(server.sample)
        learner.wait_until_asleep()
    assert learner.result() is None


def test_close_ends_every_thread_that_waits_to_sample() -> None:
    with Server(EXAMPLE, 2) as server:
        learners = [Worker(server.sample) for _ in range(3)]
        for learner in learners:
            learner.wait_until_asleep()
    assert [learner.result() for learner in learners] == [None] * 3


def test_close_ends_a_blocked_submit() -> None:
    end = threading.Event()
    with Server(EXAMPLE, 2, num_buffers=2) as server:
        learner = Worker(lambda: (server.sample(timeout=60), end.wait(60)))
        producer = Worker(lambda: [server.submit(numbered(i)) for i in range(100)])
        wait_until(lambda: server.info().push_blocked_count, "submit waits for room")
        producer.wait_until_asleep()
    with pytest.raises(ConnectionClosedError):
        producer.result()
    assert learner.thread.is_alive()  # it was there all the time, so submit had to wait
    end.set()
    learner.result()


def test_close_reaches_producers(name: str) -> None:
    server = Server(EXAMPLE, 2, ShmTransport(name)).start()
    with ShmClient(name, EXAMPLE) as client:
        server.close()
        with pytest.raises(ConnectionClosedError):
            client.send(numbered(0))


def test_a_server_that_starts_and_closes_leaves_no_descriptor_open(name: str) -> None:
    gc.collect()
    before = open_descriptors()
    for _ in range(5):
        with Server(EXAMPLE, 2, ShmTransport(name), publishes={"w": np.zeros(2)}) as server:
            server.submit(numbered(0))
            with ShmClient(name, EXAMPLE) as client:
                client.send(numbered(1))
    del server, client
    gc.collect()
    assert open_descriptors() <= before


def test_a_garbage_collected_server_warns_and_frees_its_address(name: str) -> None:
    server = Server(EXAMPLE, 2, ShmTransport(name)).start()
    server.submit(numbered(0))
    gc.collect()
    with pytest.warns(ResourceWarning, match="<Server of .*, running> was not closed"):
        del server
    with Server(EXAMPLE, 2, ShmTransport(name)) as server:
        assert server.info().store_size == 0


# ---------------------------------------------------------------- signals and forks


def test_ctrl_c_ends_a_blocked_sample_and_loses_nothing() -> None:
    with Server(EXAMPLE, 2) as server:
        server.submit(numbered(1))
        main, about_to_wait = threading.main_thread(), threading.Event()

        def interrupt() -> None:
            about_to_wait.wait()
            wait_until_asleep(main)
            assert main.ident is not None
            signal.pthread_kill(main.ident, signal.SIGINT)

        worker = Worker(interrupt)

        def wait_for_a_batch() -> None:
            about_to_wait.set()
            server.sample()

        with pytest.raises(KeyboardInterrupt):
            wait_for_a_batch()
        worker.result()
        server.submit(numbered(2))
        assert taken(server) == [1, 2]


def test_a_forked_child_cannot_use_its_parents_server() -> None:
    printed = run_script(
        """
        import os, warnings
        import numpy as np
        from shm_echo import Server

        server = Server(np.zeros(2), 2)
        server.submit(np.ones(2))
        warnings.filterwarnings("ignore", "This process .* is multi-threaded")  # by a library
        child = os.fork()
        if child == 0:
            for call in (server.sample, server.info, lambda: server.submit(np.ones(2)),
                         server.start, server.__enter__):
                try:
                    call()
                except RuntimeError as error:
                    print(type(error).__name__, error, flush=True)
            server.close()  # harmless: it is not the child's to close
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        server.submit(np.ones(2))
        print("the parent's batch:", server.sample().batch.sum(), flush=True)
        """
    )
    lines = printed.splitlines()
    for line in lines[:3]:
        assert line.startswith("ForkedHandleError this server belongs to the parent process")
    for line in lines[3:5]:
        assert "belongs to the parent process: make a new one" in line
    assert lines[5] == "the parent's batch: 4.0"


def test_its_repr_has_its_transport_and_its_state(name: str) -> None:
    server = Server(EXAMPLE, 2, ShmTransport(name))
    assert name in repr(server)
    assert "new" in repr(server)
    with server:
        assert "running" in repr(server)
    assert "closed" in repr(server)


def test_the_sizes_can_be_read_back() -> None:
    server = Server(EXAMPLE, 5, num_buffers=4, num_drainers=2, producer_queue_size=3, lease=False)
    sizes = (server.batch_size, server.num_buffers)
    assert (*sizes, server.num_drainers, server.producer_queue_size) == (5, 4, 2, 3)
    for i in range(20):
        server.submit(numbered(i))
    server.sample()
    for i in range(5):
        with pytest.raises(RingFullError):
            server.submit(numbered(i))
    server.close()
