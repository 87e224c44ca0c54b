"""Sessions in processes of their own: their ceilings, their ends and their failures."""

from __future__ import annotations

import gc
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shm_echo.errors import ConnectionClosedError, RefusedError, ServiceUnavailableError
from shm_echo.mechestim.errors import BudgetExhaustedError
from shm_echo.mechestim.remote.session_opening import open_session
from shm_echo.mechestim.service.metering.quotas import Quotas
from shm_echo.mechestim.service.server import MechEstimService
from tests.support.leftovers import open_descriptors
from tests.support.mechestim_server import RawClient, ServerProcess, dialled, handle_of, serving
from tests.support.processes import start
from tests.support.threads import Worker
from tests.support.waiting import WATCHDOG, process_state, wait_until

MIB = 1 << 20


@pytest.fixture
def service() -> Iterator[Any]:
    """Yield a function that creates a service; all are closed at the end."""
    opened: list[MechEstimService] = []

    def make(quotas: Quotas | None = None) -> MechEstimService:
        opened.append(MechEstimService(quotas))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


def adopted(service: MechEstimService, principal: str | None = None) -> tuple[RawClient, Any]:
    ours, theirs = socket.socketpair()
    spender = service.adopt(ours, principal)
    return RawClient(theirs), spender


def the_worker(service: MechEstimService) -> int:
    (host,) = service.hosts()
    assert host.isolation == "process"
    return pid_of(host)


def pid_of(host: Any) -> int:
    """Return the pid of its worker, which may answer before the service has recorded the pid."""
    found: int = wait_until(lambda: host.pid, "the worker was started")
    return found


def test_a_descriptor_is_served_by_a_process_of_its_own(service: Any) -> None:
    running = service()
    client, spender = adopted(running)
    with client:
        x = handle_of(client.result("arange", 10))
        assert client.result("ndarray.tolist", x) == list(range(10))
        client.result("add", x, x)
        assert the_worker(running) != os.getpid()
        wait_until(lambda: spender.tallies() == {"add": (10, 1)}, "the books show the addition")
        assert spender.ceiling.spent == 10
    wait_until(lambda: not running.hosts(), "the session has ended")
    assert spender.tallies() == {"add": (10, 1)}


def test_a_killed_worker_disconnects_only_its_client_and_its_operation_stays_charged(
    service: Any,
) -> None:
    running = service(Quotas(max_flops=10**15))
    client, spender = adopted(running, "a")
    other, _ = adopted(running, "b")
    with client, other:
        other.result("add", 1.0, 2.0)
        client.result("add", 1.0, 2.0)
        (host,) = (host for host, who in running.hosts().items() if who is spender)
        pid = pid_of(host)
        n = 3000
        x = handle_of(client.result("ones", [n, n]))
        client.send_message({"id": 99, "op": "linalg.svd", "a": [x], "b": 0})
        wait_until(lambda: host.stats.reserved > 0, "the decomposition has begun")
        os.kill(pid, signal.SIGKILL)
        assert client.closed_reason() == (
            f"its worker process died: pid {pid} was ended by SIGKILL (out of memory, or "
            "ended from outside)"
        )
        wait_until(lambda: len(running.hosts()) == 1, "the session has ended")
        assert spender.ceiling.reserved == 0
        assert spender.tallies()["linalg.svd"][1] == 1
        assert spender.ceiling.spent == 1 + spender.tallies()["linalg.svd"][0]
        other.result("add", 1.0, 2.0)


def test_ended_sessions_leave_no_descriptors_to_the_garbage_collector(
    service: Any,
) -> None:
    running = service()

    def use_and_leave() -> None:
        ours, theirs = socket.socketpair()
        running.adopt(ours, isolation="threads")
        (host,) = running.hosts()
        with RawClient(theirs) as client:
            client.result("add", handle_of(client.result("ones", 3)), 2.0)
        assert host.wait(WATCHDOG)

    use_and_leave()
    gc.collect()
    gc.disable()
    try:
        before = open_descriptors()
        for _ in range(5):
            use_and_leave()
        assert open_descriptors() <= before
    finally:
        gc.enable()


