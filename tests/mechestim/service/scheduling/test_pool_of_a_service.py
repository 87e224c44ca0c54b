"""Sessions in the pool of a service: their settings, their messages and their descriptors."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from shm_echo.control.server.control_server import ControlServer
from shm_echo.mechestim import wire
from shm_echo.mechestim.service.hosting.session_hosts import ThreadHost
from shm_echo.mechestim.service.scheduling.leader_followers import LeaderFollowersPool
from shm_echo.mechestim.service.server import MechEstimService
from tests.support.fake_sessions import refuse_to_start
from tests.support.mechestim_server import RawClient, dialled, handle_of
from tests.support.scripts import run_script
from tests.support.waiting import wait_until


@pytest.fixture
def service() -> MechEstimService:
    return MechEstimService(isolation="threads")


@pytest.fixture
def address(service: MechEstimService, folder: Path) -> Iterator[Path]:
    with ControlServer(f"ipc://{folder}/pool.sock", {"mechestim": service}):
        yield folder / "pool.sock"
        service.close()


def pool_of(service: MechEstimService) -> LeaderFollowersPool:
    pool = service._pool
    assert pool is not None
    return pool


def call_back(client: RawClient) -> int:
    """Make the server call a function of the client. Return the number of the call."""
    x = handle_of(client.result("ones", [3]))
    client.send_message(
        {"id": 99, "op": "apply_along_axis", "a": [wire.callback_ext(1), 0, x], "b": 0}
    )
    call = client.receive_message()
    assert call is not None
    number = call["call"]
    assert type(number) is int
    return number


def test_settings_and_budgets_follow_a_session_from_thread_to_thread(address: Path) -> None:
    with RawClient(address) as strict, RawClient(address) as plain:
        strict.result("session.seterr", k={"divide": "raise"})
        budget = strict.result("budget.open", 10**9)
        large = handle_of(strict.result("ones", [1000, 1000]))
        zero = handle_of(strict.result("zeros", [3]))
        before = strict.result("budget.read", budget)["used"]
        for _ in range(10):
            strict.result("add", large, large, budget=budget)  # a long operation
            assert plain.result("add", 1.0, 2.0) is not None
            assert strict.error("divide", 1.0, zero, budget=budget)[0] == "FloatingPointError"
            assert "r" in plain.ask("divide", 1.0, handle_of(plain.result("zeros", [3])))
        used = strict.result("budget.read", budget)["used"]
        assert used - before == 10 * (10**6 + 3)
    assert np.geterr()["divide"] == "warn"


def test_a_server_without_sessions_has_no_threads_for_them(address: Path) -> None:
    def members() -> set[threading.Thread]:
        return {one for one in threading.enumerate() if one.name == "mechestim-pool"}

    others = members()  # threads of services of earlier tests
    with dialled(f"ipc://{address}") as one, dialled(f"ipc://{address}") as other:
        for channel in (one, other):
            x = channel.request("ones", ([1000, 1000],))
            channel.request("add", (x, x))
        assert members() - others
    wait_until(lambda: not members() - others, "the threads have ended")


def test_a_waiting_client_is_served_once_a_thread_can_be_started(
    address: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with RawClient(address) as calling, RawClient(address) as other:
        assert other.result("add", 1.0, 2.0) is not None
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse_to_start)
            call = call_back(calling)
        assert "cannot start a thread for mechestim sessions" in caplog.text
        assert other.result("add", 1.0, 2.0) is not None
        calling.send_message({"ret": call, "r": 2.0})
        assert "r" in (calling.receive_message() or {})


def test_a_client_whose_connection_cannot_be_watched_any_more_receives_the_reason(
    address: Path, service: MechEstimService
) -> None:
    with RawClient(address) as client, RawClient(address) as other:
        call = call_back(client)
        host = next(iter(service.hosts()))  # the calling client's
        assert isinstance(host, ThreadHost)
        pool_of(service)._poll.register(host.fileno(), 0)  # so that registering it again fails
        client.send_message({"ret": call, "r": 2.0})
        assert "r" in (client.receive_message() or {})
        assert (client.closed_reason() or "").startswith("the server cannot watch the connection: ")
        assert other.result("add", 1.0, 2.0) is not None


def test_closing_the_service_closes_the_epoll_descriptor(
    address: Path, service: MechEstimService
) -> None:
    with RawClient(address) as client:
        assert client.result("add", 1.0, 2.0) is not None
        pool = pool_of(service)
        service.close()
        wait_until(lambda: pool._poll.closed, "its descriptor is closed")


_FORK = """
import contextlib, os, sys, warnings
from shm_echo.control.server.control_server import ControlServer
from shm_echo.mechestim.service.server import MechEstimService
from tests.support.mechestim_server import RawClient

warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: a fork while there are threads

def watching():
    found = 0
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # closed in the meantime
            found += "eventpoll" in os.readlink(f"/proc/self/fd/{name}")
    return found

service = MechEstimService(isolation="threads")
with ControlServer(f"ipc://{sys.argv[1]}", {"mechestim": service}):
    before = watching()
    with RawClient(sys.argv[1]) as client:
        client.result("add", 1.0, 2.0)
        assert watching() == before + 1
        child = os.fork()
        if child == 0:
            os._exit(watching())
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        client.result("add", 1.0, 2.0)
    service.close()
"""


def test_a_forked_child_has_no_epoll_descriptor(folder: Path) -> None:
    assert run_script(_FORK, str(folder / "fork.sock")) == "0\n"
