"""Operations on files and objects of this process. The server never learns the names of files."""

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
    """Make an array of the contents of a file of this process, as `numpy.fromfile`."""
    if hasattr(file, "read"):
        content = file.read()
    else:
        with open(os.fspath(file), "rb") as stream:
            content = stream.read()
    content = content[offset:]
    if sep:
        text = content if isinstance(content, str) else content.decode("latin-1")
        return client_session.call("fromstring", text, dtype=dtype, count=count, sep=sep)
    # frombuffer makes a read-only view of the message; fromfile makes an array of its own.
    view = client_session.call("frombuffer", content, dtype=dtype, count=count)
    return client_session.call("copy", view)


def fromregex(file: Any, regexp: Any, dtype: Any, encoding: Any = None) -> Any:
    """Make an array of a pattern's matches in a text file, as `numpy.fromregex`."""
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
    matches = re.compile(regexp).findall(content)
    if matches and not isinstance(matches[0], tuple):
        # A pattern with one group finds texts: values of the record's only field.
        values = client_session.call("array", matches, dtype=kind[0])
        return client_session.call("ndarray.view", values, kind)
    return client_session.call("array", matches, dtype=kind)


def from_dlpack(x: Any, /, *, device: Any = None, copy: Any = None) -> Any:
    """Make an array of the contents of `x`: a copy, through the buffer protocol."""
    if isinstance(x, RemoteArray):
        return client_session.call("ndarray.view", x)
    if not hasattr(x, "__dlpack__"):
        raise AttributeError(f"{type(x).__name__!r} object has no attribute '__dlpack__'")
    return client_session.call("array", memoryview(x))
