"""``array``, ``asarray`` and their like in client mode: contents go as bytes, not by number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from shm_echo.mechestim.remote import functions, session
from shm_echo.mechestim.remote.arena import LEAST
from shm_echo.mechestim.remote.values import from_buffer, from_list


def maker(name: str) -> Callable[..., Any]:
    """The function of operation ``name``, whose first argument is what an array is made of."""

    def function(*args: Any, **kwargs: Any) -> Any:
        if args and kwargs.get("copy") is not False:  # NumPy then refuses what is no array
            first = args[0]
            typed = from_list(first) if isinstance(first, (list, tuple)) else from_buffer(first)
            if typed is not None:
                large = typed.nbytes >= LEAST
                args = (session.array_of(typed) if large else typed, *args[1:])
                if large and name == "array" and len(args) == 1 and not kwargs:
                    return args[0]  # it is new already
        return session.call(name, *args, **kwargs)

    return functions.labelled(function, name)
