"""Tasks that await batches: a cancelled wait loses nothing, and the loop runs on."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from shm_echo import (
    Server,
    ShmClient,
    ShmTransport,
)
from tests.support.async_batches import (
    BATCH,
    helpers,
    numbers_from,
    send_all,
    send_on_demand,
    submit,
    waiting,
    write,
)
from tests.support.numbered import EXAMPLE, numbers_of
from tests.support.processes import Child, start
from tests.support.threads import Worker
from tests.support.waiting import WATCHDOG

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
