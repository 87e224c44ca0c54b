"""Arguments that NumPy takes and a server must not: they end processes, or never end themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgpack
import pytest

from shm_echo.mechestim import wire
from tests.support.mechestim_server import RawClient, ServerProcess, handle_of

pytestmark = pytest.mark.usefixtures("server_stays_alive")


@pytest.fixture
def client(server: ServerProcess, server_stays_alive: None) -> Iterator[RawClient]:
    with RawClient(server.path) as one:
        yield one
        assert one.result("add", 1.0, 2.0) is not None, "the session is of no more use"


def tuple_of(*items: Any) -> msgpack.ExtType:
    return msgpack.ExtType(wire.TUPLE, msgpack.packb(list(items)))


def object_of(result: Any) -> msgpack.ExtType:
    return wire.handle_ext(msgpack.unpackb(result.data)[0])


KEY = msgpack.ExtType(wire.NDARRAY, msgpack.packb(["<u4", [624], bytes(4 * 624)]))
POSITIONS = [625, 640, 10**8, 2**31, -1, -(10**8), None, "5", [5]]


@pytest.mark.parametrize("position", POSITIONS, ids=repr)
def test_a_random_state_cannot_be_set_to_read_outside_of_its_memory(
    client: RawClient, position: Any
) -> None:
    own = object_of(client.result("random.RandomState", 1))
    for state in (
        tuple_of("MT19937", KEY, position),
        ["MT19937", KEY, position, 0, 0.0],
        {"bit_generator": "MT19937", "state": {"key": KEY, "pos": position}},
    ):
        for op, args in (("random.set_state", ()), ("random.RandomState.set_state", (own,))):
            kind, message = client.error(op, *args, state)
            assert kind in ("ValueError", "TypeError")
            assert "pos of a random state must be" in message or "an integer" in message
    client.result("random.random_sample", 5)
    client.result("random.RandomState.random_sample", own, 5)


def test_the_buffer_of_a_philox_state_cannot_be_left(client: RawClient) -> None:
    generator = object_of(client.result("random.Philox", 1))
    own = object_of(client.result("random.RandomState", generator))
    state = {
        "bit_generator": "Philox",
        "state": {"counter": [0] * 4, "key": [0, 0]},
        "buffer": [0] * 4,
        "buffer_pos": -(10**8),
        "has_uint32": 0,
        "uinteger": 0,
    }
    kind, message = client.error("random.RandomState.set_state", own, state)
    assert (kind, "from 0 to 4" in message) == ("ValueError", True)
    client.result("random.RandomState.set_state", own, {**state, "buffer_pos": 4})
    client.result("random.RandomState.random_sample", own, 5)


def test_a_state_that_was_read_can_be_set_again(client: RawClient) -> None:
    state = client.result("random.get_state")
    first = client.result("ndarray.tolist", handle_of(client.result("random.random_sample", 5)))
    name, key, *rest = msgpack.unpackb(state.data, ext_hook=msgpack.ExtType)
    client.result("random.set_state", tuple_of(name, handle_of(key), *rest))
    again = client.result("ndarray.tolist", handle_of(client.result("random.random_sample", 5)))
    assert again == first


@pytest.mark.parametrize("made", ["ndarray.copy", "add", "session.array"])
def test_a_view_outlives_the_memory_that_its_array_had(client: RawClient, made: str) -> None:
    ones = handle_of(client.result("ones", 200_000))
    if made == "session.array":
        content = msgpack.packb(["<f8", [20_000], bytes(range(64)) * 2500])
        array = handle_of(client.result(made, msgpack.ExtType(wire.NDARRAY, content)))
    else:
        array = handle_of(client.result(made, ones, *([0.0] if made == "add" else [])))
    every_second = msgpack.ExtType(wire.SLICE, msgpack.packb([None, None, 2]))
    view = handle_of(client.result("ndarray.__getitem__", array, every_second))
    before = client.result("ndarray.tolist", view)
    kind, _ = client.error("ndarray.resize", array, [1])
    assert kind == "ValueError"
    for size in (1, 300_000, 0):
        client.result("ndarray.resize", array, [size], k={"refcheck": False})
        client.result("zeros", 200_000)
        assert client.result("ndarray.tolist", view) == before
        assert len(client.result("ndarray.tolist", array)) == size


def test_an_array_that_grows_in_place_counts_with_its_new_size(client: RawClient) -> None:
    array = handle_of(client.result("ones", 10))
    assert client.result("session.size") == [1, 80]
    client.result("ndarray.resize", array, [1000], k={"refcheck": False})
    assert client.result("session.size") == [1, 8000]
    kind, message = client.error("ndarray.resize", array, [9 * 10**6], k={"refcheck": False})
    assert (kind, "max_" in message) == ("QuotaExceededError", True)
    number = msgpack.unpackb(
        client.result("ndarray.resize", array, [5], k={"refcheck": False}).data
    )
    assert wire.handle_ext(number[0]) == array, "it is another object"
    assert client.result("session.size", f=[number[0]]) == [0, 0]


LONG: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("base_repr", (5, 2, 2 * 10**9), {}),
    ("binary_repr", (5, 2 * 10**9), {}),
    ("ndarray.__format__", (0, "2000000000d"), {}),
    ("array_split", (1, 10**9), {}),
    ("split", (1, 10**9), {}),
    ("unstack", (2,), {}),
    ("ndarray.tolist", (2,), {}),
    ("diff", (1, 10**12), {}),
    ("round", (1, 2**31 - 1), {}),
    ("ndarray.round", (1, -(2**31)), {}),
    ("linalg.multi_dot", ([1] * 4000,), {}),
    ("random.SeedSequence", (1,), {"pool_size": 10**6}),
    ("random.Generator.spawn", (3, 10**9), {}),
    ("random.vonmises", (0.0, 1e300), {}),
    ("random.zipf", (1.0 + 1e-15,), {}),
    ("random.zipf", (1025.0,), {}),
    ("generator.jumped", (4, 10**9), {}),
]


@pytest.mark.parametrize(("op", "args", "kwargs"), LONG, ids=[one[0] for one in LONG])
def test_endless_loops_and_masses_of_views_are_refused(
    client: RawClient, op: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    objects = [
        wire.handle_ext(msgpack.unpackb(client.result(*request).data)[0])
        for request in (
            ("array", 5),
            ("ones", [2, 2]),
            ("zeros", [10**7, 0]),
            ("random.default_rng", 1),
            ("random.MT19937", 1),
        )
    ]

    def meant(value: Any) -> Any:
        if isinstance(value, list):
            return [meant(item) for item in value]
        return objects[value] if type(value) is int and 0 <= value < len(objects) else value

    first, *others = args
    if not op.startswith(("base", "binary", "random.S", "random.v", "random.z")):
        first = meant(first)
    kind, message = client.error(op, first, *others, k=kwargs)
    assert (kind, "Nothing was run" in message) == ("QuotaExceededError", True), message


def test_letters_that_are_none_are_an_error_where_they_are_read(client: RawClient) -> None:
    content = msgpack.packb(["<U1", [2], b"\x01\x01\x01\x01" * 2])
    letters = handle_of(client.result("session.array", msgpack.ExtType(wire.NDARRAY, content)))
    for word in ("ndarray.tolist", "ndarray.__repr__", "ndarray.item"):
        kind, message = client.error(word, letters)
        assert "its log says why" not in message, (word, kind)
    halves = msgpack.packb(["<U1", [1], b"\x00\xd8\x00\x00"])
    letters = handle_of(client.result("session.array", msgpack.ExtType(wire.NDARRAY, halves)))
    kind, _ = client.error("ndarray.tolist", letters)
    assert kind == "NotSendableError"
