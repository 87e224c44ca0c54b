"""The scheduler: long operations wait for each other, short ones never wait for long ones."""

from __future__ import annotations

from shm_echo.mechestim.service.scheduling.scheduler import Scheduler, SchedulerSlot
from tests.support.threads import Worker
from tests.support.waiting import wait_until


def test_no_more_long_operations_run_than_there_are_kernels() -> None:
    scheduler = Scheduler(kernels=2)
    slots = [SchedulerSlot(scheduler) for _ in range(3)]
    for slot in slots[:2]:
        slot.acquire_short()
        slot.promote_to_long()

    third = Worker(lambda: (slots[2].acquire_short(), slots[2].promote_to_long()))
    wait_until(lambda: scheduler.long.waiters, "it is waiting")

    slots[0].step_down()
    third.result()


def test_a_short_operation_overtakes_running_and_waiting_long_ones() -> None:
    scheduler = Scheduler(kernels=1)
    running, waiting, short = (
        SchedulerSlot(scheduler),
        SchedulerSlot(scheduler),
        SchedulerSlot(scheduler),
    )
    running.acquire_short()
    running.promote_to_long()
    queued = Worker(lambda: (waiting.acquire_short(), waiting.promote_to_long()))
    wait_until(lambda: scheduler.long.waiters, "it is waiting")

    Worker(short.acquire_short).result()
    short.step_down()

    running.step_down()
    queued.result()


def test_threads_that_wait_for_a_long_slot_hold_no_short_slot() -> None:
    scheduler = Scheduler(kernels=1)
    places = scheduler.short.free
    running = SchedulerSlot(scheduler)
    running.acquire_short()
    running.promote_to_long()
    crowd = [SchedulerSlot(scheduler) for _ in range(places + 5)]
    workers = [
        Worker(lambda slot=slot: (slot.acquire_short(), slot.promote_to_long(), slot.step_down()))
        for slot in crowd
    ]
    wait_until(lambda: len(scheduler.long.waiters) == len(crowd), "all wait for a long slot")

    assert scheduler.short.free == places

    running.step_down()
    for worker in workers:
        worker.result()


def test_stepping_down_releases_exactly_the_held_slot() -> None:
    scheduler = Scheduler(kernels=3)
    before = scheduler.short.free, scheduler.long.free
    slot = SchedulerSlot(scheduler)
    slot.acquire_short()
    slot.acquire_short()  # a nested request of a callback
    slot.promote_to_long()
    slot.promote_to_long()
    assert (scheduler.short.free, scheduler.long.free) == (before[0], before[1] - 1)
    slot.step_down()
    slot.step_down()
    assert (scheduler.short.free, scheduler.long.free) == before


def test_a_demoted_session_holds_the_short_slot() -> None:
    scheduler = Scheduler(kernels=2)
    slot = SchedulerSlot(scheduler)
    slot.acquire_short()
    slot.promote_to_long()
    slot.demote()
    assert (scheduler.short.free, scheduler.long.free) == (0, 2)
    slot.step_down()
    assert (scheduler.short.free, scheduler.long.free) == (1, 2)


def test_the_short_slot_is_handed_out_in_the_order_of_arrival() -> None:
    scheduler = Scheduler()
    first = SchedulerSlot(scheduler)
    first.acquire_short()
    order: list[int] = []

    def pass_by(number: int) -> None:
        slot = SchedulerSlot(scheduler)
        slot.acquire_short()
        order.append(number)
        slot.step_down()

    others = []
    for number in range(5):
        others.append(Worker(pass_by, number))
        wait_until(lambda: len(scheduler.short.waiters) == len(others), "it is waiting")
    first.step_down()
    first.acquire_short()  # the last holder queues behind the others
    assert order == [0, 1, 2, 3, 4]
    first.step_down()
    for other in others:
        other.result()


def test_a_slot_without_a_scheduler_never_waits() -> None:
    slot = SchedulerSlot()
    slot.acquire_short()
    slot.promote_to_long()
    slot.step_down()
