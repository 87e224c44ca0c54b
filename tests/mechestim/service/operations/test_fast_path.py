"""Requests that take the short way: the same answers, charges and refusals as on the long one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest

from shm_echo.mechestim import wire
from shm_echo.mechestim.local.array import Array
from shm_echo.mechestim.service.operations import fast_path, memory_bounds
from tests.support.mechestim_server import RawClient, ServerProcess, handle_of, serving


@pytest.fixture
def client(server: ServerProcess) -> Iterator[RawClient]:
    with RawClient(server.path) as one:
        yield one


def sent(client: RawClient, array: Any) -> msgpack.ExtType:
    content = [array.dtype.str, list(array.shape), array.tobytes()]
    ext = msgpack.ExtType(wire.NDARRAY, msgpack.packb(content))
    return handle_of(client.result("session.array", ext))


def used(client: RawClient) -> int:
    found: int = client.result("budget.read", 0)["used"]
    return found


@pytest.mark.parametrize("name", ["ndarray.__add__", "ndarray.__radd__", "ndarray.sum"])
def test_a_method_of_a_number_is_refused(client: RawClient, name: str) -> None:
    assert name in fast_path.FUNCTIONS
    before = used(client)
    refusal = client.error(name, 3, *([] if name.endswith("sum") else [4]))
    assert refusal == ("TypeError", f"{name} needs an array")
    assert used(client) == before


@pytest.mark.parametrize("name", ["add", "exp", "ndarray.__add__", "ndarray.sum", "sum"])
def test_missing_arguments_are_an_error_of_that_client(client: RawClient, name: str) -> None:
    assert client.error(name)[0] == "TypeError"
    assert client.result("add", 1.0, 2.0) is not None


def test_shapes_that_do_not_fit_are_refused_uncharged(client: RawClient) -> None:
    x, y = sent(client, np.ones(3)), sent(client, np.ones(4))
    before = used(client)
    name, message = client.error("ndarray.__add__", x, y)
    assert name == "ValueError"
    assert "(3,) (4,)" in message
    assert used(client) == before


def test_each_is_charged_once_in_the_context_and_under_the_ceiling(
    client: RawClient, server: ServerProcess
) -> None:
    def spent() -> int:
        return sum(one["flops"] for one in server.state()["principals"])

    x = sent(client, np.ones((5, 7)))
    before, below = used(client), spent()
    client.result("ndarray.__mul__", x, 2.0)
    client.result("exp", x)
    client.result("ndarray.sum", x)
    assert used(client) - before == spent() - below == 3 * 35


def test_a_context_that_is_used_up_refuses_before_the_ceiling_is_touched(
    client: RawClient, server: ServerProcess
) -> None:
    x = sent(client, np.ones(60))
    budget = client.result("budget.open", 100)
    client.result("ndarray.__add__", x, x, budget=budget)
    before = sum(one["flops"] for one in server.state()["principals"])
    reply = client.ask("ndarray.__add__", x, x, budget=budget)
    assert reply is not None
    name, _, fields = reply["e"]
    assert name == "BudgetExhaustedError"
    assert fields["flops_remaining"] == 40
    assert sum(one["flops"] for one in server.state()["principals"]) == before


def test_axis_and_keepdims_take_the_fast_path_and_other_options_the_long_path(
    client: RawClient,
) -> None:
    x = sent(client, np.arange(6.0).reshape(2, 3))
    assert fast_path.required_bytes("ndarray.sum", [1], {}) == fast_path.TOO_LARGE
    for options in ({"axis": 0}, {"axis": 1, "keepdims": True}, {"dtype": "f4"}):
        client.result("ndarray.sum", x, k=options)
    assert client.error("ndarray.sum", x, k={"axis": [0, 1]})[0] == "TypeError"
    assert client.error("ndarray.sum", x, k={"dtype": "O"})[0] == "TypeError"
    assert client.error("ndarray.sum", x, k={"axis": 7})[0] == "AxisError"


def test_requests_that_may_be_large_take_the_long_path(client: RawClient) -> None:
    x = sent(client, np.ones(30_000))
    column = client.result("ndarray.reshape", x, [30_000, 1])
    name, _ = client.error("ndarray.__add__", handle_of(column), x)
    assert name == "QuotaExceededError"  # 30,000 by 30,000


def test_wide_text_takes_the_long_path(client: RawClient) -> None:
    x = handle_of(client.result("zeros", [1], "S40000000"))
    before = used(client)
    name, _ = client.error("add", x, x)
    assert name == "QuotaExceededError"
    assert used(client) == before, "it was refused before it ran"


def test_a_small_limit_of_one_call_holds_on_the_short_way_too(folder: Path) -> None:
    with serving(folder, "--max-call-bytes", "4096") as running, RawClient(running.path) as one:
        x = sent(one, np.ones(600))
        name, message = one.error("ndarray.__add__", x, x)
        assert name == "QuotaExceededError"
        assert "max_call_bytes" in message


@pytest.mark.parametrize(
    "operands",
    [[np.ones((2, 2)).view(Array)] * 50, [np.zeros((2, 2), ">f8").view(Array)] * 2],
    ids=["many", "a dtype of its own"],
)
def test_sizes_that_could_take_much_memory_are_not_remembered(operands: list[Any]) -> None:
    before = len(memory_bounds._cache)
    memory_bounds.required_bytes("einsum", ["ij,jk->ik", *operands], {})
    assert len(memory_bounds._cache) == before
