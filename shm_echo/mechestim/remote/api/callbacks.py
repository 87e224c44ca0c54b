"""`vectorize` and `frompyfunc` of client mode: objects made of Python functions.

The object lives on the server and calls back into this process. The session keeps the function for
as long as the stand-in of the object lives.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from shm_echo.mechestim.remote import client_session
from shm_echo.mechestim.remote.connection.records import RemoteObject

if TYPE_CHECKING:
    from shm_echo.mechestim.remote.connection.channel import Channel

_ABSENT: Any = object()


class _FunctionObject(RemoteObject):
    """An object of the server that calls a function of this process."""

    __slots__ = ("callbacks",)

    channel: Channel
    callbacks: list[int]  # the numbers of the functions; the channel sets them

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return client_session.call("object.call", self, *args, **kwargs)

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError):  # its making was interrupted
            self.channel.values.drop_callbacks(self.callbacks)
        super().__del__()


class vectorize(_FunctionObject):
    """`numpy.vectorize`: costs the operations of the function inside."""

    __slots__ = ()

    def __new__(
        cls,
        pyfunc: Any = _ABSENT,
        otypes: Any = None,
        doc: Any = None,
        excluded: Any = None,
        cache: Any = False,
        signature: Any = None,
    ) -> Any:
        """Ask the server for the object, and return its stand-in."""
        options = {"otypes": otypes, "doc": doc, "excluded": excluded, "signature": signature}
        kwargs: dict[str, Any] = {key: one for key, one in options.items() if one is not None}
        if cache is not False:
            kwargs["cache"] = cache
        args = () if pyfunc is _ABSENT else (pyfunc,)
        return client_session.call("vectorize", *args, **kwargs)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: `__new__` returns a stand-in that is complete."""


class PythonUfunc(_FunctionObject):
    """A ufunc that `frompyfunc` made."""

    __slots__ = ()


def frompyfunc(*args: Any, **kwargs: Any) -> Any:
    """`numpy.frompyfunc`: costs the operations of the function inside."""
    return client_session.call("frompyfunc", *args, **kwargs)


CLASSES: tuple[type[RemoteObject], ...] = (vectorize, PythonUfunc)
