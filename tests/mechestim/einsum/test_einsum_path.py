"""einsum_path: the path, its price by steps, and the table."""

from __future__ import annotations

from typing import Any

import pytest

import shm_echo.mechestim as me
from shm_echo.mechestim.costs.flops.einsum import PathInfo, plan

CHAIN = ("ij,jk,kl->il", [(3, 4), (4, 5), (5, 6)])


def chain() -> list[Any]:
    return [me.ones(shape) for shape in CHAIN[1]]


def test_einsum_path_is_free_and_returns_a_path_and_its_description() -> None:
    arrays = chain()
    with me.BudgetContext(1, quiet=True) as budget:
        path, info = me.einsum_path(CHAIN[0], *arrays)
        assert budget.flops_used == 0
    assert path == [(0, 1), (0, 1)]
    assert isinstance(info, PathInfo)
    assert (info.naive_cost, info.optimized_cost) == (1080, 300)
    assert info.speedup == pytest.approx(3.6)
    assert info.largest_intermediate == 18
    assert (info.input_subscripts, info.output_subscript) == ("ij,jk,kl", "il")
    assert info.size_dict == {"i": 3, "j": 4, "k": 5, "l": 6}
    assert info.optimizer_used == "auto"


def test_the_description_has_every_step() -> None:
    first, second = plan(*CHAIN).info.steps
    assert (first.subscript, first.flop_cost, first.blas_type) == ("jk,ij->ki", 120, "GEMM")
    assert first.path_indices == (0, 1)
    assert first.merged_subset == {0, 1}
    assert first.input_shapes == ((4, 5), (3, 4))
    assert first.output_shape == (5, 3)
    assert first.output_symmetry is None
    assert first.symmetry_savings == 0
    assert (second.subscript, second.flop_cost) == ("ki,kl->il", 180)
    assert second.merged_subset == {0, 1, 2}


def test_the_description_gives_the_savings_of_symmetry() -> None:
    x = me.ones((6, 6))
    info = me.einsum_path("ij,ik->jk", x, x)[1]
    step = info.steps[0]
    assert (step.flop_cost, step.dense_flop_cost) == (252, 432)
    assert step.symmetry_savings == pytest.approx(1 - 252 / 432)
    assert (step.unique_elements, step.dense_elements) == (21, 36)
    assert str(step.output_symmetry) == "S2{k,j}" or str(step.output_symmetry) == "S2{j,k}"
    assert "21/36" in str(info)


def test_the_table_names_totals_and_steps() -> None:
    shapes = [(100, 100, 100), *[(100, 100)] * 3]
    found = plan("ijk,ai,bj,ck->abc", shapes, None, [((0, 1, 2),), None, None, None])
    lines = [" ".join(line.split()) for line in str(found.info).splitlines()]
    assert "Naive cost (mechestim): 4,000,000,000,000" in lines
    assert "Optimized cost (mechestim): 501,000,000" in lines
    assert "Speedup: 7984.032x" in lines
    assert "Largest intermediate: 1,000,000 elements" in lines
    assert "Optimizer: auto" in lines
    row = next(line for line in lines if line.startswith("0 "))
    assert "101,000,000 200,000,000 49.5%" in row
    assert "505,000/1,000,000" in row
    assert "shapes" not in str(found.info)
    assert "(100, 100) -> (100, 100, 100)" in found.info.format_table(verbose=True)


def test_the_columns_of_the_table_line_up() -> None:
    lines = plan(*CHAIN).info.format_table().splitlines()
    titles, rule, *rows = lines[lines.index("") + 1 :]
    assert len(rule) == max(map(len, (titles, *rows)))
    end = titles.index("flops") + len("flops")
    assert [row[:end].split()[-1] for row in rows] == ["120", "180"]


@pytest.mark.parametrize(
    "optimize",
    ["auto", "auto-hq", "optimal", "branch-all", "branch-2", "greedy", "dp", "random-greedy",
     "random-greedy-128", True, ("greedy", 10**6), ("optimal", -1)],
)  # fmt: skip
def test_every_optimizer_finds_a_complete_path(optimize: Any) -> None:
    found = plan(*CHAIN, optimize=optimize)
    assert found.cost == sum(step.cost for step in found.steps) >= 300
    assert len(found.steps) == 2
    assert found.steps[-1].output == ("i", "l")


def test_an_explicit_path_is_followed() -> None:
    for path in ([(1, 2), (0, 1)], ["einsum_path", (1, 2), (0, 1)]):
        found = plan(*CHAIN, optimize=path)
        assert found.path == ((1, 2), (0, 1))
        assert found.cost == 2 * 4 * 5 * 6 + 2 * 3 * 4 * 6
        assert found.optimizer == "explicit path"


def test_without_optimization_the_path_is_one_step() -> None:
    found = plan(*CHAIN, optimize=False)
    assert found.path == ((0, 1, 2),)
    assert found.cost == found.info.naive_cost == 1080


@pytest.mark.parametrize(
    ("optimize", "error", "words"),
    [
        ("fast", ValueError, "'fast' is not one of auto"),
        (3, TypeError, "a bool, a name or a path"),
        ([(0, 1)], RuntimeError, "leaves 2 operands"),
        ([(0, 3), (0, 1)], ValueError, r"\(0, 3\) does not fit the 3 operands"),
        ([(0, 0), (0, 1)], ValueError, "does not fit"),
        ([0, 1], TypeError, "list of tuples"),
        (("greedy", "much"), TypeError, "memory_limit"),
    ],
)
def test_an_invalid_path_is_refused(optimize: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        plan(*CHAIN, optimize=optimize)


@pytest.mark.parametrize("optimize", ["optimal", "branch-all", "branch-2", "dp"])
def test_an_exhaustive_search_of_many_operands_is_refused(optimize: str) -> None:
    letters = "abcdefghijklmnopqrstuvwxyz"
    subscripts = ",".join(letters[i : i + 2] for i in range(24))
    with pytest.raises(ValueError, match=f"{optimize}.* too long for 24 operands"):
        plan(subscripts, [(2, 2)] * 24, optimize=optimize)
    assert plan(subscripts, [(2, 2)] * 24, optimize="auto-hq").cost > 0


def test_planning_the_same_contraction_again_is_a_lookup() -> None:
    assert plan(*CHAIN) is plan(*CHAIN)
