"""The server frees an object after the last reference to its stand-in goes."""

from __future__ import annotations

import gc
import threading

import mechestim as me
from tests.mechestim.remote.client_script import in_a_client


def held() -> tuple[int, int]:
    """Return the objects and bytes that the server holds for this session."""
    from shm_echo.mechestim.remote import client_session

    objects, size = client_session.session_call("session.size")
    return objects, size


@in_a_client
def test_a_loop_of_temporaries_keeps_the_servers_memory_flat() -> None:
    x = me.ones(100)
    y = x
    for _ in range(3000):
        y = y + x
    objects, size = held()
    assert objects <= 3
    assert size <= 3 * 800


@in_a_client
def test_a_free_waits_for_the_next_request_and_goes_with_it() -> None:
    from shm_echo.mechestim.remote import client_session

    x = me.ones(10)
    before = held()[0]
    requests = client_session.channel()._last_id
    del x
    assert client_session.channel()._last_id == requests
    assert held()[0] == before - 1
    assert client_session.channel()._last_id == requests + 1


@in_a_client
def test_more_than_eight_mebibytes_are_freed_at_once() -> None:
    from shm_echo.mechestim.remote import client_session

    large = me.zeros(2**21)
    held()
    requests = client_session.channel()._last_id
    del large
    assert client_session.channel()._last_id == requests + 1
    assert held()[1] == 0


@in_a_client
def test_a_large_array_that_dies_during_a_request_is_freed_later() -> None:
    """A finalizer sends nothing while a request is under way."""
    box = [me.zeros(2**21)]

    class Trigger:
        """A buffer that drops the array while the arguments of a request are packed."""

        def __len__(self) -> int:
            box.clear()
            return 2

        def __getitem__(self, index: int) -> float:
            raise IndexError

    import pytest

    x = me.zeros(4)
    with pytest.raises(TypeError, match="cannot be sent"):
        me.add(x, Trigger())
    box.clear()
    assert held()[1] == 32


@in_a_client
def test_arguments_that_cannot_be_sent_lose_no_frees() -> None:
    import pytest

    x, y = me.ones(10), me.ones(10)
    before = held()[0]
    del y
    with pytest.raises(TypeError, match="object objects cannot be sent"):
        me.add(x, object())
    assert held()[0] == before - 1


@in_a_client
def test_views_hold_their_base_and_nothing_is_counted_twice() -> None:
    base = me.zeros(1000)
    views = [base[i:] for i in range(10)]
    assert held() == (11, 8000)
    del base
    assert held() == (10, 8000)
    del views
    assert held() == (0, 0)


@in_a_client
def test_arrays_in_a_cycle_are_freed_by_the_collector() -> None:
    gc.disable()
    cycle: list[object] = [me.ones(1000)]
    cycle.append(cycle)
    del cycle
    assert held() == (1, 8000)
    gc.collect()
    assert held() == (0, 0)


@in_a_client
def test_threads_that_drop_arrays_while_others_ask_lose_none() -> None:
    def work() -> None:
        for _ in range(200):
            x = me.ones(5)
            x += 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert held() == (0, 0)


@in_a_client
def test_contexts_that_are_gone_are_forgotten_by_the_server() -> None:
    for _ in range(5000):  # more than a session may have at once
        with me.BudgetContext(100, quiet=True):
            me.ones(1) + 1
    assert held()[0] <= 1
