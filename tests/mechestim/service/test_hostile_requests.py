"""Well-formed but wrong requests to a live server: a clear error and no charge."""

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


def ndarray(dtype: Any, shape: Any, content: Any) -> msgpack.ExtType:
    return msgpack.ExtType(wire.NDARRAY, msgpack.packb([dtype, shape, content]))


def flops(server: ServerProcess) -> int:
    return sum(one["flops"] for one in server.state()["principals"])


NAMES = [
    "",
    "__class__",
    "add.__globals__",
    "ndarray.__class__",
    "ndarray.__reduce__",
    "ndarray.__array_ufunc__",
    "ndarray.__dict__",
    "ndarray.dump",
    "ndarray.dumps",
    "ndarray.tofile",
    "ndarray.data",
    "ndarray.ctypes",
    "ndarray.base.get.__class__",
    "linalg.__builtins__",
    "linalg.linalg",
    "random.__init__",
    "random.Generator.__reduce__",
    "random.Generator.bit_generator",
    "random.RandomState.__setstate__",
    "random.os",
    "np.add",
    "numpy.load",
    "load",
    "save",
    "fromfile",
    "memmap",
    "loadtxt",
    "eval",
    "os.system",
    "session.__init__",
    "budget.account",
    "budget._accounts",
    "ADD",
    "add ",
    "add\0",
    "\u0430dd",
    "a" * 60_000,
]


@pytest.mark.parametrize("name", NAMES, ids=[ascii(name)[:40] for name in NAMES])
def test_a_name_that_is_no_operation_is_refused(
    client: RawClient, server: ServerProcess, name: str
) -> None:
    before = flops(server)
    x = handle_of(client.result("zeros", 3))
    kind, message = client.error(name, x)
    assert kind in ("MechEstimServerError", "UnsupportedFunctionError"), (kind, message)
    assert len(message) < 500
    assert flops(server) == before


@pytest.mark.parametrize(
    "dtype",
    [
        "O",
        "|O",
        "object",
        "",
        "banana",
        "f999",
        "(((,)f8",
        "<f8;import os",
        "V-1",
        7,
        ["x"],
        [["a", "O"]],
    ],
    ids=repr,
)
def test_a_dtype_that_is_none_or_holds_objects_is_refused(client: RawClient, dtype: Any) -> None:
    described = msgpack.ExtType(wire.DTYPE, msgpack.packb(dtype))
    kind, _ = client.error("session.array", ndarray(dtype, [1], bytes(8)))
    assert kind in ("TypeError", "ValueError", "MechEstimServerError", "ProtocolError")
    kind, _ = client.error("zeros", 3, k={"dtype": described})
    assert kind in ("TypeError", "ValueError", "MechEstimServerError")


@pytest.mark.parametrize("spelled", ["O", "object", "object_"])
def test_no_request_creates_an_array_of_objects(client: RawClient, spelled: str) -> None:
    x = handle_of(client.result("zeros", 3))
    named = msgpack.ExtType(wire.SCALAR_TYPE, msgpack.packb("object_"))
    for request in (
        ("zeros", (3,), {"dtype": spelled}),
        ("zeros", (3,), {"dtype": named}),
        ("ndarray.astype", (x, spelled), {}),
        ("sum", (x, None, spelled), {}),
        ("add", (x, x), {"dtype": spelled}),
        ("power", (x, x), {"signature": "OO->O"}),
        ("ndarray.view", (x, spelled), {}),
        ("array", ([1, None],), {}),
    ):
        op, args, kwargs = request
        reply = client.ask(op, *args, k=kwargs)
        assert reply is not None
        assert "e" in reply, request


@pytest.mark.parametrize(
    ("dtype", "shape", "content"),
    [
        ("<f8", [2], bytes(8)),
        ("<f8", [-1], b""),
        ("<f8", [2**62, 4], b""),
        ("<f8", [2**63], b""),
        ("<f8", [0, 2**63], b""),
        ("<f8", [1] * 100, bytes(8)),
        ("<f8", "2", bytes(16)),
        ("<f8", [1.0], bytes(8)),
        ("<f8", [True], bytes(8)),
        ("<f8", None, bytes(8)),
        ("<f8", [1], "12345678"),
        ("<f8", [1], None),
    ],
)
def test_contents_that_do_not_fit_their_shape_are_refused(
    server: ServerProcess, dtype: Any, shape: Any, content: Any
) -> None:
    with RawClient(server.path) as client:
        reply = client.ask("session.array", ndarray(dtype, shape, content))
        assert reply is not None
        assert "e" in reply or "closed" in reply, reply


