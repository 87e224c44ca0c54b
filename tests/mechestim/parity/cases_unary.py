"""Cases of the operations on one operand."""

from __future__ import annotations

from collections.abc import Iterator

from shm_echo.mechestim.registry import OPS
from tests.mechestim.parity.specs import Case, Dt, L, Same, Sc, arr, case

DTYPES = (
    "bool",
    "int8",
    "int32",
    "int64",
    "uint8",
    "float16",
    "float32",
    "float64",
    "complex64",
    "complex128",
)
_PAIRS = frozenset({"frexp", "modf"})

# Priced like ufuncs, but functions with arguments of their own.
LIKE_UFUNCS = frozenset(
    {
        "angle",
        "around",
        "fix",
        "i0",
        "imag",
        "isclose",
        "iscomplex",
        "iscomplexobj",
        "isneginf",
        "isposinf",
        "isreal",
        "isrealobj",
        "nan_to_num",
        "real",
        "real_if_close",
        "round",
        "sinc",
        "sort_complex",
    }
)
FREE_UFUNCS = ("isfinite", "isinf", "isnan")
UFUNCS = (
    *(name for name, op in OPS.items() if op.category.value == "unary" and name not in LIKE_UFUNCS),
    *FREE_UFUNCS,
)


def operands() -> Iterator[object]:
    """Yield the arguments for any function of one operand."""
    yield from (arr(3, 4, dtype=dtype) for dtype in DTYPES)
    yield from (arr(3, dtype=dtype) for dtype in (">f8", ">i4", "uint64", "longdouble"))
    yield arr(4, 4, fill="odd")
    yield arr(2, 8, fill="odd", dtype="float32")
    yield arr(6, fill="unit")
    yield arr(3, 2, fill="positive", seed=5)
    yield from (arr(*shape) for shape in ((), (0,), (1,), (2, 0, 3), (2, 3, 4)))
    yield arr(dtype="int64")
    yield arr(dtype="bool")
    yield from (arr(3, 4, layout=layout) for layout in ("F", "reversed", "strided", "broadcast"))
    yield from (0.5, 2, True, 1 - 2j, [0.25, 0.5], [[1, 2], [3, 4]], (0.5,), Sc("float32", 0.5))
    yield [arr(), 2.0]
    yield L(["a", "b"])
    yield None


def _keywords(name: str) -> Iterator[Case]:
    x = arr(3, 4, fill="positive")
    if name in _PAIRS:
        yield case(name, x, arr(3, 4), None)
        yield case(name, x, out=(None, arr(3, 4, dtype="int32" if name == "frexp" else "float64")))
        yield case(name, x, out=(arr(2, 4), None))
    else:
        yield case(name, x, arr(3, 4))
        yield case(name, x, out=arr(3, 4))
        yield case(name, x, out=Same(0))
        yield case(name, x, out=(arr(3, 4),))
        yield case(name, x, out=arr(3, 4, dtype="complex128"))
        yield case(name, x, out=arr(2, 3, 4))
        yield case(name, x, out=arr(3, 4, dtype="int8"))
        yield case(name, x, out=arr(2, 4))
        yield case(name, x, out=arr(3, 4, layout="broadcast"))
        yield case(name, x, where=arr(3, 4, dtype="bool"), out=arr(3, 4))
        yield case(name, x, where=arr(4, dtype="bool"), out=arr(3, 4))
        yield case(name, arr(), where=L([True, False, True]), out=arr(3))
    yield case(name, x, dtype="float32")
    yield case(name, x, dtype=Dt("float64"), casting="no")
    yield case(name, x, dtype="float16", casting="no")
    yield case(name, x, order="F")
    yield case(name, x, dtype="no such type")
    yield case(name, x, nonsense=1)
    yield case(name)
    yield case(name, x, arr(3, 4), arr(3, 4), arr(3, 4))


