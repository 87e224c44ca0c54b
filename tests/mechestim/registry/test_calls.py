"""Price and size rules against NumPy itself, over the calls of `data/calls.txt`.

Calls that NumPy accepts need a price, or they would run uncharged. The rule must reject calls whose
shapes NumPy rejects, or they would be charged without running. No result is larger than its bound.
"""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import numpy as np
import pytest

from shm_echo.mechestim.registry import OPS, Category, Op
from tests.mechestim.calls import Call, calls, resolve

CALLS = calls()

# Files and other libraries' memory: there is no call without something to read.
NOT_CALLED = {"fromfile", "fromregex"}
# Their results are views of memory that NumPy does not own.
FOREIGN = {"frombuffer", "from_dlpack"}


def run_in_numpy(call: Call) -> tuple[Any, Exception | None, list[Any]]:
    """Return NumPy's result of a call, its exception, and the operands."""
    function = resolve(OPS[call.op].numpy)
    if function is None:
        pytest.skip(f"NumPy {np.__version__} has no {OPS[call.op].numpy}")
    if _version(np.__version__) < _version(call.since):
        pytest.skip(f"needs NumPy {call.since}")
    args, kwargs = call.arguments()
    operands = _flat([*args, *kwargs.values()])
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return function(*args, **kwargs), None, operands
        except Exception as error:
            if "unexpected keyword" in str(error):
                pytest.skip(f"NumPy {np.__version__}: {error}")
            return None, error, operands


def _version(text: str) -> tuple[int, int]:
    major, minor, *_ = text.split(".")
    return int(major), int(minor)


def _flat(values: Any) -> list[Any]:
    if isinstance(values, (list, tuple)):
        return [leaf for item in values for leaf in _flat(item)]
    return [values]


def new_bytes(result: Any, operands: list[Any]) -> int:
    """Return the bytes of the arrays in `result` that no operand holds already."""
    total = 0
    for array in _flat(result):
        if not isinstance(array, np.ndarray) or 0 in array.strides:
            continue
        arrays = [x for x in operands if isinstance(x, np.ndarray)]
        if not any(np.shares_memory(array, x) for x in arrays):
            total += array.nbytes
    return total


@pytest.mark.parametrize("call", CALLS, ids=str)
def test_a_rule_prices_calls_that_numpy_accepts_and_rejects_the_others(call: Call) -> None:
    op = OPS[call.op]
    _, refused, _ = run_in_numpy(call)
    if op.cost is None:
        assert refused is None or call.by_value
        return
    args, kwargs = call.arguments()
    if refused is None or call.by_value:
        price = op.cost(*args, **kwargs)
        assert type(price) is int
        assert price >= 0
    else:
        with pytest.raises((ValueError, TypeError, IndexError)):
            op.cost(*args, **kwargs)


@pytest.mark.parametrize("call", CALLS, ids=str)
def test_no_result_is_larger_than_its_rule_says(call: Call) -> None:
    result, refused, operands = run_in_numpy(call)
    if refused is not None or call.op in FOREIGN:
        return
    args, kwargs = call.arguments()
    op = OPS[call.op]
    assert op.result_bytes is not None
    assert op.scratch_bytes is not None
    bound, scratch = op.result_bytes(*args, **kwargs), op.scratch_bytes(*args, **kwargs)
    assert type(bound) is int
    assert type(scratch) is int
    assert scratch >= 0
    assert new_bytes(result, operands) <= bound


@pytest.mark.parametrize("call", [c for c in CALLS if OPS[c.op].cost is not None], ids=str)
def test_a_price_does_not_depend_on_values(call: Call) -> None:
    cost = OPS[call.op].cost
    assert cost is not None
    args, kwargs = call.arguments()
    try:
        price = cost(*args, **kwargs)
    except (ValueError, TypeError, IndexError):
        return
    for array in _flat([*args, *kwargs.values()]):
        if isinstance(array, np.ndarray) and array.ndim and array.flags.writeable:
            array[...] = np.zeros((), array.dtype)
    assert cost(*args, **kwargs) == price


def test_every_operation_of_the_main_module_is_called() -> None:
    called = {call.op for call in CALLS}
    expected = {
        op.name
        for op in OPS.values()
        if "." not in op.name
        and op.category is not Category.UNSUPPORTED
        and op.numpy  # nothing in NumPy to compare with otherwise
        and _ours(op)
    }
    assert expected - called == NOT_CALLED


def _ours(op: Op) -> bool:
    """False for contractions, which have their own tests."""
    from shm_echo.mechestim.registry import contraction

    return op not in contraction.OPS


@pytest.mark.parametrize(
    "op",
    [
        op
        for op in OPS.values()
        if "." not in op.name and op.category is not Category.UNSUPPORTED and op.numpy
    ],
    ids=lambda op: op.name,
)
def test_a_rule_takes_every_argument_that_numpy_takes(op: Op) -> None:
    function = resolve(op.numpy)
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        pytest.skip(f"this NumPy does not declare the signature of {op.numpy}")
    for rule in (op.cost, op.result_bytes, op.scratch_bytes):
        if rule is None:
            continue
        mine = inspect.signature(rule)
        for args, kwargs in _spellings(signature):
            mine.bind(*args, **kwargs)


def _spellings(signature: inspect.Signature) -> list[tuple[list[str], dict[str, str]]]:
    """Ways to pass all arguments: as many by position as possible, as many by name as possible."""
    p = [x for x in signature.parameters.values() if x.name != "like"]
    positional = [x.name for x in p if x.kind in (x.POSITIONAL_ONLY, x.POSITIONAL_OR_KEYWORD)]
    only = [x.name for x in p if x.kind is x.POSITIONAL_ONLY]
    named = [x.name for x in p if x.kind in (x.POSITIONAL_OR_KEYWORD, x.KEYWORD_ONLY)]
    keywords = [x.name for x in p if x.kind is x.KEYWORD_ONLY]
    required = [x.name for x in p if x.default is x.empty and x.name in positional]
    return [
        (positional, dict.fromkeys(keywords, "")),
        (only, dict.fromkeys(named, "")),
        (required, {}),
    ]
