"""The wire form of one session's values.

An array or a generator travels as its handle, a number of the session's `HandleTable`; numbers,
dtypes and records travel as their contents. msgpack calls a Python hook for each value that it does
not know itself. Hooks are slow beside msgpack's own types, so the commonest answers (an array, a
scalar) are built without one.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable
from typing import Any

import msgpack
import numpy as np

from shm_echo.errors import ProtocolError
from shm_echo.mechestim import wire
from shm_echo.mechestim.errors import NO_OBJECTS
from shm_echo.mechestim.local.array import Array, Scalar, base_view, scalar
from shm_echo.mechestim.local.namespace import DTYPES
from shm_echo.mechestim.service.objects.handle_table import HandleTable
from shm_echo.mechestim.service.objects.object_dtype_guard import MAX_INTEGER_BYTES
from shm_echo.mechestim.wire import Wire

# Results that travel field by field; the client has classes of the same names.
_RECORDS = frozenset({"PathInfo", "StepInfo", "ProductSymmetry", "SymmetryInfo", "OpRecord"})
# The Python types that datetime64 and timedelta64 become, and the arguments that make them.
_DAY = ("year", "month", "day")
_TIME = (*_DAY, "hour", "minute", "second", "microsecond")
_TIMES: dict[type, tuple[str, ...]] = {
    datetime.date: _DAY,
    datetime.datetime: _TIME,
    datetime.timedelta: ("days", "seconds", "microseconds"),
}
# Objects that stay on the server: the client has their handles, and proxies of the same names.
_PROXIED = {"Generator", "RandomState", "SeedSequence", "MT19937", "PCG64", "PCG64DXSM", "Philox"}
_PROXIED |= {"SFC64", "vectorize", "PythonUfunc", "Flat"}
_TYPES_BY_NAME: dict[str, type] = {
    name: getattr(np, name) for name in DTYPES if isinstance(getattr(np, name, None), type)
}
# Several names can mean one type (intc and int32); reversed, the first of them wins.
_SCALAR_TYPES = {cls: name for name, cls in reversed(_TYPES_BY_NAME.items())}
_NUMBERS = (bool, int, float, complex)
_MSGPACK_NUMBERS = (bool, int, float)  # msgpack has no complex numbers; a hook packs them
_LONG_DOUBLES = "gG"  # dtype letters of longdouble and clongdouble: Python's numbers are narrower
_ExtType = msgpack.ExtType
_new_ext = tuple.__new__  # skips the checks of ExtType: these values are known to be valid


class SessionValueCodec:
    """Packs results and unpacks arguments for one session.

    Args:
        objects: The objects of the session.
        callback: Returns the function that stands for a function of the client.

    Attributes:
        deferred_error: The first error in the last message that `unpack` read, or None.
        has_big_integers: True if the last message had integers beyond 64 bits.
    """

    def __init__(self, objects: HandleTable, callback: Callable[[int], Any]) -> None:
        self._objects = objects
        self._wire = Wire(
            self._pack,
            {
                wire.BIGINT: self._deferring_errors(self._big_integer),
                wire.HANDLE: self._deferring_errors(lambda data: objects.get(wire.number_of(data))),
                wire.CALLBACK: self._deferring_errors(lambda data: callback(wire.number_of(data))),
                wire.DTYPE: self._deferring_errors(self._dtype),
                wire.SCALAR_TYPE: self._deferring_errors(self._scalar_type),
                wire.NDARRAY: self._deferring_errors(self._ndarray),
                wire.SCALAR: self._deferring_errors(self._scalar),
            },
        )
        self._wire.hook = self._unpack_ext
        # Bound once: each of these runs for every request.
        self._find = objects.find
        self.pack = self._wire.pack
        self._register = objects.register
        self._pack_plain = msgpack.Packer().pack  # without hooks
        self.deferred_error: Exception | None = None
        self.has_big_integers = False

    # From the client

    def unpack(self, data: bytes) -> Any:
        """Return the value in the bytes of one message.

        A well-formed but invalid part (a number without an object, an unknown dtype) becomes None,
        and its error goes to `deferred_error`: the rest of the message has the request's id, which
        the answer with that error needs.

        Raises:
            ProtocolError: The bytes are not one value within the limits.
        """
        self.deferred_error = None
        self.has_big_integers = False
        return self._wire.unpack(data)

    def _unpack_ext(self, code: int, data: bytes) -> Any:
        """Return the value of a msgpack extension, on a short path for a handle of the session."""
        if code == wire.HANDLE and len(data) == 8:  # a handle is a 64-bit number
            found = self._find(int.from_bytes(data, "little"))
            if found is not None:
                return found
        return self._wire.ext(code, data)

    def _deferring_errors(self, read: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
        """Return `read` with its errors going to `deferred_error`; only the first one is kept."""

        def unpack(data: bytes) -> Any:
            try:
                return read(data)
            except Exception as error:
                self.deferred_error = self.deferred_error or error
                return None

        return unpack

    def _big_integer(self, data: bytes) -> int:
        if len(data) > MAX_INTEGER_BYTES:
            raise TypeError(
                f"an integer of {len(data):,} bytes is too long to be sent to the server: "
                f"the limit is {MAX_INTEGER_BYTES:,}"
            )
        self.has_big_integers = True
        return int.from_bytes(data, "little", signed=True)

    def _dtype(self, data: bytes) -> np.dtype[Any]:
        return dtype_from_description(self._wire.unpack(data))

    def _scalar_type(self, data: bytes) -> Any:
        found = _TYPES_BY_NAME.get(self._wire.unpack(data))
        if found is None:
            raise TypeError("a message names a scalar type that this server does not have")
        if found is np.object_:
            raise TypeError(NO_OBJECTS)
        return found

    def _ndarray(self, data: bytes) -> Array:
        dtype, shape, content = self._wire.unpack(data)
        return array_from(dtype, shape, content)

    def _scalar(self, data: bytes) -> Any:
        dtype, value = self._wire.unpack(data)
        found = dtype_from_description(dtype)
        # Only numbers and times: numpy.void(n) would allocate n bytes for a short message.
        if found.kind not in "biufcmM":
            raise TypeError(f"a scalar of dtype {found} cannot be sent to the server")
        return scalar(found.type(value))

    # To the client

    def pack_answer(self, number: int, result: Any) -> bytes:
        """Return the answer to request `number`, for an operation without error and warning.

        An array or a scalar takes a short path, which makes the same bytes as `pack` without a
        call back from msgpack into Python.
        """
        kind = type(result)
        if kind is Array:  # not a subclass: a symmetric tensor also sends its axes
            content = [self._register(result), _dtype_text(result.dtype), result.shape, None, False]
            result = _new_ext(_ExtType, (wire.ARRAY, self._pack_plain(content)))
        elif kind is Scalar:
            item = base_view(result).item()
            dtype = result.dtype
            if type(item) in _MSGPACK_NUMBERS and dtype.char not in _LONG_DOUBLES:
                result = _new_ext(
                    _ExtType, (wire.SCALAR, self._pack_plain([_dtype_text(dtype), item]))
                )
        if type(result) is _ExtType:
            packed: bytes = self._pack_plain({"id": number, "r": result})
            return packed
        return self.pack({"id": number, "r": result})

    def _pack(self, value: Any) -> Any:
        """Return an extension, or a value of msgpack's own types; None if `value` cannot travel.

        msgpack calls this hook for each value that is not of its own types.
        """
        if isinstance(value, np.ndarray):
            return self._pack_array(value)
        if isinstance(value, np.generic):  # a scalar of NumPy, within a list or a record
            if isinstance(value, (np.str_, np.bytes_)):
                return value.item()
            return self._pack_array(np.asarray(value).view(Scalar))
        if isinstance(value, np.dtype):
            return msgpack.ExtType(wire.DTYPE, self._wire_pack(describe_dtype(value)))
        if isinstance(value, type):
            name = _SCALAR_TYPES.get(value)
            return name and msgpack.ExtType(wire.SCALAR_TYPE, self._wire_pack(name))
        name = type(value).__name__
        if hasattr(value, "_fields"):  # a named tuple, such as linalg.svd returns
            return self._record(name, list(value._fields), list(value))
        times = _TIMES.get(type(value))
        if times is not None:
            return self._record(name, list(times), [getattr(value, field) for field in times])
        if name in _RECORDS:
            fields = [field.name for field in dataclasses.fields(value)]
            return self._record(name, fields, [getattr(value, field) for field in fields])
        if name in _PROXIED:
            number = self._objects.register(value)
            return msgpack.ExtType(wire.OBJECT, self._wire_pack([number, name]))
        return None

    def _record(self, name: str, fields: list[str], values: list[Any]) -> Any:
        return msgpack.ExtType(wire.RECORD, self._wire_pack([name, fields, values]))

    def _pack_array(self, value: Any) -> Any:
        """Return the extension of an array: its handle, or its number if it is a scalar."""
        if not isinstance(value, Array):
            value = value.view(Array)
        if isinstance(value, Scalar):
            item = python_number(value)
            if item is not None:
                return msgpack.ExtType(wire.SCALAR, self._wire_pack([value.dtype.str, item]))
        axes = getattr(value, "symmetric_axes", None)
        content = [
            self._objects.register(value),
            describe_dtype(value.dtype),
            list(value.shape),
            None if axes is None else [list(group) for group in axes],
            isinstance(value, Scalar),
        ]
        return msgpack.ExtType(wire.ARRAY, self._wire_pack(content))

    def _wire_pack(self, value: Any) -> bytes:
        return self._wire.pack_nested(value)


def python_number(value: Any) -> Any:
    """Return a 0-d array as a Python number; None if no Python number has its exact value."""
    item = base_view(value).item()
    exact = isinstance(item, _NUMBERS) and value.dtype.char not in _LONG_DOUBLES
    return item if exact else None


_dtype_texts: dict[np.dtype[Any], Any] = {}


def _dtype_text(dtype: np.dtype[Any]) -> Any:
    """Return `describe_dtype(dtype)`, from a cache of the built-in dtypes."""
    found = _dtype_texts.get(dtype)
    if found is None:
        found = describe_dtype(dtype)
        # Other dtypes are without number (text of each width, records): the cache would grow.
        if dtype.isbuiltin == 1:
            _dtype_texts[dtype] = found
    return found


def describe_dtype(dtype: np.dtype[Any]) -> Any:
    """Return a dtype as text, as `[dtype, shape]`, or as its list of `[name, dtype]`."""
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return [describe_dtype(base), list(shape)]
    if dtype.names is None:
        return dtype.str
    return [[name, describe_dtype(dtype[name])] for name in dtype.names]


def _dtype_argument(description: Any) -> Any:
    """Return the argument of `numpy.dtype` for a description by `describe_dtype`."""
    if not isinstance(description, list):
        return description
    # [dtype, shape] has integers second; [[name, dtype], [name, dtype]] has a list with a text.
    if len(description) == 2 and all(isinstance(n, int) for n in description[1]):
        return _dtype_argument(description[0]), tuple(description[1])
    return [(name, _dtype_argument(inner)) for name, inner in description]


def dtype_from_description(description: Any) -> np.dtype[Any]:
    """Return the dtype that a client describes.

    Raises:
        TypeError: There is no such dtype, or it holds Python objects.
    """
    try:
        dtype: np.dtype[Any] = np.dtype(_dtype_argument(description))
    except (TypeError, ValueError, SyntaxError, RecursionError):
        raise TypeError(f"data type {str(description)[:80]!r} not understood") from None
    if dtype.hasobject:
        raise TypeError(NO_OBJECTS)
    return dtype


def array_from(dtype: Any, shape: Any, content: Any) -> Array:
    """Return a new array from a message's dtype, shape and bytes, none of which is checked yet.

    Raises:
        TypeError: There is no such dtype, or it holds Python objects.
        ProtocolError: The shape is invalid, or does not match the number of bytes.
    """
    found = dtype_from_description(dtype)
    if (
        type(shape) is not list
        or len(shape) > 64  # NumPy's limit
        or not all(type(n) is int and 0 <= n < 2**48 for n in shape)  # more than any memory
        or not isinstance(content, bytes)
    ):
        raise ProtocolError("an array in a message is malformed")
    size = found.itemsize
    for length in shape:
        size *= length
    if size != len(content):
        raise ProtocolError(f"an array in a message has {len(content):,} bytes and needs {size:,}")
    # The bytearray is a copy that the array may write to.
    return np.frombuffer(bytearray(content), found).reshape(shape).view(Array)
