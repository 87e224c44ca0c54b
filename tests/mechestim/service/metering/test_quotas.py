"""The limits of a session: the error names the limit, and no operation has run."""

from __future__ import annotations

import select
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shm_echo.control.server.control_server import ControlServer
from shm_echo.errors import ConnectionClosedError, RefusedError
from shm_echo.mechestim.errors import QuotaExceededError
from shm_echo.mechestim.remote.session_opening import open_session
from shm_echo.mechestim.service.hosting.session_hosts import ThreadHost
from shm_echo.mechestim.service.metering.quotas import Quotas
from shm_echo.mechestim.service.server import MechEstimService
from tests.support.mechestim_server import RawClient, ServerProcess, dialled, handle_of
from tests.support.waiting import WATCHDOG, wait_until

MIB = 1 << 20


@pytest.fixture
def small(folder: Path) -> Iterator[Any]:
    """Yield a function that starts a service with given limits; returns its URL and the service."""
    opened: list[Any] = []

    def make(quotas: Quotas, **more: Any) -> tuple[str, MechEstimService]:
        service = MechEstimService(quotas, **more)
        control = ControlServer(f"ipc://{folder}/small.sock", {"mechestim": service})
        control.start()
        opened.append((control, service))
        return f"ipc://{folder}/small.sock", service

    yield make
    for control, service in opened:
        control.close()
        service.close()


def test_counts_may_be_any_integers_and_become_plain_ones(small: Any) -> None:
    quotas = Quotas(max_handles=np.int64(8), max_frame=np.int32(1 << 20), max_flops=np.uint64(9))
    assert all(type(n) is int for n in (quotas.max_handles, quotas.max_frame, quotas.max_flops))
    url, service = small(quotas, max_sessions=np.int64(2), max_sessions_per_user=np.int8(1))
    open_session(url).close()
    assert type(service.max_sessions) is int


@pytest.mark.parametrize("value", [1.5, True, "8"])
def test_a_quota_that_is_no_integer_is_named(value: Any) -> None:
    with pytest.raises(TypeError, match="max_handles must be an int"):
        Quotas(max_handles=value)
    with pytest.raises(ValueError, match="max_bytes must be at least 0, not -1"):
        Quotas(max_bytes=-1)


# ---------------------------------------------------------------- sizes, before anything runs


