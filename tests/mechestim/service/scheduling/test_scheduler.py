"""The gate: long operations wait for each other, short ones for no long one."""

from __future__ import annotations

from shm_echo.mechestim.service.scheduling.scheduler import Scheduler, SchedulerSlot
from tests.support.threads import Worker
from tests.support.waiting import wait_until


def test_no_more_long_operations_run_than_there_are_kernels() -> None:
    gate = Scheduler(kernels=2)
    turns = [SchedulerSlot(gate) for _ in range(3)]
    for turn in turns[:2]:
        turn.begin()
        turn.heavy()

    third = Worker(lambda: (turns[2].begin(), turns[2].heavy()))
    wait_until(lambda: gate.long.waiting, "it waits")

    turns[0].end()
    third.result()


def test_a_short_operation_passes_long_ones_that_run_and_wait() -> None:
    gate = Scheduler(kernels=1)
    running, waiting, short = SchedulerSlot(gate), SchedulerSlot(gate), SchedulerSlot(gate)
    running.begin()
    running.heavy()
    queued = Worker(lambda: (waiting.begin(), waiting.heavy()))
    wait_until(lambda: gate.long.waiting, "it waits")

    Worker(short.begin).result()
    short.end()

    running.end()
    queued.result()


def test_those_who_wait_for_the_long_lane_leave_the_short_one_free() -> None:
    gate = Scheduler(kernels=1)
    places = gate.short.free
    running = SchedulerSlot(gate)
    running.begin()
    running.heavy()
    crowd = [SchedulerSlot(gate) for _ in range(places + 5)]
    workers = [Worker(lambda turn=turn: (turn.begin(), turn.heavy(), turn.end())) for turn in crowd]
    wait_until(lambda: len(gate.long.waiting) == len(crowd), "all wait for the long lane")

    assert gate.short.free == places

    running.end()
    for worker in workers:
        worker.result()


def test_a_turn_that_ends_gives_back_exactly_what_it_held() -> None:
    gate = Scheduler(kernels=3)
    before = gate.short.free, gate.long.free
    turn = SchedulerSlot(gate)
    turn.begin()
    turn.begin()  # a nested request of a callback
    turn.heavy()
    turn.heavy()
    assert (gate.short.free, gate.long.free) == (before[0], before[1] - 1)
    turn.end()
    turn.end()
    assert (gate.short.free, gate.long.free) == before


def test_who_is_short_again_has_the_place_of_short_ones() -> None:
    gate = Scheduler(kernels=2)
    turn = SchedulerSlot(gate)
    turn.begin()
    turn.heavy()
    turn.light()
    assert (gate.short.free, gate.long.free) == (0, 2)
    turn.end()
    assert (gate.short.free, gate.long.free) == (1, 2)


def test_places_are_given_in_the_order_of_asking() -> None:
    gate = Scheduler()
    first = SchedulerSlot(gate)
    first.begin()
    order: list[int] = []

    def pass_by(number: int) -> None:
        turn = SchedulerSlot(gate)
        turn.begin()
        order.append(number)
        turn.end()

    others = []
    for number in range(5):
        others.append(Worker(pass_by, number))
        wait_until(lambda: len(gate.short.waiting) == len(others), "it waits")
    first.end()
    first.begin()  # who has just had it comes last
    assert order == [0, 1, 2, 3, 4]
    first.end()
    for other in others:
        other.result()


def test_a_session_with_a_process_of_its_own_waits_for_nobody() -> None:
    turn = SchedulerSlot()
    turn.begin()
    turn.heavy()
    turn.end()
