"""The broadcast between processes: no value is torn and no wait is endless, despite kills."""

from __future__ import annotations

import contextlib
import random
import signal
import time
from typing import Any

import pytest

from shm_echo import ConnectionClosedError, Server, ShmClient, ShmTransport
from tests.support.broadcasting import (
    VALUE,
    number_of,
    publish_on,
    read_on,
    report_versions,
    serve,
    value,
)
from tests.support.numbered import EXAMPLE
from tests.support.processes import Child, start
from tests.support.threads import Worker

# ---------------------------------------------------------------- never torn


def test_no_value_is_torn_while_readers_are_killed_and_the_writer_never_pauses(
    name: str,
) -> None:
    readers, kills = 8, 6
    dice = random.Random(8)

    def reader() -> Child:
        return start(read_on, name, method="forkserver")

    with contextlib.ExitStack() as stack:
        writer = stack.enter_context(start(publish_on, name, method="forkserver"))
        writer.expect("publishing")
        children = [stack.enter_context(reader()) for _ in range(readers)]
        for child in children:
            child.expect("reading")
        for _ in range(kills):
            time.sleep(dice.random() * 0.02)  # any moment
            number = dice.randrange(readers)
            children[number].end()
            children[number] = stack.enter_context(reader())
            children[number].expect("reading")
        for child in children:
            child.say("stop")
        reports = [child.hear() for child in children]
        writer.say("stop")
        total = writer.hear()
        assert all(0 < last <= total for _, last in reports)
        assert all(seen > 0 for seen, _ in reports)
        assert [child.wait() for child in children] == [0] * readers
        writer.say("end")
        assert writer.wait() == 0


def test_a_reader_that_was_stopped_in_the_middle_of_a_copy_gets_a_whole_one(name: str) -> None:
    """SIGSTOP at random points, with new versions in between."""
    dice = random.Random(3)
    with (
        Server(EXAMPLE, 2, ShmTransport(name), publishes=VALUE) as server,
        start(read_on, name, method="forkserver") as child,
    ):
        child.expect("reading")
        published = 0
        for _ in range(60):
            for _ in range(dice.randrange(1, 6)):
                published = server.publish(value(published + 1))
            time.sleep(dice.random() * 0.001)
            child.kill(signal.SIGSTOP)
            for _ in range(4):  # all three buffers are new when it goes on
                published = server.publish(value(published + 1))
            child.kill(signal.SIGCONT)
        child.say("stop")
        published = server.publish(value(published + 1))  # it looks after each version
        seen, last = child.hear()
        assert seen > 0
        assert last <= published
        assert child.wait() == 0


def test_threads_may_publish_at_once_and_every_version_is_whole(name: str) -> None:
    with (
        Server(EXAMPLE, 2, ShmTransport(name), publishes=VALUE) as server,
        ShmClient(name, EXAMPLE, publishes=VALUE) as client,
    ):
        stop: list[int] = []

        def publish() -> list[int]:
            versions = []
            while not stop:
                versions.append(server.publish(value(server.published_version)))
            return versions

        writers = [Worker(publish) for _ in range(3)]
        for _ in range(300):
            found = client.latest(timeout=60)
            if found is not None:
                number_of(found[1])
        stop.append(1)
        versions = sorted(v for writer in writers for v in writer.result())
        assert versions == list(range(1, len(versions) + 1))


# ---------------------------------------------------------------- waiting


def test_wait_for_wakes_with_each_version_and_at_the_close(name: str) -> None:
    with Server(EXAMPLE, 2, ShmTransport(name), publishes=VALUE) as server:
        children = [start(report_versions, name, method="forkserver") for _ in range(3)]
        for child in children:
            child.expect(0)
        for i in range(1, 30):
            server.publish(value(i))
            for child in children:
                child.expect(i)
    for child in children:
        words, number = child.hear()
        assert "has gone; its newest version is 29" in words
        assert number == 29  # what was published last stays readable
        child.say("end")
        assert child.wait() == 0
        child.end()


