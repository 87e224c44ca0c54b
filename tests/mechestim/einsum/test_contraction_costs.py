"""Products cost as much as the equal einsum, in every call form."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import shm_echo.mechestim as me
from shm_echo.mechestim.costs.flops import contraction, matrix_chain
from shm_echo.mechestim.costs.flops.einsum import einsum
from shm_echo.mechestim.registry import OPS
from shm_echo.mechestim.symmetry.info import Groups, SymmetryInfo


class Operand:
    """An operand with only the attributes that a price may use."""

    def __init__(self, *shape: int, groups: Groups = ()) -> None:
        self.shape = shape
        self.dtype = np.dtype("f8")
        self.symmetry_info = SymmetryInfo(groups, shape) if groups else None


def price(name: str, *arguments: Any, **keywords: Any) -> int:
    rule = OPS[name].cost
    assert rule is not None
    return rule(*arguments, **keywords)


def charged(function: Any, *arguments: Any, **keywords: Any) -> int:
    with me.BudgetContext(10**12, quiet=True) as budget:
        function(*arguments, **keywords)
    return budget.flops_used


# name, shapes, keywords, the equal einsum
EQUAL = [
    ("dot", [(5,), (5,)], {}, "i,i->"),
    ("dot", [(3, 5), (5,)], {}, "ij,j->i"),
    ("dot", [(3, 5), (5, 4)], {}, "ij,jk->ik"),
    ("dot", [(5,), (5, 4)], {}, "j,jk->k"),
    ("dot", [(2, 3, 5), (4, 5, 6)], {}, "abj,cjd->abcd"),
    ("dot", [(), (3, 4)], {}, ",ij->ij"),
    ("dot", [(3, 4), ()], {}, "ij,->ij"),
    ("matmul", [(5,), (5,)], {}, "i,i->"),
    ("matmul", [(3, 5), (5, 4)], {}, "ij,jk->ik"),
    ("matmul", [(5,), (7, 5, 4)], {}, "j,bjk->bk"),
    ("matmul", [(7, 3, 5), (5,)], {}, "bij,j->bi"),
    ("matmul", [(4, 3, 5), (4, 5, 2)], {}, "bij,bjk->bik"),
    ("matmul", [(4, 1, 3, 5), (6, 5, 2)], {}, "abij,bjk->abik"),
    ("linalg.matmul", [(4, 3, 5), (4, 5, 2)], {}, "bij,bjk->bik"),
    ("inner", [(5,), (5,)], {}, "i,i->"),
    ("inner", [(3, 5), (4, 5)], {}, "ik,jk->ij"),
    ("inner", [(2, 3, 5), (5,)], {}, "abk,k->ab"),
    ("inner", [(), (3, 4)], {}, ",ij->ij"),
    ("outer", [(3,), (4,)], {}, "i,j->ij"),
    ("linalg.outer", [(3,), (4,)], {}, "i,j->ij"),
    ("vdot", [(6,), (6,)], {}, "i,i->"),
    ("vecdot", [(3, 5), (3, 5)], {}, "ai,ai->a"),
    ("vecdot", [(4, 3, 5), (5,)], {}, "bai,i->ba"),
    ("linalg.vecdot", [(5, 3), (5, 3)], {"axis": 0}, "ia,ia->a"),
    ("matvec", [(4, 3, 5), (5,)], {}, "aij,j->ai"),
    ("vecmat", [(4, 3), (4, 3, 5)], {}, "ai,aij->aj"),
    ("tensordot", [(3, 5), (5, 4)], {"axes": 1}, "ij,jk->ik"),
    ("tensordot", [(3, 5), (5, 4)], {"axes": 0}, "ij,kl->ijkl"),
    ("tensordot", [(3, 4, 5), (4, 3, 2)], {"axes": ([1, 0], [0, 1])}, "abk,bac->kc"),
    ("linalg.tensordot", [(3, 5), (5, 4)], {"axes": ([-1], [0])}, "ij,jk->ik"),
    ("kron", [(3, 4), (2, 5)], {}, "ij,kl->ikjl"),
    ("kron", [(3,), (2, 5)], {}, "j,kl->kjl"),
]  # fmt: skip


def is_missing(name: str) -> bool:
    found: Any = np
    for part in OPS[name].numpy.split("."):
        found = getattr(found, part, None)
    return found is None


@pytest.mark.parametrize(("name", "shapes", "keywords", "subscripts"), EQUAL)
def test_a_product_costs_what_the_equal_einsum_costs(
    name: str, shapes: list[tuple[int, ...]], keywords: dict[str, Any], subscripts: str
) -> None:
    if is_missing(name):
        pytest.skip(f"this NumPy has no {name}")
    operands = [me.ones(shape) for shape in shapes]
    expected = charged(me.einsum, subscripts, *operands)
    function: Any = me
    for part in name.split("."):
        function = getattr(function, part)
    assert charged(function, *operands, **keywords) == expected
    assert price(name, *operands, **keywords) == expected
    book = OPS[name].book_name
    with me.BudgetContext(10**9, quiet=True) as budget:
        function(*operands, **keywords)
    assert set(budget.summary_dict()["operations"]) == {book}


# name, shape, keywords, the equal einsum of one object given twice
TWICE = [
    ("outer", (5,), {}, "i,j->ij"),
    ("outer", (3, 4), {}, "ab,cd->abcd"),
    ("linalg.outer", (5,), {}, "i,j->ij"),
    ("inner", (4, 5), {}, "ik,jk->ij"),
    ("inner", (2, 3, 5), {}, "abk,cdk->abcd"),
    ("tensordot", (4, 5), {"axes": ([0], [0])}, "ij,ik->jk"),
    ("tensordot", (3, 4), {"axes": 0}, "ij,kl->ijkl"),
    ("tensordot", (4, 4), {"axes": 1}, "ij,jk->ik"),
    ("kron", (3, 4), {}, "ij,kl->ikjl"),
    ("dot", (4, 4), {}, "ij,jk->ik"),
    ("matmul", (3, 4, 4), {}, "bij,bjk->bik"),
    ("vecdot", (3, 4), {}, "ai,ai->a"),
]


@pytest.mark.parametrize(("name", "shape", "keywords", "subscripts"), TWICE)
def test_one_object_given_twice_saves_as_much_as_in_the_einsum(
    name: str, shape: tuple[int, ...], keywords: dict[str, Any], subscripts: str
) -> None:
    x = Operand(*shape)
    assert price(name, x, x, **keywords) == einsum(subscripts, x, x)


def test_every_call_form_of_an_outer_product_with_itself_costs_the_same() -> None:
    x = me.ones(5)
    for way in (
        lambda: me.einsum("i,j->ij", x, x),
        lambda: me.outer(x, x),
        lambda: np.outer(x, x),
        lambda: np.multiply.outer(x, x),
        lambda: me.linalg.outer(x, x),
        lambda: me.tensordot(x, x, 0),
        lambda: me.outer(x, x, out=me.zeros((5, 5))),
    ):
        assert charged(way) == 15


SYMMETRIC = [
    ("matmul", [((4, 4), 0), ((4, 4), 0)], {}, "ij,jk->ik"),
    ("matmul", [((4, 4), 0), ((4, 4), 1)], {}, "ij,jk->ik"),
    ("matmul", [((4, 4), 0), ((4,), 1)], {}, "ij,j->i"),
    ("dot", [((4, 4), 0), ((4, 4), 0)], {}, "ij,jk->ik"),
    ("dot", [((3, 3, 4), 0), ((4,), 1)], {}, "abj,j->ab"),
    ("inner", [((3, 3, 4), 0), ((4,), 1)], {}, "abj,j->ab"),
    ("vecdot", [((3, 3, 4), 0), ((4,), 1)], {}, "abj,j->ab"),
    ("matvec", [((3, 3, 2, 4), 0), ((4,), 1)], {}, "abij,j->abi"),
    ("vecmat", [((4,), 1), ((3, 3, 4, 2), 0)], {}, "i,abij->abj"),
    ("tensordot", [((3, 3, 4), 0), ((4, 2), 1)], {"axes": 1}, "abj,jk->abk"),
    ("kron", [((3, 3), 0), ((3, 3), 0)], {}, "ij,kl->ikjl"),
    ("kron", [((3, 3), 0), ((2, 4), 1)], {}, "ij,kl->ikjl"),
]


@pytest.mark.parametrize(("name", "given", "keywords", "subscripts"), SYMMETRIC)
def test_declared_symmetry_saves_as_much_as_in_the_einsum(
    name: str,
    given: list[tuple[tuple[int, ...], int]],
    keywords: dict[str, Any],
    subscripts: str,
) -> None:
    by_number: dict[int, Operand] = {}
    for shape, number in given:
        groups: Groups = ((0, 1),) if len(shape) > 1 and shape[0] == shape[1] else ()
        by_number.setdefault(number, Operand(*shape, groups=groups))
    operands = [by_number[number] for _, number in given]
    assert price(name, *operands, **keywords) == einsum(subscripts, *operands)


def test_a_product_of_a_symmetric_matrix_with_itself_is_symmetric() -> None:
    s = Operand(6, 6, groups=((0, 1),))
    assert price("matmul", s, s) == 252
    assert price("linalg.multi_dot", [s, s, s]) == 2 * 252


# ------------------------------------------------------------------------------------------- chain


def every_order(shapes: list[tuple[int, int]]) -> int:
    """Return the price of the cheapest order, by trying all of them."""
    if len(shapes) == 1:
        return 0
    prices = []
    for i in range(len(shapes) - 1):
        (m, k), (_, n) = shapes[i], shapes[i + 1]
        prices.append(2 * m * k * n + every_order([*shapes[:i], (m, n), *shapes[i + 2 :]]))
    return min(prices)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=3, max_size=6))
def test_a_chain_costs_what_its_cheapest_order_costs(lengths: list[int]) -> None:
    shapes = list(itertools.pairwise(lengths))
    cost = matrix_chain.multi_dot([Operand(*shape) for shape in shapes])
    assert cost == every_order(shapes)
    subscripts = ",".join("abcdef"[i : i + 2] for i in range(len(shapes)))
    subscripts += f"->a{'abcdef'[len(shapes)]}"
    assert cost <= einsum(subscripts, *(Operand(*shape) for shape in shapes), optimize="greedy")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 6), min_size=4, max_size=6), st.booleans(), st.booleans())
def test_vectors_at_the_ends_and_symmetry_do_not_change_the_price_of_a_chain(
    lengths: list[int], first: bool, last: bool
) -> None:
    shapes: list[tuple[int, ...]] = list(itertools.pairwise(lengths))
    if first:
        shapes[0] = shapes[0][1:]
    if last:
        shapes[-1] = shapes[-1][:1]
    plain = matrix_chain.multi_dot([Operand(*shape) for shape in shapes])
    # With one symmetric matrix in the middle a path is planned, but saves nothing.
    middle = [Operand(*shape) for shape in shapes]
    square = next((x for x in middle[1:-1] if x.shape[0] == x.shape[1]), None)
    if square is not None:
        square.symmetry_info = SymmetryInfo(((0, 1),), square.shape)
        assert matrix_chain.multi_dot(middle) == plain
    assert charged(me.linalg.multi_dot, [me.ones(shape) for shape in shapes]) == plain


# ------------------------------------------------------------------------------------------- trace


@pytest.mark.parametrize(
    ("shape", "keywords", "cost"),
    [((3, 5), {}, 3), ((3, 5), {"offset": 2}, 3), ((3, 5, 4), {}, 12),
     ((3, 5, 4), {"axis1": 1, "axis2": 2}, 12), ((7, 2, 2), {"axis1": -1, "axis2": -2}, 14)],
)  # fmt: skip
def test_a_trace_costs_its_diagonal(
    shape: tuple[int, ...], keywords: dict[str, int], cost: int
) -> None:
    x = me.ones(shape)
    assert charged(me.trace, x, **keywords) == cost
    assert charged(np.trace, x, **keywords) == cost
    assert charged(lambda: x.trace(**keywords)) == cost


def test_the_trace_of_linalg_takes_the_last_axes() -> None:
    assert charged(me.linalg.trace, me.ones((7, 2, 3))) == 14


# ----------------------------------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("name", "operands"),
    [
        ("matmul", [(3, 4), (3, 4)]),
        ("matmul", [(), (3,)]),
        ("matmul", [(2, 3, 4), (3, 4, 5)]),
        ("matmul", [(3, 1), (4, 5)]),
        ("dot", [(3, 4), (3,)]),
        ("inner", [(3, 4), (3, 5)]),
        ("vdot", [(3,), (4,)]),
        ("vecdot", [(3, 4), (3, 5)]),
        ("matvec", [(3, 4), (3,)]),
        ("vecmat", [(4,), (3, 4)]),
        ("tensordot", [(3, 4), (5, 4)]),
        ("linalg.outer", [(3, 4), (3,)]),
        ("trace", [(3,)]),
        ("linalg.trace", [(3,)]),
    ],
)
def test_shapes_that_numpy_refuses_are_refused_uncharged(
    name: str, operands: list[tuple[int, ...]]
) -> None:
    if is_missing(name):
        pytest.skip(f"this NumPy has no {name}")
    with pytest.raises((ValueError, TypeError)):
        price(name, *(Operand(*shape) for shape in operands))
    function: Any = me
    for part in name.split("."):
        function = getattr(function, part)
    with me.BudgetContext(10**6, quiet=True) as budget:
        with pytest.raises((ValueError, TypeError)):
            function(*(me.ones(shape) for shape in operands))
        assert budget.flops_used == 0


@given(
    st.lists(st.integers(0, 3), max_size=4).map(tuple),
    st.lists(st.integers(0, 3), max_size=4).map(tuple),
    st.sampled_from(["matmul", "dot", "inner", "vecdot", "outer", "kron", "vdot"]),
)
def test_a_rule_refuses_the_calls_that_numpy_refuses_and_no_others(
    left: tuple[int, ...], right: tuple[int, ...], name: str
) -> None:
    function = getattr(np, name)
    try:
        function(np.ones(left), np.ones(right))
    except ValueError:
        with pytest.raises(ValueError, match="do not"):
            price(name, Operand(*left), Operand(*right))
    else:
        assert price(name, Operand(*left), Operand(*right)) >= 0


def test_the_core_axes_may_be_named() -> None:
    a, b = me.ones((5, 3, 2)), me.ones((4, 5, 2))
    axes = [(1, 0), (1, 0), (0, 1)]
    assert charged(np.matmul, a, b, axes=axes) == 2 * 2 * 3 * 5 * 4
    with pytest.raises(ValueError, match="axes"):
        contraction.matmul(a, b, axes=[(0, 0), (1, 0)])


def test_an_empty_product_costs_one() -> None:
    assert charged(me.matmul, me.ones((3, 0)), me.ones((0, 4))) == 1
    assert charged(me.einsum, "ij,jk", me.ones((3, 0)), me.ones((0, 4))) == 1
