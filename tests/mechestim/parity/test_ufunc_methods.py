"""`reduce`, `accumulate`, `reduceat`, `outer` and `at` of every ufunc, in both call forms."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import prod
from typing import Any

import numpy as np
import pytest

import mechestim as me
from tests.mechestim.parity.call_forms import CallForm
from tests.mechestim.parity.cases_binary import UFUNCS as BINARY
from tests.mechestim.parity.cases_unary import UFUNCS as UNARY
from tests.mechestim.parity.outcomes import compare, expected, observed
from tests.mechestim.parity.specs import A, Case, L, Same, arr, build, case

# The operation under which a reduction by a ufunc is booked.
BOOKED = {
    ("add", "reduce"): "sum",
    ("multiply", "reduce"): "prod",
    ("maximum", "reduce"): "max",
    ("minimum", "reduce"): "min",
    ("logical_and", "reduce"): "all",
    ("logical_or", "reduce"): "any",
    ("add", "accumulate"): "cumsum",
    ("multiply", "accumulate"): "cumprod",
    ("multiply", "outer"): "outer",
}
_CUBE = arr(2, 3, 4, fill="small")
_WHOLE = arr(4, dtype="int64", fill="small")
_PLACES = L([0, 2, 1])


def along() -> Iterator[Case]:
    for name in ("reduce", "accumulate"):
        for array in (
            _CUBE,
            _WHOLE,
            arr(3, 4, dtype="bool"),
            arr(3, layout="reversed"),
            arr(0),
            arr(2, 0),
        ):
            yield case(name, array)
        yield case(name, _CUBE, 1)
        yield case(name, _CUBE, axis=-1)
        yield case(name, _CUBE, axis=5)
        yield case(name, _CUBE, dtype="float32")
        yield case(name, arr())
        yield case(name, [[1, 2], [3, 4]])
        yield case(name, _CUBE, nonsense=1)
    yield case("reduce", _CUBE, axis=None)
    yield case("reduce", _CUBE, axis=(0, 2), keepdims=True)
    yield case("reduce", _CUBE, axis=(0, 0))
    yield case("reduce", _CUBE, out=arr(3, 4))
    yield case("reduce", _CUBE, out=(arr(3, 4),))
    yield case("reduce", _CUBE, out=arr(5))
    yield case("reduce", _CUBE, initial=1.0, where=arr(2, 3, 4, dtype="bool"))
    yield case("accumulate", _CUBE, out=arr(2, 3, 4))
    yield case("accumulate", _CUBE, out=Same(0))
    yield case("reduceat", arr(6), [0, 2, 4])
    yield case("reduceat", arr(3, 6), L([0, 3]), axis=1)
    yield case("reduceat", arr(6), [0, 9])
    yield case("reduceat", arr(6))


def others() -> Iterator[Case]:
    for name in ("outer",):
        yield case(name, arr(3), arr(2, fill="small"))
        yield case(name, arr(2, 3), arr(4, fill="small"))
        yield case(name, _WHOLE, _WHOLE)
        yield case(name, arr(), arr(3))
        yield case(name, [1, 2], arr(3))
        yield case(name, arr(3), 2.0)
        yield case(name, arr(2), arr(3), out=arr(2, 3))
        yield case(name, arr(2))
    for name in ("at",):
        yield case(name, arr(3, fill="positive"), _PLACES, 2.0)
        yield case(name, arr(3, 4, fill="positive"), (slice(None), 1), arr(3, fill="small"))
        yield case(name, arr(3), [0, 0, 1], arr(3, fill="small"))
        yield case(name, arr(3), [7], 1.0)
        yield case(name, arr(3), 1.5, 1.0)
        yield case(name, arr(3, dtype="int8"), [0], 1.5)
        yield case(name, arr(3, layout="broadcast"), [0], 1.0)
        yield case(name, arr(3), L([True, False, True]), 1.0)


def spelled(ufunc: str, method: str) -> dict[str, CallForm]:
    """Return the call forms `np.add.reduce` and `me.add.reduce`."""
    of_numpy = getattr(getattr(np, ufunc), method)
    return {
        "np": lambda xp, args, kwargs: of_numpy(*args, **kwargs),
        "me": lambda xp, args, kwargs: getattr(getattr(xp, ufunc), method)(*args, **kwargs),
    }


def price(name: str, one: Case) -> int:
    args, _ = build(one, np)
    if name == "outer":
        return int(np.size(args[0]) * np.size(args[1]))
    if name == "at":
        mask = isinstance(args[1], np.ndarray) and args[1].dtype == bool
        return int(args[1].size if mask else np.size(args[0][args[1]]))
    return int(np.size(args[0]))


@pytest.mark.parametrize("ufunc", BINARY)
def test_the_methods_of_a_ufunc_give_what_numpy_gives(ufunc: str) -> None:
    every = [*along(), *others()]
    some = every if ufunc in ("add", "multiply", "maximum", "logical_or", "power") else every[::4]
    for one in some:
        check(ufunc, one)


def check(ufunc: str, one: Case) -> None:
    for form, call in spelled(ufunc, one.op).items():
        if form == "np" and not isinstance(one.args[0], (A, L)):
            continue  # a list is converted without a hook
        right, got = expected(one, call), observed(one, call)
        where = f"{ufunc}.{one} by {form}"
        try:
            compare(one, right, got)
        except AssertionError as error:
            raise AssertionError(f"{where}: {error}") from error
        if right.error is None:
            canonical = getattr(np, ufunc).__name__
            book = BOOKED.get((canonical, one.op), f"{canonical}.{one.op}")
            assert got.charges == {book: (max(1, price(one.op, one)), 1)}, where
        elif not isinstance(right.error, (IndexError, ValueError)):
            assert got.charges == {}, where


def test_at_works_for_ufuncs_of_one_operand() -> None:
    cases = (case("at", arr(4, fill="unit"), _PLACES), case("at", _WHOLE, [0, 0]))
    for ufunc, one in product([name for name in UNARY if name != "isnat"], cases):
        for call in spelled(ufunc, "at").values():
            right, got = expected(one, call), observed(one, call)
            compare(one, right, got)
            named = 0 if right.error else prod(np.shape(build(one, np)[0][1]))
            assert sum(flops for flops, _ in got.charges.values()) == named, ufunc


def test_a_counted_ufunc_has_the_attributes_of_the_ufunc() -> None:
    for ufunc in (*BINARY, *UNARY):
        ours: Any = getattr(me, ufunc)
        theirs = getattr(np, ufunc)
        for fact in ("nin", "nout", "nargs", "types", "identity", "signature"):
            assert getattr(ours, fact) == getattr(theirs, fact), ufunc
        assert isinstance(ours, me.ufunc), ufunc
    assert not isinstance(me.sort, me.ufunc)
