"""The names of dtypes: what ``"f4"``, ``float``, ``"datetime64[s]"`` and the like stand for.

Every dtype that has no parts has one text, such as ``"<f4"``, which is also what is sent for it.
"""

from __future__ import annotations

import re
from typing import Any

from shm_echo.mechestim.remote.dtypes.scalar_types import ALIASES, NUMBERS, OTHERS, name_of_type

BY_STR = {
    f"{'|' if size == 1 else '<'}{kind}{size}": (name, kind, size, char)
    for name, kind, size, char in NUMBERS
}
_STR_OF_NAME = {row[0]: text for text, row in BY_STR.items()}
_SHORT = {"str": "<U0", "bytes": "|S0", "object": "|O", "O": "|O", "object_": "|O"}
_FLEXIBLE = re.compile(r"[USV]\d*")
_TIME = re.compile(r"(M8|m8|datetime64|timedelta64)((?:\[\w+(?:/\d+)?\])?)")


def text_of(spec: Any) -> Any:
    """The text of a dtype that has no parts; None of others."""
    if spec is None:
        return _STR_OF_NAME["float64"]
    if isinstance(spec, type):
        if spec in (str, bytes, object):
            return _SHORT[spec.__name__]
        spec = name_of_type(spec)
        if spec is None:
            return "|O"
    if not isinstance(spec, str):
        return None
    order, rest = ("", spec) if spec[:1] not in ("<", ">", "=", "|") else (spec[0], spec[1:])
    name = ALIASES.get(rest, rest)
    text = _STR_OF_NAME.get(name) or OTHERS.get(name) or _SHORT.get(name)
    if text is None:
        if _FLEXIBLE.fullmatch(rest):
            text = ("<" if rest[0] == "U" else "|") + rest[0] + (rest[1:] or "0")
        else:
            time = _TIME.fullmatch(rest)
            if time is None:
                return None
            text = f"<{'m' if time[1][0] in 'mt' else 'M'}8{time[2]}"
    return ">" + text[1:] if order == ">" and text[0] == "<" else text