def test_a_descriptor_is_closed_if_no_thread_can_be_started(
    service: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    running = service()
    first, _ = adopted(running)
    ours, theirs = socket.socketpair()
    with first, theirs:
        with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="new thread"):
            patch.setattr(threading.Thread, "start", start)
            running.adopt(ours, isolation="threads")
        assert ours.fileno() == -1
        assert theirs.recv(1) == b""
        assert len(running.hosts()) == 1


def test_a_client_whose_worker_died_before_the_hello_receives_the_reason(service: Any) -> None:
    running = service()
    ours, theirs = socket.socketpair()
    running.adopt(ours)
    (host,) = running.hosts()
    pid = pid_of(host)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not running.hosts(), "the service has noticed")
    with pytest.raises(RefusedError, match=rf"its worker process died: pid {pid} was ended by SIG"):
        open_session(f"fd://{theirs.detach()}")


def test_workers_of_one_principal_share_its_ceiling_exactly(service: Any) -> None:
    running = service(Quotas(max_flops=100))
    clients = [adopted(running, "together")[0] for _ in range(2)]
    try:
        x = [handle_of(client.result("ones", 30)) for client in clients]

        def spend(client: RawClient, x: Any) -> int:
            refused = 0
            for _ in range(5):
                reply = client.ask("add", x, x)
                assert reply is not None
                if "e" in reply:
                    assert reply["e"][0] == "BudgetExhaustedError"
                    refused += 1
            return refused

        spenders = [Worker(spend, *pair) for pair in zip(clients, x, strict=True)]
        assert sum(worker.result() for worker in spenders) == 10 - 100 // 30
        (principal,) = set(running.hosts().values())
        assert principal.ceiling.spent == 90
    finally:
        for client in clients:
            client.close()


def test_a_new_session_of_a_principal_has_the_flops_that_the_last_one_left(service: Any) -> None:
    running = service(Quotas(max_flops=100))
    for left in (40, 0):
        client, _ = adopted(running, "again")
        with client:
            x = handle_of(client.result("ones", 60 if left == 40 else 41))
            reply = client.ask("add", x, x)
            assert reply is not None
            assert ("e" in reply) == (left == 0)
        wait_until(lambda: not running.hosts(), "the session has ended")


def test_the_wall_time_ends_a_session_during_an_operation(service: Any) -> None:
    running = service()
    client, _ = adopted(running)
    with client:
        x = handle_of(client.result("random.randn", 8 * MIB))
        (host,) = running.hosts()
        client.send_message(
            {"id": 99, "op": "unique", "a": [x], "b": 0}
        )  # holds the interpreter lock throughout
        wait_until(lambda: host.stats.requests == 2, "it has begun")
        running.quotas = Quotas(wall_time_s=0.01)
        assert client.closed_reason() == "its wall time of 0.01 s is over (wall_time_s)"
    wait_until(lambda: not running.hosts(), "the session has ended")


def test_a_worker_that_runs_out_of_memory_answers_with_an_error_and_goes_on(service: Any) -> None:
    running = service(Quotas(memory=128 * MIB))
    client, _ = adopted(running)
    with client:
        kind, _ = client.error("zeros", 64 * MIB)  # 512 MiB: the quota would allow it
        assert kind == "MemoryError"
        assert client.result("ndarray.tolist", handle_of(client.result("ones", 2))) == [1.0, 1.0]


def test_no_descriptor_or_process_outlives_its_session(service: Any) -> None:
    running = service()
    client, _ = adopted(running)
    with client:
        client.result("add", 1.0, 2.0)  # opens the descriptors that stay open
        (host,) = running.hosts()
    assert host.wait(WATCHDOG), "the session has not ended"
    before = open_descriptors()
    for _ in range(3):
        client, spender = adopted(running)
        with client:
            client.result("add", 1.0, 2.0)
            pid = the_worker(running)
        wait_until(lambda: not running.hosts(), "the session has ended")
        assert process_state(pid) == ""
        del spender
    wait_until(lambda: open_descriptors() <= before, "all descriptors are closed")


