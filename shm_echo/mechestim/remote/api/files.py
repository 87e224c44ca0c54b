"""Operations on what belongs to this process: its files and objects. The server never sees their
names."""

from __future__ import annotations

import os
import re
from typing import Any

from shm_echo.mechestim.remote import client_session
from shm_echo.mechestim.remote.arrays.array import RemoteArray
from shm_echo.mechestim.remote.dtypes import dtypes


def fromfile(
    file: Any,
    dtype: Any = float,
    count: int = -1,
    sep: str = "",
    offset: int = 0,
    *,
    like: Any = None,
) -> Any:
    """An array of what a file of this process holds, as ``numpy.fromfile``."""
    if hasattr(file, "read"):
        content = file.read()
    else:
        with open(os.fspath(file), "rb") as stream:
            content = stream.read()
    content = content[offset:]
    if sep:
        text = content if isinstance(content, str) else content.decode("latin-1")
        return client_session.call("fromstring", text, dtype=dtype, count=count, sep=sep)
    return client_session.call(
        "copy", client_session.call("frombuffer", content, dtype=dtype, count=count)
    )


def fromregex(file: Any, regexp: Any, dtype: Any, encoding: Any = None) -> Any:
    """An array of what a pattern finds in a text file of this process, as ``numpy.fromregex``."""
    kind = dtypes.dtype(dtype)
    if hasattr(file, "read"):
        content = file.read()
    else:
        with open(os.fspath(file), encoding=encoding) as stream:
            content = stream.read()
    if kind.names is None:
        raise TypeError("dtype must be a structured datatype.")
    if isinstance(content, bytes) and isinstance(regexp, str):
        regexp = regexp.encode("latin-1")
    found = re.compile(regexp).findall(content)
    if found and not isinstance(found[0], tuple):  # one group: the first field, seen as the record
        return client_session.call(
            "ndarray.view", client_session.call("array", found, dtype=kind[0]), kind
        )
    return client_session.call("array", found, dtype=kind)


def from_dlpack(x: Any, /, *, device: Any = None, copy: Any = None) -> Any:
    """An array of what ``x`` holds: copied, through the buffer protocol."""
    if isinstance(x, RemoteArray):
        return client_session.call("ndarray.view", x)
    if not hasattr(x, "__dlpack__"):
        raise AttributeError(f"{type(x).__name__!r} object has no attribute '__dlpack__'")
    return client_session.call("array", memoryview(x))
