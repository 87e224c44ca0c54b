"""The size rules of the registry are upper bounds of the memory that a call takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from shm_echo.mechestim.registry import OPS
from tests.mechestim.parity.call_forms import call_forms
from tests.mechestim.parity.cases import CASES, FAMILIES
from tests.mechestim.parity.outcomes import expected, parts
from tests.mechestim.parity.test_prices import rule_arguments

# Their results are as large as a file, which no rule knows.
_FILES = ("fromfile", "fromregex")


def new_bytes(result: Any, args: Any) -> tuple[int, int]:
    """Return the bytes of the new arrays in `result`, and of the memory that they keep alive."""
    if isinstance(result, bytes):
        return len(result), len(result)
    given = list(parts(args))
    own, kept = 0, {}
    for array in arrays(result):
        if not any(np.may_share_memory(array, one) for one in given):
            owner = array
            while isinstance(owner.base, np.ndarray):
                owner = owner.base
            kept[id(owner)] = owner.nbytes
            own += min(array.nbytes, owner.nbytes)
    return own, sum(kept.values())


def arrays(result: Any) -> list[Any]:
    """Yield the arrays in `result`, 0-d ones included."""
    if isinstance(result, np.generic):
        return [np.asarray(result)]
    if isinstance(result, tuple):
        return [array for item in result for array in arrays(item)]
    return list(parts(result))


def listed_bytes(value: Any) -> int:
    """Return the bytes of the arrays that NumPy creates from numbers, lists and buffers."""
    if isinstance(value, (list, tuple)):
        return sum(listed_bytes(item) for item in value)
    if isinstance(value, bytes):
        return len(value)
    return 16 if isinstance(value, (int, float, complex, np.generic)) else 0


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_a_result_is_no_larger_than_its_size_rule(family: str) -> None:
    wrong = []
    for name in FAMILIES[family]:
        result, scratch = OPS[name].result_bytes, OPS[name].scratch_bytes
        assert result is not None
        assert scratch is not None
        for case in () if name in _FILES else CASES[name]:
            right = expected(case, next(iter(call_forms(case)))[1])
            if right.error is not None:
                continue
            args, kwargs = rule_arguments(case, np)
            allowed, extra = result(*args, **kwargs), scratch(*args, **kwargs)
            assert type(allowed) is type(extra) is int, str(case)
            given = listed_bytes([*args, *kwargs.values()]) + 16  # and a number
            own, kept = new_bytes(right.result, [right.args, right.kwargs])
            if own > allowed + given or kept > allowed + extra + given:
                wrong.append(
                    f"{case}: takes {own}, keeps {kept}, the rules say {allowed} and {extra}"
                )
    assert not wrong, "\n".join(wrong)
