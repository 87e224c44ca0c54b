"""Reading the names of dtypes: `"f4"`, `float`, `"datetime64[s]"` and the like.

Every dtype without fields or sub-array has one text, such as `"<f4"`, which is also its form in a
message.
"""

from __future__ import annotations

import re
from typing import Any

from shm_echo.mechestim.remote.dtypes.scalar_types import ALIASES, NUMBERS, OTHERS, name_of_type

BY_TEXT = {
    f"{'|' if size == 1 else '<'}{kind}{size}": (name, kind, size, char)
    for name, kind, size, char in NUMBERS
}
_TEXT_OF_NAME = {row[0]: text for text, row in BY_TEXT.items()}
_TEXT_OF_PYTHON_NAME = {"str": "<U0", "bytes": "|S0", "object": "|O", "O": "|O", "object_": "|O"}
_FLEXIBLE = re.compile(r"[USV]\d*")
_TIME = re.compile(r"(M8|m8|datetime64|timedelta64)((?:\[\w+(?:/\d+)?\])?)")


def dtype_text(spec: Any) -> Any:
    """Return the text of a dtype without fields or sub-array; None for any other spec."""
    if spec is None:
        return _TEXT_OF_NAME["float64"]
    if isinstance(spec, type):
        if spec in (str, bytes, object):
            return _TEXT_OF_PYTHON_NAME[spec.__name__]
        spec = name_of_type(spec)
        if spec is None:  # NumPy makes an object dtype of a class that it does not know
            return "|O"
    if not isinstance(spec, str):
        return None
    order, rest = ("", spec) if spec[:1] not in ("<", ">", "=", "|") else (spec[0], spec[1:])
    name = ALIASES.get(rest, rest)
    text = _TEXT_OF_NAME.get(name) or OTHERS.get(name) or _TEXT_OF_PYTHON_NAME.get(name)
    if text is None:
        if _FLEXIBLE.fullmatch(rest):
            text = ("<" if rest[0] == "U" else "|") + rest[0] + (rest[1:] or "0")
        else:
            time = _TIME.fullmatch(rest)
            if time is None:
                return None
            text = f"<{'m' if time[1][0] in 'mt' else 'M'}8{time[2]}"
    # Texts with "|" have no byte order: single bytes and objects.
    return ">" + text[1:] if order == ">" and text[0] == "<" else text


def is_numpy_dtype(value: Any) -> bool:
    """Return True if `value` is a dtype of NumPy, without importing NumPy."""
    return hasattr(value, "newbyteorder") and type(value).__module__.startswith("numpy")


def spec_of(dtype: Any) -> Any:
    """Return a spec from which NumPy and `dtypes.dtype` make dtypes equal to one of the other."""
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return (spec_of(base), shape)
    if dtype.names is not None:
        return [(name, spec_of(dtype[name])) for name in dtype.names]
    return dtype.str
