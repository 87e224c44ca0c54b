"""Operations on what belongs to this process: its files and objects. The server never sees their
names."""

from __future__ import annotations

import os
from typing import Any

from shm_echo.mechestim.errors import UnsupportedFunctionError
from shm_echo.mechestim.remote import session
from shm_echo.mechestim.remote.array import RemoteArray


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
        return session.call("fromstring", text, dtype=dtype, count=count, sep=sep)
    return session.call("copy", session.call("frombuffer", content, dtype=dtype, count=count))


def fromregex(*args: Any, **kwargs: Any) -> Any:
    """Not to be had from a server."""
    raise UnsupportedFunctionError(
        "fromregex",
        "a server cannot read the files of this process; parse the text with `re` and give the "
        "numbers to mechestim.array",
    )


def from_dlpack(x: Any, /, **kwargs: Any) -> Any:
    """An array of what ``x`` shares: copied, through the buffer protocol."""
    if isinstance(x, RemoteArray):
        return session.call("ndarray.view", x)
    if not hasattr(x, "__dlpack__"):
        raise AttributeError(f"{type(x).__name__!r} object has no attribute '__dlpack__'")
    return session.call("array", memoryview(x))
