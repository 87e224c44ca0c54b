"""The price of an einsum: worked examples and properties."""

from __future__ import annotations

from math import prod

import numpy as np
import opt_einsum
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import shm_echo.mechestim as me
from shm_echo.mechestim.costs.flops.einsum import einsum_cost, plan
from shm_echo.mechestim.symmetry.info import SymmetryInfo

Shapes = list[tuple[int, ...]]


@pytest.mark.parametrize(
    ("subscripts", "shapes", "cost"),
    [
        ("ij,jk->ik", [(3, 4), (4, 5)], 120),
        ("ij,j->i", [(256, 256), (256,)], 131_072),
        ("ij,jk->ik", [(256, 256), (256, 256)], 33_554_432),
        ("i,j->ij", [(256,), (256,)], 65_536),
        ("ii->", [(256, 256)], 512),
        ("ij->", [(3, 5)], 30),
        ("ij->i", [(3, 5)], 30),
        ("ij->ji", [(3, 5)], 15),
        ("ii->i", [(6, 6)], 6),
        ("i,i->i", [(16,), (16,)], 16),
        ("ij,jk,kl->il", [(3, 5), (5, 7), (7, 2)], 200),
        ("ij,jk,kl->il", [(3, 4), (4, 5), (5, 6)], 300),
        ("ai,bi,ab->", [(10, 256), (10, 256), (10, 10)], 51_400),
    ],
)
def test_worked_examples(subscripts: str, shapes: Shapes, cost: int) -> None:
    assert einsum_cost(subscripts, shapes) == cost


@pytest.mark.parametrize(
    ("subscripts", "shape", "count", "cost"),
    [
        ("bij,bjk->bik", (4, 256, 256), 2, 134_217_728),
        ("ij,ik->jk", (100, 100), 2, 1_010_000),
        ("ij,ik->jk", (6, 6), 2, 252),
        ("ij,ik,il->jkl", (6, 6), 3, 798),
        ("ijk,ilm->jklm", (2, 3, 4), 2, 312),
        ("ab,cd->abcd", (3, 4), 2, 78),
        ("i,j->ij", (16,), 2, 136),
        ("ij,jk->ik", (6, 6), 2, 432),
    ],
)
def test_worked_examples_of_one_object_given_several_times(
    subscripts: str, shape: tuple[int, ...], count: int, cost: int
) -> None:
    assert einsum_cost(subscripts, [shape] * count, identities=[0] * count) == cost
    array = me.ones(shape)
    with me.BudgetContext(10**9, quiet=True) as budget:
        me.einsum(subscripts, *[array] * count, optimize="greedy")
        assert budget.flops_used == cost
        me.einsum(subscripts, *[array] * count)
        assert budget.flops_used == 2 * cost


def test_a_copy_is_another_object() -> None:
    array = me.ones((6, 6))
    with me.BudgetContext(10**9, quiet=True) as budget:
        me.einsum("ij,ik->jk", array, array.copy())
    assert budget.flops_used == 432


def test_declared_symmetry_reduces_the_steps_whose_result_keeps_it() -> None:
    shapes = [(100, 100, 100), *[(100, 100)] * 3]
    declared = [SymmetryInfo([(0, 1, 2)], shapes[0]), None, None, None]
    found = plan("ijk,ai,bj,ck->abc", shapes, None, [((0, 1, 2),), None, None, None])
    assert [step.cost for step in found.steps] == [101_000_000, 200_000_000, 200_000_000]
    assert einsum_cost("ijk,ai,bj,ck->abc", shapes, declared) == 501_000_000


def test_symmetry_of_summed_labels_saves_nothing() -> None:
    declared = [SymmetryInfo([(0, 1)], (6, 6)), None]
    assert einsum_cost("ij,j->i", [(6, 6), (6,)], declared) == 72


def test_a_declared_output_does_not_change_the_price_and_wraps_the_result() -> None:
    array, other = me.ones((4, 6)), me.ones((4, 6))
    with me.BudgetContext(10**6, quiet=True) as budget:
        result = me.einsum("ki,kj->ij", array, other, symmetric_axes=(0, 1))
    assert budget.flops_used == 2 * 4 * 6 * 6
    assert isinstance(result, me.SymmetricTensor)
    assert result.symmetric_axes == [(0, 1)]


def test_a_declared_output_that_is_not_symmetric_is_refused() -> None:
    rows = me.array([[1.0, 2.0], [3.0, 4.0]])
    with me.BudgetContext(10**6, quiet=True) as budget:
        with pytest.raises(me.SymmetryError):
            me.einsum("ij->ij", rows, symmetric_axes=(0, 1))
        used = budget.flops_used
        with pytest.raises(ValueError, match="out of bounds"):
            me.einsum("ij->ij", rows, symmetric_axes=(0, 5))
        assert budget.flops_used == used == 4


# -------------------------------------------------------------------------------------- properties


@st.composite
def contractions(draw: st.DrawFn) -> tuple[str, Shapes]:
    lengths = {label: draw(st.integers(0, 5)) for label in "abcde"}
    terms = draw(st.lists(st.text("abcde", max_size=3), min_size=1, max_size=4))
    labels = sorted(set("".join(terms)))
    output = draw(st.permutations(labels))[: draw(st.integers(0, len(labels)))]
    shapes = [tuple(lengths[x] for x in term) for term in terms]
    return f"{','.join(terms)}->{''.join(output)}", shapes


