"""Cases of sorting, searching and sets, and of histograms, counts and covariances."""

from __future__ import annotations

from collections.abc import Iterator

from tests.mechestim.parity.cases_unary import DTYPES
from tests.mechestim.parity.specs import Case, L, arr, case

_X = arr(3, 4)
_FEW = arr(8, fill="few", dtype="int64")


def _sorted() -> Iterator[Case]:
    for name in ("sort", "argsort", "partition", "argpartition"):
        more = (1,) if "partition" in name else ()
        for dtype in DTYPES:
            yield case(name, arr(3, 4, dtype=dtype), *more)
        for layout in ("F", "reversed", "strided", "broadcast"):
            yield case(name, arr(3, 4, layout=layout), *more)
        for axis in (0, 1, -1, None, 5):
            yield case(name, _X, *more, axis=axis)
        yield case(name, arr(8, fill="odd"), *more)
        yield case(name, arr(), *more)
        yield case(name, arr(0), *more)
        yield case(name, arr(1), *((0,) if more else ()))
        yield case(name, [3, 1, 2], *more)
        yield case(name, (3.0, 1.0), *more)
        yield case(name, a=_X, **({"kth": 2} if more else {}))
        yield case(name, _X, *more, kind="no such kind")
        yield case(name)
    for name in ("sort", "argsort"):
        yield case(name, _X, kind="stable")
        yield case(name, _X, stable=True)
        yield case(name, _X, -1, "mergesort")
        yield case(name, _X, descending=True)
    for name in ("partition", "argpartition"):
        yield case(name, arr(6), [1, 3])
        yield case(name, arr(6), 9)
        yield case(name, arr(6), -1)
        yield case(name, arr(6), 1.5)
        yield case(name, arr(6))
    yield case("lexsort", (arr(4), arr(4, fill="few")))
    yield case("lexsort", arr(2, 4, fill="few"))
    yield case("lexsort", [[1, 2], [3, 3]])
    yield case("lexsort", (arr(2, 3), arr(2, 3)), axis=0)
    yield case("lexsort", (arr(4), arr(3)))
    yield case("lexsort", (arr(4),), axis=3)
    ordered = arr(6, fill="sorted")
    for values in (1.0, arr(3), [1, 2], arr(2, 3), arr(0)):
        yield case("searchsorted", ordered, values)
    yield case("searchsorted", ordered, arr(3), side="right")
    yield case("searchsorted", ordered, arr(3), "left", L([5, 4, 3, 2, 1, 0]))
    yield case("searchsorted", ordered, arr(3), sorter=L([5, 4]))
    yield case("searchsorted", ordered, arr(3), side="middle")
    yield case("searchsorted", _X, 1.0)
    yield case("searchsorted", [1, 2, 3], 2)
    yield case("searchsorted", arr(0), 2.0)


def _sets() -> Iterator[Case]:
    for name in ("unique", "unique_all", "unique_counts", "unique_inverse", "unique_values"):
        for given in (
            _FEW,
            arr(2, 4, fill="few"),
            arr(8, fill="odd"),
            arr(0),
            arr(),
            [3, 1, 3],
            L(["b", "a", "b"]),
        ):
            yield case(name, given)
        yield case(name, arr(6, fill="few", dtype="complex64"))
        yield case(name)
    yield case("unique", _FEW, return_index=True)
    yield case("unique", _FEW, True, True, True)
    yield case("unique", arr(4, 3, fill="few"), axis=0)
    yield case("unique", arr(4, 3, fill="few"), axis=1, return_counts=True)
    yield case("unique", arr(4, 3, fill="few"), axis=7)
    yield case("unique", arr(8, fill="odd"), equal_nan=False)
    yield case("unique", arr(4, 3, fill="few"), return_inverse=True)
    for name in ("intersect1d", "setdiff1d", "setxor1d", "union1d", "isin", "in1d"):
        yield case(name, _FEW, L([1, 2, 9]))
        yield case(name, arr(2, 4, fill="few"), arr(3, fill="few"))
        yield case(name, [1, 2, 3], [2, 5])
        yield case(name, _FEW, [2, 3])
        yield case(name, arr(0), arr(3))
        yield case(name, arr(8, fill="odd"), arr(8, fill="odd"))
        yield case(name, _FEW)
        yield case(name, arr(), 3.0)
        if name != "union1d":
            yield case(name, L([3, 1]), L([1, 7]), assume_unique=True)
    yield case("intersect1d", L([3, 1]), L([1, 7]), return_indices=True)
    yield case("isin", _FEW, L([1, 2]), invert=True)
    yield case("isin", _FEW, L([1, 2]), kind="table")
    yield case("isin", _X, [1.0], kind="table")
    yield case("isin", element=_FEW, test_elements=[1])


