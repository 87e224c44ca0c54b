"""The size rules of contractions bound the memory that they take."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shm_echo.mechestim.local.einsum import run
from shm_echo.mechestim.registry import OPS

F8, F4, C8, I1 = (np.dtype(x) for x in ("f8", "f4", "c8", "i1"))


def bound(name: str, *arguments: Any, **keywords: Any) -> int:
    rule = OPS[name].result_bytes
    assert rule is not None
    return rule(*arguments, **keywords)


def numpy_of(name: str) -> Any:
    found: Any = np
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is None:
        pytest.skip(f"this NumPy has no {name}")
    return found


CALLS: list[tuple[str, list[tuple[int, ...]], dict[str, Any]]] = [
    ("dot", [(3, 4), (4, 5)], {}),
    ("dot", [(4,), (4,)], {}),
    ("dot", [(2, 3, 4), (5, 4, 6)], {}),
    ("dot", [(), (4, 6)], {}),
    ("matmul", [(3, 4), (4, 5)], {}),
    ("matmul", [(7, 1, 3, 4), (2, 4, 5)], {}),
    ("matmul", [(4,), (2, 4, 5)], {}),
    ("matmul", [(2, 3, 4), (4,)], {}),
    ("matmul", [(4, 3), (4, 5)], {"axes": [(1, 0), (0, 1), (0, 1)]}),
    ("inner", [(2, 3, 4), (5, 4)], {}),
    ("outer", [(3, 4), (5,)], {}),
    ("vdot", [(4,), (4,)], {}),
    ("vecdot", [(3, 1, 4), (5, 4)], {}),
    ("vecdot", [(4, 3), (4, 1)], {"axis": 0}),
    ("matvec", [(3, 2, 4), (4,)], {}),
    ("vecmat", [(4,), (3, 4, 2)], {}),
    ("tensordot", [(3, 4, 5), (4, 3, 2)], {"axes": ([1, 0], [0, 1])}),
    ("tensordot", [(3, 4), (2, 2)], {"axes": 0}),
    ("kron", [(3, 4), (2, 5, 6)], {}),
    ("trace", [(3, 4, 5)], {}),
    ("trace", [(3, 4, 5)], {"dtype": "c16"}),
    ("linalg.trace", [(3, 4, 5)], {}),
    ("linalg.outer", [(3,), (4,)], {}),
    ("linalg.vecdot", [(3, 4), (3, 4)], {}),
    ("linalg.tensordot", [(3, 4), (4, 2)], {"axes": 1}),
]


@pytest.mark.parametrize("dtypes", [(F8, F8), (F4, C8), (I1, F4), (C8, F8), (I1, I1)])
@pytest.mark.parametrize(("name", "shapes", "keywords"), CALLS)
def test_a_result_is_no_larger_than_its_rule(
    name: str,
    shapes: list[tuple[int, ...]],
    keywords: dict[str, Any],
    dtypes: tuple[np.dtype, np.dtype],
) -> None:
    operands = [np.ones(shape, dtype) for shape, dtype in zip(shapes, dtypes, strict=False)]
    result = numpy_of(name)(*operands, **keywords)
    assert np.asarray(result).nbytes <= bound(name, *operands, **keywords)


def test_multi_dot_is_bounded_by_its_ends() -> None:
    arrays = [np.ones((3, 40)), np.ones((40, 2)), np.ones((2, 5))]
    assert np.linalg.multi_dot(arrays).nbytes == bound("linalg.multi_dot", arrays)
    assert bound("linalg.multi_dot", arrays, out=np.zeros((3, 5))) == 0


def test_out_and_views_take_no_memory() -> None:
    x = np.ones((3, 3))
    assert bound("einsum", "ij,jk", x, x, out=x) == 0
    assert bound("einsum", "ii->i", x) == 0
    assert bound("einsum", "ii->", x) >= 8
    assert bound("matmul", x, x, out=x) == 0
    assert bound("dot", x, x, x) == 0


@st.composite
def contractions(draw: st.DrawFn) -> tuple[str, list[np.ndarray]]:
    lengths = {label: draw(st.integers(1, 12)) for label in "abcdef"}
    terms = draw(st.lists(st.text("abcdef", min_size=1, max_size=3), min_size=1, max_size=4))
    dtypes = [draw(st.sampled_from(["f8", "f4", "c8", "i2"])) for _ in terms]
    labels = sorted(set("".join(terms)))
    output = draw(st.permutations(labels))[: draw(st.integers(0, min(3, len(labels))))]
    arrays = [
        np.ones(tuple(lengths[x] for x in term), dtype)
        for term, dtype in zip(terms, dtypes, strict=True)
    ]
    return f"{','.join(terms)}->{''.join(output)}", arrays


@settings(max_examples=60, deadline=None)
@given(contractions())
def test_an_einsum_result_is_no_larger_than_its_rule(case: tuple[str, list[np.ndarray]]) -> None:
    subscripts, arrays = case
    result = np.asarray(run(subscripts, *arrays))
    limit = bound("einsum", subscripts, *arrays)
    assert result.nbytes <= limit or np.may_share_memory(result, arrays[0])


def test_the_intermediates_of_an_einsum_fit_into_its_scratch() -> None:
    a, b, c = np.ones((300, 2)), np.ones((2, 300)), np.ones((300, 300))
    subscripts = "ij,jk,kl->il"
    rule = OPS["einsum"].scratch_bytes
    assert rule is not None
    path = [(0, 1), (0, 1)]  # through a matrix of 300 x 300
    run(subscripts, a, b, c, optimize=path)  # plans and compiles
    tracemalloc.start()
    try:
        run(subscripts, a, b, c, optimize=path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert 300 * 300 * 8 <= peak <= rule(subscripts, a, b, c, optimize=path) + 10_000
