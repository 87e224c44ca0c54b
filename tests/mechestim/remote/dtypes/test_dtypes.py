"""The client's dtypes have the attributes and messages of NumPy's, and travel both ways."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from shm_echo.mechestim.remote.dtypes import dtypes
from shm_echo.mechestim.service.objects.value_codec import describe_dtype, dtype_from_description

SPECS: list[Any] = [
    *"?bhilBHILefdgFDG",
    *("f4", ">f4", "<i8", ">i2", "=f8", "|b1", "S5", "U7", ">U7", "V3", "S", "U", "V", "int_"),
    *("M8", "M8[D]", "m8[ns]", ">M8[s]", "M8[25s]", "datetime64[us]", "timedelta64", "float128"),
    *("float", "int", "complex", "bool", "str", "bytes", "void", "longdouble", "uint", "object"),
    *(float, int, bool, complex, str, bytes, object, None),
    *("f4,i8", "3f4", "(2,3)i4", ("f4", (2,)), ("f4", 3), [("a", "f4"), ("b", "i8")]),
    [("a", ">f4"), ("b", "S3")],
    [("a", "f4", (2, 3))],
    [("a", [("b", "?"), ("c", "M8[s]")]), ("d", "3u1")],
    {"names": ["x", "y"], "formats": ["f4", "i2"]},
    [],
    {},
]
ATTRIBUTES = (
    *("name", "kind", "char", "str", "itemsize", "byteorder", "names", "alignment", "isnative"),
    *("isbuiltin", "hasobject", "num", "descr", "shape", "ndim", "isalignedstruct", "metadata"),
    "flags",
)


def text(value: Any) -> Any:
    """Return a dtype, or a container of dtypes, as text."""
    if isinstance(value, (tuple, list)):
        return [text(item) for item in value]
    if hasattr(value, "items"):
        return {key: text(item) for key, item in value.items()}
    return value if isinstance(value, int) or value is None else str(value)


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_a_dtype_has_the_attributes_of_numpys(spec: Any) -> None:
    theirs, ours = np.dtype(spec), dtypes.dtype(spec)
    for name in ATTRIBUTES:
        assert getattr(ours, name) == getattr(theirs, name), name
    for name in ("base", "fields", "subdtype"):
        assert text(getattr(ours, name)) == text(getattr(theirs, name)), name
    assert ours.type.__name__ == theirs.type.__name__
    assert (repr(ours), str(ours), len(ours)) == (repr(theirs), str(theirs), len(theirs))
    for order in "S<>=|":
        assert str(ours.newbyteorder(order)) == str(theirs.newbyteorder(order))
    assert ours == theirs
    assert ours == dtypes.dtype(theirs)
    assert hash(ours) == hash(dtypes.dtype(spec))
    assert pickle.loads(pickle.dumps(ours)) == ours


@pytest.mark.parametrize("spec", [one for one in SPECS if one not in ("object", object)], ids=str)
def test_a_dtype_travels_both_ways(spec: Any) -> None:
    assert dtype_from_description(dtypes.dtype(spec).description) == np.dtype(spec)
    assert dtypes.from_description(describe_dtype(np.dtype(spec))) == dtypes.dtype(spec)


@pytest.mark.parametrize(
    "spec", ["nonsense", "f3", "i16", "c4", 7, 1.5, "float32_", [("a", "f4"), ("a", "f4")]]
)
def test_an_invalid_dtype_raises_numpys_error(spec: Any) -> None:
    with pytest.raises((TypeError, ValueError)) as theirs:
        np.dtype(spec)
    with pytest.raises(theirs.type) as ours:
        dtypes.dtype(spec)
    assert str(ours.value) == str(theirs.value)