def test_wait_for_notices_that_the_server_was_killed(name: str) -> None:
    with start(serve, name, method="forkserver") as child:
        child.expect("serving")
        with ShmClient(name, EXAMPLE) as client:
            assert client.wait_for(2) == 2
            waiter = Worker(client.wait_for, 3)
            waiter.wait_until_asleep()
            child.kill()
            with pytest.raises(ConnectionClosedError, match="has gone; its newest version is 2"):
                waiter.result()


def test_the_newest_value_is_readable_after_the_servers_death(name: str) -> None:
    with start(serve, name, method="forkserver") as child:
        child.expect("serving")
        with ShmClient(name, EXAMPLE) as client:
            child.end()
            found = client.latest()
            assert found is not None
            assert found[0] == number_of(found[1]) == 2
            assert client.latest() == found


@pytest.mark.parametrize("event", ["publish", "close"])
def test_wait_for_is_woken_by_an_event_and_does_not_poll(
    name: str, event: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shm_echo.ring.broadcast._WAIT_SLICE", 3600.0)
    with (
        Server(EXAMPLE, 2, ShmTransport(name), publishes=VALUE) as server,
        ShmClient(name, EXAMPLE) as client,
    ):
        waiter = Worker(client.wait_for, 1)
        waiter.wait_until_asleep()
        if event == "publish":
            server.publish(value(1))
            assert waiter.result() == 1
        else:
            server.close()
            with pytest.raises(ConnectionClosedError, match="has gone; its newest version is 0"):
                waiter.result()


def test_wait_for_returns_the_newest_version_even_if_an_older_one_was_requested(name: str) -> None:
    with (
        Server(EXAMPLE, 2, ShmTransport(name), publishes=VALUE) as server,
        ShmClient(name, EXAMPLE) as client,
    ):
        for i in range(1, 6):
            server.publish(value(i))
        assert client.wait_for(2) == 5
        assert client.wait_for(5, timeout=0) == 5


def test_wait_for_times_out_with_the_newest_version_in_its_message(name: str) -> None:
    with (
        Server(EXAMPLE, 2, ShmTransport(name), publishes=VALUE) as server,
        ShmClient(name, EXAMPLE) as client,
    ):
        server.publish(value(1))
        for timeout in (0, 0.02):
            with pytest.raises(
                TimeoutError, match=rf"version 2 did not .* {timeout:g} s \(newest: 1"
            ):
                client.wait_for(2, timeout)


def test_closing_the_client_in_another_thread_ends_its_wait(name: str) -> None:
    with Server(EXAMPLE, 2, ShmTransport(name), publishes=VALUE):
        client = ShmClient(name, EXAMPLE)
        waiter = Worker(client.wait_for, 1)
        waiter.wait_until_asleep()
        client.close()
        with pytest.raises(ConnectionClosedError, match="is closed"):
            waiter.result()


def test_a_reader_that_is_always_overtaken_gives_up_after_its_time_out(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fake of the C side is always overtaken; real copies are only under great load."""
    with (
        Server(EXAMPLE, 2, ShmTransport(name), publishes=VALUE) as server,
        ShmClient(name, EXAMPLE) as client,
    ):
        server.publish(value(1))

        class Overtaken:
            def __getattr__(self, name: str) -> Any:
                return getattr(lib, name)

            def she_bcast_read(self, pointer: Any, to: Any, size: int, overtaken: Any) -> int:
                overtaken[0] = 1
                return 0

        from shm_echo.ring.core import lib

        with monkeypatch.context() as patched:
            patched.setattr("shm_echo.ring.broadcast.lib", Overtaken())
            with pytest.raises(TimeoutError, match=r"than this process could copy for 0\.02"):
                client.latest(timeout=0.02)
        found = client.latest()
        assert found is not None
        assert number_of(found[1]) == 1
