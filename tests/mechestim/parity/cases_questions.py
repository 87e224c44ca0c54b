"""Cases of queries of types, shapes and memory, and of functions that take callbacks."""

from __future__ import annotations

from collections.abc import Iterator

from tests.mechestim.parity.specs import Case, Dt, Fn, L, Same, Sc, arr, case

_X = arr(3, 4)


def _questions() -> Iterator[Case]:
    yield case("base_repr", 10, 3)
    yield case("base_repr", -5, base=2, padding=3)
    yield case("base_repr", 5, 99)
    yield case("binary_repr", 10)
    yield case("binary_repr", -3, width=6)
    yield case("binary_repr", 2.5)
    yield case("can_cast", "int32", "float64")
    yield case("can_cast", Dt("float64"), "int8", casting="unsafe")
    yield case("can_cast", 3, "int8")
    yield case("can_cast", _X, "int8")
    yield case("common_type", arr(2, dtype="int8"), arr(2, dtype="float32"))
    yield case("common_type", arr(2, dtype="complex64"))
    yield case("common_type", L(["a"]))
    yield case("isdtype", Dt("float32"), "real floating")
    yield case("isdtype", Dt("int8"), ("real floating", "integral"))
    yield case("isdtype", Dt("int8"), "nonsense")
    yield case("isfortran", arr(3, 4, layout="F"))
    yield case("isfortran", _X)
    for given in (2.0, "text", _X, arr(), Sc("float32", 1), [1], None):
        yield case("isscalar", given)
        yield case("iterable", given)
        yield case("ndim", given)
        yield case("shape", given)
        yield case("size", given)
        yield case("result_type", given)
        yield case("min_scalar_type", given)
    yield case("size", _X, 1)
    yield case("size", _X, axis=5)
    yield case("issubdtype", "int32", "int64")
    yield case("issubdtype", Dt("float32"), float)
    yield case("may_share_memory", _X, Same(0))
    yield case("may_share_memory", _X, arr(3, 4))
    yield case("shares_memory", _X, Same(0))
    yield case("shares_memory", _X, arr(3, 4), max_work=1)
    yield case("shares_memory", _X, [1, 2])
    yield case("min_scalar_type", 300)
    yield case("min_scalar_type", -1)
    yield case("mintypecode", "fd")
    yield case("mintypecode", ["i", "F"], typeset="fF")
    yield case("promote_types", "int8", "uint8")
    yield case("promote_types", "float32", Dt("int64"))
    yield case("promote_types", "M8[D]", "float32")
    yield case("result_type", _X, "float32")
    yield case("result_type", arr(2, dtype="float32"), 3.0)
    yield case("result_type", 3, Dt("int8"))
    yield case("result_type")
    yield case("typename", "d")
    yield case("typename", "nonsense")


def _callbacks() -> Iterator[Case]:
    yield case("apply_along_axis", Fn("sum"), 0, _X)
    yield case("apply_along_axis", Fn("halves"), 1, _X)
    yield case("apply_along_axis", Fn("halves"), 1, _X, 3.0)
    yield case("apply_along_axis", Fn("halves"), axis=1, arr=_X, scale=0.5)
    yield case("apply_along_axis", Fn("sum"), 7, _X)
    yield case("apply_along_axis", Fn("failing"), 0, _X).but(started=True)
    yield case("apply_along_axis", Fn("sum"), 0, [[1, 2], [3, 4]])
    yield case("apply_over_axes", Fn("sum over"), _X, 0)
    yield case("apply_over_axes", Fn("sum over"), arr(2, 3, 4), (0, 2))
    yield case("apply_over_axes", Fn("failing"), _X, 0).but(started=True)
    yield case("fromfunction", Fn("plus"), (3, 4))
    yield case("fromfunction", Fn("plus"), (2, 2), dtype="int8")
    yield case("fromfunction", Fn("constant"), (2, 2))
    yield case("fromfunction", Fn("failing"), (2, 2)).but(started=True)
    yield case("fromfunction", function=Fn("plus"), shape=(2, 2))
    mask, other = arr(4, dtype="bool"), L([False, True, False, False])
    yield case("piecewise", arr(4), [mask, other], [Fn("half"), 7.0])
    yield case("piecewise", arr(4), [mask], [Fn("half"), Fn("sum"), 1.0])
    yield case("piecewise", arr(4), [mask], [Fn("half")])
    yield case("piecewise", arr(4), [mask], [Fn("failing")]).but(started=True)
    yield case("piecewise", 2.0, [True], [3.0])
    yield case("piecewise", [1.0, 2.0], [[True, False]], [Fn("half"), 0.0])


def cases() -> Iterator[Case]:
    """Return every case of this file."""
    yield from _questions()
    yield from _callbacks()
    yield from (
        case("vectorize", Fn("half")),
        case("vectorize", Fn("add")),
        case("vectorize", Fn("add"), otypes=["float32"]),
        case("vectorize", Fn("split")),
        case("vectorize", Fn("failing")),
        case("vectorize", Fn("sum"), signature="(n)->()"),
        case("vectorize", pyfunc=Fn("half"), doc="Halves."),
        case("frompyfunc", Fn("half"), 1, 1),
        case("frompyfunc", Fn("add"), 2, 1),
        case("frompyfunc", Fn("split"), 1, 2),
        case("frompyfunc", Fn("failing"), 1, 1),
        case("frompyfunc", Fn("add"), 2),
    )
