"""The end of an inlet while other threads use it, on which custom transports rely."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from shm_echo import ConnectionClosedError, ProducerDiedError, Server
from shm_echo.transports.base import Inlet
from tests.support.learner import auditing
from tests.support.manual_transport import ManualTransport
from tests.support.samples import Maker, example
from tests.support.threads import Worker
from tests.support.waiting import wait_until

MAKER = Maker(1)
LARGE = 1 << 17  # words: a MiB, copied without the interpreter lock

WAITS: dict[str, Callable[[Inlet], object]] = {
    "send": lambda inlet: inlet.send(MAKER.sample(0)),
    "send_batch": lambda inlet: inlet.send_batch(MAKER.batch(0, 9)),
    "wait": lambda inlet: inlet.wait(),
}


@pytest.fixture
def transport() -> ManualTransport:
    return ManualTransport()


@pytest.fixture
def server(transport: ManualTransport) -> Iterator[Server]:
    with Server(example(), 2, transport, num_buffers=2, on_producer_death="raise") as running:
        yield running


def test_an_inlet_waits_until_its_samples_are_stored_or_taken(
    server: Server, transport: ManualTransport
) -> None:
    inlet = transport.open()
    inlet.send(MAKER.sample(0))
    inlet.wait(until="stored")
    with pytest.raises(TimeoutError):
        inlet.wait(0)
    with pytest.raises(ValueError, match="^until must be 'taken' or 'stored', not 'sent'"):
        inlet.wait(until="sent")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="timeout"):
        inlet.wait("soon", until="stored")  # type: ignore[arg-type]
    assert server.flush() is not None
    inlet.wait(0, until="taken")
    other = transport.open()
    other.close()
    with pytest.raises(ConnectionClosedError, match="this inlet is closed"):
        other.wait(until="stored")
    server.close()
    with pytest.raises(ConnectionClosedError, match="the server has closed the ring"):
        inlet.wait(until="stored")


@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS)
@pytest.mark.parametrize("end", [Inlet.close, Inlet.died])
def test_the_end_of_an_inlet_wakes_its_own_waiting_calls_only(
    server: Server,
    transport: ManualTransport,
    wait: Callable[[Inlet], object],
    end: Callable[[Inlet], None],
) -> None:
    inlet, other = transport.open(pid=11), transport.open(pid=12)
    inlet.send_batch(Maker(2).batch(0, 2))
    other.send_batch(Maker(3).batch(0, 2))
    waiting = [Worker(wait, inlet) for _ in range(2)]
    bystander = Worker(wait, other)
    for worker in (*waiting, bystander):
        worker.wait_until_asleep()

    end(inlet)
    end(inlet)

    for worker in waiting:
        with pytest.raises(ConnectionClosedError, match="this inlet is closed"):
            worker.result()
    wait_until(lambda: [p.pid for p in server.producers()] == [12], "the other one is left")
    assert bystander.thread.is_alive()
    if end is Inlet.died:
        with pytest.raises(ProducerDiedError):
            server.sample()
    other.close()
    with pytest.raises(ConnectionClosedError):
        bystander.result()


@pytest.mark.parametrize("end", [Inlet.close, Inlet.died])
def test_a_signal_handler_may_end_an_inlet_while_its_thread_lists_the_producers(
    server: Server,
    transport: ManualTransport,
    end: Callable[[Inlet], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    inlet, other = transport.open(pid=11), transport.open(pid=12)
    look = server._producers._view

    def interrupted_look(owner: int) -> Any:
        signal.raise_signal(signal.SIGUSR1)
        return look(owner)

    before = signal.signal(signal.SIGUSR1, lambda number, frame: end(inlet))
    try:
        with monkeypatch.context() as patched:
            patched.setattr(server._producers, "_view", interrupted_look)
            assert [p.pid for p in server.producers()] == [11, 12]  # as it was at the beginning
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert [p.pid for p in server.producers()] == [12]
    other.close()


def test_a_sample_that_is_being_copied_at_the_end_comes_whole_or_not_at_all(
    transport: ManualTransport,
) -> None:
    maker, certain = Maker(1, words=LARGE), [0]

    def stream(inlet: Inlet) -> None:
        while True:
            inlet.send_batch(maker.batch(certain[0], 1))
            certain[0] += 1

    with Server(example(LARGE), 1, transport, num_buffers=3) as server, auditing(server) as audit:
        first, second = transport.open(), transport.open()
        sending = Worker(stream, first)
        wait_until(lambda: certain[0] > 10, "it streams")
        first.close()
        second.send_batch(Maker(2, words=LARGE).batch(0, 1))
        with pytest.raises(ConnectionClosedError):
            sending.result()
        second.close()
    audit.check({(1, 0): certain[0], (2, 0): 1})
