"""Cases of writing into arrays, by index, by mask and whole."""

from __future__ import annotations

from collections.abc import Iterator

from tests.mechestim.parity.specs import Case, L, Same, Sc, arr, case

_X = arr(3, 4)
_INDEX = arr(5, fill="index", dtype="int64")
_MASK = arr(3, 4, dtype="bool")


def _indexed() -> Iterator[Case]:
    name = "ndarray.__setitem__"
    for key in (
        0,
        -1,
        (1, 2),
        slice(None),
        slice(1, None, 2),
        (slice(None), 1),
        Ellipsis,
        None,
        (Ellipsis, 0),
        (None, 1),
        (),
        Sc("int64", 1),
        [0, 2],
        _INDEX,
        (_INDEX, 0),
        (_INDEX, arr(5, fill="index", dtype="int64", seed=2)),
        (slice(None), _INDEX),
        _MASK,
        L([True, False, True]),
        [True, False, True],
        (slice(None), L([True, False, True, False])),
        (L([True, False, True]), slice(1, 3)),
        (L([True, False, True]), 1),
        True,
        False,
        arr(0, dtype="int64"),
        (0, slice(0, 0)),
    ):
        yield case(name, _X, key, 2.5)
    for key in (
        5,
        (1, 2, 3),
        [0, 9],
        "text",
        1.5,
        L([True, False]),
        arr(3, 5, dtype="bool"),
        {},
        (0, "x"),
    ):
        yield case(name, _X, key, 2.5)
    for value in (
        arr(4),
        arr(3, 1),
        arr(3, 4, dtype="int8"),
        arr(5),
        [1, 2, 3, 4],
        [1.0, 2.0],
        "text",
        None,
        1j,
        arr(2, 3, 4),
        arr(1, 3, 4),
    ):
        yield case(name, _X, slice(None), value)
    yield case(name, _X, _MASK, arr(8))
    yield case(name, _X, _MASK, arr(3))
    yield case(name, _X, _MASK, arr())
    yield case(name, arr(3, dtype="int8"), 0, 300)
    yield case(name, arr(3, dtype="int64"), 1, 2.9)
    yield case(name, arr(), (), 3.0)
    yield case(name, arr(), Ellipsis, 3.0)
    yield case(name, arr(), 0, 3.0)
    yield case(name, arr(4, layout="broadcast"), 0, 1.0)
    yield case(name, arr(3, 4, layout="reversed"), (slice(None), 0), arr(3))
    yield case(name, arr(3, 4, layout="F"), 1, arr(4, dtype="float32"))
    yield case(name, arr(4), slice(1, None), Same(0))
    yield case(name, _X, L([2, 0]), arr(2, 4, dtype="complex64"))
    yield case(name, arr(0), slice(None), 1.0)
    for value in (1.5, 2, arr(), Sc("int8", 3), [1], arr(2), "x", None):
        yield case("ndarray.fill", _X, value)
    yield case("ndarray.fill", arr(3, dtype="int8"), 300)
    yield case("ndarray.fill", arr(3, layout="broadcast"), 1.0)
    yield case("ndarray.fill", arr(0), 1.0)


def _functions() -> Iterator[Case]:
    yield case("copyto", _X, arr(3, 4, seed=1))
    yield case("copyto", _X, 2.0)
    yield case("copyto", _X, arr(4), where=_MASK)
    yield case("copyto", _X, arr(5))
    yield case("copyto", arr(3, dtype="int8"), arr(3))
    yield case("copyto", arr(3, dtype="int8"), arr(3), casting="unsafe")
    yield case("copyto", _X, arr(3, 4, seed=1), where=arr(5, dtype="bool"))
    yield case("copyto", dst=_X, src=1.0)
    yield case("copyto", arr(3, layout="broadcast"), 1.0)
    yield case("put", _X, [0, 5], 1.0)
    yield case("put", _X, _INDEX, arr(2))
    yield case("put", _X, 3, -1.0)
    yield case("put", _X, [0, 99], 1.0)
    yield case("put", _X, L([0, 99]), 1.0).but(started=True)
    yield case("put", _X, [0, 99], 1.0, mode="clip")
    yield case("put", _X, [0, 99], [1.0, 2.0], "wrap")
    yield case("put", a=_X, ind=[0], v=1.0)
    yield case("put", _X, [0.5], 1.0)
    yield case("put", arr(3, layout="broadcast"), [0], 1.0)
    yield case("place", _X, _MASK, [1.0, 2.0])
    yield case("place", _X, arr(3, 4, fill="few"), arr(2))
    yield case("place", _X, arr(5, dtype="bool"), [1.0])
    yield case("place", _X, _MASK, [])
    yield case("place", arr=_X, mask=_MASK, vals=[1.0])
    yield case("putmask", _X, _MASK, -1.0)
    yield case("putmask", _X, _MASK, arr(12))
    yield case("putmask", _X, arr(5, dtype="bool"), 1.0)
    yield case("putmask", a=_X, mask=_MASK, values=[1.0, 2.0])
    along = arr(3, 2, fill="index", dtype="int64")
    yield case("put_along_axis", _X, along, 1.0, 1)
    yield case("put_along_axis", _X, along, arr(3, 2), axis=1)
    yield case("put_along_axis", _X, arr(3, fill="index", dtype="int64"), 1.0, None)
    yield case("put_along_axis", _X, arr(2, fill="index", dtype="int64"), 1.0, 1)
    yield case("put_along_axis", _X, arr(3, 2), 1.0, 1)
    yield case("fill_diagonal", arr(3, 3), 1.0)
    yield case("fill_diagonal", arr(5, 3), [1.0, 2.0, 3.0], wrap=True)
    yield case("fill_diagonal", arr(3, 3, 3), 2.0)
    yield case("fill_diagonal", arr(3), 1.0)
    yield case("fill_diagonal", arr(2, 3, 4), 1.0)
    yield case("fill_diagonal", a=arr(3, 3), val=arr(3))


def cases() -> Iterator[Case]:
    """Return every case of this file."""
    yield from _indexed()
    yield from _functions()
