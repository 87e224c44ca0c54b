"""Client processes that are killed, stopped or forked, and servers that fork."""

from __future__ import annotations

import contextlib
import importlib
import os
import random
import signal
import time
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import shm_echo
from shm_echo import ConnectionClosedError, ForkedHandleError
from tests.support.numbered import numbers_of
from tests.support.processes import Child, start
from tests.support.tcp_ends import ARRAYS, Collector, arrays, connected, idle, serving
from tests.support.threads import Worker
from tests.support.waiting import WATCHDOG, stop, wait_until

LIBRARIES = ("echo", "shm_echo")
ROOM = 50_000  # numbers of one process
LARGE = {"x": np.zeros(1 << 20, np.uint8)}


@pytest.fixture(params=LIBRARIES)
def library(request: pytest.FixtureRequest) -> Any:
    return request.param


def stream(pipe: Any, library: str, port: int, first: int) -> None:
    """Send numbered samples until the end of the world: the program of a child."""
    client = importlib.import_module(library).TcpClient("127.0.0.1", port, ARRAYS)
    client.send(arrays(first))
    client.wait()
    pipe.send("streaming")
    for number in range(first + 1, first + ROOM):
        client.send(arrays(number))
    pipe.recv()


def kill_clients(library: str, kills: int) -> None:
    dice = random.Random(kills)
    with serving(shm_echo, ARRAYS, 64, num_buffers=4) as server:
        numbers: list[int] = []

        def learn() -> None:
            for sample in server.dataset_iter(until="producers_closed", min_producers=1):
                numbers.extend(numbers_of(sample.batch))

        with contextlib.ExitStack() as stack:
            staying = stack.enter_context(connected(shm_echo, server.port, ARRAYS))
            learner = Worker(learn)
            started = iter(range(kills + 3))
            clients: list[Child] = []

            def begin() -> None:
                first = next(started) * ROOM
                args = (library, server.port, first)
                clients.append(stack.enter_context(start(stream, *args, method="fork")))

            for _ in range(3):
                begin()
            for _ in range(kills):
                child = clients.pop(dice.randrange(3))
                child.expect("streaming")
                time.sleep(dice.random() * 0.01)  # the point of it: any moment
                child.kill()
                child.wait()
                begin()
            for child in clients:
                child.expect("streaming")
                child.end()
            staying.close()
            learner.result()
    for index in range(kills + 3):
        mine = [number for number in numbers if number // ROOM == index]
        assert mine, "what was acked before the kill has come"
        assert mine == list(range(index * ROOM, index * ROOM + len(mine)))


def test_killed_clients_lose_tear_and_duplicate_nothing(library: str) -> None:
    kill_clients(library, 12)


@pytest.mark.nightly
def test_hundreds_of_killed_clients(library: str) -> None:
    kill_clients(library, 300)


def stream_large(pipe: Any, library: str, port: int) -> None:
    """Send large samples, each of one value, until the pipe says otherwise."""
    client = importlib.import_module(library).TcpClient("127.0.0.1", port, LARGE)
    sample = {"x": np.zeros(1 << 20, np.uint8)}
    number = 0
    while not pipe.poll():
        sample["x"][:] = number % 100
        client.send(sample)
        number += 1
        if number == 3:
            pipe.send("streaming")
    client.wait()
    client.close()
    pipe.send(number)


def test_clients_that_are_stopped_inside_a_sample_delay_no_other(library: str) -> None:
    with serving(shm_echo, LARGE, 2, num_buffers=3, num_drainers=1) as server:
        counts = {"theirs": 0, "mine": 0}

        def learn() -> None:
            for sample in server.dataset_iter(until="producers_closed", min_producers=2):
                for row in sample.batch["x"]:
                    assert (row == row[0]).all(), "a sample is torn"
                    who = "mine" if row[0] == 200 else "theirs"
                    assert who == "mine" or row[0] == counts[who] % 100
                    counts[who] += 1

        learner = Worker(learn)
        mine = {"x": np.full(1 << 20, 200, np.uint8)}
        with (
            connected(shm_echo, server.port, LARGE) as client,
            start(stream_large, library, server.port, method="forkserver") as child,
        ):
            child.expect("streaming")
            sent = 0
            for _ in range(4):
                child.kill(signal.SIGSTOP)
                for _ in range(20):
                    client.send(mine)
                    sent += 1
                client.wait(timeout=WATCHDOG)
                child.kill(signal.SIGCONT)
            child.say("stop")
            theirs = child.hear()
            assert child.wait() == 0
        learner.result()
        assert counts == {"theirs": theirs, "mine": sent}


def send_and_leave(pipe: Any, port: int, count: int, how: str) -> None:
    """Send samples and leave in some way: the program of a child."""
    client = shm_echo.TcpClient("127.0.0.1", port, ARRAYS, max_inflight_msgs=1000)
    for number in range(count):
        client.send(arrays(number))
    if how == "wait, _exit":
        client.wait()
    if how == "close":
        client.close()
    if how != "exit":
        os._exit(0)


@pytest.mark.parametrize("how", ["wait, _exit", "close", "exit"])
def test_a_process_that_ends_after_its_last_send_loses_nothing(how: str) -> None:
    with serving(shm_echo, ARRAYS, 4, num_buffers=2) as server:
        collector = Collector(server)
        with start(send_and_leave, server.port, 150, how, method="subprocess") as child:
            collector.until(150)
            child.wait()
        assert collector.until_idle() == list(range(150))


def wait_for_word(pipe: Any) -> None:
    """Live on until the parent says something, or ends."""
    pipe.send("here")
    with contextlib.suppress(EOFError):
        pipe.recv()


def test_children_of_a_server_keep_none_of_its_connections() -> None:
    with contextlib.ExitStack() as stack:
        with serving(shm_echo, ARRAYS, 8) as server:
            port = server.port
            learner = Worker(lambda: [numbers_of(s.batch) for s in server.dataset_iter()])
            client = stack.enter_context(connected(shm_echo, port, ARRAYS))

            def send() -> None:
                for number in range(1_000_000):
                    client.send(arrays(number))

            sender = Worker(send)
            for _ in range(8):  # while samples are on their way
                child = stack.enter_context(start(wait_for_word, method="fork"))
                child.expect("here")
        learned = [number for batch in learner.result() for number in batch]
        assert learned == list(range(len(learned)))
        with pytest.raises(ConnectionClosedError):  # though the children live
            sender.result()
        with shm_echo.Server(ARRAYS, 1, shm_echo.TcpTransport(port)) as again:
            assert again.port == port


def use_inherited(pipe: Any, client: Any) -> None:
    """Use a client of the parent, and report the error."""
    for call in (
        lambda: client.send(arrays(0)),
        lambda: client.send_batch({"x": np.zeros((2, 3), np.float32), "n": np.zeros(2, np.int64)}),
        lambda: client.wait(),
        lambda: client.reserve(),
    ):
        try:
            call()
            pipe.send("no error")
        except ForkedHandleError:
            pipe.send("ForkedHandleError")
    client.close()  # closes the child's copy only
    pipe.send("closed")


def test_a_client_belongs_to_the_process_that_made_it() -> None:
    with serving(shm_echo, ARRAYS, 4) as server, connected(shm_echo, server.port, ARRAYS) as client:
        client.send(arrays(0))
        with start(use_inherited, client, method="fork") as child:
            for _ in range(4):
                child.expect("ForkedHandleError")
            child.expect("closed")
            assert child.wait() == 0
        client.send(arrays(1))
        client.wait(timeout=WATCHDOG)
        assert Collector(server).until(2) == [0, 1]


def test_forks_of_a_client_process_leave_the_stream_alone(library: str) -> None:
    module: ModuleType = importlib.import_module(library)
    with serving(shm_echo, ARRAYS, 50) as server:
        collector = Collector(server)
        with connected(module, server.port, ARRAYS) as client:

            def send() -> None:
                for number in range(4000):
                    client.send(arrays(number))

            sender = Worker(send)
            for number in range(6):
                with start(wait_for_word, method="fork") as child:
                    child.expect("here")
                    collector.until(100 * number)
            collector.until(4000)
            sender.result()
        assert collector.until_idle() == list(range(4000))


def test_a_client_that_is_stopped_with_a_full_window_goes_on(library: str) -> None:
    with serving(shm_echo, ARRAYS, 4, num_buffers=2) as server:
        collector = Collector(server)
        with start(stream, library, server.port, 0, method="fork") as child:
            child.expect("streaming")
            for number in (500, 1000, 1500):
                stop(child.pid)
                collector.take_all()
                child.kill(signal.SIGCONT)
                collector.until(number)
            child.kill()
            child.wait()
            collector.until_idle()
        wait_until(lambda: idle(server), "it has gone")
    numbers = collector.numbers
    assert numbers == list(range(len(numbers)))
    assert len(numbers) >= 1500
