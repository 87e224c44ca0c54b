"""Batches for coroutines and event loops: a cancelled wait loses nothing, and all else holds."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import select
import threading
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any

import pytest

from shm_echo import (
    BatchesHeldError,
    ConnectionClosedError,
    ForkedHandleError,
    ProducerDiedError,
    Server,
    ShmClient,
    ShmTransport,
    wait_checks,
)
from tests.support.leftovers import open_descriptors
from tests.support.numbered import EXAMPLE, numbered, numbers_of, stacked
from tests.support.processes import Child, start
from tests.support.threads import Worker
from tests.support.waiting import WATCHDOG, wait_until

BATCH = 4


def helpers() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "shm-echo waker"]


@pytest.fixture(autouse=True)
def no_helper_stays() -> Iterator[None]:
    yield
    gc.collect()
    wait_until(lambda: not helpers(), "the helper thread has ended")


@pytest.fixture
def name() -> str:
    return f"async-{os.getpid()}"


def submit(server: Server, *numbers: int) -> None:
    for number in numbers:
        server.submit(numbered(number), timeout=WATCHDOG)


async def waiting(server: Server, **options: Any) -> asyncio.Task[Any]:
    """Return a task that waits in `sample_async`, asleep by now."""
    task = asyncio.create_task(server.sample_async(**options))
    while helpers() == [] and not task.done():
        await asyncio.sleep(0)
    for _ in range(3):
        await asyncio.sleep(0.001)
    return task


def send_on_demand(pipe: Connection, name: str, first: int) -> None:
    """Send batches of numbers from `first` on, each at one word of the parent; 0 ends."""
    with ShmClient(name, EXAMPLE, connect_timeout=WATCHDOG) as client:
        pipe.send("attached")
        while pipe.recv():
            client.send_batch(stacked(range(first, first + BATCH)))
            first += BATCH


def send_all(pipe: Connection, name: str, first: int, count: int) -> None:
    with ShmClient(name, EXAMPLE, connect_timeout=WATCHDOG) as client:
        for n in range(first, first + count):
            client.send(numbered(n))


def attach_and_wait(pipe: Connection, name: str) -> None:
    with ShmClient(name, EXAMPLE, connect_timeout=WATCHDOG):
        pipe.send("attached")
        pipe.recv()


# ---------------------------------------------------------------- cancelled waits


@pytest.mark.parametrize("lease", [False, True, "copy"])
def test_hundreds_of_cancelled_waits_lose_and_double_nothing(name: str, lease: Any) -> None:
    rng = random.Random(f"{lease}")
    numbers: list[int] = []
    sent = cancelled = 0

    def taken(sample: Any) -> None:
        assert sample is not None
        numbers.extend(numbers_of(sample.batch))

    async def one_wait(server: Server, child: Child) -> None:
        nonlocal sent, cancelled
        task = asyncio.create_task(server.sample_async())
        if rng.random() < 0.4:
            child.say(1)
            sent += BATCH
        for _ in range(rng.randrange(6)):  # from before its first round to after its last one
            await asyncio.sleep(rng.choice((0, 0, 0.0005)))
        task.cancel()
        try:
            taken(await task)
        except asyncio.CancelledError:
            cancelled += 1

    async def main() -> None:
        with Server(EXAMPLE, BATCH, ShmTransport(name), 4, lease=lease) as server:
            with start(send_on_demand, name, 0, method="forkserver") as child:
                child.expect("attached")
                while cancelled < 400:
                    await one_wait(server, child)
                child.say(0)
                while len(numbers) < sent:
                    taken(await asyncio.wait_for(server.sample_async(), WATCHDOG))
                with pytest.raises(TimeoutError):
                    await server.sample_async(timeout=0)

    asyncio.run(main())
    assert sent > 40 * BATCH
    assert numbers == list(range(sent))


def test_a_time_limit_of_asyncio_loses_nothing(name: str) -> None:
    async def main() -> list[int]:
        numbers: list[int] = []
        with Server(EXAMPLE, BATCH) as server:
            for n in range(0, 300 * BATCH, BATCH):
                thread = Worker(submit, server, *range(n, n + BATCH))
                while len(numbers) < n + BATCH:
                    try:
                        sample = await asyncio.wait_for(server.sample_async(), 0.0002)
                    except asyncio.TimeoutError:
                        continue
                    assert sample is not None
                    numbers += numbers_of(sample.batch)
                thread.result()
        return numbers

    assert asyncio.run(main()) == list(range(300 * BATCH))


def test_a_cancelled_wait_for_a_partial_batch_leaves_the_batch_open(name: str) -> None:
    async def main() -> list[int]:
        with Server(EXAMPLE, BATCH, ShmTransport(name)) as server:
            submit(server, 0)
            with ShmClient(name, EXAMPLE) as client:
                with client.reserve() as slot:  # a partial batch waits for it
                    task = await waiting(server, partial=True)
                    assert not task.done()
                    task.cancel()
                    with pytest.raises(asyncio.CancelledError):
                        await task
                    write(slot, 1)
                submit(server, 2, 3)
                return await numbers_from(server)

    assert sorted(asyncio.run(main())) == [0, 1, 2, 3]


def write(slot: Any, number: int) -> None:
    for key, value in numbered(number).items():
        slot[key][...] = value


async def numbers_from(server: Server, **options: Any) -> list[int]:
    sample = await asyncio.wait_for(server.sample_async(**options), WATCHDOG)
    assert sample is not None
    return numbers_of(sample.batch)


# ---------------------------------------------------------------- what is awaited


def test_the_loop_runs_on_while_a_task_waits() -> None:
    async def main() -> list[int]:
        with Server(EXAMPLE, BATCH) as server:
            task = await waiting(server)
            for n in range(BATCH):  # by another task of the same loop
                assert not task.done()
                submit(server, n)
                await asyncio.sleep(0)
            sample = await asyncio.wait_for(task, WATCHDOG)
            return numbers_of(sample.batch)

    assert asyncio.run(main()) == list(range(BATCH))


def test_a_batch_that_is_there_needs_no_helper() -> None:
    async def main() -> list[int]:
        with Server(EXAMPLE, BATCH) as server:
            submit(server, *range(BATCH))
            numbers = await numbers_from(server, timeout=0)
            with pytest.raises(TimeoutError, match="no batch of 4 samples within 0 s"):
                await server.sample_async(timeout=0)
            assert helpers() == []
            return numbers

    assert asyncio.run(main()) == list(range(BATCH))


def test_a_timeout_ends_the_wait_even_behind_another_task() -> None:
    async def main() -> None:
        with Server(EXAMPLE, BATCH) as server:
            with pytest.raises(TimeoutError, match="no batch of 4 samples within 0.01 s"):
                await server.sample_async(timeout=0.01)
            other = await waiting(server)
            with pytest.raises(TimeoutError, match="within 0.01 s"):
                await server.sample_async(timeout=0.01)
            with pytest.raises(ValueError, match="timeout must be"):
                await server.sample_async(timeout=-1)
            submit(server, *range(BATCH))
            assert numbers_of((await other).batch) == list(range(BATCH))

    asyncio.run(main())


def test_several_tasks_share_the_batches_and_one_helper() -> None:
    async def main() -> list[list[int]]:
        with Server(EXAMPLE, BATCH, num_buffers=6) as server:
            tasks = [await waiting(server) for _ in range(4)]
            assert len(helpers()) == 1
            submit(server, *range(4 * BATCH))
            return [numbers_of((await task).batch) for task in tasks]

    batches = asyncio.run(main())
    assert sorted(batches) == [list(range(n, n + BATCH)) for n in range(0, 4 * BATCH, BATCH)]


def test_two_loops_and_a_thread_share_the_stream_of_processes(name: str) -> None:
    producers, each = 2, 150 * BATCH

    async def iterate(server: Server) -> list[int]:
        numbers = []
        async for sample in server.dataset_iter_async(
            until="producers_closed", min_producers=producers
        ):
            numbers += numbers_of(sample.batch)
        return numbers

    def loop(server: Server) -> list[int]:
        return asyncio.run(iterate(server))

    def thread(server: Server) -> list[int]:
        iterator = server.dataset_iter(until="producers_closed", min_producers=producers)
        return [number for sample in iterator for number in numbers_of(sample.batch)]

    with Server(EXAMPLE, BATCH, ShmTransport(name), 6) as server:
        workers = [Worker(loop, server), Worker(loop, server), Worker(thread, server)]
        children = [
            start(send_all, name, n * each, each, method="forkserver") for n in range(producers)
        ]
        try:
            taken = [worker.result() for worker in workers]
        finally:
            for child in children:
                child.end()
    assert sorted(number for numbers in taken for number in numbers) == list(range(2 * each))


@pytest.mark.parametrize("copy", [False, True])
def test_async_for_ends_with_the_producers_and_a_short_batch(name: str, copy: bool) -> None:
    async def main() -> list[list[int]]:
        with Server(EXAMPLE, BATCH, ShmTransport(name)) as server:
            with start(send_all, name, 0, 2 * BATCH + 1, method="forkserver"):
                iterator = server.dataset_iter_async(until="producers_closed", copy=copy)
                batches = []
                async for sample in iterator:
                    assert sample.batch["n"].flags.writeable == copy
                    batches.append(numbers_of(sample.batch))
                return batches

    assert asyncio.run(main()) == [[0, 1, 2, 3], [4, 5, 6, 7], [8]]


def test_the_arguments_of_the_iterator_are_checked_before_the_first_batch() -> None:
    with Server(EXAMPLE, BATCH) as server:
        with pytest.raises(ValueError, match="until must be None or 'producers_closed'"):
            server.dataset_iter_async(until="never")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="min_producers must be at least 1"):
            server.dataset_iter_async(until="producers_closed", min_producers=0)
        with pytest.raises(ValueError, match="timeout must be"):
            server.dataset_iter_async(timeout=-1)


def test_the_iterator_goes_on_after_a_timeout() -> None:
    async def main() -> list[int]:
        with Server(EXAMPLE, BATCH) as server:
            iterator = server.dataset_iter_async(timeout=0.01)
            with pytest.raises(TimeoutError, match="within 0.01 s"):
                await iterator.__anext__()
            submit(server, *range(BATCH))
            return numbers_of((await iterator.__anext__()).batch)

    assert asyncio.run(main()) == list(range(BATCH))


def test_a_partial_batch_has_the_samples_so_far_and_waits_for_those_being_written(
    name: str,
) -> None:
    async def main() -> None:
        with Server(EXAMPLE, BATCH, ShmTransport(name)) as server:
            assert await numbers_from(server, partial=True) == []
            submit(server, 0)
            with ShmClient(name, EXAMPLE) as client:
                with client.reserve() as slot:
                    task = await waiting(server, partial=True)
                    submit(server, 7)  # of the next batch
                    for _ in range(3):  # rounds in between: the batch stays closed
                        server._consumer.receiver.wake()
                        await asyncio.sleep(0.002)
                    submit(server, 8)
                    write(slot, 1)
                sample = await asyncio.wait_for(task, WATCHDOG)
                assert numbers_of(sample.batch) == [0, 1]
                assert await numbers_from(server, partial=True) == [7, 8]

    asyncio.run(main())


def test_a_batch_that_a_task_keeps_is_not_overwritten() -> None:
    async def main() -> None:
        with Server(EXAMPLE, BATCH, lease="copy") as server:
            kept = []
            for n in range(0, 10 * BATCH, BATCH):
                submit(server, *range(n, n + BATCH))
                sample = await server.sample_async()
                assert sample is not None
                kept.append(sample.batch)
        assert [numbers_of(batch) for batch in kept] == [
            list(range(n, n + BATCH)) for n in range(0, 10 * BATCH, BATCH)
        ]

    asyncio.run(main())


# ---------------------------------------------------------------- what is looked at meanwhile


def test_a_death_ends_the_wait(name: str) -> None:
    async def main() -> None:
        with Server(EXAMPLE, BATCH, ShmTransport(name), on_producer_death="raise") as server:
            with start(attach_and_wait, name, method="forkserver") as child:
                child.expect("attached")
                task = await waiting(server)
                child.kill()
                with pytest.raises(ProducerDiedError, match=f"pid {child.pid}"):
                    await asyncio.wait_for(task, WATCHDOG)
            submit(server, *range(BATCH))
            assert await numbers_from(server) == list(range(BATCH))

    asyncio.run(main())


def test_held_leases_end_the_wait() -> None:
    async def main() -> None:
        with Server(EXAMPLE, BATCH, lease=True, lease_timeout=0.05) as server:
            submit(server, *range(3 * BATCH))
            kept = [await server.sample_async() for _ in range(3)]
            with pytest.raises(BatchesHeldError):
                await asyncio.wait_for(server.sample_async(), WATCHDOG)
            del kept[0]
            submit(server, *range(BATCH))
            assert await numbers_from(server) == list(range(BATCH))

    asyncio.run(main())


def test_leases_that_end_in_a_collection_of_garbage_end_the_wait() -> None:
    """As with JAX, which drops its references in a hook of the garbage collector."""
    kept: list[Any] = []

    def drop(phase: str, info: dict[str, int]) -> None:
        kept.clear()

    async def main() -> list[int]:
        with Server(EXAMPLE, BATCH, lease=True, lease_timeout=None) as server:
            submit(server, *range(3 * BATCH))
            kept.extend([await server.sample_async() for _ in range(3)])
            producer = Worker(submit, server, *range(BATCH))
            producer.wait_until_asleep()
            gc.callbacks.append(drop)
            numbers = await numbers_from(server)
            producer.result()
            return numbers

    gc.disable()
    try:
        assert asyncio.run(main()) == list(range(BATCH))
    finally:
        gc.callbacks.remove(drop)
        gc.enable()


async def until_logged(server: Server, text: str, log: pytest.LogCaptureFixture) -> None:
    """Wait in `sample_async` until a text is in the log."""
    task = await waiting(server)
    while text not in log.text:
        await asyncio.sleep(0.001)
    assert not task.done()


def test_a_long_wait_without_producers_is_logged(
    name: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wait_checks, "_NO_PRODUCER_FIRST_WARNING", 0.0)
    with Server(EXAMPLE, BATCH, ShmTransport(name)) as server:
        waits = until_logged(server, "no producer has been attached for", caplog)
        asyncio.run(asyncio.wait_for(waits, WATCHDOG))


def test_a_long_wait_for_one_unfinished_sample_is_logged(
    name: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wait_checks, "_STRAGGLER_AFTER", 0.0)
    with Server(EXAMPLE, BATCH, ShmTransport(name)) as server, ShmClient(name, EXAMPLE) as client:
        with client.reserve() as slot:
            waits = until_logged(server, "and has not finished", caplog)
            asyncio.run(asyncio.wait_for(waits, WATCHDOG))
            write(slot, 0)


# ---------------------------------------------------------------- ends


def test_close_ends_every_wait_and_the_helper() -> None:
    async def main() -> list[Any]:
        with Server(EXAMPLE, BATCH) as server:
            tasks = [await waiting(server) for _ in range(3)]
            iterator = server.dataset_iter_async()
            tasks.append(asyncio.create_task(anext_or_none(iterator)))
            await asyncio.sleep(0)
            closer = Worker(server.close)
            results = [await asyncio.wait_for(task, WATCHDOG) for task in tasks]
            closer.result()
            results.append(await server.sample_async())
            results.append(await anext_or_none(iterator))
            return results

    assert asyncio.run(main()) == [None] * 6


async def anext_or_none(iterator: Any) -> Any:
    async for sample in iterator:
        return sample
    return None


def test_a_server_that_is_dropped_while_its_helper_sleeps_is_closed() -> None:
    async def main() -> None:
        server = Server(EXAMPLE, BATCH).start()
        with pytest.raises(TimeoutError):
            await server.sample_async(timeout=0.001)
        server.fileno()

    before = open_descriptors()
    asyncio.run(main())
    gc.collect()
    wait_until(lambda: open_descriptors() == before, "the descriptor is closed")


def test_a_loop_that_ends_while_its_task_waits_leaves_the_others_alone() -> None:
    async def give_up(server: Server) -> None:
        await waiting(server)  # asyncio.run() cancels it

    async def main(server: Server) -> list[int]:
        task = await waiting(server)
        submit(server, *range(BATCH))
        return numbers_of((await task).batch)

    with Server(EXAMPLE, BATCH) as server:
        abandoned = asyncio.new_event_loop()
        task = abandoned.create_task(server.sample_async())
        abandoned.run_until_complete(asyncio.sleep(0.001))
        task.cancel()
        asyncio.run(give_up(server))
        assert asyncio.run(main(server)) == list(range(BATCH))
        with pytest.raises(asyncio.CancelledError):
            abandoned.run_until_complete(task)
        abandoned.close()


def test_the_child_of_a_fork_is_refused_and_the_parent_goes_on() -> None:
    async def main() -> list[int]:
        with Server(EXAMPLE, BATCH) as server:
            task = await waiting(server)
            server.fileno()
            with start(use_in_child, server) as child:
                child.expect("ForkedHandleError ForkedHandleError ForkedHandleError")
            submit(server, *range(BATCH))
            return numbers_of((await asyncio.wait_for(task, WATCHDOG)).batch)

    assert asyncio.run(main()) == list(range(BATCH))


def use_in_child(pipe: Connection, server: Server) -> None:
    def error(call: Callable[[], Any]) -> str:
        try:
            call()
        except ForkedHandleError as refusal:
            return type(refusal).__name__
        return "none"

    def run(coroutine: Any) -> Any:
        with pytest.raises(StopIteration):
            coroutine.send(None)

    pipe.send(
        " ".join(
            [
                error(server.fileno),
                error(lambda: run(server.sample_async())),
                error(lambda: run(server.dataset_iter_async().__anext__())),
            ]
        )
    )


def test_a_server_with_a_transport_has_to_be_started(name: str) -> None:
    server = Server(EXAMPLE, BATCH, ShmTransport(name))
    with pytest.raises(RuntimeError, match="call start"):
        asyncio.run(server.sample_async())
    with pytest.raises(RuntimeError, match="call start"):
        server.fileno()


# ---------------------------------------------------------------- the descriptor


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
