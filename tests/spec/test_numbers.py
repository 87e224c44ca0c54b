"""Numbers at 0-d leaves: Python numbers, NumPy scalars and 0-d arrays, by one rule.

The rule is stated once more here, in terms of NumPy's casts: the kind may not be lost, the value
must be in the leaf's range, rounding is fine.
"""

from __future__ import annotations

import enum
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from shm_echo.errors import SpecMismatchError
from shm_echo.ring.ring import Ring, RingConfig
from shm_echo.spec import TreeSpec
from tests.spec.trees import F4, array, refusal

KINDS = "biufc"  # a kind may become a later one; integers with and without sign are one kind
LEAVES = [np.dtype(code) for code in "?bBhHiIlLqQefdgFDG"]
LEAVES += [dtype.newbyteorder(">") for dtype in LEAVES if dtype.itemsize > 1]

INTEGERS = [0, 1, 127, 128, 255, 256, 32767, 65535, 65504, 65520, 70000]
INTEGERS += [2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1]
FLOATS = [0.0, -0.0, 0.5, 0.1, 1e-50, 65504.0, 65519.9, 65520.0, 3.4028235e38, 3.41e38, -1e300]
FLOATS += [float("inf"), float("-inf"), float("nan")]
COMPLEX = [1j, 1e300 + 1j, complex(1, -1e300), complex("inf"), complex(0, float("nan"))]


def numpy_scalars() -> Iterator[Any]:
    yield from (np.bool_(True), np.bool_(False))
    for code in "bBhHiIlLqQ":
        info = np.iinfo(code)
        for number in {*INTEGERS, *(-n for n in INTEGERS), -1, info.min, info.max}:
            if info.min <= number <= info.max:
                yield np.dtype(code).type(number)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some overflow the type of the scalar itself
        for code in "efdg":
            yield from (np.dtype(code).type(number) for number in FLOATS)
        for code in "FDG":
            yield from (np.dtype(code).type(number) for number in FLOATS + COMPLEX)
        yield np.longdouble("1e4000")
        yield np.clongdouble("1e4000")


def expected(leaf: np.dtype[Any], value: Any) -> Any:
    """Return the array that the rule makes of a NumPy scalar; None if it refuses."""
    given = value.dtype
    kind = "i" if given.kind == "u" else given.kind
    if KINDS.index(leaf.kind) < KINDS.index(kind):
        return None
    with np.errstate(all="ignore"):
        cast = np.asarray(value).astype(leaf)
    if leaf.kind in "iu":
        return cast if int(cast) == int(value) else None
    if np.isfinite(value) and not np.isfinite(cast):
        return None
    return cast


def test_numpy_scalars_and_0d_arrays_are_taken_by_the_rule() -> None:
    for leaf in LEAVES:
        spec = TreeSpec.from_example([np.zeros((), leaf)])
        for scalar in numpy_scalars():
            wanted = expected(leaf, scalar)
            native = np.asarray(scalar)
            for value in (scalar, native, native.astype(native.dtype.newbyteorder(">"))):
                if wanted is None:
                    with pytest.raises(SpecMismatchError, match=r"^\[0\]: expected .* got "):
                        spec.check([value])
                    continue
                (got,) = spec.check([value])
                assert type(got) is np.ndarray
                assert (got.shape, got.dtype) == ((), leaf)
                # An integer becomes a long double by way of a double.
                np.testing.assert_allclose(got, wanted, rtol=0 if leaf.kind in "iu" else 1e-15)


# ---------------------------------------------------------------- the same rule in C


def raise_for_result(result: int, sent: int, timeout: Any) -> None:
    raise RuntimeError(result)


