"""One overwritten word at a time: what the log says, what goes on, and what raises."""

from __future__ import annotations

import logging
import signal
import threading
from typing import Any

import numpy as np
import pytest

from shm_echo import RingCorruptedError, Server, ShmClient, ShmTransport
from shm_echo.errors import ProtocolError
from shm_echo.ring import damage
from shm_echo.ring.producers import Producers
from tests.faults.roles import hold_a_slot
from tests.support.processes import start
from tests.support.ring_words import BEGUN, HEADER, REVOKED, RingWords, forgeries, word
from tests.support.samples import example
from tests.support.waiting import WATCHDOG, stop, wait_until

EXAMPLE = np.int64(0)
MOST = 4  # producers
FREE, CLAIMED, COMMITTED, HOLE, SKIP = range(5)


@pytest.fixture
def server(name: str) -> Any:
    with Server(EXAMPLE, 4, ShmTransport(name, max_producers=MOST), num_buffers=3) as server:
        yield server


@pytest.fixture
def words(server: Server) -> RingWords:
    return RingWords(server, MOST)


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if "shared memory" in r.getMessage()]


def fill(client: ShmClient, first: int, count: int) -> None:
    for n in range(first, first + count):
        client.send(np.int64(n), timeout=WATCHDOG)


def sample_in_thread(server: Server, **options: Any) -> tuple[threading.Thread, list[Any]]:
    found: list[Any] = []

    def learn() -> None:
        try:
            taken = server.sample(WATCHDOG, **options)
            assert taken is not None
            found.append(taken.batch.tolist())
        except Exception as error:
            found.append(error)

    thread = threading.Thread(target=learn)
    thread.start()
    return thread, found


@pytest.mark.parametrize("i", range(len(forgeries(0, 0))))
def test_a_word_over_a_free_slot_is_mended_with_one_line_and_the_batch_is_full(
    server: Server, words: RingWords, name: str, i: int, caplog: pytest.LogCaptureFixture
) -> None:
    with ShmClient(name, EXAMPLE) as client, ShmClient(name, EXAMPLE) as other:
        for n in range(9):  # to lap 3
            fill(client, 4 * n, 4)
            assert server.sample(WATCHDOG) is not None
        fill(client, 0, 1)
        words[words.state(2)] = forgeries(3, 2)[i]
        thread, found = sample_in_thread(server)
        fill(other, 1, 6)  # into the other slots, and later batches
        wait_until(lambda: lines(caplog), "the word is mended")
        fill(client, 100, 2)
        thread.join()
    assert len(found[0]) == 4
    assert set(found[0]) - {100} < set(range(12))
    assert len(lines(caplog)) == 1
    assert "slot 2" in lines(caplog)[0]


