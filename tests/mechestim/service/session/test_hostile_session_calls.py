"""Every session call with wrong arguments at every position: only an error for that client."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import msgpack
import pytest

from shm_echo.mechestim import wire
from shm_echo.mechestim.service.metering.budgets import Budgets
from shm_echo.mechestim.service.metering.flop_ceiling import Ceiling, SessionLedger
from shm_echo.mechestim.service.metering.quotas import Quotas
from shm_echo.mechestim.service.metering.stats_page import StatsPage
from shm_echo.mechestim.service.objects.handle_table import HandleTable
from shm_echo.mechestim.service.operations.dispatch import Dispatcher
from shm_echo.mechestim.service.scheduling.scheduler import SchedulerSlot
from tests.support.mechestim_server import RawClient, ServerProcess, handle_of

pytestmark = pytest.mark.usefixtures("server_stays_alive")


def words() -> list[str]:
    """Return the names of all session calls, from the dispatcher."""
    quotas = Quotas()
    ledger = SessionLedger(Ceiling(None), StatsPage(), {}, SchedulerSlot())
    return sorted(
        Dispatcher(
            HandleTable(quotas), Budgets(quotas, ledger), quotas, SchedulerSlot()
        )._session_calls
    )


@pytest.fixture
def client(server: ServerProcess, server_stays_alive: None) -> Iterator[RawClient]:
    with RawClient(server.path) as one:
        yield one
        assert one.result("add", 1.0, 2.0) is not None, "the session is not usable any more"


def tuple_of(*items: Any) -> msgpack.ExtType:
    return msgpack.ExtType(wire.TUPLE, msgpack.packb(list(items)))


def slice_of(*items: Any) -> msgpack.ExtType:
    return msgpack.ExtType(wire.SLICE, msgpack.packb(list(items)))


WRONG: list[Any] = [
    *(None, True, -1, 0, 7, 2**63, -(2**63), 1.5, float("nan"), float("inf"), "", "x", "O", b"x"),
    *([], [[]], [1, "x", None], {}, {"x": []}, tuple_of(), tuple_of(1, "x"), wire.bigint(2**90)),
    *(slice_of(None, None, None), slice_of("a", 5, {}), wire.callback_ext(1)),
    *(msgpack.ExtType(wire.ELLIPSIS, b""), msgpack.ExtType(wire.DTYPE, msgpack.packb("<f8"))),
    msgpack.ExtType(wire.NDARRAY, msgpack.packb(["<f8", [2], bytes(16)])),
]
MAX_ARGUMENTS = 4


@pytest.mark.parametrize("word", words())
def test_wrong_arguments_of_a_session_call_are_only_an_error(client: RawClient, word: str) -> None:
    array = handle_of(client.result("ones", [2, 2]))
    good: list[Any] = [array, 1, "add"]
    for count in range(MAX_ARGUMENTS + 1):
        for place in range(max(1, count)):
            for wrong, right in itertools.product(WRONG, good):
                args = [right] * count
                args[place : place + 1] = [wrong]
                reply = client.ask(word, *args)
                while reply is not None and "call" in reply:
                    client.send_message({"ret": reply["call"], "r": None})
                    reply = client.receive_message()
                assert reply is not None, f"{word}{args} ended the session"
                assert "r" in reply or "e" in reply, (word, args, reply)
                if "e" in reply:
                    assert "its log says why" not in reply["e"][1], (word, args)


@pytest.mark.parametrize("word", words())
def test_an_unknown_option_of_a_session_call_is_refused(client: RawClient, word: str) -> None:
    kind, message = client.error(word, k={"nothing": 1})
    assert kind in ("TypeError", "ValueError"), message


PATHS: list[tuple[Any, ...]] = [
    (5, [], {}, "auto"),
    ([["i"]], ["j"], {"i": 2}, "auto"),
    ([["i"]], ["i"], {"i": "x"}, "auto"),
    ([["i"]] * 99, [], {"i": 2}, "auto"),
    ([["i"]] * 20, [], {"i": 2}, "optimal"),
    ([["i"]] * 3, [], {"i": 2}, "no such search"),
    ([["i"]] * 3, [], {"i": 2}, [[0, 9], [0, 1]]),
    ([["i"]] * 3, [], {"i": 2}, [[0, 1]]),
    ([["i"]] * 3, [], [["i"]], "auto"),
]


@pytest.mark.parametrize("args", PATHS, ids=repr)
def test_an_invalid_path_is_refused(client: RawClient, args: tuple[Any, ...]) -> None:
    kind, _ = client.error("session.path", *args)
    assert kind in ("TypeError", "ValueError", "RuntimeError")


@pytest.mark.parametrize(
    "name", ["", "sum", "einsum", "linalg", "__class__", "os", 5, None, [], {}]
)
def test_only_ufuncs_have_the_facts_of_ufuncs(client: RawClient, name: Any) -> None:
    kind, _ = client.error("session.ufunc", name)
    assert kind == "TypeError"


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("r_", "np"),
        ("c_", "key"),
        ("r_", tuple_of("0,2,900000000", [1, 2])),
        ("mgrid", slice_of(0, 1, 0)),
        ("mgrid", slice_of(0, 10**12, None)),
        ("mgrid", tuple_of(*[slice_of(0, 50, None)] * 20)),
        ("ogrid", slice_of(0, float("nan"), 1)),
        ("s_", 1),
        ("__class__", 1),
        (["mgrid"], 1),
    ],
    ids=repr,
)
def test_an_invalid_grid_is_refused(client: RawClient, name: Any, key: Any) -> None:
    client.error("session.grid", name, key)


@pytest.mark.parametrize(
    "options",
    [
        {"precision": 10**9},
        {"precision": "x"},
        {"nanstr": "x" * 60_000},
        {"nanstr": 5},
        {"infstr": b"inf"},
        {"threshold": "x"},
        {"floatmode": "none"},
        {"sign": 5},
        {"legacy": "1.12"},
        {"nothing": 1},
    ],
    ids=lambda options: repr(options)[:40],
)
def test_invalid_print_options_are_refused(client: RawClient, options: dict[str, Any]) -> None:
    before = client.result("session.print_options")
    client.error("session.print_options", k=options)
    assert client.result("session.print_options") == before


def test_a_text_that_would_be_too_long_is_refused_before_it_is_made(client: RawClient) -> None:
    client.result("session.print_options", k={"threshold": 10**9})
    letters = handle_of(client.result("array", ["x" * 20_000]))
    many = handle_of(client.result("broadcast_to", letters, [5000]))
    for word in ("ndarray.__repr__", "ndarray.__str__", "ndarray.__format__"):
        kind, message = client.error(word, many, *([""] if word.endswith("format__") else []))
        assert (kind, "max_call_bytes" in message) == ("QuotaExceededError", True)


def test_an_object_that_is_no_function_cannot_be_called(client: RawClient) -> None:
    generator = msgpack.unpackb(client.result("random.default_rng", 1).data)[0]
    array = msgpack.unpackb(client.result("ones", 2).data)[0]
    for number in (generator, array):
        kind, message = client.error("object.call", wire.handle_ext(number), 1)
        assert (kind, message) == ("TypeError", "this object cannot be called")
    for wrong in (None, 5, "add", wire.callback_ext(1)):
        kind, _ = client.error("object.call", wrong)
        assert kind == "TypeError"
