"""Results that are no arrays: named tuples, records of costs, and objects that live on the
server."""

from __future__ import annotations

import importlib
from collections import namedtuple
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import ref

if TYPE_CHECKING:
    from shm_echo.mechestim.remote.connection.channel import Channel

_tuples: dict[tuple[str, tuple[str, ...]], type] = {}


def rebuilt(name: str, fields: list[str], values: list[Any]) -> Any:
    """The record that the server described: a class of ours, or a named tuple."""
    cls = _known(name)
    if cls is not None:
        return cls(**dict(zip(fields, values, strict=True)))
    key = (name, tuple(fields))
    found = _tuples.get(key)
    if found is None:
        found = _tuples[key] = namedtuple(name, fields)
    return found(*values)


def _known(name: str) -> Any:
    if name in ("PathInfo", "StepInfo"):
        from shm_echo.mechestim.costs.flops import einsum_info

        return getattr(einsum_info, name)
    if name == "SymmetryInfo":
        from shm_echo.mechestim.symmetry.info import SymmetryInfo

        return SymmetryInfo
    if name == "ProductSymmetry":
        from shm_echo.mechestim.symmetry.products import ProductSymmetry

        return ProductSymmetry
    if name == "OpRecord":
        from shm_echo.mechestim.accounting.account import OpRecord

        return OpRecord
    if name in ("date", "datetime", "timedelta"):  # of datetime64 and timedelta64
        import datetime

        return getattr(datetime, name)
    return None


class RemoteObject:
    """An object of the server that is no array: a random generator, a vectorized function."""

    __slots__ = ("__weakref__", "channel", "handle")

    def __init__(self, channel: Channel, handle: int) -> None:
        self.channel = channel
        self.handle = handle
        channel.live[handle] = ref(self)

    def __del__(self) -> None:
        try:
            self.channel.free(self.handle, 0)
        except AttributeError:  # it was never completed
            return


_makers: dict[str, Callable[[Channel, int], RemoteObject]] = {}


def register(name: str, maker: Callable[[Channel, int], RemoteObject]) -> None:
    """Say what stands for the server's objects of class ``name``."""
    _makers[name] = maker


def remote_object(channel: Channel, handle: int, name: str) -> RemoteObject:
    """What stands for an object of the server."""
    found: RemoteObject | None = channel.object(handle)
    if found is not None:
        return found
    importlib.import_module("shm_echo.mechestim.remote.api.random")  # they register their classes
    importlib.import_module("shm_echo.mechestim.remote.api.callbacks")
    return _makers.get(name, RemoteObject)(channel, handle)
