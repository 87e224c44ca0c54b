"""Samples arrive bit by bit as they were sent; mismatches are rejected before the send."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from shm_echo import Server, ShmClient, ShmTransport, SpecMismatchError
from tests.support.numbered import EXAMPLE, numbered, numbers_of, stacked

RNG = np.random.default_rng(7)


def bits(shape: tuple[int, ...], dtype: Any) -> Any:
    """Return an array of random bits, with NaN and NaT of every kind."""
    dtype = np.dtype(dtype)
    count = int(np.prod(shape))
    raw = RNG.integers(0, 256, count * dtype.itemsize, np.uint8).tobytes()
    return np.frombuffer(raw, dtype, count).reshape(shape)


RECORD = np.dtype([("a", "<i4"), ("b", ">f8", (2,)), ("c", "S3")])

# An array as it is sent; the example is of its shape and dtype.
ARRAYS: dict[str, Any] = {
    "0-d": bits((), np.float64),
    "0-d, big-endian": bits((), ">i4"),
    "big-endian": bits((3, 2), ">f4"),
    "float16": bits((5,), np.float16),
    "complex": bits((2, 2), np.complex64),
    "bool": np.array([True, False, True]),
    "datetime64": bits((4,), "M8[ns]"),
    "timedelta64": bits((4,), "m8[us]"),
    "bytes": np.array([b"ab", b"", b"\0x"], "S4"),
    "text": np.array(["ä", "", "xyz"], "U3"),
    "void": bits((2,), "V5"),
    "structured": bits((3,), RECORD),
    "0-d, structured": bits((), RECORD),
    "zero-size": np.zeros((0, 3), np.float32),
    "zero-size in the middle": np.zeros((2, 0, 4), np.int8),
    "many axes": bits((2, 1, 3, 1, 2), np.uint16),
    "transposed": bits((4, 3), np.float32).T,
    "Fortran-ordered": np.asfortranarray(bits((3, 4, 2), np.int64)),
    "every second": bits((6, 8), np.int32)[::2, ::2],
    "reversed": bits((3, 4), np.float32)[::-1, ::-1],
    "broadcast": np.broadcast_to(bits((4,), np.uint8), (3, 4)),
    "unaligned": np.frombuffer(bytes(range(33)), np.uint8)[1:].view(np.float64),
    "odd size": bits((67,), np.uint8),
    "large": bits((300, 301, 3), np.uint8),
}


@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
@pytest.mark.parametrize("how", ["send", "send_batch", "reserve"])
def test_every_bit_arrives(name: str, array: Any, how: str) -> None:
    example = {"a": np.zeros(array.shape, array.dtype), "n": np.int64(0)}
    with (
        Server(example, 2, ShmTransport(name), num_buffers=2) as server,
        ShmClient(name, example) as client,
    ):
        if how == "send":
            for n in range(2):
                client.send({"a": array, "n": np.int64(n)})
        elif how == "send_batch":
            twice = np.empty((2, *array.shape), array.dtype)
            twice[:] = array
            client.send_batch({"a": twice, "n": np.arange(2)})
        else:
            for n in range(2):
                with client.reserve() as slot:
                    slot["a"][...] = array
                    slot["n"][...] = n
        sample = server.sample(timeout=0)
        assert sample is not None
        batch = sample.batch
        assert batch["n"].tolist() == [0, 1]
        assert (batch["a"].dtype, batch["a"].shape) == (array.dtype, (2, *array.shape))
        for row in batch["a"]:
            assert np.asarray(row, array.dtype).tobytes() == np.array(array, order="C").tobytes()


@pytest.mark.parametrize("axes", [(0, 1, 2), (1, 0, 2), (2, 1, 0)], ids=["C", "swapped", "Fortran"])
@pytest.mark.parametrize("step", [1, 2, -1])
def test_a_stack_may_have_any_memory_layout(name: str, axes: tuple[int, ...], step: int) -> None:
    example = {"a": np.zeros((3, 4), np.float32)}
    stack = bits((8, 8, 8), np.float32).transpose(axes)[::step][:4, ::step][:, :3, :4]
    with (
        Server(example, 4, ShmTransport(name)) as server,
        ShmClient(name, example) as client,
    ):
        assert client.send_batch({"a": stack}) == 4
        sample = server.sample(timeout=0)
        assert sample is not None
        assert sample.batch["a"].tobytes() == stack.tobytes()


# ---------------------------------------------------------------- Python numbers

SCALARS: dict[str, Any] = {
    "f": np.float32(0),
    "i": np.int8(0),
    "u": np.uint16(0),
    "b": np.bool_(False),
    "c": np.complex64(0),
    "h": np.float16(0),
}


def scalars(**given: Any) -> dict[str, Any]:
    return {**SCALARS, **given}


TAKEN: list[tuple[str, Any]] = [
    *[("f", v) for v in (0.1, 3, True, float("inf"), float("nan"))],
    *[("f", v) for v in (np.float64(0.1), np.float32(0.1), np.array(0.1), np.int64(3))],
    *[("i", v) for v in (-128, 127, True, np.int64(-128), np.array(127, ">i4"), np.bool_(True))],
    *[("u", v) for v in (0, 65535)],
    *[("b", v) for v in (True, False)],
    *[("c", v) for v in (1j, 2.5, 3)],
    *[("h", v) for v in (65504, 0.1)],
]


@pytest.mark.parametrize(("key", "value"), TAKEN, ids=repr)
def test_a_number_is_stored_as_numpy_casts_it(name: str, key: str, value: Any) -> None:
    with Server(SCALARS, 1, ShmTransport(name)) as server, ShmClient(name, SCALARS) as client:
        client.send(scalars(**{key: value}), timeout=0)
        sample = server.sample(timeout=0)
        assert sample is not None
        np.testing.assert_array_equal(sample.batch[key][0], np.array(value, SCALARS[key].dtype))


REFUSED: list[tuple[str, Any, str]] = [
    ("f", 1e39, "expected float32 (), got the Python number 1e+39, which overflows to infinity"),
    ("f", 1j, "expected float32 (), got a Python complex, which does not cast to it safely"),
    ("f", "1", "expected float32 (), got a Python str"),
    ("f", None, "expected float32 (), got None"),
    ("f", [1.0], "expected float32 (), got a list of 1"),
    ("f", np.complex128(1), "expected float32 (), got complex128 (), which does not cast to it"),
    ("f", np.float64(1e39), "expected float32 (), got the float64 number 1e+39, which overflows"),
    ("i", np.int64(128), "expected int8 (), got the int64 number 128, which is not between"),
    ("f", np.zeros(1, np.float32), "expected float32 (), got float32 (1,)"),
    ("i", 128, "expected int8 (), got the Python number 128, which is not between -128 and 127"),
    ("i", 1.0, "expected int8 (), got a Python float, which does not cast to it safely"),
    ("i", 1 << 200, "expected int8 (), got an int of more than 128 bits"),
    ("u", -1, "expected uint16 (), got the Python number -1, which is not between 0 and 65535"),
    ("b", 1, "expected bool (), got a Python int, which does not cast to it safely"),
    ("h", 65536.0, "expected float16 (), got the Python number 65536.0, which overflows"),
]


@pytest.mark.parametrize(("key", "value", "words"), REFUSED, ids=lambda v: repr(v)[:12])
def test_a_value_that_does_not_fit_is_named_and_claims_no_slot(
    name: str, key: str, value: Any, words: str
) -> None:
    with (
        Server(SCALARS, 1, ShmTransport(name), num_buffers=2) as server,
        ShmClient(name, SCALARS) as client,
    ):
        with pytest.raises(SpecMismatchError) as caught:
            client.send(scalars(**{key: value}), timeout=0)
        assert str(caught.value).startswith(f"['{key}']: {words}")
        assert caught.value.path == f"['{key}']"
        (producer,) = server.producers()
        assert (producer.held, producer.samples) == (0, 0)
        client.send(SCALARS, timeout=0)
        assert server.sample(timeout=0) is not None


# ---------------------------------------------------------------- casts of arrays

CAST_EXAMPLE = {"x": np.zeros((2, 3), np.float32), "n": np.int64(0)}


@pytest.mark.parametrize("how", ["send", "send_batch", "reserve"])
def test_a_client_that_casts_takes_arrays_of_the_same_kind(name: str, how: str) -> None:
    value = np.arange(6.0).reshape(2, 3)
    with (
        Server(CAST_EXAMPLE, 2, ShmTransport(name), num_buffers=2) as server,
        ShmClient(name, CAST_EXAMPLE, cast="same_kind") as client,
    ):
        if how == "send":
            client.send({"x": value, "n": 1})
            client.send({"x": value.T.reshape(2, 3)[::-1], "n": np.int8(2)})
        elif how == "send_batch":
            stack = np.stack([value, value.T.reshape(2, 3)[::-1]])
            client.send_batch({"x": stack, "n": np.array([1, 2], np.int16)})
        else:
            for n, x in ((1, value), (2, value.T.reshape(2, 3)[::-1])):
                with client.reserve() as slot:
                    slot["x"], slot["n"] = x, n
        sample = server.sample(timeout=0)
        assert sample is not None
        assert sample.batch["x"].dtype == np.float32
        np.testing.assert_array_equal(sample.batch["x"][0], value)
        np.testing.assert_array_equal(sample.batch["x"][1], value.T.reshape(2, 3)[::-1])
        assert sample.batch["n"].tolist() == [1, 2]


def test_a_client_that_casts_refuses_other_kinds_and_shapes(name: str) -> None:
    with (
        Server(CAST_EXAMPLE, 2, ShmTransport(name), num_buffers=2) as server,
        ShmClient(name, CAST_EXAMPLE, cast="same_kind") as client,
    ):
        for x, n in (
            (np.zeros((2, 3), np.complex64), 0),
            (np.zeros((3, 2)), 0),
            (np.zeros((2, 3)).tolist(), 0),
            (np.zeros((2, 3)), 1.0),
        ):
            with pytest.raises(SpecMismatchError):
                client.send({"x": x, "n": n}, timeout=0)
        with pytest.raises(
            SpecMismatchError, match=r"^\['n'\]: expected int64 \(N,\), got float64"
        ):
            client.send_batch({"x": np.zeros((2, 2, 3)), "n": np.zeros(2)}, timeout=0)
        (producer,) = server.producers()
        assert (producer.held, producer.samples) == (0, 0)


def test_a_cast_that_overflows_warns_as_numpy_does_and_claims_no_slot(name: str) -> None:
    with (
        Server(CAST_EXAMPLE, 2, ShmTransport(name), num_buffers=2) as server,
        ShmClient(name, CAST_EXAMPLE, cast="same_kind") as client,
    ):
        with pytest.warns(RuntimeWarning, match="overflow"):
            client.send({"x": np.full((2, 3), 1e300), "n": 0})
        with pytest.raises(RuntimeWarning, match="overflow"):  # a warning is an error here
            client.send({"x": np.full((2, 3), 1e300), "n": 0})
        (producer,) = server.producers()
        assert (producer.held, producer.samples) == (0, 1)


@pytest.mark.parametrize("cast", ["unsafe", None, True])
def test_an_unknown_cast_is_refused_before_anything_is_made(name: str, cast: Any) -> None:
    with pytest.raises(ValueError, match=r"cast must be 'exact' or 'same_kind', not "):
        ShmClient(name, CAST_EXAMPLE, cast=cast)


# ---------------------------------------------------------------- refused samples

X = np.zeros(3, np.float32)
N = np.int64(0)

SAMPLES: dict[str, tuple[Any, str]] = {
    "dtype": ({"x": np.zeros(3), "n": N}, "['x']: expected float32 (3,), got float64 (3,)"),
    "shape": (
        {"x": np.zeros(4, np.float32), "n": N},
        "['x']: expected float32 (3,), got float32 (4,)",
    ),
    "list": ({"x": [0, 0, 0], "n": N}, "['x']: expected float32 (3,), got a list of 3"),
    "number at an array": ({"x": 1.0, "n": N}, "['x']: expected float32 (3,), got a Python float"),
    "mask": ({"x": np.ma.masked_array(X), "n": N}, "['x']: expected float32 (3,), got a masked"),
    "key missing": ({"x": X}, "['n']: expected int64 (), but the key is missing"),
    "key more": ({"x": X, "n": N, "y": N}, "['y']: this key is not in the example"),
    "tuple": ((X, N), "the sample: expected a dict with keys ['n', 'x'], got a tuple of 2"),
    "None": (None, "the sample: expected a dict with keys ['n', 'x'], got None"),
}
STACKS: dict[str, tuple[Any, str]] = {
    "dtype": (
        {"x": np.zeros((2, 3)), "n": np.zeros(2, np.int64)},
        "['x']: expected float32 (N, 3)",
    ),
    "one sample": ({"x": X, "n": N}, "['n']: expected int64 (N,), got int64 ()"),
    "lengths": (
        {"x": np.zeros((3, 3), np.float32), "n": np.zeros(2, np.int64)},
        "['x']: expected 2 samples along the leading axis, as ['n'] has, got 3",
    ),
}


@pytest.mark.parametrize(
    ("how", "tree", "words"),
    [("send", *case) for case in SAMPLES.values()]
    + [("send_batch", *case) for case in STACKS.values()],
    ids=[*SAMPLES, *(f"stacked {key}" for key in STACKS)],
)
def test_a_rejected_sample_claims_no_slot_and_the_next_one_is_sent(
    name: str, how: str, tree: Any, words: str
) -> None:
    with (
        Server(EXAMPLE, 2, ShmTransport(name), num_buffers=2) as server,
        ShmClient(name, EXAMPLE) as client,
    ):
        for _ in range(5):  # more than there are slots
            with pytest.raises(SpecMismatchError) as caught:
                getattr(client, how)(tree, timeout=0)
            assert str(caught.value).startswith(words)
        (producer,) = server.producers()
        assert (producer.held, producer.samples) == (0, 0)
        client.send(numbered(1), timeout=0)
        client.send_batch(stacked([2, 3, 4]), timeout=0)
        for expected in ([1, 2], [3, 4]):
            sample = server.sample(timeout=0)
            assert sample is not None
            assert numbers_of(sample.batch) == expected


def test_a_sample_is_checked_before_a_full_ring_is_waited_for(name: str) -> None:
    with (
        Server(EXAMPLE, 1, ShmTransport(name), num_buffers=2),
        ShmClient(name, EXAMPLE) as client,
    ):
        client.send_batch(stacked([0, 1]))
        with pytest.raises(SpecMismatchError):
            client.send({"x": np.zeros(3), "n": N})
