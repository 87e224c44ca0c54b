"""Cases of `linalg` and of the products of arrays."""

from __future__ import annotations

from collections.abc import Iterator

from tests.mechestim.parity.specs import INF, Case, L, Same, arr, case

_SQUARE = arr(3, 3, fill="regular")
_STACK = arr(2, 3, 3, fill="regular")
_DEFINITE = arr(3, 3, fill="definite")
_SINGULAR = arr(3, 3, fill="singular")
_TALL, _WIDE = arr(4, 3), arr(3, 4)
_NAMES_OF_SQUARE = ("cholesky", "eig", "eigh", "eigvals", "eigvalsh", "inv", "det", "slogdet")
_NAMES_OF_ANY = ("qr", "svd", "svdvals", "pinv", "cond", "matrix_rank")

# Products of two operands; their results are equal up to rounding (a BLAS may look at alignment).
PRODUCTS = (
    "dot",
    "matmul",
    "inner",
    "vdot",
    "vecdot",
    "matvec",
    "vecmat",
    "outer",
    "kron",
    "tensordot",
    "linalg.matmul",
    "linalg.outer",
    "linalg.vecdot",
    "linalg.tensordot",
)


def _factorised() -> Iterator[Case]:
    for short in (*_NAMES_OF_SQUARE, *_NAMES_OF_ANY):
        name = f"linalg.{short}"
        for dtype in ("float32", "float64", "complex64", "complex128", "int32", "bool", "float16"):
            yield case(
                name, arr(3, 3, fill="diagonal" if dtype == "bool" else "definite", dtype=dtype)
            )
        for layout in ("F", "reversed", "strided"):
            yield case(name, arr(3, 3, fill="definite", layout=layout))
        yield case(name, arr(2, 3, 3, fill="definite"))
        yield case(name, arr(2, 2, 3, 3, fill="definite"))
        yield case(name, arr(1, 1, fill="definite"))
        yield case(name, [[2.0, 0.5], [0.5, 3.0]])
        yield (
            case(name, a=_DEFINITE)
            if short not in ("cond", "matrix_rank", "svdvals")
            else case(name, _DEFINITE)
        )
        yield case(name, arr(0, 3, 3))
        yield case(name, _WIDE)
        yield case(name, _TALL)
        yield case(name, arr(3))
        yield case(name, arr())
        yield case(name, 2.0)
        yield case(name)
        yield case(name, _SQUARE, nonsense=1)
        if short != "cond":
            yield case(name, arr(0, 0))
    yield case("linalg.cond", arr(0, 0))
    for short in ("eig", "eigh", "eigvals", "eigvalsh"):
        yield case(f"linalg.{short}", arr(3, 3, fill="nan")).but(started=True)
    yield case("linalg.cholesky", L([[1.0, 2.0], [2.0, 1.0]])).but(started=True)
    yield case("linalg.cholesky", _DEFINITE, upper=True)
    yield case("linalg.inv", arr(3, 3, fill="zero")).but(started=True)
    yield case("linalg.inv", arr(2, 3, 3, fill="zero")).but(started=True)
    for UPLO in ("U", "L", "x"):
        yield case("linalg.eigh", _DEFINITE, UPLO=UPLO)
        yield case("linalg.eigvalsh", _DEFINITE, UPLO)
    for mode in ("reduced", "complete", "r", "raw", "nonsense"):
        yield case("linalg.qr", _TALL, mode=mode)
        yield case("linalg.qr", arr(2, 4, 3), mode)
    for shape in ((4, 3), (3, 4), (2, 4, 3)):
        yield case("linalg.svd", arr(*shape), full_matrices=False)
        yield case("linalg.svd", arr(*shape), compute_uv=False)
    yield case("linalg.svd", _DEFINITE, hermitian=True)
    yield case("linalg.svd", _TALL, False, False)
    yield case("linalg.svd", arr(3, 3, fill="nan")).but(started=True)
    yield case("linalg.svd", arr(0, 3))
    yield case("linalg.pinv", _TALL, rcond=1e-3)
    yield case("linalg.pinv", _TALL, rtol=1e-3)
    yield case("linalg.pinv", _DEFINITE, hermitian=True)
    for order in (None, 1, -1, 2, -2, INF, -INF, "fro", "nuc", 3, "x"):
        yield case("linalg.cond", _SQUARE, order)
        yield case("linalg.norm", _TALL, order)
        yield case("linalg.norm", arr(4), order)
        yield case("linalg.matrix_norm", _TALL, ord="fro" if order is None else order)
        yield case("linalg.norm", arr(2, 3, 4), order, axis=(0, 2))
        yield case("linalg.norm", arr(2, 3, 4), order, axis=1)
    yield case("linalg.cond", arr(2, 3, 3, fill="singular"))
    yield case("linalg.matrix_rank", _SINGULAR)
    yield case("linalg.matrix_rank", _SINGULAR, tol=1e-3)
    yield case("linalg.matrix_rank", _SQUARE, hermitian=True)
    yield case("linalg.matrix_rank", _SQUARE, rtol=1e-3)


