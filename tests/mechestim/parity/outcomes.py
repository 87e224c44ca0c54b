"""Outcomes of calls: result or error, warnings, charges, and the arguments afterwards."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import mechestim as me
from shm_echo.mechestim.errors import NO_OBJECTS
from tests.mechestim.backend_mode import LOCAL, is_writable, plain, same_class
from tests.mechestim.parity.call_forms import CallForm
from tests.mechestim.parity.specs import Case, build

Charges = dict[str, tuple[int, int]]
PLENTY = 10**15
SPENT = "spent before"


@dataclass
class Outcome:
    """The outcome of one call."""

    args: list[Any]
    kwargs: dict[str, Any]
    result: Any = None
    error: BaseException | None = None
    warned: list[tuple[type, str]] = field(default_factory=list)
    charges: Charges = field(default_factory=dict)
    after: Any = None  # the next random number of the source


def expected(case: Case, form: CallForm) -> Outcome:
    """Return the outcome of `case` in NumPy, on plain arrays."""
    return _then_draw(_run(case, form, np), case, np)


def observed(
    case: Case, form: CallForm, budget: int = PLENTY, spent: int = 0, **context: Any
) -> Outcome:
    """Return the outcome of `case` in mechestim, charges included.

    Args:
        case: The call.
        form: The call form.
        budget: The FLOPs that it may cost.
        spent: The FLOPs of the budget that are used beforehand.
        context: More arguments of the BudgetContext.
    """
    with me.BudgetContext(budget, quiet=True, **context) as books:
        if spent:
            books.deduct(SPENT, flop_cost=spent)
        outcome = _run(case, form, me, books)
    return _then_draw(outcome, case, me)


def charges(books: Any) -> Charges:
    """Return `{operation: (FLOPs, calls)}` of a context."""
    return {
        name: (entry["flop_cost"], entry["calls"])
        for name, entry in books.summary_dict()["operations"].items()
        if name != SPENT
    }


def _run(case: Case, form: CallForm, xp: Any, books: Any = None) -> Outcome:
    if case.op.startswith("random."):
        xp.random.seed(99)
    with paused():
        args, kwargs = build(case, xp)
    outcome = Outcome(args, kwargs)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            outcome.result = form(xp, args, kwargs)
        except Exception as error:
            outcome.error = error
    outcome.warned = [(one.category, str(one.message)) for one in caught]
    if books:
        outcome.charges = charges(books)
    return outcome


def _then_draw(outcome: Outcome, case: Case, xp: Any) -> Outcome:
    """Record the next random number: a call must have drawn as many as NumPy's does."""
    if case.op.startswith("random."):
        first = outcome.args[0] if outcome.args else None
        outcome.after = float((first if hasattr(first, "normal") else xp.random).normal())
    return outcome


