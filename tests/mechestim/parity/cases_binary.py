"""Cases of the operations on two operands that broadcast."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from shm_echo.mechestim.registry import OPS
from tests.mechestim.parity.cases_unary import DTYPES
from tests.mechestim.parity.specs import A, Case, Dt, L, Same, Sc, arr, case

UFUNCS = tuple(
    name
    for name, op in OPS.items()
    if op.category.value == "binary" and name not in ("vecdot", "matvec", "vecmat")
)
_MIXED = (
    ("int64", "float32"),
    ("float32", "complex64"),
    ("uint8", "int8"),
    ("bool", "int32"),
    ("float64", "int32"),
    ("int64", "uint64"),
    ("float16", "float64"),
    ("float64", "bool"),
    (">f8", "float64"),
    (">i4", "uint8"),
    ("longdouble", "float64"),
)


def operands() -> Iterator[tuple[object, object]]:
    """Yield the arguments for any function of two operands."""
    for dtype in DTYPES:
        yield arr(3, 4, dtype=dtype), arr(3, 4, dtype=dtype, seed=1, fill="small")
    for left, right in _MIXED:
        yield arr(3, 4, dtype=left), arr(3, 4, dtype=right, seed=1)
    yield arr(4, 4, fill="odd"), arr(4, 4, fill="odd", seed=3)
    yield arr(4, 4, fill="odd"), arr(4, 4, fill="zero")
    yield arr(4, dtype="int64"), arr(4, dtype="int64", fill="zero")
    yield arr(4, dtype="int32"), arr(4, dtype="int32", seed=9)
    yield arr(5), Same(0)
    yield arr(3, 1), arr(1, 4)
    yield arr(2, 3, 4), arr(4, seed=2)
    yield arr(4), arr(2, 3, 4, seed=2)
    yield arr(), arr(3)
    yield arr(), arr(seed=1)
    yield arr(0), arr(1)
    yield arr(2, 0), arr(0)
    yield arr(2, 3), arr(3, 2)
    yield arr(2, 3), arr(2)
    yield arr(3, 4, layout="F"), arr(3, 4, layout="reversed")
    yield arr(3, 4, layout="strided"), arr(3, 4, layout="broadcast")
    for number in (2, 2.5, True, 1j, -1, 0, 0.0, -0.5):
        yield arr(3, 4), number
        yield number, arr(3, 4, seed=4)
    for dtype, number in (
        ("uint8", 3),
        ("uint8", 300),
        ("uint8", -1),
        ("int8", 2),
        ("int64", 2**70),
        ("float32", 1e300),
        ("float32", 3),
        ("float16", 2.5),
        ("int32", 2.5),
        ("bool", 1),
        ("complex64", 2.5),
        ("int64", 2),
        ("int64", -2),
    ):
        yield arr(4, dtype=dtype), number
        yield number, arr(4, dtype=dtype)
    yield arr(3), Sc("float32", 2.0)
    yield Sc("int64", 2), arr(3)
    yield arr(3), [1.0, 2.0, 3.0]
    yield [1, 2, 3], arr(3)
    yield [1, 2], [3, 4]
    yield 2, 3
    yield arr(3), [1.0, 2.0]
    yield arr(2), L(["a", "b"])
    yield arr(2), "text"
    yield arr(2), None
    yield None, arr(2)
    yield [arr(), 1.0], arr(2)


def _negative_power(name: str, left: object, right: object) -> bool:
    """Return True if integers are raised to an array of negative ones: the kernel raises."""
    if name not in ("power", "pow") or not isinstance(right, A) or right.fill == "small":
        return False
    small = isinstance(left, int) and abs(left) < 2**63
    whole = small or (isinstance(left, A) and left.dtype[:3] in ("int", "uin", "boo"))
    return whole and right.dtype.startswith("int")


def _keywords(name: str) -> Iterator[Case]:
    x, y = arr(3, 4, fill="positive"), arr(3, 4, seed=2, fill="positive")
    if OPS[name].numpy == "divmod":
        yield case(name, x, y, arr(3, 4), arr(3, 4))
        yield case(name, x, y, out=(Same(0), Same(1)))
        yield case(name, x, y, out=(None, arr(3, 4)))
        yield case(name, x, y, out=(arr(4), None))
    else:
        yield case(name, x, y, arr(3, 4))
        yield case(name, x, y, out=arr(3, 4))
        yield case(name, x, y, out=Same(0))
        yield case(name, x, 2.0, out=Same(0))
        yield case(name, x, arr(4), out=arr(2, 3, 4))
        yield case(name, x, y, out=(arr(3, 4),))
        yield case(name, x, y, out=arr(3, 4, dtype="complex128"))
        yield case(name, x, y, out=arr(3, 4, dtype="int8"))
        yield case(name, x, y, out=arr(2, 4))
        yield case(name, x, y, out=arr(3, 4, layout="broadcast"))
        yield case(name, x, y, where=arr(3, 4, dtype="bool"), out=arr(3, 4))
        yield case(name, x, y, where=False, out=arr(3, 4))
        yield case(name, arr(), 1.5, where=L([True, False, True]), out=arr(3))
    yield case(name, x, y, dtype="float32")
    yield case(name, x, y, dtype=Dt("float64"), casting="no")
    yield case(name, x, y, dtype="float16", casting="no")
    yield case(name, x, y, nonsense=1)
    yield case(name, x)
    yield case(name, x, y, order="F", subok=False)


_EXTRA: tuple[Case, ...] = (
    case("add", L(["2024-01-31"], "datetime64[D]"), L([1], "timedelta64[D]")),
    case("subtract", L(["2024-01-31"], "datetime64[D]"), L(["2023-01-31"], "datetime64[D]")),
    case("equal", L(["a", "b"]), L(["a", "c"])),
    case("equal", arr(3), "text"),
    case("ldexp", arr(3), L([1, 2, 3])),
    case("ldexp", arr(3), 2),
    case("power", arr(3, dtype="int64"), 2),
    case("power", arr(3), 0.5),
    case("power", arr(3, fill="positive"), 0.5),
    case("power", arr(3), -1),
    case("power", 2.0, arr(3, dtype="int64")),
    case("left_shift", L([1, 2, 3]), 3),
    case("gcd", arr(4, dtype="int64"), arr(4, dtype="int64", seed=3)),
)


def cases() -> Iterator[Case]:
    """Return every case of this file."""
    for name in UFUNCS:
        for left, right in operands():
            yield case(name, left, right).but(started=_negative_power(name, left, right))
        yield from _keywords(name)
    yield from _EXTRA


def exhaustive(name: str) -> Iterator[Case]:
    """Yield every pair of types and many pairs of shapes, for the nightly runs."""
    shapes = ((), (1,), (0,), (3,), (2, 3), (2, 1), (1, 3), (4, 2, 3))
    types = (*DTYPES, "int16", "uint16", "uint32", "uint64")
    for left, right in product(types, types):
        yield case(name, arr(4, dtype=left), arr(4, dtype=right, seed=1, fill="small"))
    for first, second in product(shapes, shapes):
        yield case(name, arr(*first), arr(*second, seed=1))
