"""Functions made of Python functions: ``vectorize`` and ``frompyfunc`` of client mode.

The object lives on the server and calls back into this process; the function stays known to the
session for as long as the object does.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from shm_echo.mechestim.remote import client_session
from shm_echo.mechestim.remote.connection.records import RemoteObject, register

if TYPE_CHECKING:
    from shm_echo.mechestim.remote.connection.channel import Channel


_ABSENT: Any = object()


class _Function(RemoteObject):
    """An object of the server that calls a function of this process."""

    __slots__ = ("callbacks",)

    callbacks: list[int]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return client_session.call("object.call", self, *args, **kwargs)

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError):  # it was never completed
            self.channel.values.drop_callbacks(self.callbacks)
        super().__del__()


class vectorize(_Function):
    """``numpy.vectorize``: costs what the function inside costs."""

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
        """Made by the server."""
        options = {"otypes": otypes, "doc": doc, "excluded": excluded, "signature": signature}
        given: dict[str, Any] = {key: one for key, one in options.items() if one is not None}
        if cache is not False:
            given["cache"] = cache
        return _made("vectorize", () if pyfunc is _ABSENT else (pyfunc,), given)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Made by the server; see ``__new__``."""


class PythonUfunc(_Function):
    """What ``frompyfunc`` makes."""

    __slots__ = ()


def frompyfunc(*args: Any, **kwargs: Any) -> Any:
    """``numpy.frompyfunc``: costs what the function inside costs."""
    return _made("frompyfunc", args, kwargs)


def _made(op: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return client_session.call(op, *args, **kwargs)


def _maker(cls: Any) -> Callable[[Channel, int], RemoteObject]:
    def make(channel: Channel, handle: int) -> RemoteObject:
        found: RemoteObject = object.__new__(cls)
        RemoteObject.__init__(found, channel, handle)
        return found

    return make


register("vectorize", _maker(vectorize))
register("PythonUfunc", _maker(PythonUfunc))
