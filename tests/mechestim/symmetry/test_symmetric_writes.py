"""Writes to a symmetric tensor end its symmetry, keep it, or are refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import shm_echo.mechestim as me
from tests.mechestim.backend_mode import LOCAL


def matrix(n: int = 6, seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).random((n, n)) + 0.5
    return values + values.T


@pytest.fixture
def budget() -> Iterator[Any]:
    with me.BudgetContext(10**9, quiet=True) as found:
        yield found


def cost(budget: Any, call: Any) -> int:
    used = budget.flops_used
    call()
    return int(budget.flops_used - used)


@pytest.fixture
def s() -> Any:
    return me.as_symmetric(matrix(), (0, 1))


WRITES = [
    ("item", lambda s: s.__setitem__((0, 1), 5)),
    ("slice", lambda s: s.__setitem__(slice(None), np.ones(6))),
    ("in place", lambda s: s.__iadd__(np.ones((6, 6)))),
    ("matmul in place", lambda s: s.__imatmul__(s.copy())),
    ("out", lambda s: me.add(s, np.ones(6), out=s)),
    ("positional out", lambda s: np.add(s, np.ones(6), s)),
    ("numpy out", lambda s: np.exp(np.asarray(s), out=s)),
    ("sort", lambda s: s.sort()),
    ("partition", lambda s: s.partition(2)),
    ("put", lambda s: me.put(s, [0], [7])),
    ("fill", lambda s: s.fill(3)),
    ("flat", lambda s: s.flat.__setitem__(1, 7)),
    ("copyto", lambda s: me.copyto(s, np.ones(6))),
    ("fill_diagonal", lambda s: me.fill_diagonal(s, 4)),
    ("at", lambda s: np.add.at(s, (0, 1), 4)),
    ("shuffle", lambda s: me.random.shuffle(s)),
    ("setflags", lambda s: s.setflags(write=True)),
]


@pytest.mark.parametrize("write", [x[1] for x in WRITES], ids=[x[0] for x in WRITES])
def test_a_write_ends_the_symmetry_for_every_view(budget: Any, s: Any, write: Any) -> None:
    other = s.T
    with pytest.warns(me.SymmetryLossWarning):
        write(s)
    for tensor in (s, other):
        assert tensor.symmetry_info is None
        assert tensor.symmetric_axes == []
        assert cost(budget, lambda x=tensor: me.exp(x)) == 36
    s[2, 3] = -1  # an array like any other now, without a warning
    assert s[2, 3] == -1


def test_a_view_cannot_be_written_to_while_the_symmetry_stands(budget: Any, s: Any) -> None:
    before = np.array(s)
    for view in (s[0], np.asarray(s) if LOCAL else s.T[0], s.view(), s.diagonal()):
        with pytest.raises(ValueError, match="read-only"):
            view[...] = 5
    with pytest.raises(ValueError, match="read-only"):
        s[0] += 1
    np.testing.assert_array_equal(np.asarray(s), before)
    assert s.is_symmetric()
    assert cost(budget, lambda: me.exp(s)) == 21


IN_PLACE = [
    ("add", lambda s: s.__iadd__(1.5)),
    ("multiply", lambda s: s.__imul__(2)),
    ("itself", lambda s: s.__iadd__(s)),
    ("another", lambda s: s.__isub__(me.as_symmetric(matrix(6, 3), (0, 1)))),
    ("power", lambda s: s.__ipow__(2)),
    ("divide", lambda s: s.__itruediv__(np.float64(3))),
]


@pytest.mark.parametrize("change", [x[1] for x in IN_PLACE], ids=[x[0] for x in IN_PLACE])
def test_an_operator_in_place_keeps_a_symmetry_that_the_operand_has(
    budget: Any, s: Any, change: Any
) -> None:
    plain, view = me.array(matrix()), s.T
    change(plain)
    assert cost(budget, lambda: change(s)) == 21
    assert s.symmetric_axes == [(0, 1)]
    np.testing.assert_array_equal(np.asarray(s), np.asarray(plain))
    np.testing.assert_array_equal(np.asarray(view), np.asarray(plain).T)


def test_an_operator_in_place_that_numpy_refuses_changes_nothing(budget: Any) -> None:
    s = me.as_symmetric([[1, 2], [2, 1]], (0, 1))
    with pytest.raises(TypeError, match="same_kind"):
        s += 0.5
    assert budget.flops_used == 0
    assert s.tolist() == [[1, 2], [2, 1]]
    assert s.symmetric_axes == [(0, 1)]


def test_a_write_that_the_budget_refuses_leaves_the_symmetry(s: Any) -> None:
    with me.BudgetContext(5, quiet=True):
        with pytest.raises(me.BudgetExhaustedError):
            s += np.ones((6, 6))
    assert s.symmetric_axes == [(0, 1)]


def test_a_result_in_the_callers_own_array_is_never_declared(budget: Any, s: Any) -> None:
    target = me.zeros((6, 6))
    for result in (me.exp(s, out=target), np.exp(s, out=(target,)), me.add(s, s, target)):
        assert result is target
        assert result.symmetry_info is None
        target[0, 1] = 7  # it is still writable
