"""What is looked at while a task waits for a batch, and how its wait ends."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import pytest

from shm_echo import (
    BatchesHeldError,
    ForkedHandleError,
    ProducerDiedError,
    Server,
    ShmClient,
    ShmTransport,
    wait_checks,
)
from tests.support.async_batches import (
    BATCH,
    attach_and_wait,
    numbers_from,
    submit,
    waiting,
    write,
)
from tests.support.leftovers import open_descriptors
from tests.support.numbered import EXAMPLE, numbers_of
from tests.support.processes import start
from tests.support.threads import Worker
from tests.support.waiting import WATCHDOG, wait_until

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
