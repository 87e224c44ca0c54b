"""A forked child has no session: its first operation without an array of the parent opens one."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import mechestim as me
from tests.mechestim.remote.client_script import in_a_client


def in_a_child(body: Callable[[], None]) -> int:
    """Run `body` in a forked child and return its exit status."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            body()
            status = 0
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@in_a_client
def test_arrays_of_the_parent_raise_in_the_child_and_say_why() -> None:
    import pytest

    x = me.ones(4)

    def body() -> None:
        with pytest.raises(ConnectionError, match="arrays do not survive a fork"):
            x + 1
        with pytest.raises(ConnectionError, match="arrays do not survive a fork"):
            x.tolist()

    assert in_a_child(body) == 0
    assert (x + 1).tolist() == [2.0] * 4


@in_a_client
def test_a_child_opens_a_session_of_its_own() -> None:
    from shm_echo.mechestim.remote import client_session

    x = me.ones(4)
    parents = client_session.channel()

    def body() -> None:
        y = me.arange(3)
        assert y.tolist() == [0, 1, 2]
        assert client_session.channel() is not parents
        with me.BudgetContext(100, quiet=True) as budget:
            y + y
            assert budget.flops_used == 3

    assert in_a_child(body) == 0
    assert client_session.channel() is parents
    assert (x + x).tolist() == [2.0] * 4


@in_a_client
def test_an_array_that_dies_in_the_child_is_not_freed_in_the_parent() -> None:
    from shm_echo.mechestim.remote import client_session

    box = [me.ones(2**21)]
    before = client_session.session_call("session.size")

    def body() -> None:
        box.clear()
        me.ones(3)

    assert in_a_child(body) == 0
    assert client_session.session_call("session.size") == before
    assert float(box[0].sum()) == 2**21


@in_a_client
def test_a_fork_while_another_thread_asks_leaves_no_lock_behind() -> None:
    stop = threading.Event()
    x = me.ones(10)

    def work() -> None:
        while not stop.is_set():
            x + 1

    thread = threading.Thread(target=work)
    thread.start()
    try:
        statuses = [in_a_child(lambda: float(me.ones(2).sum()) and None) for _ in range(5)]
    finally:
        stop.set()
        thread.join()
    assert statuses == [0] * 5


@in_a_client
def test_the_end_of_the_parents_session_does_not_wait_for_its_children() -> None:
    """A child holds no descriptor of it open."""
    from shm_echo.mechestim.remote import client_session

    me.ones(1)
    fd = client_session.channel()._pipe.fd

    def body() -> None:
        try:
            os.fstat(fd)
        except OSError:
            return
        raise AssertionError("the child has the parent's connection")

    assert in_a_child(body) == 0
