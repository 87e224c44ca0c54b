"""Leaves and stacks of leaves that fit the example, and the arrays made of them."""

from __future__ import annotations

import enum
from typing import Any

import numpy as np
import pytest

from shm_echo.errors import SpecMismatchError
from shm_echo.spec import TreeSpec
from tests.spec.trees import F4, array, refusal


@pytest.mark.parametrize(
    ("example", "value", "words"),
    [
        (array(4), array(4, dtype="f8"), "expected float32 (4,), got float64 (4,)"),
        (array(4), array(4, dtype=">f4"), "expected float32 (4,), got >f4 (4,)"),
        (array(4), array(5), "expected float32 (4,), got float32 (5,)"),
        (array(4), array(1, 4), "expected float32 (4,), got float32 (1, 4)"),
        (array(4), 1.0, "expected float32 (4,), got a Python float"),
        (array(4), F4(1), "expected float32 (4,), got float32 ()"),
        (array(1), 1.0, "expected float32 (1,), got a Python float"),
        (array(), np.complex64(1), "expected float32 (), got complex64 ()"),
        (array(), "1", "expected float32 (), got a Python str"),
        (array(), array(1), "expected float32 (), got float32 (1,)"),
        (array(), np.ma.zeros((), F4), "got a masked array: its mask would be lost"),
        (
            array(dtype="M8[s]"),
            np.datetime64(1, "ms"),
            "expected datetime64[s] (), got datetime64[ms]",
        ),
        (array(dtype="U3"), np.str_("ab"), "expected <U3 (), got <U2 ()"),
        (array(dtype=[("a", "f4")]), np.zeros((), [("b", "f4")]), "expected [('a', '<f4')] ()"),
    ],
)
def test_a_wrong_leaf_is_rejected_with_expected_and_given(
    example: Any, value: Any, words: str
) -> None:
    error = refusal({"obs": {"pos": value}}, {"obs": {"pos": example}})
    assert error.path == "['obs']['pos']"
    assert words in str(error)


def test_arrays_of_other_libraries_are_rejected_with_advice() -> None:
    class Tensor:
        def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
            return array(4)

    error = refusal([Tensor()], [array(4)])
    assert "Tensor (convert it with np.asarray)" in str(error)


def test_strided_and_fortran_ordered_arrays_come_back_as_they_are() -> None:
    spec = TreeSpec.from_example([array(3, 2), array(2)])
    fortran, strided = np.asfortranarray(np.ones((3, 2), F4)), np.ones(4, F4)[::2]
    out = spec.check([fortran, strided])
    assert out[0] is fortran
    assert out[1] is strided


def test_ndarray_subclasses_come_back_as_plain_arrays_over_the_same_memory() -> None:
    records = np.rec.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f4")])
    matrix = np.ones((2, 2), F4).view(type("Named", (np.ndarray,), {}))
    spec = TreeSpec.from_example([np.zeros(1, records.dtype.descr), array(2, 2)])
    out = spec.check([records, matrix])
    for given, got in zip([records, matrix], out, strict=True):
        assert type(got) is np.ndarray
        assert np.shares_memory(given, got)


def test_numpy_scalars_become_arrays_of_the_leafs_dtype() -> None:
    rational = pytest.importorskip("numpy._core._rational_tests").rational
    record = np.zeros(1, [("a", ">i2")])
    record["a"] = 7
    for example, value in (
        (F4(0), F4(3)),
        (np.zeros((), ">f4"), F4(3)),  # no scalar is big-endian
        (np.zeros((), "M8[s]"), np.datetime64(3, "s")),
        (np.zeros((), "U2"), np.str_("ab")),
        (np.zeros((), rational), np.zeros(1, rational)[0]),
        (record[0], record[0]),
    ):
        (got,) = TreeSpec.from_example([example]).check([value])
        assert type(got) is np.ndarray
        assert (got.shape, got.dtype) == ((), example.dtype)
        assert got[()] == value