@contextlib.contextmanager
def paused() -> Iterator[None]:
    """Ignore the warnings of building a case, such as those of a cast."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def parts(value: Any) -> Iterator[Any]:
    """Yield the arrays in an argument or a result."""
    if is_writable(value):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from parts(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from parts(item)


# Comparing ----


def refused_objects(right: Outcome, got: Outcome) -> bool:
    """Return True if NumPy returns an array of Python objects, which a server refuses to create."""
    makes = isinstance(right.result, np.ndarray) and right.result.dtype.hasobject
    return not LOCAL and makes and str(got.error) == NO_OBJECTS


def compare(case: Case, right: Outcome, got: Outcome) -> None:
    """Assert that `got` equals `right`, as far as a user can see."""
    if refused_objects(right, got):
        return
    if right.error is not None or got.error is not None:
        _same_error(right.error, got.error)
    else:
        _same(right.result, got.result, case, "the result")
        _same_identities(right, got)
    assert same_warnings(got.warned, right.warned), (
        f"warned {got.warned}, NumPy warns {right.warned}"
    )
    for place, (one, other) in enumerate(
        zip(parts([right.args, right.kwargs]), parts([got.args, got.kwargs]), strict=True)
    ):
        _same_values(one, other, case, f"array {place} of the arguments, afterwards,")
    assert right.after == got.after, "the next random number differs"


def same_warnings(got: list[tuple[type, str]], right: list[tuple[type, str]]) -> bool:
    """Return True if the warnings have the same texts and class names."""
    return [text for _, text in got] == [text for _, text in right] and all(
        same_class(one, other) for (one, _), (other, _) in zip(got, right, strict=True)
    )


def _same_error(right: BaseException | None, got: BaseException | None) -> None:
    assert right is not None, f"raised {got!r}, NumPy does not"
    assert got is not None, f"did not raise; NumPy raises {right!r}"
    assert same_class(type(got), type(right)), f"raised {got!r}, NumPy raises {right!r}"
    if "positional argument" not in str(got):  # a function of mechestim has its own text
        assert _said(got) == _said(right), f"raised {got!r}, NumPy raises {right!r}"


def _said(error: BaseException) -> str:
    return str(error).replace("ndarray.", "")


def _same(right: Any, got: Any, case: Case, what: str) -> None:
    if isinstance(right, np.ndarray) or (
        isinstance(right, np.generic) and not isinstance(right, (np.character, np.void))
    ):
        assert isinstance(got, me.ndarray), f"{what} is {type(got)}, not a counted array"
        _same_values(np.asarray(right), got, case, what)
        assert (got.shape == ()) == (np.ndim(right) == 0)
        if isinstance(right, np.ndarray) and not (case.unset or case.close):
            assert got.strides == right.strides, (
                f"{what} has strides {got.strides}, not {right.strides}"
            )
            with paused():  # broadcast_arrays warns when it is asked
                writeable = right.flags.writeable
                assert got.flags.writeable == writeable, f"{what}: writeable differs"
    elif case.unset:
        assert right is None or got is not None
    elif isinstance(right, (list, tuple)):
        assert same_class(type(got), type(right)), f"{what} is {type(got)}, not {type(right)}"
        assert len(got) == len(right), f"{what} has {len(got)} parts, not {len(right)}"
        for place, (one, other) in enumerate(zip(right, got, strict=True)):
            _same(one, other, case, f"part {place} of {what}")
    elif isinstance(right, dict):
        assert list(got) == list(right)
        for key in right:
            _same(right[key], got[key], case, f"{key!r} of {what}")
    elif isinstance(right, (np.random.Generator, np.random.BitGenerator, np.random.SeedSequence)):
        assert hasattr(got, "random") == hasattr(right, "random")
        if hasattr(right, "random"):
            assert float(got.random()) == right.random(), f"{what} gives other numbers"
    elif isinstance(right, np.dtype):
        assert isinstance(got, me.dtype)
        assert got == right, f"{what} is {got!r}, not {right!r}"
    elif isinstance(right, (np.vectorize, np.ufunc)):
        assert callable(got)
    else:
        assert same_class(type(got), type(right)), f"{what} is {got!r}, not {right!r}"
        named = isinstance(right, type) and same_class(got, right)
        same = (
            named
            or got == right
            or (isinstance(right, float) and math.isnan(right) and math.isnan(got))
        )
        assert same, f"{what} is {got!r}, not {right!r}"


def _same_values(right: Any, got: Any, case: Case, what: str) -> None:
    got = plain(got)
    assert got.dtype == right.dtype, f"{what} has dtype {got.dtype}, not {right.dtype}"
    assert got.shape == right.shape, f"{what} has shape {got.shape}, not {right.shape}"
    if case.unset:
        return
    if case.close and right.dtype.kind in "fc":
        rounding = (
            8
            * np.finfo(right.dtype).eps
            * max(1.0, float(np.max(np.abs(right[np.isfinite(right)]), initial=0.0)))
        )
        assert np.allclose(
            got, right, rtol=1e-6 if right.itemsize > 4 else 1e-2, atol=rounding, equal_nan=True
        ), f"{what} is {got}, not {right}"
    elif got.tobytes() != right.tobytes():
        assert _equal(right, got), f"{what} is {got!r}, not {right!r}"


def _equal(right: Any, got: Any) -> bool:
    """Return True if both are equal bit for bit; all NaN are equal."""
    if right.dtype.kind in "fc":
        parts = (lambda x: (x.real, x.imag)) if right.dtype.kind == "c" else (lambda x: (x,))
        return all(
            bool(np.all((a == b) & (np.signbit(a) == np.signbit(b)) | np.isnan(a) & np.isnan(b)))
            for a, b in zip(parts(right), parts(got), strict=True)
        )
    if right.dtype.kind == "O":
        return bool(np.array_equal(right, got))
    return False


def _same_identities(right: Outcome, got: Outcome) -> None:
    """Assert that results are, or share memory with, the same arguments as in NumPy."""
    mine, theirs = list(parts([right.args, right.kwargs])), list(parts([got.args, got.kwargs]))
    results = list(zip(parts(right.result), parts(got.result), strict=False))
    for one, other in results:
        for place, (array, counted) in enumerate(zip(mine, theirs, strict=True)):
            if one is array:
                assert other is counted, f"the result is not the very array {place} that was passed"
            elif one.size:
                shared = np.shares_memory(one, array)
                assert me.shares_memory(other, counted) == shared, (
                    f"the result {'is no' if shared else 'is a'} view of array {place}"
                )
