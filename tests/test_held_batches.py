"""Server.held(), and what both ends say when leases fill the ring."""

from __future__ import annotations

import gc
import logging
import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from shm_echo import (
    BatchesHeldError,
    HeldBatch,
    RingFullError,
    SendTimeoutError,
    Server,
    ShmClient,
    ShmTransport,
)
from tests.support.manual_transport import ManualTransport
from tests.support.numbered import EXAMPLE, numbered, numbers_of, stacked
from tests.support.ring_words import HEADER, RingWords
from tests.support.scripts import run_script
from tests.support.threads import Worker
from tests.support.waiting import wait_until


def take(server: Server, number: int = 0) -> Any:
    for _ in range(server.batch_size):
        server.submit(numbered(number), timeout=0)
    sample = server.sample(timeout=60)
    assert sample is not None
    return sample.batch


# ---------------------------------------------------------------- the list


@pytest.mark.parametrize("lease", [False, True, "copy"])
def test_with_nothing_held_it_is_empty(lease: Any) -> None:
    with Server(EXAMPLE, 2, lease=lease) as server:
        assert server.held() == []
        take(server)
        assert server.held() == []
    assert server.held() == []


def test_it_counts_the_leases_and_numbers_the_batches_from_one() -> None:
    with Server(EXAMPLE, 1, num_buffers=4, lease=True) as server:
        take(server)
        kept = {i: take(server) for i in (2, 3, 4)}
        assert [batch.number for batch in server.held()] == [2, 3, 4]
        del kept[3]
        assert [batch.number for batch in server.held()] == [2, 4]
        for i in (5, 6, 7):  # the numbers go on although buffers are passed over
            last = take(server)
            assert [batch.number for batch in server.held()] == [2, 4, i]
        del last, kept


def test_ages_grow_and_the_leaves_that_are_alive_are_counted() -> None:
    with Server(EXAMPLE, 1, lease=True) as server:
        first = take(server)
        (held,) = server.held()
        assert held.leaves == 2
        view = first["x"][:, 1:]
        del first
        (later,) = server.held()
        assert later.leaves == 1
        wait_until(lambda: server.held()[0].age > held.age, "the batch gets older")
        assert (held.holders, held.stack) == ((), "")
        assert pickle.loads(pickle.dumps(held)) == held
        assert isinstance(held, HeldBatch)
        del view


def test_copies_are_not_held() -> None:
    with Server(EXAMPLE, 1, num_buffers=3) as server:
        kept = [take(server) for _ in range(10)]
        assert [batch.number for batch in server.held()] == [1, 2]
        del kept[:2]
        assert server.held() == []
        assert len(kept) == 8


# ---------------------------------------------------------------- who holds them

_KEPT_GLOBALLY: list[Any] = []


class Keeper:
    def __init__(self, batch: Any) -> None:
        self.batch = batch


