"""The documented costs of single calls, from shapes alone."""

from __future__ import annotations

from typing import Any

import pytest

from shm_echo.mechestim.registry import OPS, Category
from tests.mechestim.costs.shaped import BOOL, shaped, symmetric

V, M, S = shaped(16), shaped(3, 5), symmetric(6, 6)
BIG = shaped(256, 256)


def price(name: str, *args: Any, **kwargs: Any) -> int:
    """Return the charge of a call at weight and multiplier 1."""
    op = OPS[name]
    assert op.cost is not None
    cost = op.cost(*args, **kwargs)
    return cost if op.zero_ok else max(1, cost)


@pytest.mark.parametrize("name", [op.name for op in OPS.values() if op.category is Category.UNARY])
def test_a_unary_operation_costs_its_output(name: str) -> None:
    operands = (BIG, BIG) if name == "isclose" else (BIG,)
    assert price(name, *operands) == (1 if name in ("iscomplexobj", "isrealobj") else 65536)


@pytest.mark.parametrize("name", [op.name for op in OPS.values() if op.category is Category.BINARY])
def test_a_binary_operation_costs_its_output(name: str) -> None:
    assert price(name, BIG, shaped(256)) == 65536


@pytest.mark.parametrize("name", [o.name for o in OPS.values() if o.category is Category.REDUCTION])
def test_a_reduction_costs_its_input_for_every_axis(name: str) -> None:
    passes = 2 if name.removeprefix("nan") in ("std", "var") else 1
    args = (BIG, 50) if name.endswith(("percentile", "quantile")) else (BIG,)
    assert price(name, *args, axis=0) == passes * 65536
    assert price(name, *args, axis=-1) == passes * 65536
    if not name.startswith("cumulative"):
        assert price(name, *args) == passes * 65536