class Ends:
    """A ring of one leaf, with its sender, which has the rule in C, and its receiver."""

    def __init__(self, leaf: np.dtype[Any]) -> None:
        self.spec = TreeSpec.from_example([np.zeros((), leaf)])
        self.asked = 0  # how often C left the leaf to the check in Python
        ring = Ring.create(self.spec, RingConfig(1, 2, 1, False), "private")
        check = ring.spec.check

        class Spec:
            """The spec, with a check that counts."""

            plan, fast_flatten = ring.spec.plan, ring.spec.fast_flatten
            unflatten = ring.spec.unflatten

            @staticmethod
            def check(tree: Any, **options: Any) -> Any:
                self.asked += 1
                return check(tree, **options)

        ring.spec = Spec  # type: ignore[assignment]
        self._sender = ring.sender(0, raise_for_result)
        self._receiver = ring.receiver(lease=False, writable=False, poisoned=False)

    def send(self, value: Any) -> Any:
        self._sender.send([value], 0)
        handover = self._receiver.handover()
        assert handover.begin(0.0)
        (came,) = handover.take(False) or ()
        handover.confirm()
        return came[0].copy()


def python_numbers() -> list[Any]:
    integers = [*INTEGERS, *(-n for n in INTEGERS), -(2**63) - 1, 2**64, 10**400]
    return [True, False, *integers, *FLOATS, *COMPLEX]


def test_a_sender_stores_what_the_check_makes_and_refuses_what_it_refuses() -> None:
    values: list[Any] = [*numpy_scalars(), *map(np.asarray, numpy_scalars()), *python_numbers()]
    for leaf in LEAVES:
        ends = Ends(leaf)
        for value in values:
            try:
                (wanted,) = ends.spec.check([value])
            except SpecMismatchError as refused:
                with pytest.raises(SpecMismatchError) as caught:
                    ends.send(value)
                assert str(caught.value) == str(refused)
            else:
                came = ends.send(value)
                np.testing.assert_array_equal(came, wanted)
                assert np.signbit(came.real) == np.signbit(wanted.real) if leaf.kind in "fc" else 1


USUAL = [
    *[("f", value) for value in (0.1, 3, True, F4(0.5), np.float64(0.5), np.int64(3))],
    *[("d", value) for value in (0.1, 3, F4(0.5), np.float64(0.5), np.bool_(True), np.array(0.5))],
    *[("q", value) for value in (3, True, np.int64(3), np.int32(3), np.uint8(3), np.array(3))],
    *[("B", value) for value in (3, np.int64(3), np.array(3, np.int16))],
    *[("?", value) for value in (True, np.bool_(True), np.array(True))],
    *[("e", value) for value in (np.float16(0.5), np.array(0.5, np.float16))],
]


@pytest.mark.parametrize(("code", "value"), USUAL, ids=repr)
def test_the_usual_numbers_need_no_check_in_python(code: str, value: Any) -> None:
    ends = Ends(np.dtype(code))
    assert ends.send(value) == value if not isinstance(value, float) else True
    assert ends.asked == 0


# ---------------------------------------------------------------- what stays exact, and messages