def _norms() -> Iterator[Case]:
    for given in (
        arr(4),
        arr(),
        _TALL,
        arr(2, 3, 4),
        [3.0, 4.0],
        arr(4, dtype="int8"),
        arr(0),
        arr(4, dtype="complex64"),
    ):
        yield case("linalg.norm", given)
        yield case("linalg.vector_norm", given)
        yield case("linalg.vector_norm", given, keepdims=True)
    yield case("linalg.norm", _TALL, axis=0, keepdims=True)
    yield case("linalg.norm", _TALL, axis=(0, 0))
    yield case("linalg.norm", _TALL, axis=(0, 3))
    yield case("linalg.norm", arr(2, 3, 4), axis=(0, 1, 2))
    yield case("linalg.norm", x=_TALL, ord=2, axis=1)
    for order in (0, 1, 2, 3, 2.5, INF, -INF, -1):
        yield case("linalg.vector_norm", arr(2, 3), ord=order)
        yield case("linalg.vector_norm", arr(2, 3), axis=1, ord=order)
    yield case("linalg.vector_norm", arr(2, 3), axis=5)
    for given in (arr(2, 3, 4), arr(3, 3, layout="F"), arr(4), arr(2, 0)):
        yield case("linalg.matrix_norm", given)
        yield case("linalg.matrix_norm", given, keepdims=True, ord=1)


def _systems() -> Iterator[Case]:
    yield case("linalg.solve", _SQUARE, arr(3))
    yield case("linalg.solve", _SQUARE, arr(3, 2))
    yield case("linalg.solve", _STACK, arr(2, 3, 2))
    yield case("linalg.solve", _STACK, arr(3))
    yield case("linalg.solve", _STACK, arr(3, 2))
    yield case("linalg.solve", arr(3, 3, fill="regular", dtype="complex64"), arr(3))
    yield case("linalg.solve", _SQUARE, arr(4))
    yield case("linalg.solve", _TALL, arr(4))
    yield case("linalg.solve", arr(3, 3, fill="zero"), arr(3)).but(started=True)
    yield case("linalg.solve", a=_SQUARE, b=[1.0, 2.0, 3.0])
    yield case("linalg.solve", arr(0, 0), arr(0))
    yield case("linalg.lstsq", _TALL, arr(4))
    yield case("linalg.lstsq", _TALL, arr(4, 2), rcond=None)
    yield case("linalg.lstsq", _WIDE, arr(3), 1e-3)
    yield case("linalg.lstsq", _TALL, arr(3))
    yield case("linalg.lstsq", arr(3), arr(3))
    yield case("linalg.tensorinv", arr(2, 3, 6))
    yield case("linalg.tensorinv", arr(6, 2, 3), ind=1)
    yield case("linalg.tensorinv", arr(2, 3, 5))
    yield case("linalg.tensorinv", arr(2, 3, 6), ind=0)
    yield case("linalg.tensorsolve", arr(2, 3, 6), arr(2, 3))
    yield case("linalg.tensorsolve", arr(2, 6, 3), arr(2, 3), axes=(1,))
    yield case("linalg.tensorsolve", arr(2, 3, 5), arr(2, 3))
    for power in (0, 1, 2, 3, 5, -1, -2):
        yield case("linalg.matrix_power", _SQUARE, power)
        yield case("linalg.matrix_power", _STACK, power)
    yield case("linalg.matrix_power", _SQUARE, 1.5)
    yield case("linalg.matrix_power", _TALL, 2)
    yield case("linalg.matrix_power", arr(2, 2, fill="zero"), -1).but(started=True)
    for name in ("cross", "linalg.cross"):
        yield case(name, arr(3), arr(3, seed=1))
        yield case(name, arr(4, 3), arr(3, seed=1))
        yield case(name, arr(3, 4), arr(3, 4, seed=1), axis=0)
        yield case(name, arr(4), arr(4))
        yield case(name, [1, 2, 3], [4, 5, 6])
        yield case(name, arr(3, dtype="complex64"), arr(3))
        yield case(name, arr(4, 3), arr(5, 3))
    yield case("cross", arr(2), arr(2, seed=1))
    yield case("cross", arr(3, 4), arr(3, 4, seed=1), 0, 0, 0)
    yield case("cross", arr(2, 3, 4), arr(2, 3, 4, seed=1), axisa=1, axisb=1, axisc=0)