_EXTRA: tuple[Case, ...] = (
    case("isnat", L(["2024-02-30", "NaT"], "U")),
    case("isnat", L(["2024-02-29", "NaT"], "datetime64[D]")),
    case("negative", L([1, -2], "timedelta64[s]")),
    case("bitwise_count", arr(5, dtype="int64")),
    case("absolute", L([-128, 127], "int8")),
    *(case(name, arr(3, 4)) for name in sorted(LIKE_UFUNCS - {"isclose"})),
    *(case(name, arr(3, 4, dtype="complex64")) for name in sorted(LIKE_UFUNCS - {"isclose"})),
    *(case(name, arr(8, fill="odd")) for name in sorted(LIKE_UFUNCS - {"isclose"})),
    *(case(name, arr(5, dtype="int32")) for name in sorted(LIKE_UFUNCS - {"isclose"})),
    *(case(name, arr()) for name in sorted(LIKE_UFUNCS - {"isclose"})),
    *(case(name, arr(0)) for name in sorted(LIKE_UFUNCS - {"isclose"})),
    *(case(name, 0.5) for name in sorted(LIKE_UFUNCS - {"isclose"})),
    *(case(name, [0.5, 1.5]) for name in sorted(LIKE_UFUNCS - {"isclose"})),
    *(case(name, arr(2, 3, layout="F")) for name in sorted(LIKE_UFUNCS - {"isclose"})),
    case("angle", arr(3, dtype="complex128"), deg=True),
    case("angle", arr(3, dtype="complex128"), True),
    case("angle", z=arr(3)),
    *(
        candidate
        for name in ("around", "round")
        for candidate in (
            case(name, arr(3, 4), 1),
            case(name, arr(3, 4), decimals=-1),
            case(name, arr(3, 4), 2, out=arr(3, 4)),
            case(name, arr(3, 4), 2, arr(3, 4)),
            case(name, arr(3, 4), out=arr(2, 4)),
            case(name, arr(3, 4), out=arr(3, 4, dtype="int8")),
            case(name, arr(3, 4, dtype="int64"), -1),
            case(name, a=arr(3, 4), decimals=2),
            case(name, arr(3, 4), "x"),
        )
    ),
    *(
        candidate
        for name in ("fix", "isneginf", "isposinf")
        for candidate in (
            case(name, arr(3, 4), out=arr(3, 4, dtype="bool" if name != "fix" else "float64")),
            case(name, arr(3, 4), arr(3, 4, dtype="bool" if name != "fix" else "float64")),
            case(name, arr(3, 4), out=arr(2, 4)),
        )
    ),
    case("nan_to_num", arr(8, fill="odd"), copy=False),
    case("nan_to_num", arr(8, fill="odd"), False, 1.0, 2.0, 3.0),
    case("nan_to_num", arr(8, fill="odd", dtype="float32"), nan=-1.0, posinf=9.0, neginf=-9.0),
    case("nan_to_num", arr(4, dtype="complex128", fill="odd")),
    case("nan_to_num", x=arr(8, fill="odd", layout="reversed"), copy=False),
    case("nan_to_num", arr(8, fill="odd", layout="broadcast"), copy=False),
    case("real_if_close", L([1 + 1e-15j, 2 - 1e-16j])),
    case("real_if_close", L([1 + 1e-5j]), 1000),
    case("real_if_close", L([1 + 1e-5j]), tol=1e-3),
    case("real", val=arr(3, dtype="complex64")),
    case("imag", val=arr(3, dtype="complex64")),
    case("real", L([[1 + 2j, 3]])),
    case("sort_complex", a=arr(6, dtype="int8")),
    case("sort_complex", arr(2, 3, dtype="float32")),
    case("iscomplexobj", x=arr(3, dtype="complex64")),
    case("i0", arr(3, dtype="complex64")),
)


def _closeness() -> Iterator[Case]:
    x = arr(3, 4)
    yield case("isclose", x, Same(0))
    yield case("isclose", x, arr(3, 4, seed=1), rtol=0.5)
    yield case("isclose", x, arr(4, seed=1), 0.5, 0.25)
    yield case("isclose", arr(8, fill="odd"), arr(8, fill="odd"), equal_nan=True)
    yield case("isclose", arr(8, fill="odd"), arr(8, fill="odd", seed=1))
    yield case("isclose", arr(), 1.0)
    yield case("isclose", 1.0, 1.0 + 1e-9)
    yield case("isclose", [1.0, 2.0], x)
    yield case("isclose", [1.0, 2.0], [1.0, 2.5])
    yield case("isclose", x, [1.0, 2.0, 3.0, 4.0])
    yield case("isclose", a=x, b=2.0)
    yield case("isclose", arr(0), arr(0))
    yield case("isclose", arr(3, dtype="complex64"), arr(3, dtype="complex64", seed=2))
    yield case("isclose", arr(3, dtype="int8"), arr(3, dtype="uint8"))
    yield case("isclose", x, arr(3, 4), rtol=arr(4, fill="unit"))
    yield case("isclose", x, arr(3, 4), -1.0)


def cases() -> Iterator[Case]:
    """Return every case of this file."""
    for name in UFUNCS:
        for operand in operands():
            yield case(name, operand)
        yield from _keywords(name)
    yield from _EXTRA
    yield from _closeness()
