"""`array`, `asarray` and the like in client mode: contents go as bytes, not number by number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from shm_echo.mechestim.remote import client_session
from shm_echo.mechestim.remote.api import functions
from shm_echo.mechestim.remote.connection.arena import MIN_BYTES
from shm_echo.mechestim.remote.connection.packed_array import from_buffer, from_list


def make_function(name: str) -> Callable[..., Any]:
    """Return the function of operation `name`, whose first argument is the contents of an array."""

    def function(*args: Any, **kwargs: Any) -> Any:
        # With copy=False, NumPy rejects lists: the server raises its error.
        if args and kwargs.get("copy") is not False:
            first = args[0]
            packed = from_list(first) if isinstance(first, (list, tuple)) else from_buffer(first)
            if packed is not None:
                large = packed.nbytes >= MIN_BYTES
                args = (client_session.upload(packed) if large else packed, *args[1:])
                if large and name == "array" and len(args) == 1 and not kwargs:
                    return args[0]  # array() would copy the new array
        return client_session.call(name, *args, **kwargs)

    return functions.set_metadata(function, name)
