"""einsum computes NumPy's values along the path that is priced."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import shm_echo.mechestim as me
from shm_echo.mechestim.local import contraction
from shm_echo.mechestim.local.contraction import compile_program
from shm_echo.mechestim.local.einsum import run

DTYPES = ["f8", "f4", "c16", "i8", "i2", "f2"]


def operand(seed: int, shape: tuple[int, ...], dtype: str = "f8") -> np.ndarray:
    rng = np.random.default_rng(seed)
    if dtype == "?":
        return rng.integers(0, 2, shape).astype(dtype)
    values = rng.integers(-4, 5, shape).astype(dtype)
    return values * 1j + values[::-1] if dtype == "c16" and shape else values


@st.composite
def contractions(draw: st.DrawFn) -> tuple[str, list[np.ndarray]]:
    """Draw subscripts with repeats, stretched axes and ellipses, in mixed dtypes and layouts."""
    lengths = {label: draw(st.sampled_from([0, 1, 2, 3, 3])) for label in "abcde"}
    terms, arrays = [], []
    # NumPy adds up booleans as booleans before it multiplies them with another dtype, if it is
    # given a path; without one it promotes them first. So they are not mixed here.
    dtypes = draw(st.sampled_from([DTYPES, ["?"]]))
    for number in range(draw(st.integers(1, 4))):
        labels = draw(st.lists(st.sampled_from("abcde"), max_size=4))
        short = draw(st.sampled_from("abcdezzzz"))
        shape = [1 if label == short else lengths[label] for label in labels]
        if draw(st.integers(0, 3)) == 0:
            labels.insert(0, "...")
            shape.insert(0, draw(st.sampled_from([1, 2])))
        array = operand(number, tuple(shape), draw(st.sampled_from(dtypes)))
        arrays.append(np.asarray(array, order="F") if draw(st.booleans()) else array)
        terms.append("".join(labels))
    labels = [x for x in "abcde" if x in "".join(terms)]
    output = draw(st.permutations(labels))[: draw(st.integers(0, len(labels)))]
    dots = "..." if "..." in "".join(terms) else ""
    return f"{','.join(terms)}->{dots}{''.join(output)}", arrays


def same(result: Any, expected: Any) -> None:
    result, expected = np.asarray(result), np.asarray(expected)
    assert result.dtype == expected.dtype
    assert result.shape == expected.shape
    np.testing.assert_allclose(result, expected, rtol=1e-2 if result.dtype == "f2" else 1e-5)


@settings(max_examples=120, deadline=None)
@given(contractions(), st.booleans())
def test_values_dtype_and_shape_are_those_of_numpy(
    case: tuple[str, list[np.ndarray]], products: bool
) -> None:
    subscripts, arrays = case
    shapes = tuple(array.shape for array in arrays)
    # Small operands never become a matrix product by themselves.
    threshold, contraction._MIN_MULTIPLY_ADDS = (
        contraction._MIN_MULTIPLY_ADDS,
        1 if products else 8192,
    )
    compile_program.cache_clear()
    try:
        program = compile_program(subscripts, shapes)
        path = [step.positions[::-1] for step in program.steps]
        optimize = ["einsum_path", *path] if len(arrays) > 2 else False
        expected = np.einsum(subscripts, *arrays, optimize=optimize)
        same(run(subscripts, *arrays), expected)
    finally:
        contraction._MIN_MULTIPLY_ADDS = threshold
        compile_program.cache_clear()


LARGE = [
    ("ij,jk->ik", (40, 30), (30, 50)),
    ("ij,jk->ki", (40, 30), (30, 50)),
    ("ji,jk->ik", (30, 40), (30, 50)),
    ("ij,kj->ik", (40, 30), (50, 30)),
    ("ij,j->i", (200, 150), (150,)),
    ("i,ij->j", (200,), (200, 150)),
    ("bij,bjk->bik", (5, 20, 30), (5, 30, 10)),
    ("bij,bj->bi", (5, 60, 50), (5, 50)),
    ("ijb,bjk->kib", (20, 30, 5), (5, 30, 10)),
    ("ijkl,kl->ij", (9, 10, 11, 12), (11, 12)),
    ("ijkl,lkm->jmi", (9, 10, 11, 12), (12, 11, 7)),
    ("abij,abjk->baik", (3, 4, 20, 10), (3, 4, 10, 9)),
    ("abij,abj->iab", (3, 4, 50, 30), (3, 4, 30)),
    ("...ij,...jk->...ik", (6, 20, 10), (6, 10, 9)),
]


@pytest.mark.parametrize("dtype", ["f8", "f4", "c16", "i8", "f2"])
@pytest.mark.parametrize(("subscripts", "left", "right"), LARGE)
def test_large_steps_run_as_a_matrix_product_with_the_same_values(
    subscripts: str, left: tuple[int, ...], right: tuple[int, ...], dtype: str
) -> None:
    assert compile_program(subscripts, (left, right)).steps[0].product is not None
    a, b = operand(1, left, dtype), operand(2, right, dtype)
    expected = np.einsum(subscripts, a, b)
    same(run(subscripts, a, b), expected)
    same(run(subscripts, np.asfortranarray(a), b[::-1][::-1]), expected)
    target = np.zeros_like(expected)
    assert run(subscripts, a, b, out=target) is target
    same(target, expected)
    for order in "CFAK":
        same(run(subscripts, a, b, order=order), expected)
    assert run(subscripts, a, b, order="F").flags.f_contiguous
    assert run(subscripts, a, b, order="C").flags.c_contiguous


def test_large_steps_of_two_dtypes_promote_them() -> None:
    a, b = operand(1, (40, 30), "f4"), operand(2, (30, 50), "f8")
    same(run("ij,jk", a, b), np.einsum("ij,jk", a, b))
    same(run("ij,jk", a, b.astype("i4")), np.einsum("ij,jk", a, b.astype("i4")))
    same(run("ij,jk", a, b, dtype="c16"), np.einsum("ij,jk", a, b, dtype="c16"))


@pytest.mark.parametrize("size", [3, 40])
def test_casting_and_dtype_are_refused_as_numpy_refuses_them(size: int) -> None:
    a = np.ones((size, size))
    for keywords in ({"dtype": "i4"}, {"out": np.zeros((size, size), "f4")}, {"order": "X"}):
        with pytest.raises((TypeError, ValueError)) as ours:
            run("ij,jk", a, a, **keywords)
        with pytest.raises((TypeError, ValueError)) as theirs:
            np.einsum("ij,jk", a, a, **keywords)
        assert ours.type is theirs.type
    unsafe = run("ij,jk", a, a, dtype="i4", casting="unsafe")
    same(unsafe, np.einsum("ij,jk", a, a, dtype="i4", casting="unsafe"))


@pytest.mark.parametrize("size", [3, 40])
def test_an_out_of_another_shape_is_refused(size: int) -> None:
    a = np.ones((size, size))
    for shape in [(2, size, size), (size,), (size, size + 1)]:
        with pytest.raises(ValueError, match=r"broadcast|dimensions"):
            run("ij,jk->ik", a, a, out=np.zeros(shape))


def test_out_may_be_an_operand() -> None:
    for size in (3, 40):
        a, b = operand(1, (size, size)), operand(2, (size, size))
        expected = np.einsum("ij,jk->ki", a, b)
        run("ij,jk->ki", a, b, out=a)
        np.testing.assert_allclose(a, expected)


def test_a_rearranged_operand_is_a_view_that_can_be_written_to() -> None:
    a = me.zeros((3, 3))
    me.einsum("ii->i", a)[...] = 1
    np.testing.assert_array_equal(np.asarray(a), np.eye(3))
    assert me.shares_memory(me.einsum("ij->ji", a), a)


def test_results_are_counted_arrays_and_scalars() -> None:
    a = me.ones((3, 3))
    assert isinstance(me.einsum("ij,jk", a, a), me.ndarray)
    total = me.einsum("ij->", a)
    assert isinstance(total, me.ndarray)
    assert total == 9
    assert hash(total) == hash(9.0)
    target = me.zeros((3, 3))
    assert me.einsum("ij,jk->ik", a, a, out=target) is target


def test_the_steps_that_run_are_those_that_were_priced(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    kernel = contraction.c_einsum

    def watched(subscripts: str, *operands: Any, **keywords: Any) -> Any:
        calls.append(subscripts)
        return kernel(subscripts, *operands, **keywords)

    monkeypatch.setattr(contraction, "c_einsum", watched)
    arrays = [np.ones((2, 3)), np.ones((3, 4)), np.ones((4, 5)), np.ones((5, 2))]
    info = me.einsum_path("ij,jk,kl,li->", *arrays)[1]
    run("ij,jk,kl,li->", *arrays)
    assert calls == [step.subscript for step in info.steps]


def test_one_operand_may_have_more_ellipsis_axes_than_there_are_letters() -> None:
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    array = np.ones((1,) * 60)
    same(run(f"...{letters}->...", array), np.einsum(f"...{letters}->...", array))


def test_planning_needs_no_numpy() -> None:
    import subprocess
    import sys

    code = (
        "import sys; sys.modules['numpy'] = None; sys.modules['opt_einsum'] = None\n"
        "from shm_echo.mechestim.costs.flops.einsum import einsum_cost\n"
        "from shm_echo.mechestim.costs.flops import contraction, matrix_chain\n"
        "from shm_echo.mechestim.costs.memory import contraction as contraction_sizes\n"
        "from shm_echo.mechestim.symmetry import propagate\n"
        "assert einsum_cost('ij,jk->ik', [(3, 4), (4, 5)]) == 120\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
