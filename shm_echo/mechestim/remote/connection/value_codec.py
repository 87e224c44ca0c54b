"""Values of the client on the wire: arrays are handles, functions are numbers, scalars are
themselves."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import msgpack

from shm_echo.errors import ConnectionClosedError
from shm_echo.mechestim import wire
from shm_echo.mechestim.errors import NO_OBJECTS, NotSendableError
from shm_echo.mechestim.remote.connection import records
from shm_echo.mechestim.remote.connection.arena import LEAST
from shm_echo.mechestim.remote.dtypes import dtypes
from shm_echo.mechestim.wire import Wire

if TYPE_CHECKING:
    from shm_echo.mechestim.remote.connection.channel import Channel


class Typed:
    """The contents of an array that is to be made: dtype, shape and bytes in C order."""

    __slots__ = ("content", "dtype", "shape")

    def __init__(
        self, dtype: Any, shape: tuple[int, ...], content: bytes | memoryview | array[Any]
    ) -> None:
        self.dtype = dtype
        self.shape = shape
        self.content = content

    @property
    def nbytes(self) -> int:
        """Bytes of the contents."""
        return memoryview(self.content).nbytes


class ClientValueCodec:
    """Packs arguments and unpacks results of one session."""

    def __init__(self, channel: Channel) -> None:
        from shm_echo.mechestim.remote.arrays.array import made, scalar  # which needs a session

        self._made, self._scalar_of = made, scalar
        self._channel = channel
        self._wire = Wire(
            self._pack,
            {
                wire.ARRAY: self._array,
                wire.SCALAR: self._scalar,
                wire.DTYPE: lambda data: dtypes.from_description(self._wire.unpack(data)),
                wire.SCALAR_TYPE: lambda data: dtypes.scalar_type(self._wire.unpack(data)),
                wire.RECORD: lambda data: records.rebuilt(*self._wire.unpack(data)),
                wire.OBJECT: self._object,
            },
            wire.ANSWERS,
        )
        self.pack = self._wire.pack
        self.unpack = self._wire.unpack
        self._callbacks: dict[int, Callable[..., Any]] = {}
        self._last_callback = 0
        self._sent: list[int] = []  # callbacks in the message that is being packed

    # Out

    def pack_message(self, message: dict[str, Any]) -> tuple[bytes, list[int]]:
        """The bytes of a message, and the numbers of the functions that went into it."""
        sent: list[int] = []
        self._sent = sent
        try:
            return self.pack(message), sent
        except BaseException:
            self.drop_callbacks(sent)
            raise

    def ext_of(self, value: Any) -> Any:
        """The form of an array in a message; the array keeps it."""
        value.ext = found = self._pack(value)
        return found

    def _pack(self, value: Any) -> Any:
        from shm_echo.mechestim.remote.arrays.array import RemoteArray

        if isinstance(value, (RemoteArray, records.RemoteObject)):
            if isinstance(value, RemoteArray) and value.handle is None:
                return msgpack.ExtType(
                    wire.SCALAR, self._wire.pack_nested([value.dtype.str, value.item()])
                )
            if value.channel is not self._channel:
                why = value.channel.why_closed or "another one is used now"
                raise ConnectionClosedError(
                    f"this array belongs to another session, and does not exist in this one: {why}"
                )
            return wire.handle_ext(value.handle)  # type: ignore[arg-type]
        if isinstance(value, Typed):
            content = [value.dtype, list(value.shape), bytes(value.content)]
            return msgpack.ExtType(wire.NDARRAY, self._wire.pack_nested(content))
        if isinstance(value, dtypes.dtype):
            return msgpack.ExtType(wire.DTYPE, self._wire.pack_nested(value.described))
        if isinstance(value, type):
            name = dtypes.name_of_type(value)
            if name is None:
                raise NotSendableError(f"{value!r} cannot be sent to the server")
            return msgpack.ExtType(wire.SCALAR_TYPE, self._wire.pack_nested(name))
        typed = from_buffer(value)
        if typed is not None:
            return self._pack(typed)
        if dtypes.is_numpys(value):
            return self._pack(dtypes.dtype(value))
        if callable(value):
            self._last_callback += 1
            self._callbacks[self._last_callback] = value
            self._sent.append(self._last_callback)
            return wire.callback_ext(self._last_callback)
        return None

    # In

    def _array(self, data: bytes) -> Any:
        number, dtype, shape, axes, is_scalar = msgpack.unpackb(data)
        return self._made(self._channel, number, _dtype(dtype), tuple(shape), axes, is_scalar)

    def _scalar(self, data: bytes) -> Any:
        dtype, value = msgpack.unpackb(data, ext_hook=self._wire.ext)
        return self._scalar_of(self._channel, _dtype(dtype), value)

    def _object(self, data: bytes) -> Any:
        number, name = self._wire.unpack(data)
        return records.remote_object(self._channel, number, name)

    # Functions of ours that the server may call while a request runs

    def callback(self, number: Any) -> Callable[..., Any]:
        """The function with this number."""
        return self._callbacks[number]

    def drop_callbacks(self, numbers: Iterable[int]) -> None:
        """Forget functions."""
        for number in numbers:
            self._callbacks.pop(number, None)


_dtypes: dict[str, dtypes.dtype] = {}


def _dtype(described: Any) -> dtypes.dtype:
    if type(described) is not str:
        return dtypes.from_description(described)
    found = _dtypes.get(described)
    if found is None:
        found = dtypes.dtype(described)
        if len(_dtypes) < 1000:
            _dtypes[described] = found
    return found


_FORMATS = {
    "?": "|b1",
    "b": "|i1",
    "B": "|u1",
    "h": "<i2",
    "H": "<u2",
    "i": "<i4",
    "I": "<u4",
    "l": "<i8",
    "L": "<u8",
    "q": "<i8",
    "Q": "<u8",
    "e": "<f2",
    "f": "<f4",
    "d": "<f8",
    "Zf": "<c8",
    "Zd": "<c16",
}


def from_buffer(value: Any) -> Typed | None:
    """What an ``array.array``, a typed ``memoryview`` or a NumPy array holds; None for others."""
    if isinstance(value, (bytes, bytearray, str)):
        return None
    try:
        view = memoryview(value)
    except TypeError:
        return None
    except ValueError:  # NumPy's dates have no format
        return _from_numpy(value)
    dtype = _FORMATS.get(view.format)
    if dtype is None:
        if hasattr(value, "__array_interface__"):
            return _from_numpy(value)
        raise NotSendableError(f"a buffer of format {view.format!r} cannot be sent to the server")
    if not view.c_contiguous:
        return Typed(dtype, view.shape or (), view.tobytes())
    return Typed(dtype, view.shape or (), view if view.nbytes >= LEAST else bytes(view))


def _from_numpy(value: Any) -> Typed:
    dtype = dtypes.dtype(value.dtype)
    if dtype.hasobject:
        raise NotSendableError(NO_OBJECTS)
    return Typed(dtype.described, value.shape, value.tobytes())


def from_list(value: Any) -> Typed | None:
    """A nested list of numbers of one kind as bytes; None when it is anything else.

    What NumPy would make of it is what comes out: floats (and ints among them) are float64, ints
    alone int64 where they fit, bools alone bool.
    """
    shape: list[int] = []
    flat = value
    level = value
    while isinstance(level, (list, tuple)):
        shape.append(len(level))
        if not level:
            return None
        level = level[0]
    for _ in range(len(shape) - 1):
        lengths = set(map(type, flat))
        if not lengths <= {list, tuple}:
            return None
        inner = len(flat[0])
        if any(len(item) != inner for item in flat):
            return None
        flat = [item for row in flat for item in row]
    kinds = set(map(type, flat))
    try:
        if kinds == {float} or kinds == {int, float}:
            return Typed("<f8", tuple(shape), array("d", flat))
        if kinds == {int}:
            return Typed("<i8", tuple(shape), array("q", flat))
        if kinds == {bool}:
            return Typed("|b1", tuple(shape), bytes(flat))
    except OverflowError:
        return None
    return None