@settings(max_examples=200, deadline=None)
@given(contractions())
def test_the_price_is_the_sum_of_the_steps(case: tuple[str, Shapes]) -> None:
    found = plan(*case)
    total = 0
    for step in found.steps:
        labels = {label for term in step.inputs for label in term}
        volume = prod(found.contraction.sizes[x] for x in labels)
        operands = len(step.inputs)
        summed = not labels <= set(step.output)
        assert step.cost == volume * (max(1, operands - 1) + summed)
        total += step.cost
    assert found.cost == total


@settings(max_examples=100, deadline=None)
@given(contractions(), st.integers(1, 4))
def test_a_batch_costs_as_much_as_its_members(case: tuple[str, Shapes], batch: int) -> None:
    subscripts, shapes = case
    inputs, output = subscripts.split("->")
    batched = ",".join(f"z{term}" for term in inputs.split(","))
    # On the same path: the best path may change with the batch.
    path = plan(subscripts, shapes).path
    single = plan(subscripts, shapes, optimize=path).cost
    many = plan(f"{batched}->z{output}", [(batch, *s) for s in shapes], optimize=path).cost
    assert many == batch * single


@settings(max_examples=50, deadline=None)
@given(contractions())
def test_one_or_two_operands_cost_the_same_with_every_optimizer(case: tuple[str, Shapes]) -> None:
    subscripts, shapes = case
    if len(shapes) > 2:
        return
    costs = {plan(subscripts, shapes, optimize=how).cost for how in ("auto", "dp", False, True)}
    assert len(costs) == 1


@settings(max_examples=60, deadline=None)
@given(contractions(), st.sampled_from(["auto", "greedy", "optimal", "dp", "branch-2"]))
def test_the_path_is_the_one_that_opt_einsum_finds(case: tuple[str, Shapes], optimize: str) -> None:
    subscripts, shapes = case
    assume(optimize != "dp" or all(map(all, shapes)))  # its "dp" fails where a length is 0
    theirs, _ = opt_einsum.contract_path(subscripts, *shapes, shapes=True, optimize=optimize)
    ours = plan(subscripts, shapes, optimize=optimize).path
    assert list(ours) == [tuple(sorted(step)) for step in theirs]


@given(st.integers(0, 2**32 - 1))
def test_the_price_does_not_depend_on_values(seed: int) -> None:
    rng = np.random.default_rng(seed)
    with me.BudgetContext(10**6, quiet=True) as budget:
        me.einsum("ij,jk->ik", me.array(rng.normal(size=(3, 4))), me.array(rng.normal(size=(4, 5))))
    assert budget.flops_used == 120


def test_every_call_form_costs_the_same() -> None:
    a, b = me.ones((3, 4)), me.ones((4, 5))
    ways = [
        lambda: me.einsum("ij,jk->ik", a, b),
        lambda: me.einsum("ij,jk", a, b),
        lambda: me.einsum(" i j , j k ", a, b),
        lambda: me.einsum(a, [0, 1], b, [1, 2], [0, 2]),
        lambda: np.einsum("ij,jk->ik", a, b),
        lambda: np.einsum("...j,jk", a, np.ones((4, 5))),
        lambda: me.einsum("ij,jk->ik", a, b, out=me.zeros((3, 5))),
        lambda: me.einsum("ij,jk->ik", a, b, dtype="f8", order="F"),
        lambda: me.einsum("ij,jk->ik", a.tolist(), b),
        lambda: me.matmul(a, b),
        lambda: me.dot(a, b),
        lambda: a @ b,
        lambda: me.tensordot(a, b, 1),
        lambda: me.linalg.multi_dot([a, b]),
    ]
    for way in ways:
        with me.BudgetContext(10**6, quiet=True) as budget:
            way()
        assert budget.flops_used == 120


def test_a_refused_call_charges_nothing() -> None:
    a = me.ones((3, 4))
    with me.BudgetContext(10**6, quiet=True) as budget:
        for arguments, error in [
            (("ij,jk", a, a), ValueError),
            (("ij", a, a), ValueError),
            (("i1", a), ValueError),
            ((a, [0, 99]), ValueError),
        ]:
            with pytest.raises(error):
                me.einsum(*arguments)
        with pytest.raises(ValueError, match="not one of"):
            me.einsum("ij,kj", a, a, optimize="quick")
        with pytest.raises(ValueError, match="einsum path"):
            me.einsum("ij,kj", a, a, optimize=[(0, 5)])
        with pytest.raises(ValueError, match="broadcast"):
            me.einsum("ij,kj", a, a, out=me.zeros((2, 2)))
        with pytest.raises(TypeError):
            me.einsum("ij,kj", a, a, colour="red")
        assert budget.flops_used == 0


def test_an_einsum_that_exceeds_the_budget_does_not_run() -> None:
    a, target = me.ones((10, 10)), me.zeros((10, 10))
    with me.BudgetContext(1999, quiet=True) as budget:
        with pytest.raises(me.BudgetExhaustedError, match="einsum would cost 2,000"):
            me.einsum("ij,jk->ik", a, a.copy(), out=target)
        assert budget.flops_used == 0
    assert not np.asarray(target).any()