def _products() -> Iterator[Case]:
    for name in PRODUCTS:
        for dtype in (
            "bool",
            "int8",
            "int64",
            "uint8",
            "float16",
            "float32",
            "float64",
            "complex64",
            "complex128",
        ):
            yield case(name, arr(3, dtype=dtype), arr(3, dtype=dtype, seed=1))
            yield case(name, arr(2, 3, dtype=dtype), arr(3, 4, dtype=dtype, seed=1))
        yield case(name, arr(2, 3, dtype="int32"), arr(2, 3, dtype="float32"))
        yield case(name, arr(3, 3), Same(0))
        yield case(name, arr(4), Same(0))
        yield case(name, arr(2, 3), arr(3))
        yield case(name, arr(2), arr(2, 3))
        yield case(name, arr(3), arr(3, 2))
        yield case(name, arr(2, 4, 3), arr(2, 3, 4))
        yield case(name, arr(2, 4, 3), arr(3, 4))
        yield case(name, arr(5, 1, 2, 3), arr(2, 3, 2))
        yield case(name, arr(2, 3), arr(2, 3))
        yield case(name, arr(2, 3), arr(4, 5))
        yield case(name, arr(2, 3), 2.0)
        yield case(name, 2.0, arr(3))
        yield case(name, arr(), arr())
        yield case(name, arr(0), arr(0))
        yield case(name, arr(2, 0), arr(0, 3))
        yield case(name, [1.0, 2.0], arr(2))
        yield case(name, [[1, 2], [3, 4]], [[5, 6], [7, 8]])
        yield case(name, arr(2, 3, layout="F"), arr(3, 4, layout="reversed"))
        yield case(name, arr(2, 2, 3, layout="broadcast"), arr(3, 2, layout="strided"))
        yield case(name, arr(4, 4, fill="odd"), arr(4, 4, seed=1))
        yield case(name, arr(2))
        yield case(name, L(["a"]), arr(1))
    for name in ("dot", "matmul", "outer", "vecdot"):
        shape = {"outer": (6, 12), "vecdot": (2,)}.get(name, (2, 4))
        left, right = arr(2, 3), arr(2, 3) if name == "vecdot" else arr(3, 4)
        yield case(name, left, right, out=arr(*shape))
        yield case(name, left, right, arr(*shape))
        yield case(name, left, right, out=arr(7))
        yield case(name, left, right, out=arr(*shape, dtype="int8"))
    yield case("matmul", arr(2, 3), arr(3, 4), dtype="float32")
    yield case("matmul", arr(2, 3), arr(3, 4), dtype="float32", casting="unsafe")
    yield case("matmul", arr(3, 2), arr(3, 4), axes=[(1, 0), (0, 1), (0, 1)])
    yield case("matmul", arr(3, 3), arr(3, 3), out=Same(0))
    yield case("vecdot", arr(3, 4), arr(3, 4), axis=0)
    yield case("linalg.vecdot", arr(3, 4), arr(3, 4), axis=0)
    yield case("linalg.vecdot", arr(3, 4), arr(3, 4), axis=5)
    for name in ("tensordot", "linalg.tensordot"):
        yield case(name, arr(2, 3, 4), arr(3, 4, 5))
        yield case(name, arr(2, 3, 4), arr(4, 5), axes=1)
        yield case(name, arr(2, 3), arr(4, 5), axes=0)
        yield case(name, arr(2, 3, 4), arr(4, 3, 5), axes=([1, 2], [1, 0]))
        yield case(name, arr(2, 3), arr(3, 2), axes=((-1,), (0,)))
        yield case(name, arr(2, 3), arr(3, 2), axes=(7, 0))
    for name in ("trace", "linalg.trace"):
        yield case(name, arr(3, 4))
        yield case(name, arr(4, 3, dtype="int8"))
        yield case(name, arr(2, 3, 4))
        yield case(name, arr(3, 4), offset=1)
        yield case(name, arr(3, 4), offset=9)
        yield case(name, arr(3, 4), dtype="float32")
        yield case(name, arr(3))
        yield case(name, [[1, 2], [3, 4]])
    yield case("trace", arr(2, 3, 4), 1, 1, 2)
    yield case("trace", arr(2, 3, 4), axis1=0, axis2=2, out=arr(3))
    yield case("trace", arr(2, 3, 4), axis1=0, axis2=2, out=arr(4))
    yield case("trace", arr(2, 3, 4), axis1=0, axis2=0)
    yield case("linalg.multi_dot", [arr(2, 3), arr(3, 4), arr(4, 5)])
    yield case("linalg.multi_dot", [arr(3), arr(3, 4), arr(4)])
    yield case("linalg.multi_dot", [arr(2, 3), arr(3, 4)])
    yield case("linalg.multi_dot", [arr(2, 3), arr(3, 4), arr(4, 5), arr(5, 2)], out=arr(2, 2))
    yield case("linalg.multi_dot", [arr(2, 3)])
    yield case("linalg.multi_dot", [arr(2, 3), arr(4, 5), arr(5, 6)])


