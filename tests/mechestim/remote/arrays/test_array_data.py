"""Contents of arrays on their way to the server and back: buffers, copies, pickles, arenas."""

from __future__ import annotations

import array
import copy
import pickle
import sys
from pathlib import Path
from typing import Any

import pytest

import mechestim as me
from tests.mechestim.remote.client_script import in_a_client, run_client
from tests.support.mechestim_server import dialled, serving


def without_an_arena() -> None:
    """Close the arena, so that all contents travel in messages."""
    from shm_echo.mechestim.remote import client_session

    client_session.channel()._may_have_arena = False
    client_session.channel()._arena = None
    assert client_session.channel().arena is None


def there_and_back(numbers: array.array[float]) -> None:
    x = me.array(numbers)
    assert x.shape == (len(numbers),)
    assert x.tobytes() == numbers.tobytes()
    assert x.tolist() == numbers.tolist()
    assert float(x[-1]) == numbers[-1]


@in_a_client
def test_large_arrays_travel_through_the_arena_both_ways() -> None:
    from shm_echo.mechestim.remote import client_session

    numbers = array.array("d", range(10**6))
    there_and_back(numbers)
    assert client_session.channel()._arena is not None


@in_a_client
def test_large_arrays_travel_in_messages_where_there_is_no_arena() -> None:
    without_an_arena()
    there_and_back(array.array("d", range(10**6)))


@in_a_client
def test_arrays_around_every_limit_of_an_arena_arrive_whole() -> None:
    for size in (32 << 10, 1 << 20, 2 << 20):
        for n in (size - 1, size, size + 1):
            content = bytes(i % 251 for i in range(256)) * (n // 256 + 1)
            x = me.array(memoryview(content)[:n])
            assert x.dtype == "uint8"
            assert x.tobytes() == content[:n]


@in_a_client
def test_views_come_back_in_their_own_order() -> None:
    for prepare in (None, without_an_arena):
        if prepare is not None:
            prepare()
        x = me.arange(60000).reshape(200, 300)
        rows = [[300 * i + j for j in range(300)] for i in range(200)]
        columns = [list(column) for column in zip(*rows, strict=False)]
        assert x.tolist() == rows
        assert x.T.tolist() == columns
        assert x[::2, ::-3].tolist() == [row[::-3] for row in rows[::2]]
        flat = [number for column in columns for number in column]
        assert x.T.tobytes() == array.array("q", flat).tobytes()
        assert x.tobytes("F") == array.array("q", flat).tobytes()


@in_a_client
def test_every_dtype_and_shape_becomes_nested_lists() -> None:
    for dtype in (
        "?",
        "i1",
        "u1",
        "i2",
        "u2",
        "i4",
        "u4",
        "i8",
        "u8",
        "f2",
        "f4",
        "f8",
        ">f8",
        "c8",
        "c16",
    ):
        for shape in ((), (3,), (2, 3), (2, 1, 2), (2, 0), (0,), (1, 1, 1, 1)):
            x = me.ones(shape, dtype=dtype)
            expected: object = x.dtype.type(1).item()
            for length in reversed(shape):
                expected = [expected] * length
            assert x.tolist() == expected
            assert str(x.tolist()) == str(expected)


@in_a_client
def test_two_threads_that_transfer_at_once_get_their_own_contents() -> None:
    from concurrent.futures import ThreadPoolExecutor

    def work(n: int) -> bool:
        numbers = array.array("d", [n]) * 300_000
        return all(me.array(numbers).tobytes() == numbers.tobytes() for _ in range(5))

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(work, range(8)))


@in_a_client
def test_buffers_of_every_kind_make_arrays() -> None:
    import pytest

    names = {"b": "int8", "B": "uint8", "h": "int16", "H": "uint16", "i": "int32", "I": "uint32"}
    names |= {"l": "int64", "L": "uint64", "q": "int64", "Q": "uint64"}
    names |= {"f": "float32", "d": "float64"}
    for code, name in names.items():
        x = me.array(array.array(code, [1, 2, 3]))
        assert (x.dtype, x.tolist()) == (name, [1, 2, 3])
    square = memoryview(array.array("d", range(6))).cast("B").cast("d", [2, 3])
    assert me.array(square).tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
    assert me.asarray(memoryview(array.array("d", range(6)))[::2]).tolist() == [0.0, 2.0, 4.0]
    assert me.add(array.array("d", [1, 2]), [3, 4]).tolist() == [4.0, 6.0]
    assert me.frombuffer(b"\x01\x02\x03\x04", dtype="<u2").tolist() == [0x201, 0x403]
    assert me.array(b"text").dtype.kind == "S"
    with pytest.raises(TypeError, match="format 'c' cannot be sent"):
        me.array(memoryview(b"abc").cast("c"))


@in_a_client
def test_contents_are_copied_when_they_are_sent() -> None:
    numbers = array.array("d", range(10_000))
    x = me.array(numbers)
    numbers[0] = 99
    assert float(x[0]) == 0.0
    content = x.tobytes()
    x[0] = 7
    assert content == array.array("d", range(10_000)).tobytes()