@pytest.fixture
def debugging(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("SHM_ECHO_DEBUG", "1")
    with Server(EXAMPLE, 1, lease=True) as server:
        yield server
    _KEPT_GLOBALLY.clear()


def holders(server: Server) -> str:
    (held,) = server.held()
    return "\n".join(held.holders)


def test_in_debug_mode_the_stack_of_the_take_is_named(debugging: Server) -> None:
    batch = take(debugging)
    (held,) = debugging.held()
    assert "in take" in held.stack
    assert "server.sample(timeout=60)" in held.stack
    assert "in test_in_debug_mode_the_stack_of_the_take_is_named" in held.stack
    del batch
    assert debugging.held() == []


@pytest.mark.parametrize("collect", [False, True])
def test_in_debug_mode_containers_are_named_from_the_inside_out(
    debugging: Server, collect: bool
) -> None:
    _KEPT_GLOBALLY.append(take(debugging))
    if collect:  # which makes the collector forget dicts of arrays
        gc.collect()
    text = holders(debugging)
    assert "a dict with the keys 'x', 'n', in a list of 1" in text
    assert f"the variables of module {__name__}" in text


def test_in_debug_mode_a_leaf_in_a_list_and_an_object_are_named(debugging: Server) -> None:
    _KEPT_GLOBALLY.append(take(debugging)["x"])
    assert "a list of 1" in holders(debugging)
    _KEPT_GLOBALLY[0] = Keeper(_KEPT_GLOBALLY[0])
    assert "Keeper" in holders(debugging)


def test_in_debug_mode_views_and_libraries_are_what_remains(debugging: Server) -> None:
    view: Any = take(debugging)["x"][:, 1:]
    assert "a view or another library" in holders(debugging)
    view = memoryview(view)
    assert "a memoryview" in holders(debugging) or "a view or another" in holders(debugging)
    del view
    assert debugging.held() == []


def test_in_debug_mode_the_search_itself_holds_nothing(debugging: Server) -> None:
    batch = take(debugging)
    for _ in range(3):
        debugging.held()
    del batch
    assert debugging.held() == []
    kept = take(debugging)
    assert len(debugging.held()) == 1
    assert numbers_of(kept) == [0]


# ---------------------------------------------------------------- the learner says so


def test_the_error_names_the_list_and_the_other_mode() -> None:
    with Server(EXAMPLE, 1, lease=True, lease_timeout=0.0) as server:
        kept = [take(server, i) for i in range(3)]
        with pytest.raises(BatchesHeldError, match=r"lease='copy'; server\.held\(\) lists them"):
            server.sample()
        assert [numbers_of(batch) for batch in kept] == [[0], [1], [2]]


def test_a_time_out_says_that_leases_hold_every_buffer() -> None:
    with Server(EXAMPLE, 1, lease=True) as server:
        kept = [take(server, i) for i in range(3)]
        with pytest.raises(TimeoutError, match="arrays of earlier batches hold all 3 batch buf"):
            server.sample(timeout=0.01)
        kept.pop()
        with pytest.raises(TimeoutError, match=r"0 producers attached\)"):
            server.sample(timeout=0.01)


def test_a_learner_that_waits_for_leases_logs_it_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shm_echo.wait_checks._HELD_WARNING", 0.01)
    with Server(EXAMPLE, 1, lease=True, lease_timeout=None) as server:
        kept = [take(server, i) for i in range(3)]
        with pytest.raises(TimeoutError):
            server.sample(timeout=0.2)
        (line,) = [r.getMessage() for r in caplog.records if "sample() has waited" in r.message]
        assert "arrays of earlier batches hold all 3 batch buffers: server.held() lists" in line
        assert len(kept) == 3


# ---------------------------------------------------------------- collections of garbage


class Cycle:
    def __init__(self, batch: Any) -> None:
        self.batch, self.me = batch, self


@pytest.fixture
def no_automatic_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_automatic_collection")
def test_young_garbage_that_holds_every_buffer_is_collected_at_once(name: str) -> None:
    with (
        Server(EXAMPLE, 1, ShmTransport(name), lease=True) as server,
        ShmClient(name, EXAMPLE) as client,
    ):
        feeder = Worker(client.send_batch, stacked(range(60)))
        for i in range(60):
            sample = server.sample(timeout=60)
            assert sample is not None
            assert numbers_of(sample.batch) == [i]
            Cycle(sample)
            del sample
        feeder.result()


@pytest.mark.usefixtures("no_automatic_collection")
def test_old_garbage_is_collected_before_the_error_and_only_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    generations: list[Any] = []
    collect = gc.collect

    def watched(generation: int = 2) -> int:
        generations.append(generation)
        return collect(generation)

    monkeypatch.setattr("shm_echo.wait_checks.gc.collect", watched)
    with Server(EXAMPLE, 1, lease=True, lease_timeout=0.05) as server:
        for i in range(3):
            Cycle(take(server, i))
            gc.get_objects()
        collect(0)
        if server.held():
            pytest.fail("young garbage was not collected")
        cycles = [Cycle(take(server, i)) for i in range(3)]
        collect(0)
        collect(1)  # they are old now
        cycles.clear()
        with pytest.raises(TimeoutError, match="0 producers attached|no batch"):
            server.sample(timeout=0.2)
        assert server.held() == []  # so no BatchesHeldError
    assert generations[0] == 0
    assert generations.count(2) == 1
    assert set(generations) == {0, 2}


@pytest.mark.usefixtures("no_automatic_collection")
def test_a_finalizer_that_the_collection_runs_may_sample() -> None:
    came: list[Any] = []

    class Sampling:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            try:
                came.append(server.sample(timeout=0.01))
            except TimeoutError as error:
                came.append(error)

    with Server(EXAMPLE, 1, lease=True, lease_timeout=60) as server:
        kept = [take(server, i) for i in range(3)]
        Sampling()
        with pytest.raises(TimeoutError):
            server.sample(timeout=0.05)
        assert len(came) == 1
        kept.clear()
        assert numbers_of(take(server, 7)) == [7]


# ---------------------------------------------------------------- the producers say so


def test_a_send_that_times_out_says_how_many_batches_the_learner_holds(name: str) -> None:
    with (
        Server(EXAMPLE, 1, ShmTransport(name), lease=True) as server,
        ShmClient(name, EXAMPLE) as client,
    ):
        client.send_batch(stacked(range(3)))
        with pytest.raises(SendTimeoutError, match="learner takes batches") as caught:
            client.send(numbered(3), timeout=0)
        assert caught.value.lent == 0
        kept = [server.sample(timeout=60) for _ in range(2)]
        with pytest.raises(SendTimeoutError, match="the learner holds 2 of 3 batches") as caught:
            client.send(numbered(3), timeout=0)
        assert (caught.value.lent, caught.value.sent) == (2, 0)
        assert pickle.loads(pickle.dumps(caught.value)).lent == 2
        del kept[0]
        client.send(numbered(4), timeout=60)
        with pytest.raises(SendTimeoutError, match="the learner holds 1 of 3 batches"):
            client.send_batch(stacked(range(9)), timeout=0)


@pytest.mark.parametrize("stray", [4, 2**31, 2**32 - 1])
def test_an_overwritten_count_of_held_batches_is_bounded_and_put_right(
    name: str, stray: int
) -> None:
    with (
        Server(EXAMPLE, 1, ShmTransport(name), lease=True) as server,
        ShmClient(name, EXAMPLE) as client,
    ):
        client.send_batch(stacked(range(3)))
        RingWords(server, 256)[HEADER["taken"]] |= stray << 32
        with pytest.raises(SendTimeoutError, match="the learner holds 3 of 3 batches") as caught:
            client.send(numbered(3), timeout=0)
        assert caught.value.lent == 3
        kept = server.sample(timeout=60)
        with pytest.raises(SendTimeoutError, match="the learner holds 1 of 3 batches"):
            client.send(numbered(3), timeout=0)
        assert kept is not None


def test_an_inlet_that_times_out_says_it_too() -> None:
    transport = ManualTransport()
    with Server(EXAMPLE, 1, transport, lease=True) as server, transport.open() as inlet:
        inlet.send_batch(stacked(range(3)))
        kept = [server.sample(), server.sample()]
        with pytest.raises(SendTimeoutError, match="the learner holds 2 of 3 batches"):
            inlet.send(numbered(3), timeout=0)
        assert len(kept) == 2


@pytest.mark.parametrize(
    ("lease", "kept", "lent"), [(True, 2, 2), (True, 3, 3), ("copy", 3, 2), (False, 1, 1)]
)
def test_a_full_ring_of_submit_counts_lent_buffers(lease: Any, kept: int, lent: int) -> None:
    with Server(EXAMPLE, 2, num_buffers=3, lease=lease) as server:
        held = [take(server) for _ in range(kept)]
        for i in range(2 * (3 - lent)):
            server.submit(numbered(i), timeout=0)
        with pytest.raises(RingFullError, match=f"the learner holds {lent} of 3 batches") as error:
            server.submit(numbered(9))
        assert (error.value.lent, error.value.capacity) == (lent, 6)
        assert pickle.loads(pickle.dumps(error.value)).lent == lent
        assert len(held) == kept


def test_a_client_that_waits_for_long_logs_it_once_with_the_counts(name: str) -> None:
    printed = run_script(
        """
        import logging, sys, threading
        import numpy as np
        from shm_echo import Server, ShmClient, ShmTransport
        from shm_echo.transports import client_attachment, full_ring_warning

        client_attachment.BLOCKED_AFTER = full_ring_warning.BLOCKED_AFTER = 0.05
        heard = threading.Event()

        class Printer(logging.Handler):
            def emit(self, record):
                print(record.getMessage().replace(sys.argv[1], "NAME"))
                heard.set()

        logging.getLogger("shm_echo").addHandler(Printer())
        example = np.int64(0)
        with Server(example, 1, ShmTransport(sys.argv[1]), lease=True) as server:
            with ShmClient(sys.argv[1], example) as client:
                client.send_batch(np.arange(3))
                kept = [server.sample() for _ in range(2)]
                sender = threading.Thread(target=client.send_batch, args=(np.arange(3),))
                sender.start()
                assert heard.wait(60)
                kept.clear()
                server.sample()
                sender.join()
        """,
        name,
    )
    assert printed == (
        "sending to NAME has waited for room for 0.05 s: the learner holds 2 of 3 batches\n"
    )


def test_a_client_that_waits_for_a_slow_learner_logs_nothing(
    name: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG, "shm_echo")
    monkeypatch.setattr("shm_echo.transports.client_attachment.BLOCKED_AFTER", 0.01)
    with Server(EXAMPLE, 1, ShmTransport(name)) as server, ShmClient(name, EXAMPLE) as client:
        sender = Worker(client.send_batch, stacked(range(4)))
        wait_until(lambda: server.producers()[0].blocked_seconds > 0.3, "it waits for room")
        assert "waited for room" not in caplog.text
        server.sample()
        sender.result()


def test_the_count_of_the_producers_is_a_hint_that_cannot_exceed_the_buffers(name: str) -> None:
    with Server(EXAMPLE, 1, ShmTransport(name)) as server, ShmClient(name, EXAMPLE) as client:
        ring = client._ring
        assert ring.lent == 0
        kept = [take(server, i) for i in range(5)]
        assert ring.lent == 2
        del kept
        assert ring.lent == 0


# ---------------------------------------------------------------- without leases


def warnings_of(caplog: pytest.LogCaptureFixture, words: str) -> list[str]:
    return [r.getMessage() for r in caplog.records if words in r.getMessage()]


def test_without_leases_a_second_sampling_thread_is_warned_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with Server(EXAMPLE, 1, lease=False) as server:
        take(server)
        for _ in range(3):
            Worker(take, server).result()
            take(server)
        (line,) = warnings_of(caplog, "sample one server with lease=False")
        assert "'MainThread'" in line


@pytest.mark.parametrize("lease", [True, "copy"])
def test_with_leases_threads_may_share_a_server_without_a_warning(
    lease: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with Server(EXAMPLE, 1, lease=lease) as server:
        take(server)
        Worker(take, server).result()
    assert warnings_of(caplog, "lease=False") == []


def test_copies_on_demand_may_be_shared_without_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with Server(EXAMPLE, 1, num_buffers=4, lease=False) as server:
        batches = server.dataset_iter(copy=True)
        for i in range(4):
            server.submit(numbered(i))
        next(batches)
        Worker(next, batches).result()
        kept = [next(batches), next(batches)]
        assert [numbers_of(sample.batch) for sample in kept] == [[2], [3]]
    assert warnings_of(caplog, "lease=False") == []


def test_without_leases_a_batch_that_is_kept_beyond_the_next_is_warned_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with Server(EXAMPLE, 1, num_buffers=3, lease=False) as server:
        view = take(server)["x"][:, 1]
        take(server)
        assert warnings_of(caplog, "is still referred to") == []
        take(server)  # the sample() after the next
        assert len(warnings_of(caplog, "is still referred to two batches later")) == 1
        kept = [take(server) for _ in range(9)]
        assert len(warnings_of(caplog, "is still referred to")) == 1
        assert len(kept) == 9
        assert view.shape == (1,)


def test_without_leases_an_ordinary_loop_is_not_warned_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with Server(EXAMPLE, 1, num_buffers=2, lease=False) as server:
        for i in range(50):
            server.submit(numbered(i))
            sample = server.sample()  # while the batch before is still referred to
            for _ in range(3):
                with pytest.raises(TimeoutError):
                    server.sample(timeout=0)
        assert sample is not None
    assert warnings_of(caplog, "lease=False") == []


def test_numpy_scalars_and_leaves_without_rows_are_no_trouble() -> None:
    with Server({"n": np.int64(0), "none": np.zeros((0, 3))}, 2, lease=True) as server:
        for i in range(4):
            server.submit({"n": np.int64(i), "none": np.zeros((0, 3))})
        kept = [server.sample(), server.sample()]
        assert len(server.held()) == 2
        del kept
        assert server.held() == []