CASES: list[tuple[str, tuple[Any, ...], dict[str, Any], int]] = [
    # sorting and searching
    ("sort", (shaped(4, 8),), {}, 96),
    ("sort", (shaped(2, 8),), {}, 48),
    ("sort", (symmetric(6, 6),), {}, 108),
    ("sort", (shaped(1),), {}, 1),
    ("sort", (shaped(4, 8),), {"axis": None}, 160),
    ("argsort", (M,), {"axis": 0}, 30),
    ("lexsort", ((shaped(8), shaped(8)),), {}, 48),
    ("partition", (shaped(100),), {"kth": 50}, 100),
    ("argpartition", (M,), {"kth": (1, 2)}, 15),
    ("searchsorted", (shaped(1024), shaped(5)), {}, 50),
    ("unique", (shaped(8),), {}, 24),
    ("unique_counts", (shaped(2, 4),), {}, 24),
    ("union1d", (shaped(4), shaped(4)), {}, 24),
    ("isin", (shaped(4), shaped(2, 2)), {}, 24),
    ("in1d", (shaped(4), shaped(4)), {}, 24),
    # statistics
    ("histogram", (shaped(100),), {"bins": 8}, 300),
    ("histogram", (shaped(100),), {}, 400),
    ("histogram", (shaped(100), shaped(9)), {}, 300),
    ("histogram", (shaped(100), "auto"), {}, 100),
    ("histogram2d", (shaped(10), shaped(10)), {"bins": (4, 8)}, 50),
    ("histogramdd", (shaped(10, 3),), {"bins": 8}, 90),
    ("histogram_bin_edges", (shaped(100),), {}, 100),
    ("bincount", (shaped(100),), {}, 100),
    ("digitize", (shaped(10), shaped(16)), {}, 40),
    ("cov", (M,), {}, 45),
    ("cov", (M,), {"rowvar": False}, 75),
    ("cov", (V,), {}, 16),
    ("corrcoef", (M, M), {}, 180),
    ("mean", (M,), {}, 15),
    ("std", (M,), {}, 30),
    ("average", (M,), {"weights": M}, 15),
    # polynomials
    ("polyval", (shaped(3), shaped(100)), {}, 400),
    ("polyval", (shaped(1), shaped(100)), {}, 1),
    ("polyadd", (shaped(3), shaped(5)), {}, 5),
    ("polysub", (shaped(3), 1.0), {}, 3),
    ("polymul", (shaped(3), shaped(5)), {}, 15),
    ("polydiv", (shaped(5), shaped(3)), {}, 15),
    ("polyder", (shaped(5),), {"m": 3}, 5),
    ("polyint", (shaped(5),), {"m": 3}, 5),
    ("polyfit", (shaped(10), shaped(10), 2), {}, 180),
    ("polyfit", (shaped(10), shaped(10, 3), 2), {}, 540),
    ("poly", (shaped(5),), {}, 25),
    ("poly", (shaped(5, 5),), {}, 1275),
    ("roots", (shaped(3),), {}, 80),
    ("vander", (shaped(5), 3), {}, 10),
    ("vander", (shaped(5),), {}, 20),
    ("vander", (shaped(5), 1), {}, 1),
    # windows
    ("hamming", (256,), {}, 256),
    ("kaiser", (256, 14.0), {}, 768),
    ("blackman", (256,), {}, 768),
    ("bartlett", (256,), {}, 256),
    ("hanning", (0,), {}, 1),
    # interpolation
    ("interp", (shaped(8), V, V), {}, 32),
    ("convolve", (shaped(8), shaped(3)), {"mode": "same"}, 24),
    ("correlate", (shaped(8), shaped(3)), {}, 24),
    ("cross", (shaped(5, 3), shaped(5, 3)), {}, 15),
    ("cross", (shaped(5, 2), shaped(5, 2)), {}, 5),
    ("diff", (V,), {"n": 2}, 16),
    ("diff", (M,), {"axis": 0, "prepend": 0}, 20),
    ("ediff1d", (V,), {}, 16),
    ("gradient", (M,), {}, 15),
    ("trapezoid", (M,), {}, 15),
    ("trapz", (M,), {}, 15),
    ("unwrap", (M,), {}, 15),
    ("geomspace", (1, 10), {}, 50),
    ("logspace", (1, 10, 7), {}, 7),
    ("logspace", (shaped(3), 10, 7), {}, 21),
    # pointwise
    ("exp", (2.0,), {}, 1),
    ("exp", (shaped(0),), {}, 1),
    ("sum", (shaped(0),), {}, 1),
    ("exp", (symmetric(10, 10),), {}, 55),
    ("exp", (shaped(4), shaped(3, 4)), {}, 12),
    ("exp", (shaped(4),), {"where": shaped(3, 4, dtype=BOOL)}, 12),
    ("exp", (M,), {"where": shaped(5, dtype=BOOL)}, 15),
    ("add", (S, S), {}, 21),
    ("add", (S, shaped(6, 6)), {}, 36),
    ("add", (S, 2.0), {}, 21),
    ("sum", (S,), {"axis": 0}, 21),
    ("std", (S,), {}, 42),
    ("clip", (S, 0, 1), {}, 21),
    ("clip", (0.5, V, None), {}, 16),
    ("allclose", (M, shaped(5)), {}, 15),
    ("array_equal", (M, M), {}, 15),
    ("array_equal", (M, shaped(5, 3)), {}, 1),
    ("array_equiv", (M, shaped(5)), {}, 15),
    # writes
    ("ndarray.fill", (M, 0), {}, 15),
    ("ndarray.__setitem__", (M, (slice(None), 0), 1), {}, 3),
    ("ndarray.__setitem__", (M, shaped(3, 5, dtype=BOOL), 1), {}, 15),
    ("put", (M, [0, 3]), {"v": 1}, 2),
    ("place", (M, shaped(3, 5, dtype=BOOL), [1]), {}, 15),
    ("putmask", (M, shaped(3, 5, dtype=BOOL), 1), {}, 15),
    ("copyto", (M, 0), {"where": shaped(5, dtype=BOOL)}, 15),
    ("put_along_axis", (M, [[0], [1], [2]], 1, 1), {}, 3),
    ("fill_diagonal", (M, 1), {}, 3),
    ("fill_diagonal", (shaped(10, 3), 1), {"wrap": True}, 8),
]


@pytest.mark.parametrize(("name", "args", "kwargs", "expected"), CASES, ids=str)
def test_a_call_costs_what_the_table_says(
    name: str, args: tuple[Any, ...], kwargs: dict[str, Any], expected: int
) -> None:
    assert price(name, *args, **kwargs) == expected


def test_every_custom_price_of_the_main_module_has_an_example() -> None:
    from shm_echo.mechestim.registry import contraction

    ours = {
        op.name
        for op in OPS.values()
        if op.category is Category.CUSTOM
        and (op.name.startswith("ndarray.") or "." not in op.name)
        and op not in contraction.OPS
    }
    same = {
        "intersect1d", "setdiff1d", "setxor1d", "unique_all", "unique_inverse", "unique_values",
    }  # fmt: skip
    assert ours - {name for name, *_ in CASES} == same
    for name in same:
        twin = "union1d" if name.endswith("1d") else "unique_counts"
        assert OPS[name].cost is OPS[twin].cost
