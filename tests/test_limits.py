"""Limits hold when a server is made: an example that no client could join with is rejected then."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shm_echo import Server, ShmClient, ShmTransport
from shm_echo.ring.core import ffi, lib
from shm_echo.ring.ring import MAX_PRODUCERS
from tests.support.manual_transport import ManualTransport

FLOAT = np.float32(0)


def leaves(count: int, leaf: Any = FLOAT) -> dict[str, Any]:
    return {f"{i:05}": leaf for i in range(count)}


def deep(levels: int) -> Any:
    """Return a tree whose leaf is `levels` levels below the root."""
    tree: Any = FLOAT
    for _ in range(levels):
        tree = [tree]
    return tree


def largest(make: Any, low: int, high: int, name: str) -> int:
    """Return the largest size of an example that a server with a ShmTransport accepts."""
    while high - low > 1:
        middle = (low + high) // 2
        try:
            Server(make(middle), 1, ShmTransport(name))
        except ValueError:
            high = middle
        else:
            low = middle
    return low


@pytest.mark.parametrize("leaf", [FLOAT, np.zeros((1, 1), np.float32)], ids=["0-d", "2-d"])
def test_the_largest_accepted_example_serves_and_one_more_leaf_is_rejected(
    leaf: Any, name: str
) -> None:
    most = largest(lambda n: leaves(n, leaf), 1000, 8000, name)
    assert 32_700 < most * (4 + 1 + np.ndim(leaf)) < 32_768  # items: see docs/reference/limits.md
    example = leaves(most, leaf)
    with (
        Server(example, 1, ShmTransport(name)) as server,
        ShmClient(name, example) as client,
    ):
        client.send(example)
        sample = server.sample(timeout=30)
        assert sample is not None
        assert len(sample.batch) == most
    with pytest.raises(ValueError, match=r"32,768 items\. A leaf takes 4") as caught:
        Server(leaves(most + 1, leaf), 1, ShmTransport(name))
    assert f"the example has {most + 1:,} leaves" in str(caught.value)


@pytest.mark.parametrize(("row", "leaf"), [("no axis", FLOAT), ("one axis", np.zeros(4))])
def test_the_page_of_limits_has_these_numbers(row: str, leaf: Any, name: str) -> None:
    page = (Path(__file__).resolve().parents[1] / "docs/reference/limits.md").read_text()
    in_dict = largest(lambda n: leaves(n, leaf), 5000, 9000, name)
    in_list = largest(lambda n: [leaf] * n, 5000, 9000, name)
    assert f"| {row} | {in_dict:,} | {in_list:,} |" in page


def test_the_published_example_counts_too(name: str) -> None:
    Server(leaves(3000), 1, ShmTransport(name), publishes=leaves(3000))
    with pytest.raises(ValueError, match="the example and the published one have 8,000 leaves"):
        Server(leaves(4000), 1, ShmTransport(name), publishes=leaves(4000))


UNSENDABLE: dict[str, tuple[dict[Any, Any], str]] = {
    "long names": (leaves(5, FLOAT) | {"k" * 70_000: FLOAT}, "70,000 bytes .allowed: 65,536"),
    "many long names": (
        {f"{i:0300}": FLOAT for i in range(4000)},
        "above the limit of 1,048,576 bytes",
    ),
}


@pytest.mark.parametrize(("example", "words"), UNSENDABLE.values(), ids=UNSENDABLE)
def test_every_other_limit_of_a_message_holds_at_construction(
    example: Any, words: str, name: str
) -> None:
    with pytest.raises(ValueError, match=words):
        Server(example, 1, ShmTransport(name))
    with Server(example, 1) as server:  # no process has to be told
        server.submit(example)
        assert server.sample(timeout=0) is not None


def test_a_tree_of_65536_nodes_is_the_largest() -> None:
    with Server([FLOAT] * 65535, 1) as server:
        server.submit([FLOAT] * 65535)
    with pytest.raises(ValueError, match="the example has 65,537 nodes .* at most 65,536"):
        Server([FLOAT] * 65536, 1)
    with pytest.raises(ValueError, match="has 65,537 nodes"):
        Server([FLOAT], 1, publishes=[FLOAT] * 65536)


def test_a_leaf_64_levels_below_the_root_is_the_deepest(name: str) -> None:
    with (
        Server(deep(64), 1, ShmTransport(name)) as server,
        ShmClient(name, deep(64)) as client,
    ):
        client.send(deep(64))
        assert server.sample(timeout=30) is not None
    with pytest.raises(ValueError, match="the example is nested deeper than 64 levels"):
        Server(deep(65), 1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            {"batch_size": 2**30, "num_buffers": 3},
            "make 3,221,225,472 samples, and a ring has at most 2,147,483,648",
        ),
        ({"batch_size": 2**31, "num_buffers": 2}, "at most 2,147,483,648"),
        (
            {
                "batch_size": 2**20,
                "example": {"x": np.broadcast_to(np.float64(0), (2**40,))},
            },
            r"3,145,728 samples of 8,796,093,022,208 bytes .* less than 2\*\*63 bytes",
        ),
        (
            {"publishes": {"w": np.broadcast_to(np.float64(0), (2**58,))}},
            r"the published example has 2,305,843,009,213,693,952 bytes, and at most 2\*\*61 - 1",
        ),
    ],
)
def test_a_ring_that_can_never_be_made_is_rejected_at_construction(
    arguments: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        Server(**{"example": {"x": FLOAT}, "batch_size": 1, **arguments})


def test_the_limits_are_those_of_the_c_core() -> None:
    assert lib.she_bcast_bytes(2**61 - 1) > 0 == lib.she_bcast_bytes(2**61)
    config = ffi.new("she_config *")
    layout = ffi.new("she_layout *")
    rows = ffi.new("uint64_t[]", [1])
    config.row_bytes, config.num_leaves, config.max_producers = rows, 1, MAX_PRODUCERS

    def possible(batch_size: int, num_buffers: int) -> bool:
        config.batch_size, config.num_buffers = batch_size, num_buffers
        return bool(lib.she_layout_compute(config, layout, ffi.new("uint64_t[1]")) == 0)

    assert possible(2**30, 2)
    assert not possible(2**30, 3)
    config.max_producers += 1
    assert not possible(1, 2)


@pytest.mark.parametrize("count", [0, MAX_PRODUCERS + 1])
def test_a_transport_of_ones_own_meets_the_limit_of_producers(count: int) -> None:
    with pytest.raises(ValueError, match="max_producers of the transport must be at"):
        Server({"x": FLOAT}, 1, ManualTransport(count))