@pytest.mark.parametrize(
    ("op", "args", "kwargs"),
    [
        ("zeros", ([10**9],), {}),
        ("ones", ([2**40],), {}),
        ("full", ([10**5, 10**5], 1.5), {}),
        ("arange", (10**10,), {}),
        ("linspace", (0, 1, 10**10), {}),
        ("eye", (10**6,), {}),
        ("tri", (10**6,), {}),
        ("repeat", ([1.0, 2.0], 10**9), {}),
        ("tile", ([1.0, 2.0], 10**9), {}),
        ("random.randn", (10**5, 10**5), {}),
        ("random.normal", (0.0, 1.0, 10**9), {}),
        ("random.permutation", (10**9,), {}),
        ("bincount", ([2**34],), {}),
        ("pad", ([1.0], 10**9), {}),
        ("fft.fft", ([1.0], 10**9), {}),
        ("identity", (10**6,), {}),
        ("session.grid", ("mgrid", slice(0, 10**10)), {}),
    ],
)
def test_a_function_whose_result_would_not_fit_is_refused(
    server: ServerProcess, op: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    before, resident = spent(server), server.resident()
    with dialled(server.url) as client:
        with pytest.raises(QuotaExceededError, match="the server allows max_") as refused:
            client.request(op, args, kwargs)
        assert refused.value.wanted > refused.value.allowed == 64 * MIB
        assert refused.value.limit in ("max_bytes", "max_call_bytes")
        assert client.request("add", (1.0, 2.0)).item() == 3.0
    assert spent(server) == before + 1
    assert server.resident() < resident + 64 * MIB


@pytest.mark.parametrize(
    ("method", "args"),
    [
        ("copy", ()),
        ("flatten", ()),
        ("tobytes", ()),
        ("tolist", ()),
        ("astype", ("<f8",)),
        ("__add__", (1.0,)),
        ("__rmul__", (2.0,)),
        ("__neg__", ()),
        ("__abs__", ()),
        ("__lt__", (1.0,)),
        ("__pow__", (2.0,)),
        ("repeat", (100,)),
        ("cumsum", ()),
        ("argsort", ()),
        ("reshape", (-1,)),
    ],
)
def test_a_method_of_an_array_that_only_looks_large_is_refused_before_it_copies(
    server: ServerProcess, method: str, args: tuple[Any, ...]
) -> None:
    with RawClient(server.path) as client:
        large = handle_of(client.result("broadcast_to", 1.5, [30_000, 30_000]))
        before = spent(server)
        kind, message = client.error(f"ndarray.{method}", large, *args)
        assert (kind, "max_" in message) == ("QuotaExceededError", True), message
    assert spent(server) == before


def test_an_index_that_gathers_more_than_fits_is_refused(server: ServerProcess) -> None:
    with dialled(server.url) as client:
        x = client.request("zeros", (100,))
        index = client.request("broadcast_to", (0, [20_000, 20_000]))
        with pytest.raises(QuotaExceededError):
            client.request("ndarray.__getitem__", (x, index))


def test_the_limits_apply_to_random_generators(server: ServerProcess) -> None:
    with dialled(server.url) as client:
        generator = client.request("random.default_rng", (1,))
        with pytest.raises(QuotaExceededError):
            client.request("random.Generator.normal", (generator, 0.0, 1.0, 10**9))
        assert client.request("random.Generator.normal", (generator, 0.0, 1.0, 3)).shape == (3,)


def test_views_of_a_large_array_take_no_room(server: ServerProcess) -> None:
    with dialled(server.url) as client:
        large = client.request("zeros", (6 * MIB,))  # 48 MiB of 64
        views = [client.request("reshape", (large, [-1, 2])) for _ in range(5)]
        views += [client.request("ndarray.__getitem__", (large, slice(1, None)))]
        assert client.request("session.size")[1] == 48 * MIB
        assert len(views) == 6
        with pytest.raises(QuotaExceededError, match="max_bytes"):
            client.request("zeros", (3 * MIB,))


def test_too_many_objects_are_refused_and_freed_ones_make_room(small: Any) -> None:
    url, _ = small(Quotas(max_handles=8))
    with dialled(url) as client:
        held = [client.request("zeros", (1,)) for _ in range(8)]
        with pytest.raises(QuotaExceededError, match="max_handles") as refused:
            client.request("zeros", (1,))
        assert refused.value.allowed == 8
        del held[3:]
        held.append(client.request("zeros", (1,)))
        assert len(held) == 4


def test_an_answer_that_fits_only_in_part_leaks_no_objects(small: Any) -> None:
    url, _ = small(Quotas(max_handles=8))
    with dialled(url) as client:
        held = client.request("zeros", ([10, 2],))
        for _ in range(3):
            with pytest.raises(QuotaExceededError, match="max_handles"):
                client.request("split", (held, 10))
            assert client.request("session.size") == [1, 160]


def spent(server: ServerProcess) -> int:
    return sum(one["flops"] for one in server.state()["principals"])


# ---------------------------------------------------------------- frames and time


def test_a_frame_that_is_too_long_is_refused_by_its_length_alone(server: ServerProcess) -> None:
    with RawClient(server.path) as client:
        client.send(struct.pack("<I", 0xFFFFFFFF))
        assert client.closed_reason() == (
            "a frame of 4,294,967,295 bytes was announced (allowed: 1 to 4,194,304)"
        )


def test_a_frame_that_stays_incomplete_ends_the_session(small: Any, folder: Path) -> None:
    small(Quotas(stall_s=0.2))
    with RawClient(folder / "small.sock") as client:
        client.send(struct.pack("<I", 100) + b"half of it")
        assert client.closed_reason() == "a message stayed incomplete for 0.2 s or more"


def test_sending_single_bytes_does_not_extend_the_deadline(small: Any, folder: Path) -> None:
    small(Quotas(stall_s=0.5))
    with RawClient(folder / "small.sock") as client:
        client.send(struct.pack("<I", 1000))
        client.sock.settimeout(0.05)
        for _ in range(1000):
            client.send(b"x")
            try:
                if client.receive_message() is not None:
                    break
            except TimeoutError:
                continue
        else:
            pytest.fail("it went on although 0.5 s had passed")


def test_a_client_that_never_reads_its_answers_is_disconnected(small: Any, folder: Path) -> None:
    _, service = small(Quotas(stall_s=0.3))
    with RawClient(folder / "small.sock") as client:
        x = handle_of(client.result("zeros", 200_000))
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        for number in range(3):
            client.send_message({"id": number, "op": "session.fetch", "a": [x]})
        wait_until(lambda: not service.hosts(), "the session has ended")


def test_a_session_ends_at_its_wall_time_and_sends_the_reason(small: Any) -> None:
    url, service = small(Quotas())
    client = open_session(url)
    try:
        assert client.request("add", (1.0, 2.0)).item() == 3.0
        service.quotas = Quotas(wall_time_s=0.3)
        wait_until(lambda: not service.hosts(), "the session has ended")
        with pytest.raises(ConnectionClosedError, match=r"its wall time of 0.3 s is over"):
            client.request("add", (1.0, 2.0))
    finally:
        client.close()


def test_a_user_may_have_no_more_sessions_than_allowed(small: Any) -> None:
    url, service = small(Quotas(), max_sessions_per_user=2)
    with dialled(url), dialled(url):
        with pytest.raises(RefusedError, match=r"may have no more \(max_sessions_per_user\)"):
            open_session(url)
    wait_until(lambda: not service.hosts(), "both have ended")
    with dialled(url) as client:
        assert client.request("add", (1.0, 2.0)).item() == 3.0


def test_a_full_server_refuses_with_the_reason(small: Any) -> None:
    url, _ = small(Quotas(), max_sessions=1)
    with dialled(url):
        with pytest.raises(RefusedError, match="takes no more"):
            open_session(url)


def test_simultaneous_welcomes_do_not_exceed_the_limit_of_sessions(
    small: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, service = small(Quotas(), max_sessions=1)
    both_welcomed = threading.Barrier(2)
    take_over = MechEstimService.take_over

    def wait_and_take_over(*args: Any) -> None:
        def work() -> None:
            both_welcomed.wait(WATCHDOG)
            take_over(*args)

        threading.Thread(target=work).start()

    monkeypatch.setattr(MechEstimService, "take_over", wait_and_take_over)
    clients = [open_session(url), open_session(url)]
    outcomes = []
    for client in clients:
        try:
            outcomes.append(client.request("add", (1.0, 2.0)).item())
        except ConnectionClosedError as error:
            outcomes.append(str(error))
    assert 3.0 in outcomes
    assert sum("takes no more (max_sessions)" in str(outcome) for outcome in outcomes) == 1
    for client in clients:
        client.close()
    wait_until(lambda: not service.hosts(), "it has ended")


def test_a_server_without_threads_refuses_with_the_reason(
    small: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, service = small(Quotas())
    with dialled(url) as first:
        first.request("add", (1.0, 2.0))

        def start(self: ThreadHost) -> None:
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(ThreadHost, "start", start)
        client = open_session(url)
        with pytest.raises(ConnectionClosedError, match="cannot start a session: can't start new"):
            client.request("add", (1.0, 2.0))
        client.close()
        monkeypatch.undo()
        assert first.request("add", (1.0, 2.0)).item() == 3.0
        assert len(service.hosts()) == 1


def test_a_client_that_reads_no_answer_does_not_block_other_sessions(server: ServerProcess) -> None:
    wait_until(lambda: not server.state()["sessions"], "the sessions before have ended")
    with RawClient(server.path) as stuck, RawClient(server.path) as other:
        array = handle_of(stuck.result("ones", [300, 1000]))
        stuck.send_message({"id": 100, "op": "session.fetch", "a": [array], "b": 0})
        assert select.select([stuck.sock], [], [], WATCHDOG)[0]  # the server is sending it
        for _ in range(20):
            assert other.result("add", 1.0, 2.0) is not None
        assert server.state()["sessions"] == 2, "they waited until it was given up"


def test_a_large_array_as_text_reaches_its_client(server: ServerProcess) -> None:
    with dialled(server.url) as client:
        x = client.request("arange", (6000.0,))
        client.request("session.print_options", (), {"threshold": 10**6})
        assert len(client.request("ndarray.__repr__", (x,))) > 1 << 16
        client.request("session.print_options", (), {"threshold": 1000})
