"""Cases of the reductions and the cumulative operations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.mechestim.parity.cases_unary import DTYPES
from tests.mechestim.parity.specs import Case, L, Same, Sc, arr, case

_AXIS, _KEEP, _OUT, _DTYPE = {"axis"}, {"axis", "keepdims"}, {"axis", "keepdims", "out"}, "dtype"
_TOTAL = {*_OUT, "dtype", "initial", "where"}
_EXTREME = {*_OUT, "initial", "where"}
_SPREAD = {*_OUT, "dtype", "ddof", "where"}

# The keyword arguments that each takes.
PARAMETERS: dict[str, set[str]] = {
    "all": {*_OUT, "where"},
    "amax": _EXTREME,
    "amin": _EXTREME,
    "any": {*_OUT, "where"},
    "argmax": {*_OUT, "one axis"},
    "argmin": {*_OUT, "one axis"},
    "average": _KEEP,
    "count_nonzero": _KEEP,
    "cumprod": {"axis", "out", "dtype", "one axis", "same shape"},
    "cumsum": {"axis", "out", "dtype", "one axis", "same shape"},
    "cumulative_prod": {"axis", "out", "dtype", "one axis", "same shape"},
    "cumulative_sum": {"axis", "out", "dtype", "one axis", "same shape"},
    "max": _EXTREME,
    "mean": {*_OUT, "dtype", "where"},
    "median": _OUT,
    "min": _EXTREME,
    "nanargmax": {*_OUT, "one axis"},
    "nanargmin": {*_OUT, "one axis"},
    "nancumprod": {"axis", "out", "dtype", "one axis", "same shape"},
    "nancumsum": {"axis", "out", "dtype", "one axis", "same shape"},
    "nanmax": _EXTREME,
    "nanmean": {*_OUT, "dtype", "where"},
    "nanmedian": _OUT,
    "nanmin": _EXTREME,
    "nanpercentile": {*_OUT, "q"},
    "nanprod": _TOTAL,
    "nanquantile": {*_OUT, "q"},
    "nanstd": _SPREAD,
    "nansum": _TOTAL,
    "nanvar": _SPREAD,
    "percentile": {*_OUT, "q"},
    "prod": _TOTAL,
    "ptp": _OUT,
    "quantile": {*_OUT, "q"},
    "std": _SPREAD,
    "sum": _TOTAL,
    "var": _SPREAD,
}
_CUBE = arr(2, 3, 4)


def _calls(name: str) -> Iterator[Case]:
    takes = PARAMETERS[name]
    more: tuple[Any, ...] = (0.25,) if "q" in takes else ()

    def call(array: Any, **kwargs: Any) -> Case:
        return case(name, array, *more, **kwargs)

    for dtype in DTYPES:
        yield call(arr(3, 4, dtype=dtype))
        yield call(arr(3, 4, dtype=dtype), axis=0)
    for layout in ("F", "reversed", "strided", "broadcast"):
        yield call(arr(3, 4, layout=layout))
        yield call(arr(3, 4, layout=layout), axis=1)
    found = name not in ("nanargmax", "nanargmin")  # these fail on a slice of NaN only
    for fill in ("odd", "some nan", "nan"):
        yield call(arr(2, 8, fill=fill)).but(started=not found and fill == "nan")
        yield call(arr(2, 8, fill=fill, dtype="float32"), axis=0).but(
            started=not found and fill != "some nan"
        )
    for shape in ((), (1,), (5,), (1, 1)):
        yield call(arr(*shape))
    for shape in ((0,), (2, 0, 3), (0, 3)):
        yield call(arr(*shape))
        yield call(arr(*shape), axis=0)
        yield call(arr(*shape), axis=-1)
    for axis in (None, 0, 1, -1, 2, 3, -4, "x", 1.0, Sc("int64", 1), True):
        yield call(_CUBE, axis=axis)
    for axes in ((0, 1), (0, 2), (), (0, 0), (0, 3), [0, 1]):
        yield call(_CUBE, axis=axes)
    yield case(name, _CUBE, *more, 1)
    yield case(name, _CUBE, *more, -4)
    yield case(name, *more)
    yield case(name, _CUBE, *more, nonsense=1)
    for given in (3.5, [1, 2, 3], [[1.0, 2.0], [3.0, 4.0]], (1, 2), True, [arr(2), arr(2, seed=1)]):
        yield call(given)
    yield call([[1.0, 2.0], [3.0, 4.0]], axis=0)
    yield call([[1.0, 2.0], [3.0]])
    if "keepdims" in takes:
        axis = 1 if "one axis" in takes else (0, 2)
        yield call(_CUBE, axis=axis, keepdims=True)
        yield call(_CUBE, keepdims=True)
    if "out" in takes:
        whole = (2, 3, 4) if "same shape" in takes else (2, 4)
        kind = "int64" if "arg" in name else "float64"
        yield call(_CUBE, axis=1, out=arr(*whole, dtype=kind))
        yield call(_CUBE, axis=1, out=arr(3, 3))
        yield call(_CUBE, axis=1, out=arr(*whole, dtype="int8"))
        yield call(_CUBE, axis=1, out=arr(*whole, dtype=kind, layout="broadcast"))
        # A 0-d out crashes the process in NumPy 2.4 (numpy/numpy#32545).
        yield call(_CUBE, out=arr(5) if "same shape" in takes else arr(dtype=kind))
    if _DTYPE in takes:
        yield call(arr(3, 4, dtype="int8"), dtype="float32")
        yield call(_CUBE, axis=1, dtype="complex128")
        yield call(_CUBE, dtype="int16")
        yield call(_CUBE, dtype="nonsense")
    if "initial" in takes:
        yield call(_CUBE, initial=5.0)
        yield call(arr(0), initial=1.5)
        yield call(arr(3, 0), axis=1, initial=-1.0)
    if "where" in takes:
        mask = arr(2, 3, 4, dtype="bool")
        start = {"initial": 0.0} if "initial" in takes else {}
        yield call(_CUBE, where=mask, **start)
        yield call(_CUBE, axis=1, where=arr(4, dtype="bool"), **start)
        yield call(_CUBE, where=arr(5, dtype="bool"), **start)
    if "ddof" in takes:
        yield call(_CUBE, ddof=1)
        yield call(arr(3), ddof=3)
        yield call(arr(3), ddof=5)
        yield call(_CUBE, axis=2, ddof=0.5, keepdims=True)


_SPACED = arr(2, 3, 4)
_EXTRA: tuple[Case, ...] = (
    *(
        candidate
        for name in ("quantile", "percentile", "nanquantile", "nanpercentile")
        for candidate in (
            case(name, _SPACED, [0.1, 0.5]),
            case(name, _SPACED, arr(2, 2, fill="probability"), axis=1),
            case(name, _SPACED, 0.3, axis=0, method="lower"),
            case(name, _SPACED, 0.3, axis=0, method="median_unbiased"),
            case(name, _SPACED, 0.3, axis=0, overwrite_input=True),
            case(name, _SPACED, 0.3, axis=0, method="no such method"),
            case(name, _SPACED, 200.0),
            case(name, _SPACED, L([0.5, 200.0])).but(started=True),
            case(name, arr(6, fill="some nan"), [0.25, 0.75]),
            case(name, arr(5, dtype="int64"), 0.5, method="inverted_cdf"),
            case(name, arr(4), 0.5, weights=arr(4, fill="positive"), method="inverted_cdf"),
            case(name, a=_SPACED, q=0.5, axis=(0, 1)),
        )
    ),
    *(
        candidate
        for name in ("median", "nanmedian")
        for candidate in (
            case(name, arr(4, 5), overwrite_input=True),
            case(name, arr(4, 5), axis=(0, 1), keepdims=True),
        )
    ),
    case("average", arr(3, 4), weights=arr(3, 4, fill="positive")),
    case("average", arr(3, 4), axis=1, weights=arr(4, fill="positive")),
    case("average", arr(3, 4), axis=1, weights=arr(4, fill="positive"), returned=True),
    case("average", arr(3, 4), axis=0, returned=True, keepdims=True),
    case("average", arr(3, 4), weights=arr(4)),
    case("average", arr(3, 4), axis=1, weights=arr(3)),
    case("average", arr(3), weights=arr(3, fill="zero")).but(started=True),
    case("average", arr(3, 4), 0, arr(3, fill="positive")),
    case("average", arr(3, dtype="int8"), weights=[1, 2, 3]),
    *(
        candidate
        for name in ("cumulative_sum", "cumulative_prod")
        for candidate in (
            case(name, arr(4), include_initial=True),
            case(name, arr(2, 3), axis=1, include_initial=True),
            case(name, arr(2, 3), include_initial=True),
        )
    ),
    *(
        candidate
        for name in ("sum", "prod", "max", "min", "cumsum", "std", "any", "all", "mean")
        for candidate in (case(name, a=arr(2, 3)), case(name, a=arr(2, 3), axis=1))
    ),
    case("sum", arr(2, 3), 1, "float32"),
    case("sum", arr(2, 3), 1, None, arr(2)),
    case("std", arr(2, 3), 1, None, None, 1, True),
    case("std", arr(2, 3), mean=arr(2, 1), axis=1),
    case("var", arr(2, 3), correction=1),
    case("var", arr(2, 3), correction=1, ddof=1),
    case("cumsum", arr(4), out=Same(0)),
    case("count_nonzero", arr(4, fill="few"), axis=0, keepdims=True),
    case("sum", arr(3, 4), axis=0, initial=arr(3)),
    case("sum", arr(3, 4), axis=0, initial=Sc("float32", 2.0)),
)


def cases() -> Iterator[Case]:
    """Return every case of this file."""
    for name in PARAMETERS:
        yield from _calls(name)
    yield from _EXTRA
