"""Arrays in the server's replies: the one that this process has already, or a new one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import ref

from shm_echo.mechestim.remote.arrays.array import RemoteArray, RemoteScalar

if TYPE_CHECKING:
    from shm_echo.mechestim.remote.connection.channel import Channel
    from shm_echo.mechestim.remote.dtypes import dtypes


def make_array(
    channel: Channel,
    handle: int,
    dtype: dtypes.dtype,
    shape: tuple[int, ...],
    axes: Any,
    is_scalar: bool,
) -> RemoteArray:
    """Return the array with this handle, up to date: the live one, or a new one."""
    found: Any = channel.object(handle)
    if found is None:
        plain = RemoteScalar if is_scalar else RemoteArray
        cls = plain if axes is None else _symmetric_tensor()
        found = cls.__new__(cls)
        found.channel = channel
        found.handle = handle
        found.ext = None
        channel.live[handle] = ref(found)
    # An operation may have changed them in place.
    found.dtype = dtype
    found._shape = shape
    array: RemoteArray = found
    return array


def _symmetric_tensor() -> type[RemoteArray]:
    # Imported when the first symmetric array arrives: most programs receive none.
    from shm_echo.mechestim.remote.arrays.symmetric import SymmetricTensor

    return SymmetricTensor