@pytest.mark.parametrize(
    "shape", [[-1], [2**63], [2**40, 2**40], [[3]], "3", [None], [1.5], [0] * 99]
)
def test_an_invalid_shape_is_refused(client: RawClient, server: ServerProcess, shape: Any) -> None:
    before = flops(server)
    for op in ("zeros", "ones", "empty", "random.normal"):
        args = (0.0, 1.0, shape) if op.startswith("random") else (shape,)
        client.error(op, *args)
    assert flops(server) == before


@pytest.mark.parametrize("number", [0, 1, 2**32, 2**63, 2**64 - 1])
def test_an_unused_or_foreign_handle_is_unknown(
    client: RawClient, server: ServerProcess, number: int
) -> None:
    with RawClient(server.path) as other:
        other.result("arange", 5)
        kind, message = client.error("sum", wire.handle_ext(number))
        assert kind == "MechEstimServerError"
        assert f"no object {number}" in message


def test_a_freed_handle_is_unknown_and_freeing_it_again_does_nothing(client: RawClient) -> None:
    result = client.result("arange", 5)
    x = handle_of(result)
    number = msgpack.unpackb(result.data)[0]
    for freed in ([number], [number, number], [None, -1, "x", 2**63, 1.5, [1]]):
        client.result("add", 1.0, 2.0, f=freed)
    kind, _ = client.error("sum", x)
    assert kind == "MechEstimServerError"
    assert msgpack.unpackb(client.result("arange", 5).data)[0] != number


def test_freed_arrays_leave_no_bytes_behind(client: RawClient) -> None:
    for _ in range(300):
        number = msgpack.unpackb(client.result("zeros", 100_000).data)[0]
        client.result("session.size", f=[number])
    assert client.result("session.size") == [0, 0]


@pytest.mark.parametrize(
    ("op", "args"),
    [
        ("add", ()),
        ("add", (1, 2, 3, 4, 5)),
        ("add", (None, None)),
        ("add", ("a", 1)),
        ("add", ({"a": 1}, 2)),
        ("einsum", ("ij,jk->ik", 1, 2)),
        ("einsum", ("i" * 5000, 1)),
        ("einsum", (7,)),
        ("reshape", (1.0, [2, 2])),
        ("linalg.inv", ([[1.0, 2.0]],)),
        ("concatenate", (5,)),
        ("repeat", ([1.0], -1)),
        ("bincount", ([-1],)),
        ("tensordot", ([1.0], [1.0], 2**40)),
        ("linspace", (0, 1, -5)),
        ("linspace", (0, 1, "many")),
        ("arange", (0, 1, 0)),
        ("random.choice", (0,)),
        ("random.default_rng", (-1,)),
        ("random.Generator.normal", (1, 2, 3)),
        ("session.fetch", (5,)),
        ("session.array", (5,)),
        ("session.seterr", ("raise",)),
        ("session.finfo", ("nothing",)),
        ("object.call", (3,)),
        ("ndarray.__add__", (1.0, 2.0)),
        ("ndarray.sum", (None,)),
        ("ndarray.T.get", (3,)),
    ],
)
def test_invalid_arguments_are_an_error_and_cost_nothing(
    client: RawClient, server: ServerProcess, op: str, args: tuple[Any, ...]
) -> None:
    before = flops(server)
    kind, message = client.error(op, *args)
    assert kind != "MechEstimServerError" or "log" not in message, message
    assert flops(server) == before


def test_an_error_reveals_no_internals_of_the_server(client: RawClient) -> None:
    for op, args in (("add", ("a", [])), ("linalg.svd", ("x",)), ("no.such", ()), ("sum", ())):
        _, message = client.error(op, *args)
        for secret in ("/", "Traceback", "site-packages", ".py", "0x"):
            assert secret not in message.replace("docs/reference/mechestim-errors.md", ""), message