def _einsum() -> Iterator[Case]:
    two = (arr(2, 3), arr(3, 4))
    for text, operands in (
        ("ij,jk->ik", two),
        ("ij,jk", two),
        ("ij,jk->", two),
        ("ij->ji", (arr(2, 3),)),
        ("ij->", (arr(2, 3),)),
        ("ij->i", (arr(2, 3),)),
        ("ii->i", (arr(3, 3),)),
        ("ii", (arr(3, 3),)),
        ("i,i->", (arr(4), arr(4, seed=1))),
        ("i,j->ij", (arr(2), arr(3))),
        ("i,i->i", (arr(4), Same(1))),
        ("ij,jk,kl->il", (*two, arr(4, 2))),
        ("ij,jk,kl", (*two, arr(4, 2))),
        ("...ij,...jk->...ik", (arr(5, 2, 3), arr(3, 4))),
        ("...i->...", (arr(2, 3),)),
        ("bij,bjk->bik", (arr(5, 2, 3), arr(5, 3, 4))),
        ("ij,kj->ik", (arr(2, 3), arr(1, 3))),
        ("ij,j->i", (arr(2, 3, dtype="int8"), arr(3, dtype="float32"))),
        ("ij,j->i", (arr(0, 3), arr(3))),
        ("i->", (arr(0),)),
        ("ij,jk->ik", (arr(2, 3), arr(4, 5))),
        ("ij,jk->iz", two),
        ("ijk->i", (arr(2, 3),)),
        ("ij->ii", (arr(2, 3),)),
        ("i!->i", (arr(2),)),
        (",->", (arr(), 2.0)),
        ("i,i", ([1, 2], [3, 4])),
    ):
        yield case("einsum", text, *operands)
    yield case("einsum", "ij,jk->ik", *two, optimize=True)
    yield case("einsum", "ij,jk,kl->il", *two, arr(4, 2), optimize="greedy")
    yield case("einsum", "ij,jk->ik", *two, out=arr(2, 4))
    yield case("einsum", "ij,jk->ik", *two, out=arr(3, 4))
    yield case("einsum", "ij,jk->ik", *two, dtype="float32", casting="unsafe")
    yield case("einsum", arr(2, 3), [0, 1], arr(3, 4), [1, 2], [0, 2])


def cases() -> Iterator[Case]:
    """Return every case of this file."""
    yield from _factorised()
    yield from _norms()
    yield from _systems()
    for one in (*_products(), *_einsum()):
        yield one.but(close=True)
    yield case("einsum_path", "ij,jk,kl->il", arr(2, 3), arr(3, 4), arr(4, 5)).but(unset=True)