def test_a_producer_whose_slot_was_overwritten_gets_the_error_and_goes_on(
    server: Server, words: RingWords, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with ShmClient(name, EXAMPLE) as client, ShmClient(name, EXAMPLE) as other:
        slot = client.reserve()
        fill(other, 1, 3)
        words[words.state(0)] = word(7, 1, COMMITTED)
        with pytest.raises(TimeoutError):
            server.sample(0.05)
        thread, found = sample_in_thread(server)
        wait_until(lambda: server._consumer.checks._damage._unsettled, "the learner sees it")
        assert found == [], "the slot was given away while its owner may write"
        slot.tree[...] = 99
        with pytest.raises(RingCorruptedError, match="slot 0 .*not sent") as caught:
            slot.commit()
        assert caught.value.slot == 0
        wait_until(lambda: lines(caplog), "the word is mended")
        fill(client, 4, 1)
        thread.join()
    assert found == [[4, 1, 2, 3]]
    assert len(lines(caplog)) == 1


def test_a_stopped_owner_is_waited_for_and_named(
    name: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(damage, "_UNSETTLED_AFTER", 0.05)
    with (
        Server(example(), 2, ShmTransport(name, max_producers=MOST)) as server,
        start(hold_a_slot, name, 0) as child,
    ):
        words = RingWords(server, MOST)
        child.expect("holding")
        stop(child.pid)
        words[words.state(1)] = word(5, 1, CLAIMED)
        expected = rf"slot 1 was overwritten .*pid {child.pid} may still be writing"
        with pytest.raises(RingCorruptedError, match=expected) as caught:
            server.sample(1.0)
        assert caught.value.slot == 1
        assert len(lines(caplog)) == 1
        assert str(child.pid) in lines(caplog)[0]
        child.kill(signal.SIGCONT)
        child.end()  # its account is closed, so the slot is free
        with pytest.raises(TimeoutError):
            server.sample(0.5)
        with ShmClient(name, example()) as client:
            client.send(example())
            assert server.sample(WATCHDOG) is not None
    assert len(lines(caplog)) == 2


def test_a_learner_whose_own_account_was_overwritten_cannot_mend(
    server: Server, words: RingWords, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(damage, "_UNSETTLED_AFTER", 0.05)
    server.submit(np.int64(1))
    words[words.record(0, BEGUN)] = 1 << 50
    words[words.state(1)] = 2**64 - 1
    with pytest.raises(RingCorruptedError, match="slot 1 .*this process may still be writing"):
        server.sample()


@pytest.mark.parametrize("value", [13, 1 << 20, 1 << 60, 2**64 - 1, 0xDEADBEEF00000000])
def test_a_write_cursor_far_ahead_is_set_back(
    server: Server, words: RingWords, name: str, value: int, caplog: pytest.LogCaptureFixture
) -> None:
    with ShmClient(name, EXAMPLE) as client:
        fill(client, 0, 2)
        words[HEADER["write_cursor"]] = value
        thread, found = sample_in_thread(server)
        fill(client, 2, 2)
        thread.join()
        assert found == [[0, 1, 2, 3]]
        client.wait(WATCHDOG)
    assert len(lines(caplog)) == 1
    assert "write cursor" in lines(caplog)[0]


@pytest.mark.parametrize("what", ["closed", "revoked"])
def test_a_decision_that_the_server_did_not_take_is_undone(
    server: Server, words: RingWords, name: str, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    with ShmClient(name, EXAMPLE) as client:
        fill(client, 0, 1)
        offset = HEADER["closed"] if what == "closed" else words.record(1, REVOKED)
        words[offset] = 1
        fill(client, 1, 3)  # the client asks the server
        assert server.sample(WATCHDOG).batch.tolist() == [0, 1, 2, 3]  # type: ignore[union-attr]
        words[offset] = 1

        def looked() -> bool:  # a learner that waits looks itself
            with pytest.raises(TimeoutError):
                server.sample(0.3)
            return words[offset] == 0

        wait_until(looked, "it is undone")
        assert not server.closed
        words[offset] = 1
        fill(client, 4, 4)
        client_thread = threading.Thread(target=client.wait, args=(WATCHDOG,))
        words[offset] = 1
        client_thread.start()
        assert server.sample(WATCHDOG).batch.tolist() == [4, 5, 6, 7]  # type: ignore[union-attr]
        client_thread.join()
    assert all(what in line or "record of producer 1" in line for line in lines(caplog))


def test_a_server_that_closes_is_believed(name: str) -> None:
    from shm_echo import ConnectionClosedError

    server = Server(EXAMPLE, 4, ShmTransport(name)).start()
    with ShmClient(name, EXAMPLE) as client:
        server.close()
        with pytest.raises(ConnectionClosedError, match="closed the ring"):
            client.send(EXAMPLE)


def test_wait_does_not_believe_a_cursor_beyond_the_ring(
    server: Server, words: RingWords, name: str
) -> None:
    with ShmClient(name, EXAMPLE) as client:
        fill(client, 0, 4)
        words[HEADER["taken_cursor"]] = 1 << 60
        with pytest.raises(TimeoutError):
            client.wait(0)
        assert server.sample(WATCHDOG) is not None
        client.wait(WATCHDOG)


@pytest.mark.parametrize("word_name", ["magic", "layout_version", "batch_size", "digest"])
def test_a_newcomer_attaches_to_a_ring_whose_description_was_overwritten(
    server: Server,
    words: RingWords,
    name: str,
    word_name: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    words[HEADER[word_name]] = 2**64 - 1
    with ShmClient(name, EXAMPLE) as client:
        fill(client, 0, 4)
        assert server.sample(WATCHDOG) is not None
    assert len(lines(caplog)) == 1
    assert "description of the ring" in lines(caplog)[0]


def test_a_client_of_another_layout_is_refused_in_one_sentence(
    server: Server, words: RingWords, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = words[HEADER["layout_version"]]
    with monkeypatch.context() as patch:
        patch.setattr(Producers, "mend", lambda self: None)
        words[HEADER["layout_version"]] = version + 1
        with pytest.raises(ProtocolError) as caught:
            ShmClient(name, EXAMPLE)
        words[HEADER["layout_version"]] = version
    assert str(caught.value) == (
        "the ring could not be opened: the layout version differs: install the same shm-echo on "
        "both sides"
    )
    assert server.producers() == []
    with ShmClient(name, EXAMPLE):
        pass


def test_a_ring_that_only_waits_is_never_called_damaged(
    server: Server, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A slow producer, an open slot, a hole, a flush: all of it is legal."""
    caplog.set_level(logging.WARNING)
    with ShmClient(name, EXAMPLE) as client:
        fill(client, 0, 1)
        first, second = client.reserve(), client.reserve()
        first.abort()
        with pytest.raises(TimeoutError):
            server.sample(0.35)
        with pytest.raises(TimeoutError):
            server.sample(0.35, partial=True)
        second.tree[...] = 7
        second.commit()
        assert server.sample(WATCHDOG, partial=True).batch.tolist() == [0, 7]  # type: ignore[union-attr]
        with pytest.raises(TimeoutError):
            server.sample(0.35)
    assert lines(caplog) == []