def test_seterr_applies_to_its_session_only(client: RawClient, server: ServerProcess) -> None:
    client.result("session.seterr", k={"all": "raise"})
    kind, _ = client.error("divide", 1.0, 0.0)
    assert kind == "FloatingPointError"
    with RawClient(server.path) as other:
        assert other.ask("divide", 1.0, 0.0) is not None
        reply = other.ask("divide", 1.0, 0.0)
        assert reply is not None
        assert "r" in reply
    for options in ({"all": "call"}, {"all": "log"}, {"all": 5}, {"unknown": "raise"}):
        client.error("session.seterr", k=options)


def test_unlimited_nesting_of_callbacks_is_stopped(server: ServerProcess) -> None:
    with RawClient(server.path) as client:
        function = wire.callback_ext(1)
        call = {"id": 1, "op": "apply_along_axis", "a": [function, 0, [1.0, 2.0]], "b": 0}
        client.send_message(call)
        depth = 0
        while True:
            message = client.receive_message()
            assert message is not None
            if "call" in message:
                depth += 1
                client.send_message({**call, "id": depth + 1})
                continue
            break
        assert message["e"][0] == "RecursionError"
        assert depth == 32


def test_a_client_that_disconnects_in_a_callback_leaks_nothing(server: ServerProcess) -> None:
    for _ in range(5):
        with RawClient(server.path) as client:
            client.send_message(
                {"id": 1, "op": "apply_along_axis", "a": [wire.callback_ext(1), 0, [1.0]], "b": 0}
            )
            message = client.receive_message()
            assert message is not None
            assert "call" in message


def test_integers_of_arbitrary_length_are_refused_as_operands(client: RawClient) -> None:
    long = wire.bigint(10**30)
    for op, args in (
        ("power", (long, 10**9)),
        ("multiply", (long, long)),
        ("prod", ([long] * 10,)),
        ("left_shift", (long, 10**9)),
        ("array", ([long],)),
        ("ndarray.__pow__", (long, long)),
    ):
        kind, message = client.error(op, *args)
        assert (kind, "64 bits" in message) == ("TypeError", True), (op, message)
    assert "r" in (client.ask("random.default_rng", long) or {})
    x = handle_of(client.result("ones", 3))
    assert client.result("ndarray.tolist", handle_of(client.result("add", x, long))) == [1e30] * 3


def test_a_scalar_that_is_only_a_size_takes_no_memory(client: RawClient) -> None:
    for dtype in ("|V1", "S1", "<U1"):
        scalar = msgpack.ExtType(wire.SCALAR, msgpack.packb([dtype, 10**12]))
        kind, _ = client.error("array", scalar)
        assert kind == "TypeError"


def test_python_objects_from_a_function_of_the_client_can_only_be_read(
    client: RawClient,
) -> None:
    ufunc = client.result("frompyfunc", wire.callback_ext(1), 1, 1)
    called = wire.handle_ext(msgpack.unpackb(ufunc.data)[0])
    client.send_message({"id": 1, "op": "object.call", "a": [called, [1.0, 2.0]], "b": 0})
    while (message := client.receive_message()) is not None and "call" in message:
        client.send_message({"ret": message["call"], "r": 7})
    assert message is not None
    foreign = handle_of(message["r"])
    assert client.result("ndarray.tolist", foreign) == [7, 7]
    floats = handle_of(client.result("ndarray.astype", foreign, "<f8"))
    assert client.result("ndarray.tolist", floats) == [7.0, 7.0]
    for op in ("power", "add", "ndarray.__mul__", "concatenate"):
        args = ([foreign, foreign],) if op == "concatenate" else (foreign, foreign)
        kind, said = client.error(op, *args)
        assert (kind, "Python objects" in said) == ("TypeError", True), (op, said)
    for op in ("session.fetch", "ndarray.tobytes", "ndarray.view"):
        kind, _ = client.error(op, foreign)
        assert kind == "TypeError"


def test_text_is_not_interpreted_as_a_dtype(client: RawClient) -> None:
    letters = handle_of(client.result("array", ["O", "object"]))
    assert client.result("ndarray.tolist", letters) == ["O", "object"]
    same = handle_of(client.result("equal", letters, "O"))
    assert client.result("ndarray.tolist", same) == [True, False]
    x = handle_of(client.result("ones", [2, 2]))
    assert "r" in (client.ask("einsum", "OP,PO->O", x, x) or {})