@in_a_client
def test_arrays_are_pickled_by_value() -> None:
    from shm_echo.mechestim.remote import client_session

    x = me.arange(12).reshape(3, 4)
    text = pickle.dumps([x, x.sum(), x.T, me.float32(0.5), me.dtype("f4"), me.float64, x > 3])
    client_session.close()
    again = pickle.loads(text)
    assert again[0].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    assert (again[1], again[1].dtype) == (66, "int64")
    assert again[2].shape == (4, 3)
    assert again[3].dtype == "float32"
    assert again[4:6] == [me.dtype("float32"), me.float64]
    assert again[6].dtype == "bool"
    large = me.zeros(10**5)
    assert pickle.loads(pickle.dumps(large)).shape == (10**5,)


@in_a_client
def test_copies_are_arrays_of_their_own() -> None:
    x = me.ones(3)
    shallow, deep = copy.copy(x), copy.deepcopy({"x": x})["x"]
    x[0] = 5
    assert shallow.tolist() == deep.tolist() == [1.0, 1.0, 1.0]
    total = x.sum()
    assert copy.copy(total) is total
    assert copy.deepcopy(total) == total


@in_a_client
def test_a_symmetric_tensor_stays_one_when_it_is_copied_and_pickled() -> None:
    x = me.as_symmetric(me.eye(3), (0, 1))
    for again in (copy.copy(x), copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert isinstance(again, me.SymmetricTensor)
        assert again.symmetric_axes == [(0, 1)]


@in_a_client
def test_memoryview_gives_a_copy_of_the_contents() -> None:
    import pytest

    x = me.arange(6, dtype="f4").reshape(2, 3)
    if sys.version_info < (3, 12):
        with pytest.raises(TypeError):
            memoryview(x)  # there is no such hook
        view: Any = x.__buffer__(0)
    else:
        view = memoryview(x)
    assert (view.format, view.shape) == ("f", (2, 3))
    assert view.tolist() == x.tolist()
    view.cast("B")[:] = bytes(24)
    assert x.tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
    with pytest.raises(BufferError, match="complex128"):
        me.ones(2, dtype=complex).__buffer__(0)


@in_a_client
def test_arrays_of_a_session_that_was_closed_say_so() -> None:
    import pytest

    from shm_echo.mechestim.remote import client_session

    x = me.ones(3)
    client_session.close()
    with pytest.raises(ConnectionError, match="another session.*was closed"):
        x + 1
    with pytest.raises(ConnectionError, match="was closed"):
        me.zeros(3) + x


@in_a_client
def test_a_context_outlives_its_session() -> None:
    from shm_echo.mechestim.remote import client_session

    with me.BudgetContext(1000, quiet=True) as budget:
        me.ones(10) + 1
        assert budget.flops_used == 10
        text = budget.summary()
        client_session.close()
        assert budget.flops_used == 10
        assert budget.summary() == text
    assert budget.flops_used == 10


@in_a_client
def test_arrays_outlive_their_context() -> None:
    with me.BudgetContext(1000, quiet=True):
        x = me.ones(10) + 1
    assert x.tolist() == [2.0] * 10


def test_numpy_sees_an_array_where_it_exists(server: Any) -> None:
    """A client may have NumPy for work of its own."""
    source = """
import sys
sys.meta_path.pop(0)
import numpy as np
import mechestim as me
assert me.backend == "remote"
for dtype in ("f8", "i4", "?", "c16", ">f4", "f2"):
    x = me.ones((2, 3), dtype=dtype)
    found = np.asarray(x)
    assert (found.dtype, found.shape) == (np.dtype(dtype), (2, 3))
    assert (found == 1).all()
    assert found.flags.writeable
assert np.asarray(x, dtype="f4").dtype == "f4"
assert me.array(np.arange(6).reshape(2, 3).T).tolist() == [[0, 3], [1, 4], [2, 5]]
assert (me.ones(3) + np.ones(3)).tolist() == [2.0] * 3
assert np.arange(10**5).sum() == me.array(np.arange(10**5)).sum()
"""
    done = run_client(server.url, source)
    assert done.returncode == 0, done.stderr[-3000:]


def test_a_message_that_is_too_long_for_the_server_is_not_sent(folder: Path) -> None:
    with serving(folder, "--max-frame", "1M") as server, dialled(server.url) as channel:
        x = channel.request("ones", (3,))
        held = server.state()["objects"]
        del x  # its number rides on the next request that is sent
        with pytest.raises(me.errors.QuotaExceededError) as refused:
            channel.request("array", ("text " * (1 << 18),))
        assert refused.value.limit == "max_frame"
        assert refused.value.allowed == 1 << 20
        assert refused.value.wanted > 5 << 18
        assert channel.why_closed is None
        assert channel.request("add", (1.0, 2.0)).item() == 3.0
        assert server.state()["objects"] == held - 1


def test_the_answer_of_a_function_that_is_too_long_is_an_error_of_the_function(
    folder: Path,
) -> None:
    with serving(folder, "--max-frame", "1M") as server, dialled(server.url) as channel:
        x = channel.request("ones", (3,))

        def long(_: Any) -> str:
            return "text " * (1 << 18)

        with pytest.raises(me.errors.QuotaExceededError):
            channel.request("apply_along_axis", (long, 0, x))
        assert channel.request("sum", (x,)).item() == 3.0
