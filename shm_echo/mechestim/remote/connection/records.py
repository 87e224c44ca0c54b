"""Results that are not arrays: named tuples, records of costs, and objects that stay on the server.

The server describes a record by the name of its class. The classes that this process has, too, are
the ones listed here; any other name makes a named tuple.
"""

from __future__ import annotations

from collections import namedtuple
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import ref

from shm_echo.copying import Uncopyable

if TYPE_CHECKING:
    from shm_echo.mechestim.remote.connection.requester import Requester

_T = TypeVar("_T", bound="RemoteObject")

_named_tuples: dict[tuple[str, tuple[str, ...]], type] = {}


def make_record(name: str, fields: list[str], values: list[Any]) -> Any:
    """Return the record that the server described: of a class of ours, or a named tuple."""
    cls = _record_class(name)
    if cls is not None:
        return cls(**dict(zip(fields, values, strict=True)))
    key = (name, tuple(fields))
    named_tuple = _named_tuples.get(key)
    if named_tuple is None:
        named_tuple = _named_tuples[key] = namedtuple(name, fields)
    return named_tuple(*values)


def _record_class(name: str) -> Any:
    # Each is imported when a record of it arrives: most programs receive none.
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
    if name in ("date", "datetime", "timedelta"):  # elements of datetime64 and timedelta64
        import datetime

        return getattr(datetime, name)
    return None


class RemoteObject(Uncopyable):
    """The stand-in for an object of the server that is not an array, such as a generator."""

    __slots__ = ("__weakref__", "channel", "handle")
    _copying_advice = "the object is on the server; make another one there"

    channel: Requester
    handle: int

    def __del__(self) -> None:
        try:
            self.channel.free(self.handle, 0)
        except AttributeError:  # an exception interrupted the making of the object
            return


def make_stand_in(cls: type[_T], channel: Requester, handle: int) -> _T:
    """Return a new stand-in of class `cls` for the object with this handle.

    It goes past `__new__` and `__init__`: calling such a class asks the server for a new object.
    """
    stand_in = object.__new__(cls)
    stand_in.channel = channel
    stand_in.handle = handle
    channel.live[handle] = ref(stand_in)
    return stand_in