NUMBERS: list[Any] = [
    *(True, False, 0, 1, -1, 127, 128, -128, -129, 255, 256, 32767, 32768, 65504, 65520, 70000),
    *(2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64),
    *(2**127, 2**128, 10**308, 10**309, -(10**400)),
    *(0.0, -0.0, 0.5, 1.0, 1e-50, 65504.0, 65519.9, 65520.0, 3.4028235e38, 3.41e38, -1e300),
    *(float("inf"), float("-inf"), float("nan")),
    *(1j, 1e300 + 1j, complex(1, -1e300), complex("inf"), complex(0, float("nan"))),
]


def cast_by_numpy(dtype: np.dtype[Any], number: Any) -> Any:
    """Return NumPy's cast of a Python number beside an array of a dtype; None if it raises."""
    if np.result_type(dtype, number) != dtype:
        return None
    try:
        with np.errstate(over="raise"):
            return np.full(1, False, dtype) + number
    except (OverflowError, FloatingPointError):
        return None


@pytest.mark.parametrize("number", NUMBERS, ids=lambda n: f"{n!r:.24}")
def test_python_numbers_cast_exactly_where_numpy_promotion_keeps_the_dtype(number: Any) -> None:
    for code in "?bBhHiIlLqQefdgFDG":
        for order in "<>":
            dtype = np.dtype(code).newbyteorder(order)
            spec = TreeSpec.from_example([np.zeros((), dtype)])
            wanted = cast_by_numpy(np.dtype(code), number)
            if wanted is None:
                with pytest.raises(
                    SpecMismatchError, match=r"^\[0\]: expected .* got .*(Python|an int of)"
                ):
                    spec.check([number])
            else:
                (got,) = spec.check([number])
                assert (got.shape, got.dtype) == ((), dtype)
                np.testing.assert_array_equal(got, wanted[0])
                assert wanted.dtype == np.dtype(code)


@pytest.mark.parametrize("code", ["M8[s]", "m8[s]", "U3", "S3", "V4"])
def test_python_numbers_do_not_become_dates_or_strings(code: str) -> None:
    for number in (True, 1, 1.0, 1j):
        assert "does not cast to it safely" in str(refusal([number], [np.zeros((), code)]))


def test_an_int_subclass_casts_as_an_int() -> None:
    class Action(enum.IntEnum):
        LEFT = 3

    (got,) = TreeSpec.from_example([np.int64(0)]).check([Action.LEFT])
    assert got[()] == 3
    assert "not between -128 and 127" in str(refusal([200], [np.int8(0)]))


# ---------------------------------------------------------------- stacks


def test_a_stack_has_the_same_leading_axis_on_every_leaf() -> None:
    spec = TreeSpec.from_example({"a": array(2), "r": array()})
    for n in (0, 1, 5):
        tree = {"a": array(n, 2), "r": array(n)}
        count, leaves = spec.check_stacked(tree)
        assert count == n
        assert leaves[0] is tree["a"]
        assert spec.check(tree, stacked=n)[1] is tree["r"]
    with pytest.raises(SpecMismatchError) as caught:
        spec.check_stacked({"a": array(5, 2), "r": array(3)})
    assert caught.value.path == "['r']"
    assert "expected 5 samples along the leading axis, as ['a'] has, got 3" in str(caught.value)
    with pytest.raises(
        SpecMismatchError, match=r"\['a'\]: expected float32 \(4, 2\), got .*\(5, 2\)"
    ):
        spec.check({"a": array(5, 2), "r": array(5)}, stacked=4)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (array(2), "expected float32 (N, 2), got float32 (2,)"),
        (array(5, 3), "expected float32 (N, 2), got float32 (5, 3)"),
        (array(5, 2, dtype="f8"), "got float64 (5, 2)"),
        (1.0, "got a Python float"),
        (F4(1), "got float32 ()"),
        ([array(2)], "got a list of 1"),
        (np.ma.zeros((5, 2), F4), "masked"),
    ],
)
def test_a_leaf_that_is_not_a_stack_is_rejected(value: Any, words: str) -> None:
    assert words in str(refusal({"a": value}, {"a": array(2)}, stacked=5))


def test_a_stack_of_scalars_takes_no_python_number() -> None:
    assert "expected float32 (N,), got a Python float" in str(refusal([1.0], [array()], stacked=1))