@pytest.mark.parametrize(
    ("leaf", "value", "words"),
    [
        (F4(0), np.float64(1e39), "got the float64 number 1e+39, which overflows to infinity"),
        (F4(0), np.longdouble("1e4000"), "number 1e+4000, which overflows to infinity"),
        (F4(0), np.complex64(1), "got complex64 (), which does not cast to it safely"),
        (np.int8(0), np.int64(300), "got the int64 number 300, which is not between -128 and 127"),
        (np.uint8(0), np.int8(-1), "got the int8 number -1, which is not between 0 and 255"),
        (np.int64(0), np.float64(1), "expected int64 (), got float64 (), which does not cast"),
        (np.int64(0), np.array(1.0), "expected int64 (), got float64 (), which does not cast"),
        (np.bool_(0), np.int64(1), "expected bool (), got int64 (), which does not cast to it"),
        (np.int64(0), np.datetime64(3, "s"), "expected int64 (), got datetime64[s]"),
        (np.int64(0), np.timedelta64(3, "s"), "expected int64 (), got timedelta64[s]"),
        (np.datetime64(0, "s"), np.int64(3), "expected datetime64[s] (), got int64 ()"),
        (np.datetime64(0, "s"), np.datetime64(3, "D"), "expected datetime64[s] (), got dat"),
        (np.timedelta64(0, "s"), np.array(3), "expected timedelta64[s] (), got int64 ()"),
        (F4(0), np.str_("1"), "expected float32 (), got <U1 ()"),
        (F4(0), np.bytes_(b"1"), "expected float32 (), got |S1 ()"),
        (F4(0), np.void(b"1234"), "expected float32 (), got |V4 ()"),
        (np.str_("ab"), np.str_("a"), "expected <U2 (), got <U1 ()"),
        (np.str_("1"), 1, "expected <U1 (), got a Python int, which does not cast"),
        (np.void(b"12"), np.void(b"1"), "expected |V2 (), got |V1 ()"),
        (np.zeros((), [("a", "f4")]), F4(1), "expected [('a', '<f4')] (), got float32 ()"),
        (F4(0), [1.0], "expected float32 (), got a list of 1"),
        (F4(0), None, "expected float32 (), got None"),
        (F4(0), "1", "expected float32 (), got a Python str"),
        (F4(0), np.array([1.0], F4), "expected float32 (), got float32 (1,)"),
        (F4(0), np.ma.masked_array(1.0), "got a masked array: its mask would be lost"),
        (array(1), F4(1), "expected float32 (1,), got float32 ()"),
        (array(2), np.zeros(2), "expected float32 (2,), got float64 (2,)"),
    ],
    ids=lambda value: f"{value!r:.30}",
)
def test_what_the_rule_refuses_is_named(leaf: Any, value: Any, words: str) -> None:
    error = refusal({"r": value}, {"r": leaf})
    assert error.path == "['r']"
    assert words in str(error)


def test_a_subclass_of_a_numpy_scalar_is_taken_as_its_value() -> None:
    class Reward(np.float64):
        pass

    class Action(enum.IntEnum):
        LEFT = 3

    (got,) = TreeSpec.from_example([F4(0)]).check([Reward(0.5)])
    assert got[()] == F4(0.5)
    assert Ends(np.dtype("f")).send(Reward(0.5)) == F4(0.5)
    assert Ends(np.dtype("b")).send(Action.LEFT) == 3


# ---------------------------------------------------------------- cast="same_kind"

CASTS = [("d", "f"), ("f", "d"), ("q", "b"), ("q", "f"), ("B", "b"), ("?", "f"), (">f8", "f")]
NO_CASTS = [("f", "q"), ("b", "B"), ("D", "d"), ("q", "?"), ("M8[s]", "q"), ("U2", "U3")]


@pytest.mark.parametrize(("given", "leaf"), CASTS)
def test_arrays_are_cast_by_same_kind_on_request(given: str, leaf: str) -> None:
    spec = TreeSpec.from_example([np.zeros(3, leaf)])
    value = np.array([0, 1, 3]).astype(given)
    with pytest.raises(SpecMismatchError):
        spec.check([value])
    (got,) = spec.check([value], same_kind=True)
    assert got.dtype == np.dtype(leaf)
    np.testing.assert_array_equal(got, value.astype(leaf))
    stack = np.stack([value, value])
    _, (got,) = spec.check_stacked([stack], same_kind=True)
    np.testing.assert_array_equal(got, stack.astype(leaf))
    with pytest.raises(SpecMismatchError):
        spec.check_stacked([stack])


@pytest.mark.parametrize(("given", "leaf"), NO_CASTS)
def test_arrays_of_other_kinds_are_refused_even_then(given: str, leaf: str) -> None:
    spec = TreeSpec.from_example([np.zeros(3, leaf)])
    value = np.zeros(3, given)
    with pytest.raises(SpecMismatchError, match=r"^\[0\]: expected "):
        spec.check([value], same_kind=True)
    with pytest.raises(SpecMismatchError, match=r"^\[0\]: expected "):
        spec.check_stacked([value[None]], same_kind=True)


def test_a_cast_keeps_the_shape_and_refuses_masks() -> None:
    spec = TreeSpec.from_example([array(3)])
    for value in (np.zeros(4), np.zeros((1, 3)), [0.0, 0.0, 0.0], np.ma.zeros(3)):
        with pytest.raises(SpecMismatchError):
            spec.check([value], same_kind=True)
