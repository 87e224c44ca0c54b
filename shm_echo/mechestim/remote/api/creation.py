"""``array``, ``asarray`` and their like in client mode: contents go as bytes, not by number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from shm_echo.mechestim.remote import client_session
from shm_echo.mechestim.remote.api import functions
from shm_echo.mechestim.remote.connection.arena import LEAST
from shm_echo.mechestim.remote.connection.value_codec import from_buffer, from_list


def maker(name: str) -> Callable[..., Any]:
    """The function of operation ``name``, whose first argument is what an array is made of."""

    def function(*args: Any, **kwargs: Any) -> Any:
        if args and kwargs.get("copy") is not False:  # NumPy then refuses what is no array
            first = args[0]
            typed = from_list(first) if isinstance(first, (list, tuple)) else from_buffer(first)
            if typed is not None:
                large = typed.nbytes >= LEAST
                args = (client_session.array_of(typed) if large else typed, *args[1:])
                if large and name == "array" and len(args) == 1 and not kwargs:
                    return args[0]  # it is new already
        return client_session.call(name, *args, **kwargs)

    return functions.labelled(function, name)
