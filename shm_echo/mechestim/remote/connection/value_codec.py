"""Values of the client in messages.

Arrays and other objects of the server are handles, functions of the client are numbers, and
scalars carry their values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import msgpack

from shm_echo.errors import ConnectionClosedError
from shm_echo.mechestim import wire
from shm_echo.mechestim.errors import NotSendableError
from shm_echo.mechestim.remote.connection import packed_array, records
from shm_echo.mechestim.remote.connection.packed_array import PackedArray
from shm_echo.mechestim.remote.dtypes import dtypes
from shm_echo.mechestim.remote.dtypes.dtype_parsing import is_numpy_dtype
from shm_echo.mechestim.wire import Wire

if TYPE_CHECKING:
    from shm_echo.mechestim.remote.connection.requester import Requester

_MAX_CACHED_DTYPES = 1000  # enough for any program but one with texts of many lengths


class ValueFactories(NamedTuple):
    """The upper rooms' classes of values, and functions that make values from a server's answer.

    Attributes:
        array_class: The class of arrays.
        prepacked_classes: The classes of arrays that keep their form in a message, as `ext`.
        make_array: Makes or finds an array, given channel, handle, dtype, shape, symmetric axes or
            None, and whether it is a scalar.
        make_scalar: Makes a 0-d result, given channel, dtype and value.
        object_class: Returns the class of stand-ins for objects of a class of the server.
    """

    array_class: type[Any]
    prepacked_classes: frozenset[type[Any]]
    make_array: Callable[..., Any]
    make_scalar: Callable[..., Any]
    object_class: Callable[[str], type[records.RemoteObject]]


class ClientValueCodec:
    """Packs arguments and unpacks results of one session."""

    def __init__(self, channel: Requester, factories: ValueFactories) -> None:
        self._channel = channel
        self._array_class = factories.array_class
        self._make_array = factories.make_array
        self._make_scalar = factories.make_scalar
        self._object_class = factories.object_class
        self._wire = Wire(
            self._pack,
            {
                wire.ARRAY: self._unpack_array,
                wire.SCALAR: self._unpack_scalar,
                wire.DTYPE: lambda data: dtypes.from_description(self._wire.unpack(data)),
                wire.SCALAR_TYPE: lambda data: dtypes.scalar_type(self._wire.unpack(data)),
                wire.RECORD: lambda data: records.make_record(*self._wire.unpack(data)),
                wire.OBJECT: self._unpack_object,
            },
            wire.ANSWERS,
        )
        self.pack = self._wire.pack
        self.unpack = self._wire.unpack
        self._callbacks: dict[int, Callable[..., Any]] = {}
        self._last_callback = 0
        self._sent_callbacks: list[int] = []  # in the message that is being packed

    # Arguments

    def pack_message(self, message: dict[str, Any]) -> tuple[bytes, list[int]]:
        """Return the bytes of a message, and the numbers of the functions in it."""
        sent: list[int] = []
        self._sent_callbacks = sent
        try:
            return self.pack(message), sent
        except BaseException:
            self.drop_callbacks(sent)  # the message is not sent, so the server never calls them
            raise

    def prepack(self, array: Any) -> Any:
        """Return the form of an array in a message, which the array keeps."""
        array.ext = form = self._pack(array)
        return form

    def _pack(self, value: Any) -> Any:
        if isinstance(value, self._array_class):
            if value.handle is None:  # a 0-d result, of which the server keeps no object
                content = self._wire.pack_nested([value.dtype.str, value.item()])
                return msgpack.ExtType(wire.SCALAR, content)
            return self._pack_handle(value)
        if isinstance(value, records.RemoteObject):
            return self._pack_handle(value)
        if isinstance(value, PackedArray):
            parts = [value.dtype, list(value.shape), bytes(value.content)]
            return msgpack.ExtType(wire.NDARRAY, self._wire.pack_nested(parts))
        if isinstance(value, dtypes.dtype):
            return msgpack.ExtType(wire.DTYPE, self._wire.pack_nested(value.description))
        if isinstance(value, type):
            name = dtypes.name_of_type(value)
            if name is None:
                raise NotSendableError(f"{value!r} cannot be sent to the server")
            return msgpack.ExtType(wire.SCALAR_TYPE, self._wire.pack_nested(name))
        # The buffer protocol before `callable`: a class may offer both.
        packed = packed_array.from_buffer(value)
        if packed is not None:
            return self._pack(packed)
        if is_numpy_dtype(value):  # the program may use NumPy for work of its own
            return self._pack(dtypes.dtype(value))
        if callable(value):
            self._last_callback += 1
            self._callbacks[self._last_callback] = value
            self._sent_callbacks.append(self._last_callback)
            return wire.callback_ext(self._last_callback)
        return None

    def _pack_handle(self, value: Any) -> Any:
        if value.channel is not self._channel:
            why = value.channel.why_closed or "another one is used now"
            raise ConnectionClosedError(
                f"this array belongs to another session, and does not exist in this one: {why}"
            )
        return wire.handle_ext(value.handle)

    # Results

    def _unpack_array(self, data: bytes) -> Any:
        # msgpack alone: the parts are numbers, texts and lists, and this runs for each result.
        handle, dtype, shape, axes, is_scalar = msgpack.unpackb(data)
        return self._make_array(
            self._channel, handle, _cached_dtype(dtype), tuple(shape), axes, is_scalar
        )

    def _unpack_scalar(self, data: bytes) -> Any:
        dtype, value = msgpack.unpackb(data, ext_hook=self._wire.ext)
        return self._make_scalar(self._channel, _cached_dtype(dtype), value)

    def _unpack_object(self, data: bytes) -> Any:
        handle, name = self._wire.unpack(data)
        # The same object for the same handle, so that `is` holds as in local mode.
        known = self._channel.object(handle)
        if known is not None:
            return known
        return records.make_stand_in(self._object_class(name), self._channel, handle)

    # Functions of ours that the server may call while a request runs

    def callback(self, number: Any) -> Callable[..., Any]:
        """Return the function with this number."""
        return self._callbacks[number]

    def drop_callbacks(self, numbers: Iterable[int]) -> None:
        """Forget the functions with these numbers."""
        for number in numbers:
            self._callbacks.pop(number, None)


_dtypes: dict[str, dtypes.dtype] = {}


def _cached_dtype(description: Any) -> dtypes.dtype:
    if type(description) is not str:
        return dtypes.from_description(description)
    dtype = _dtypes.get(description)
    if dtype is None:
        dtype = dtypes.dtype(description)
        if len(_dtypes) < _MAX_CACHED_DTYPES:
            _dtypes[description] = dtype
    return dtype
