"""Cases of the operations that create arrays, of windows and of spaced numbers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tests.mechestim.parity.specs import Case, Dt, Fn, L, Sc, arr, case

_X = arr(3, 4)


def _conversions() -> Iterator[Case]:
    for name in (
        "array",
        "asarray",
        "asanyarray",
        "ascontiguousarray",
        "asfortranarray",
        "asarray_chkfinite",
    ):
        yield case(name, [[1, 2], [3, 4]])
        yield case(name, _X)
        yield case(name, arr(3, 4, layout="F"))
        yield case(name, arr(3, 4, layout="strided"))
        yield case(name, _X, dtype="float32")
        yield case(name, [arr(), arr(seed=1)])
        yield case(name, [arr(2), arr(2, seed=1)], dtype="float32")
        yield case(name, 3)
        yield case(name, Sc("float32", 3))
        yield case(name, [[1], [2, 3]])
        yield case(name, "text")
        yield case(name, [1.5, None])
        yield case(name)
        yield case(name, _X, dtype="no such type")
    for name in ("array", "asarray", "asanyarray"):
        yield case(name, _X, order="F")
        yield case(name, _X, copy=True)
        yield case(name, _X, copy=False)
        yield case(name, [1, 2], copy=False)
    yield case("array", _X, ndmin=3)
    yield case("array", _X, "float32", copy=None)
    yield case("array", [1, 2, 3], "complex64")
    yield case("array", 300, dtype="uint8")
    yield case("asarray_chkfinite", arr(4, fill="odd"))
    yield case("require", arr(3, 4, layout="F"), "float32", ["C"])
    yield case("require", _X, requirements="W")
    yield case("require", _X, requirements=["Q"])
    yield case("astype", _X, "float32")
    yield case("astype", _X, Dt("int64"))
    yield case("astype", _X, "float64", copy=False)
    yield case("astype", _X, "no such type")
    yield case("astype", [1, 2], "float32")
    yield case("copy", _X)
    yield case("copy", arr(3, 4, layout="F"), order="C")
    yield case("copy", [1, 2])
    yield case("copy", arr(), subok=True)
    yield case("frombuffer", b"\x01\x02\x03\x04", dtype="uint8")
    yield case("frombuffer", b"\x01\x02\x03\x04", "uint8", 2, 1)
    yield case("frombuffer", b"\x01\x02\x03", dtype="int16")
    yield case("frombuffer", _X)
    yield case("fromiter", [1, 2, 3], "float64")
    yield case("fromiter", [1, 2, 3], dtype="int8", count=2)
    yield case("fromiter", [1, 2], dtype="int8", count=5)
    yield case("fromstring", "1 2 3", sep=" ")
    yield case("fromstring", "1,2,3", dtype="int64", sep=",", count=2)
    yield case("fromfile", str(Path(__file__).with_name("numbers.bin")), dtype="uint8")
    yield case("fromfile", str(Path(__file__).with_name("numbers.bin")), dtype="int16", count=2)
    yield case("fromfile", str(Path(__file__).with_name("no such file")))
    yield case(
        "fromregex",
        str(Path(__file__).with_name("numbers.bin")),
        r"(\d)(\d)",
        [("a", "i4"), ("b", "i4")],
    )
    yield case("from_dlpack", _X)
    yield case("from_dlpack", 3)


def _filled() -> Iterator[Case]:
    for name in ("zeros", "ones", "empty"):
        for shape in ((), 3, (2, 3), [2, 3], 0, (2, 0), Sc("int64", 2), (2, Sc("int64", 2))):
            yield case(name, shape).but(unset=name == "empty")
        yield case(name, (2, 3), "int8").but(unset=name == "empty")
        yield case(name, shape=(2, 3), dtype=Dt("complex64"), order="F").but(unset=name == "empty")
        yield case(name, -1)
        yield case(name, 2.5)
        yield case(name, (2, 3), dtype="no such type")
        yield case(name)
        like = f"{name}_like"
        for given in (_X, arr(3, 4, layout="F"), arr(), [1, 2], 3.5, arr(0, dtype="int8")):
            yield case(like, given).but(unset=name == "empty")
        yield case(like, _X, dtype="int8", order="F").but(unset=name == "empty")
        yield case(like, _X, shape=(5,)).but(unset=name == "empty")
        yield case(like, _X, subok=False).but(unset=name == "empty")
        yield case(like)
    yield case("full", (2, 3), 7)
    yield case("full", 3, 2.5, dtype="int64")
    yield case("full", (2, 3), arr(3))
    yield case("full", (2, 3), [1, 2])
    yield case("full", (2, 3), arr())
    yield case("full", shape=2, fill_value=True)
    yield case("full_like", _X, 2.5)
    yield case("full_like", arr(3, dtype="int64"), 2.5)
    yield case("full_like", _X, arr(4))
    yield case("full_like", _X, arr(5))
    yield case("full_like", _X, 1, dtype="float32", shape=(2, 2))
    for name in ("eye", "tri"):
        yield case(name, 3)
        yield case(name, 3, 4)
        yield case(name, 3, 4, -1)
        yield case(name, 3, k=1, dtype="int8")
        yield case(name, -2)
        yield case(name, 2.5)
    yield case("identity", 3)
    yield case("identity", 2, dtype="complex64")
    yield case("identity", 0)
    yield case("indices", (2, 3))
    yield case("indices", (2, 3), dtype="int8", sparse=True)
    yield case("indices", 3)


def _spaced() -> Iterator[Case]:
    yield case("arange", 5)
    yield case("arange", 1, 10, 3)
    yield case("arange", 0.5, 2.0, 0.25)
    yield case("arange", 3, dtype="float32")
    yield case("arange", 5, 1)
    yield case("arange", start=1, stop=3)
    yield case("arange", 0, 1, 0)
    yield case("arange", arr(dtype="int64"))
    yield case("arange", "a")
    yield case("arange")
    for name in ("linspace", "logspace", "geomspace"):
        yield case(name, 1.0, 2.0)
        yield case(name, 1, 10, 7)
        yield case(name, 1.0, 2.0, num=5, endpoint=False)
        yield case(name, 1.0, 2.0, num=0)
        yield case(name, 1.0, 2.0, num=1)
        yield case(name, 1.0, 2.0, num=-1)
        yield case(name, 1.0, 2.0, num=2.5)
        yield case(name, 1.0, 2.0, 5, dtype="float32")
        yield case(name, arr(3, fill="positive"), arr(3, fill="positive", seed=1), 4)
        yield case(name, arr(3, fill="positive"), 2.0, num=4, axis=-1)
        yield case(name, arr(3, fill="positive"), arr(2, fill="positive"), 4)
        yield case(name, [1.0, 2.0], [3.0, 4.0], 3, axis=1)
        yield case(name, [1.0, 2.0], [3.0, 4.0], 3, axis=5)
    yield case("linspace", 0, 1, 5, retstep=True)
    yield case("linspace", 0, 10, 5, dtype="int64")
    yield case("linspace", 1j, 2, 3)
    yield case("logspace", 0, 3, 4, base=2.0)
    yield case("logspace", 0, 3, 4, base=arr(2, fill="positive"))
    yield case("geomspace", 0, 1)
    yield case("geomspace", 1, 0)
    yield case("geomspace", -1, -8, 4)
    for name in ("bartlett", "blackman", "hamming", "hanning"):
        for size in (0, 1, 2, 5, 8, -3, 2.5, Sc("int64", 4)):
            yield case(name, size)
        yield case(name, M=6)
        yield case(name, "x")
    for size in (0, 1, 5, -3):
        yield case("kaiser", size, 14.0)
    yield case("kaiser", 4, beta=2)
    yield case("kaiser", 4)


def _grids() -> Iterator[Case]:
    x, y = arr(3, fill="index", dtype="int64"), arr(2)
    yield case("meshgrid", x, y)
    yield case("meshgrid", x, y, indexing="ij", sparse=True)
    yield case("meshgrid", x, y, copy=False)
    yield case("meshgrid", [1, 2], [3.0])
    yield case("meshgrid", x, y, indexing="zz")
    yield case("meshgrid")
    yield case("ix_", x, y)
    yield case("ix_", L([0, 2]), L([True, False, True]))
    yield case("ix_", [0, 1], [1, 2])
    yield case("ix_", arr(2, 2))
    yield case("diag_indices", 3)
    yield case("diag_indices", 3, ndim=3)
    yield case("diag_indices_from", arr(3, 3))
    yield case("diag_indices_from", arr(3, 4))
    yield case("diag_indices_from", arr(3))
    for name in ("tril_indices", "triu_indices"):
        yield case(name, 3)
        yield case(name, 3, 1, 4)
        yield case(name, n=2, k=-1)
        yield case(f"{name}_from", arr(3, 4))
        yield case(f"{name}_from", arr(3, 3), k=1)
        yield case(f"{name}_from", arr(3))
        yield case(name[:4], _X)
        yield case(name[:4], _X, k=1)
        yield case(name[:4], arr(2, 3, 3), -1)
        yield case(name[:4], arr(3))
        yield case(name[:4], [[1, 2], [3, 4]])
        yield case(name[:4], arr(0, 0))
        yield case(name[:4], arr(3, 3, fill="odd"))
    yield case("mask_indices", 3, Fn("triu"))
    yield case("mask_indices", 3, Fn("triu"), 1)
    yield case("mask_indices", 3, Fn("failing")).but(started=True)
    yield case("vander", arr(4))
    yield case("vander", arr(4, dtype="int64"), 3)
    yield case("vander", arr(3), N=3, increasing=True)
    yield case("vander", [1, 2, 3])
    yield case("vander", arr(2, 2))
    yield case("vander", arr(3), 0)
    yield case("vander", arr(0))
    yield case("diag", arr(3))
    yield case("diag", arr(3), k=1)
    yield case("diag", _X)
    yield case("diag", _X, -1)
    yield case("diag", arr(2, 2, 2))
    yield case("diag", [1, 2])
    yield case("diagflat", arr(2, 2))
    yield case("diagflat", [1, 2], k=-1)
    yield case("require", _X)


def cases() -> Iterator[Case]:
    """Return every case of this file."""
    yield from _conversions()
    yield from _filled()
    yield from _spaced()
    yield from _grids()