def test_a_client_on_a_descriptor_gets_no_other_service(service: Any) -> None:
    running = service()
    for wanted in ("ring", "status", "shutdown"):
        ours, theirs = socket.socketpair()
        running.adopt(ours, isolation="threads")
        with theirs, pytest.raises(ServiceUnavailableError, match="it offers 'mechestim'"):
            RawClient(theirs, service=wanted)


def test_closing_the_service_waits_for_a_running_operation_and_sends_the_reason(
    service: Any,
) -> None:
    running = service()
    client, spender = adopted(running)
    with client:
        x = handle_of(client.result("ones", [700, 700]))
        client.send_message({"id": 50, "op": "linalg.eigvals", "a": [x], "b": 0})
        (host,) = running.hosts()
        wait_until(lambda: host.stats.requests == 2, "it has begun")
        closing = Worker(running.close, 60.0)
        reply = client.receive_message()
        assert reply is not None
        assert reply["id"] == 50
        assert "r" in reply
        assert client.closed_reason() == "the server is shutting down"
        closing.result()
    assert spender.ceiling.reserved == 0


# ---------------------------------------------------------------- a server of its own


@pytest.fixture
def isolated(folder: Path) -> Iterator[ServerProcess]:
    options = ("--isolation", "process", "--max-flop-budget", "1000")
    with serving(folder, *options) as running:
        yield running


def test_status_sees_the_workers(isolated: ServerProcess) -> None:
    with dialled(isolated.url) as client:
        x = client.request("zeros", (100,))
        held = client.request("add", (x, x))
        wait_until(lambda: isolated.state()["rows"][0]["pid"], "the worker's number is known")
        (row,) = isolated.state()["rows"]
        assert (row["isolation"], row["objects"], row["bytes"]) == ("process", 2, 1600)
        assert (row["flops"], row["requests"]) == (100, 2)
        assert held.shape == (100,)
        assert row["pid"] in isolated.children()


def test_workers_of_one_user_share_its_ceiling(isolated: ServerProcess) -> None:
    with dialled(isolated.url) as one, dialled(isolated.url) as two:
        one.request("add", (one.request("zeros", (600,)), 1.0))
        with pytest.raises(BudgetExhaustedError) as refused:
            two.request("add", (two.request("zeros", (600,)), 1.0))
        assert refused.value.flops_remaining == 400


def test_a_killed_server_leaves_no_worker_behind(isolated: ServerProcess) -> None:
    client = open_session(isolated.url)
    try:
        client.request("add", (1.0, 2.0))
        workers = isolated.wait_for_spare()
        assert len(workers) == 2, "one serves, one is kept ready for the next session"
        isolated.signal(signal.SIGKILL)
        isolated.wait()
        for worker in workers:
            wait_until(lambda pid=worker: process_state(pid) in ("", "Z"), "the worker has ended")
        with pytest.raises(ConnectionClosedError):
            client.request("add", (1.0, 2.0))
    finally:
        client.close()


def test_a_killed_spare_worker_is_replaced(isolated: ServerProcess) -> None:
    for _ in range(2):
        (spare,) = isolated.wait_for_spare()
        os.kill(spare, signal.SIGKILL)
        wait_until(lambda pid=spare: process_state(pid) in ("", "Z"), "it has ended")
        with dialled(isolated.url) as client:
            assert client.request("add", (1.0, 2.0)).item() == 3.0
        wait_until(lambda: not isolated.state()["rows"], "the session has ended")
    assert len(isolated.wait_for_spare()) == 1


def test_a_forked_child_of_the_server_keeps_no_connection_open(service: Any) -> None:
    running = service()
    client, _ = adopted(running)
    with client:
        client.result("add", 1.0, 2.0)
        child = start(report_and_wait)
        try:
            child.expect("forked")
            running.close()
            assert client.closed_reason() == "the server is shutting down"
        finally:
            child.end()


def report_and_wait(pipe: Any) -> None:
    pipe.send("forked")
    pipe.recv()