def _counted() -> Iterator[Case]:
    for given in (
        _X,
        arr(8, fill="few", dtype="int64"),
        [1, 2, 2],
        arr(0),
        arr(),
        arr(4, dtype="bool"),
    ):
        yield case("histogram", given)
        yield case("histogram", given, bins=4)
        yield case("histogram_bin_edges", given, 5)
    for name in ("histogram", "histogram_bin_edges"):
        yield case(name, _X, bins=arr(4, fill="sorted"))
        yield case(name, _X, bins=[0.0, 1.0, 5.0])
        yield case(name, _X, 4, range=(-1.0, 1.0))
        yield case(name, _X, "auto")
        yield case(name, _X, "no such rule")
        yield case(name, _X, 0)
        yield case(name, _X, bins=[2.0, 1.0])
        yield case(name, _X, 4, (1.0, -1.0))
        yield case(name, arr(4, fill="odd"), 4).but(started=True)
        yield case(name, _X, 3, weights=arr(3, 4, fill="positive"))
        yield case(name, _X, 3, weights=arr(5))
    yield case("histogram", _X, 3, density=True)
    yield case("histogram2d", arr(6), arr(6, seed=1))
    yield case("histogram2d", arr(6), arr(6, seed=1), bins=(3, 4))
    yield case("histogram2d", arr(6), arr(6, seed=1), [arr(3, fill="sorted"), 4])
    yield case("histogram2d", arr(6), arr(6, seed=1), arr(4, fill="sorted"))
    yield case("histogram2d", arr(6), arr(5))
    yield case("histogram2d", arr(6), arr(6), 3, [[-1, 1], [-2, 2]], True)
    yield case("histogramdd", arr(6, 3))
    yield case("histogramdd", arr(6, 2), bins=(3, 4))
    yield case(
        "histogramdd", arr(6, 2), bins=4, range=[(-9, 9), (-8, 8)], weights=arr(6, fill="positive")
    )
    yield case("histogramdd", (arr(6), arr(6, seed=1)), 3)
    yield case("histogramdd", arr(6, 2), bins=(3, 4, 5))
    yield case("bincount", _FEW)
    yield case("bincount", _FEW, arr(8))
    yield case("bincount", _FEW, minlength=9)
    yield case("bincount", [1, 2, 2])
    yield case("bincount", arr(4))
    yield case("bincount", arr(2, 2, fill="few", dtype="int64"))
    yield case("bincount", L([1, -1])).but(started=True)
    yield case("bincount", _FEW, arr(3))
    yield case("bincount", _FEW, minlength=-1)
    yield case("bincount", arr(0, dtype="int64"))
    yield case("digitize", _X, arr(4, fill="sorted"))
    yield case("digitize", _X, [0.0, 1.0], right=True)
    yield case("digitize", 0.5, [0.0, 1.0])
    yield case("digitize", _X, L([1.0, 0.5, 2.0])).but(started=True)
    yield case("digitize", arr(3, dtype="complex64"), [0.0, 1.0])
    for name in ("cov", "corrcoef"):
        yield case(name, arr(3, 5)).but(close=True)
        yield case(name, arr(5)).but(close=True)
        yield case(name, arr(5, 3), rowvar=False).but(close=True)
        yield case(name, arr(2, 5), arr(1, 5)).but(close=True)
        yield case(name, arr(2, 5, dtype="complex64")).but(close=True)
        yield case(name, arr(2, 5, dtype="int8")).but(close=True)
        yield case(name, [[1.0, 2.0], [3.0, 5.0]]).but(close=True)
        yield case(name, arr(2, 5), arr(1, 4))
        yield case(name, arr(2, 2, 2))
        yield case(name, arr(0, 3)).but(close=True)
        yield case(name, arr(2, 1)).but(close=True)
        yield case(name, arr(2, 5), dtype="float32").but(close=True)
    yield case("cov", arr(2, 5), ddof=0).but(close=True)
    yield case("cov", arr(2, 5), bias=True).but(close=True)
    yield case("cov", arr(2, 5), fweights=arr(5, fill="small", dtype="int64")).but(close=True)
    yield case("cov", arr(2, 5), aweights=arr(5, fill="positive")).but(close=True)
    yield case("cov", arr(2, 5), fweights=arr(4, dtype="int64"))
    yield case("cov", arr(2, 5), ddof=0.5)


def cases() -> Iterator[Case]:
    """Return every case of this file."""
    yield from _sorted()
    yield from _sets()
    yield from _counted()
