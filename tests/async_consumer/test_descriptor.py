"""The descriptor of a server, for select and loops: readable while a batch may be there."""

from __future__ import annotations

import asyncio
import select

import pytest

from shm_echo import (
    ConnectionClosedError,
    ProducerDiedError,
    Server,
    ShmTransport,
)
from tests.support.async_batches import (
    BATCH,
    attach_and_wait,
    helpers,
    send_all,
    submit,
    waiting,
)
from tests.support.numbered import EXAMPLE, numbers_of
from tests.support.processes import start
from tests.support.waiting import WATCHDOG, wait_until


def readable(descriptor: int, timeout: float = 0) -> bool:
    return bool(select.select([descriptor], [], [], timeout)[0])


def test_the_descriptor_is_readable_while_a_batch_is_there() -> None:
    with Server(EXAMPLE, BATCH) as server:
        descriptor = server.fileno()
        assert server.fileno() == descriptor
        for lap in range(8):
            assert not readable(descriptor)
            submit(server, *range(lap, lap + BATCH))
            assert readable(descriptor, WATCHDOG)
            sample = server.sample(timeout=0)
            assert sample is not None
            assert numbers_of(sample.batch) == list(range(lap, lap + BATCH))


def test_the_descriptor_is_readable_again_if_there_is_another_batch() -> None:
    with Server(EXAMPLE, BATCH) as server:
        submit(server, *range(2 * BATCH))
        for _ in range(2):
            assert readable(server.fileno(), WATCHDOG)
            server.sample(timeout=0)
        with pytest.raises(TimeoutError):
            server.sample(timeout=0)
        assert not readable(server.fileno())


def watches(server: Server, descriptor: int) -> bool:
    return server._consumer.receiver.watching or readable(descriptor)


def test_a_call_without_time_gets_what_is_there_while_the_helper_watches() -> None:
    with Server(EXAMPLE, BATCH) as server:
        descriptor = server.fileno()
        for number in range(20):
            submit(server, number)
            wait_until(lambda: watches(server, descriptor), "the helper watches, or has done so")
            sample = server.flush(timeout=0)
            assert sample is not None
            assert numbers_of(sample.batch) == [number]
        for lap in range(500):
            submit(server, *range(lap, lap + BATCH))
            sample = server.sample(timeout=0)
            assert sample is not None
            assert numbers_of(sample.batch) == list(range(lap, lap + BATCH))


def test_a_call_without_time_gets_what_is_there_while_a_task_waits() -> None:
    async def main(server: Server) -> None:
        task = await waiting(server)
        submit(server, 7)
        wait_until(lambda: server._consumer.receiver.watching, "the helper watches")
        sample = server.flush(timeout=0)
        assert sample is not None
        assert numbers_of(sample.batch) == [7]
        submit(server, *range(BATCH))
        assert numbers_of((await asyncio.wait_for(task, WATCHDOG)).batch) == list(range(BATCH))

    with Server(EXAMPLE, BATCH) as server:
        asyncio.run(main(server))


def test_a_loop_that_finds_no_batch_sleeps_until_there_is_one() -> None:
    with Server(EXAMPLE, BATCH) as server:
        descriptor = server.fileno()
        for _ in range(3):
            wait_until(lambda: watches(server, descriptor), "the helper watches, or has done so")
            with pytest.raises(TimeoutError):
                server.sample(timeout=0)
        calls = 0
        while calls < 10 and readable(descriptor, 0.3):  # once more at most: a wake may come late
            calls += 1
            with pytest.raises(TimeoutError):
                server.sample(timeout=0)
        assert calls <= 3


def test_the_descriptor_is_readable_after_a_death_and_after_the_end(name: str) -> None:
    with Server(EXAMPLE, BATCH, ShmTransport(name), on_producer_death="raise") as server:
        descriptor = server.fileno()
        with start(attach_and_wait, name, method="forkserver") as child:
            child.expect("attached")
            child.kill()

            def death_is_told() -> bool:
                assert readable(descriptor, WATCHDOG)
                try:
                    server.sample(timeout=0)
                except TimeoutError:
                    return False
                except ProducerDiedError:
                    return True
                raise AssertionError("a batch")

            wait_until(death_is_told, "the death is told")
        server.close()
        assert readable(descriptor, WATCHDOG)
        assert server.sample(timeout=0) is None
        assert readable(descriptor)
        with pytest.raises(ConnectionClosedError):
            server.fileno()


def test_a_reader_callback_of_a_loop_takes_every_batch(name: str) -> None:
    async def main() -> list[int]:
        numbers: list[int] = []
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        with Server(EXAMPLE, BATCH, ShmTransport(name)) as server:

            def on_batch() -> None:
                try:
                    sample = server.sample(timeout=0)
                except TimeoutError:
                    return
                assert sample is not None
                numbers.extend(numbers_of(sample.batch))
                if len(numbers) == 50 * BATCH:
                    ended.set()

            loop.add_reader(server.fileno(), on_batch)
            with start(send_all, name, 0, 50 * BATCH, method="forkserver"):
                await asyncio.wait_for(ended.wait(), WATCHDOG)
            loop.remove_reader(server.fileno())
        return numbers

    assert asyncio.run(main()) == list(range(50 * BATCH))


def test_without_the_descriptor_a_plain_sample_starts_no_thread() -> None:
    with Server(EXAMPLE, BATCH) as server:
        submit(server, *range(BATCH))
        server.sample()
        assert helpers() == []
