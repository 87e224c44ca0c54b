"""The broadcast: values that a server publishes, and that its clients read."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest

from shm_echo import ConnectionClosedError, Server, ShmClient, ShmTransport
from shm_echo.errors import SpecMismatchError
from tests.support.numbered import EXAMPLE

PARAMS: dict[str, Any] = {"w": np.zeros((3, 2), np.float32), "layers": [np.zeros(5), np.int32(0)]}


class Policy(NamedTuple):
    weights: Any
    bias: Any


def params(i: float) -> dict[str, Any]:
    return {"w": np.full((3, 2), i, np.float32), "layers": [np.full(5, float(i)), np.int32(i)]}


def shows(tree: dict[str, Any], i: float) -> bool:
    return bool(
        (tree["w"] == i).all() and (tree["layers"][0] == i).all() and tree["layers"][1] == i
    )


@pytest.fixture
def server(name: str) -> Iterator[Server]:
    with Server(EXAMPLE, 2, ShmTransport(name), publishes=PARAMS) as server:
        yield server


@pytest.fixture
def client(server: Server, name: str) -> Iterator[ShmClient]:
    with ShmClient(name, EXAMPLE, publishes=PARAMS) as client:
        yield client


def news(client: ShmClient) -> tuple[int, Any]:
    found = client.latest()
    assert found is not None
    return found


# ---------------------------------------------------------------- versions


def test_latest_is_none_before_the_first_version(server: Server, client: ShmClient) -> None:
    assert client.latest() is None
    assert server.published_version == 0
    assert client.wait_for(0) == 0


def test_versions_are_counted_from_1_and_the_newest_is_read(
    server: Server, client: ShmClient
) -> None:
    for i in range(1, 20):
        assert server.publish(params(i)) == i
        assert server.published_version == i
        if i % 3 == 0:  # a reader may miss any number of them
            version, tree = news(client)
            assert version == i
            assert shows(tree, i)


def test_a_client_that_comes_later_reads_the_newest_version(server: Server, name: str) -> None:
    for i in (1, 2):
        server.publish(params(i))
    with ShmClient(name, EXAMPLE, publishes=PARAMS) as client:
        version, tree = news(client)
        assert version == 2
        assert shows(tree, 2)


def test_the_same_arrays_come_back_until_the_next_version_in_a_tree_of_their_own(
    server: Server, client: ShmClient
) -> None:
    server.publish(params(1))
    first, again = news(client)[1], news(client)[1]
    assert first is not again
    assert first["layers"] is not again["layers"]
    assert all(a is b for a, b in zip(leaves_of(first), leaves_of(again), strict=True))
    server.publish(params(1))  # equal, and yet a new version
    version, second = news(client)
    assert version == 2
    assert not any(np.shares_memory(a, b) for a in leaves_of(second) for b in leaves_of(first))
    assert shows(first, 1)


# ---------------------------------------------------------------- what a reader may do


def leaves_of(tree: dict[str, Any]) -> list[Any]:
    return [tree["w"], *tree["layers"]]


def test_a_value_that_was_read_never_changes(server: Server, client: ShmClient) -> None:
    kept = []
    for i in range(1, 10):
        server.publish(params(i))
        kept.append(news(client)[1])
    for i, tree in enumerate(kept, start=1):
        assert shows(tree, i)


def test_the_arrays_are_read_only_for_good(server: Server, client: ShmClient) -> None:
    server.publish(params(1))
    for leaf in leaves_of(news(client)[1]):
        with pytest.raises(ValueError, match="read-only"):
            leaf[...] = 0
        with pytest.raises(ValueError, match="WRITEABLE"):
            leaf.flags.writeable = True
    assert shows(news(client)[1], 1)


def test_changes_of_the_containers_stay_with_the_caller(server: Server, client: ShmClient) -> None:
    server.publish(params(1))
    mine = news(client)[1]
    del mine["w"]
    mine["layers"][0] = None
    assert shows(news(client)[1], 1)


def test_a_writable_value_is_a_copy_of_its_own_at_every_call(
    server: Server, client: ShmClient, name: str
) -> None:
    server.publish(params(1))
    shared = news(client)[1]
    copies = []
    for _ in range(3):
        version, mine = client.latest(writable=True) or (0, {})
        assert version == 1
        assert shows(mine, 1)
        for leaf in leaves_of(mine):
            leaf[...] = 99
        copies.append(mine)
    assert shows(shared, 1)
    assert shows(news(client)[1], 1)
    with ShmClient(name, EXAMPLE) as other:
        assert shows(news(other)[1], 1)
    leaves = [leaf for tree in (shared, *copies) for leaf in leaves_of(tree)]
    for i, one in enumerate(leaves):
        assert not any(np.shares_memory(one, other) for other in leaves[:i])


def test_writable_values_of_a_client_that_reads_no_other_ones(
    server: Server, client: ShmClient
) -> None:
    assert client.latest(writable=True) is None
    for i in range(1, 4):
        server.publish(params(i))
        version, mine = client.latest(writable=True) or (0, {})
        assert version == i
        assert shows(mine, i)


KINDS: dict[str, Any] = {
    "a byte, then a long double": [np.int8(3), np.full(2, 1.25, np.longdouble)],
    "dates": [np.datetime64("2026-01-02", "s"), np.array(["NaT"], "M8[D]")],
    "text and bytes": [np.array(["ab", "c"]), np.array([b"xyz"])],
    "a structure": [np.array([(1, 2.5)], [("i", "i1"), ("f", "f8")])],
    "nothing at all": [np.zeros((0, 3)), np.int8(1), np.zeros(0, np.longdouble)],
    "the other byte order": [np.arange(3, dtype=">i4")],
}


@pytest.mark.parametrize("value", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("writable", [False, True])
def test_every_kind_of_leaf_comes_back_equal_aligned_and_of_its_kind(
    name: str, value: list[Any], writable: bool
) -> None:
    with (
        Server(EXAMPLE, 2, ShmTransport(name), publishes=value) as server,
        ShmClient(name, EXAMPLE, publishes=value) as client,
    ):
        server.publish(value)
        _, came = client.latest(writable=writable) or (0, [])
        for got, want in zip(came, value, strict=True):
            np.testing.assert_array_equal(got, np.asarray(want), strict=True)
            assert got.flags.aligned
            assert got.flags.c_contiguous
            assert got.flags.writeable == writable
            if not writable:
                with pytest.raises(ValueError, match="WRITEABLE"):
                    got.flags.writeable = True


def test_an_unchanged_version_is_not_copied_again(
    server: Server, client: ShmClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.publish(params(1))
    news(client)
    reader = client._subscriber
    assert reader is not None
    monkeypatch.setattr(reader, "_read", lambda limit: pytest.fail("it copied the payload"))
    assert shows(news(client)[1], 1)


def test_a_value_may_be_changed_after_it_was_published(server: Server, client: ShmClient) -> None:
    mine = params(1)
    server.publish(mine)
    mine["w"] += 5
    assert shows(news(client)[1], 1)


# ---------------------------------------------------------------- structure


BAD: dict[str, tuple[Any, str]] = {
    "another dtype": (params(0) | {"w": np.zeros((3, 2))}, r"\['w'\]: expected float32 \(3, 2\)"),
    "another shape": (params(0) | {"w": np.zeros((2, 3), np.float32)}, r"\['w'\].*\(2, 3\)"),
    "a missing key": ({"w": PARAMS["w"]}, r"\['layers'\]"),
    "one leaf too many": (params(0) | {"layers": [np.zeros(5), np.int32(0), 1]}, r"\['layers'\]"),
    "None": (None, "the sample"),
    "a Python list": (params(0) | {"layers": [[0.0] * 5, np.int32(0)]}, r"\['layers'\]\[0\]"),
}


@pytest.mark.parametrize(("value", "path"), BAD.values(), ids=BAD)
def test_a_mismatch_is_rejected_by_its_leaf_and_not_published(
    server: Server, client: ShmClient, value: Any, path: str
) -> None:
    server.publish(params(1))
    with pytest.raises(SpecMismatchError, match=path):
        server.publish(value)
    assert server.published_version == 1
    assert shows(news(client)[1], 1)


def test_strided_values_and_python_numbers_are_published_by_value(
    server: Server, client: ShmClient
) -> None:
    w = np.arange(12, dtype=np.float32).reshape(2, 6)[:, ::2].T
    server.publish({"w": w, "layers": [np.arange(10.0)[::-2], 7]})
    _, tree = news(client)
    np.testing.assert_array_equal(tree["w"], w)
    np.testing.assert_array_equal(tree["layers"][0], np.arange(10.0)[::-2])
    assert tree["layers"][1] == 7


def test_a_client_without_an_example_gets_plain_containers_made_from_the_description(
    server: Server, name: str
) -> None:
    server.publish(params(3))
    with ShmClient(name, EXAMPLE) as client:
        _, tree = news(client)
        assert type(tree) is dict
        assert type(tree["layers"]) is list
        assert shows(tree, 3)


@pytest.mark.parametrize(
    "example",
    [
        np.zeros(3),
        (np.zeros(2), None, [np.float32(0)]),
        {"b": {3: np.zeros(1)}, "a": (np.zeros(1, np.int8),)},
        OrderedDict(z=np.zeros(1), a=np.zeros(2)),
    ],
    ids=["an array", "a tuple", "nested dicts", "an OrderedDict"],
)
@pytest.mark.parametrize("given", [False, True], ids=["described", "given"])
def test_trees_of_every_plain_kind_come_back(name: str, example: Any, given: bool) -> None:
    import optree

    value = optree.tree_map(lambda leaf: leaf + leaf.dtype.type(4), example)
    with (
        Server(EXAMPLE, 2, ShmTransport(name), publishes=example) as server,
        ShmClient(name, EXAMPLE, publishes=example if given else None) as client,
    ):
        server.publish(value)
        _, tree = news(client)
        if given:
            assert optree.tree_structure(tree) == optree.tree_structure(example)
        got, want = optree.tree_leaves(tree), optree.tree_leaves(value)
        if isinstance(example, OrderedDict) and not given:  # it comes as a plain, sorted dict
            got, want = [tree["a"], tree["z"]], [value["a"], value["z"]]
        for one, other in zip(got, want, strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_namedtuple_needs_an_example_on_the_clients_side_too(name: str) -> None:
    example = Policy(np.zeros((2, 2)), np.zeros(2))
    with Server(EXAMPLE, 2, ShmTransport(name), publishes=example) as server:
        server.publish(Policy(np.ones((2, 2)), np.full(2, 3.0)))
        with pytest.raises(ValueError, match=r"a Policy\(weights, bias\).*publishes=example"):
            ShmClient(name, EXAMPLE)
        with ShmClient(name, EXAMPLE, publishes=example) as client:
            _, policy = news(client)
            assert type(policy) is Policy
            assert policy.weights.sum() == 4
            assert policy.bias.tolist() == [3, 3]


def test_a_clients_example_is_checked_when_it_attaches(server: Server, name: str) -> None:
    other = params(0) | {"w": np.zeros((3, 2))}
    with pytest.raises(SpecMismatchError, match=r"\['w'\]: expected float32 .*, got float64"):
        ShmClient(name, EXAMPLE, publishes=other)
    assert server.producers() == []


def test_reading_from_a_server_without_publishes_is_an_error(name: str) -> None:
    with Server(EXAMPLE, 2, ShmTransport(name)) as server:
        assert server.published_version == 0
        with pytest.raises(RuntimeError, match="give the Server publishes=example"):
            server.publish(params(0))
        with pytest.raises(ValueError, match="publishes nothing"):
            ShmClient(name, EXAMPLE, publishes=PARAMS)
        with ShmClient(name, EXAMPLE) as client:
            for call in (client.latest, lambda: client.wait_for(1)):
                with pytest.raises(RuntimeError, match="publishes nothing: give its Server"):
                    call()


RECORD = np.dtype([("a", "<u2"), ("b", ">f8", (3,)), ("c", "S5")])
ODD: dict[str, Any] = {
    "0-d": np.float64(2.5),
    "one byte": np.uint8(7),
    "three bytes": np.array([1, 2, 3], np.uint8),
    "nine bytes": np.frombuffer(b"abcdefghi", "S3"),
    "float16": np.array([1.5, -2, 65504], np.float16),
    "bool": np.array([True, False, True, True, False]),
    "complex": np.array([1 + 2j, -3j], np.complex64),
    "big-endian": np.arange(5, dtype=">i4"),
    "datetime": np.array(["2024-02-29", "NaT"], "M8[s]"),
    "timedelta 0-d": np.timedelta64(-5, "ms"),
    "text": np.array(["", "zwölf"], "U5"),
    "structured": np.array([(1, (2, 3, 4), b"xyz")] * 2, RECORD),
    "structured 0-d": np.array((1, (2, 3, 4), b"xyz"), RECORD),
    "zero-size": np.zeros((0, 3), np.float32),
    "longdouble": np.array([1, 2, 3], np.longdouble),
    "4099 bytes": np.arange(4099).astype(np.uint8),
}


def test_every_dtype_and_every_odd_size_arrives_exactly(name: str) -> None:
    empty = {key: np.zeros_like(value) for key, value in ODD.items()}
    with (
        Server(EXAMPLE, 2, ShmTransport(name), publishes=empty) as server,
        ShmClient(name, EXAMPLE, publishes=empty) as client,
    ):
        for value in (empty, ODD):
            server.publish(value)
            _, tree = news(client)
            for key, sent in value.items():
                assert tree[key].dtype == np.asarray(sent).dtype, key
                assert tree[key].tobytes() == np.asarray(sent).tobytes(), key
                assert tree[key].shape == np.shape(sent), key


@pytest.mark.parametrize("key", ODD)
def test_each_dtype_arrives_as_the_only_leaf(name: str, key: str) -> None:
    example = np.zeros_like(ODD[key])
    with (
        Server(EXAMPLE, 2, ShmTransport(name), publishes=example) as server,
        ShmClient(name, EXAMPLE, publishes=example) as client,
    ):
        for version in (1, 2, 3, 4):  # each of the three buffers, and the first one again
            server.publish(ODD[key])
            assert news(client)[0] == version
            assert news(client)[1].tobytes() == np.asarray(ODD[key]).tobytes()


# ---------------------------------------------------------------- what may not be asked


@pytest.mark.parametrize("timeout", [-1, float("nan"), "1"])
def test_an_invalid_timeout_is_rejected(server: Server, client: ShmClient, timeout: Any) -> None:
    for call in (client.latest, lambda timeout: client.wait_for(1, timeout)):
        with pytest.raises((TypeError, ValueError), match="timeout must be None or a number"):
            call(timeout)


@pytest.mark.parametrize(
    ("version", "error"), [(-1, ValueError), (1.5, TypeError), ("1", TypeError), (None, TypeError)]
)
def test_an_invalid_version_is_rejected(
    client: ShmClient, version: Any, error: type[Exception]
) -> None:
    with pytest.raises(error, match="version must be"):
        client.wait_for(version)


def test_a_closed_client_cannot_read(server: Server, name: str) -> None:
    server.publish(params(1))
    client = ShmClient(name, EXAMPLE)
    kept = news(client)
    client.close()
    for call in (client.latest, lambda: client.wait_for(1)):
        with pytest.raises(ConnectionClosedError, match="is closed"):
            call()
    assert shows(kept[1], 1)
