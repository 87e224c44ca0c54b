"""The values of one session on the wire: arrays go out as numbers, numbers come in as arrays."""

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
from shm_echo.mechestim.service.objects.object_dtype_guard import MOST_DIGITS
from shm_echo.mechestim.wire import Wire

# Results that travel field by field; the client has classes of the same names.
_RECORDS = frozenset({"PathInfo", "StepInfo", "ProductSymmetry", "SymmetryInfo", "OpRecord"})
# What datetime64 and timedelta64 are in Python, and the fields that make them.
_DAY = ("year", "month", "day")
_TIME = (*_DAY, "hour", "minute", "second", "microsecond")
_TIMES: dict[type, tuple[str, ...]] = {
    datetime.date: _DAY,
    datetime.datetime: _TIME,
    datetime.timedelta: ("days", "seconds", "microseconds"),
}
_OBJECTS = {"Generator", "RandomState", "SeedSequence", "MT19937", "PCG64", "PCG64DXSM", "Philox"}
_OBJECTS |= {"SFC64", "vectorize", "PythonUfunc", "Flat"}
_TYPES_BY_NAME: dict[str, type] = {
    name: getattr(np, name) for name in DTYPES if isinstance(getattr(np, name, None), type)
}
_SCALAR_TYPES = {cls: name for name, cls in reversed(_TYPES_BY_NAME.items())}
_INLINE = (bool, int, float, complex)
_PLAIN = (bool, int, float)
_ExtType = msgpack.ExtType
_ext = tuple.__new__  # skips the checks of ExtType: these values are known to be right


class SessionValueCodec:
    """Packs results and unpacks arguments for one session.

    Args:
        objects: the objects of the session.
        callback: returns the function that stands for a function of the client.
    """

    def __init__(self, objects: HandleTable, callback: Callable[[int], Any]) -> None:
        self._objects = objects
        self._wire = Wire(
            self._pack,
            {
                wire.BIGINT: self._deferring_errors(self._long_number),
                wire.HANDLE: self._deferring_errors(lambda data: objects.get(wire.number_of(data))),
                wire.CALLBACK: self._deferring_errors(lambda data: callback(wire.number_of(data))),
                wire.DTYPE: self._deferring_errors(self._dtype),
                wire.SCALAR_TYPE: self._deferring_errors(self._scalar_type),
                wire.NDARRAY: self._deferring_errors(self._ndarray),
                wire.SCALAR: self._deferring_errors(self._scalar),
            },
        )
        self._wire.hook = self._ext
        self._find = objects.find
        self.pack = self._wire.pack
        self._register = objects.register
        self._pack_plain = msgpack.Packer().pack  # for what needs none of the hooks
        self.problem: Exception | None = None
        self.long_numbers = False  # whether the last message had integers beyond 64 bits

    # In

    def unpack(self, data: bytes) -> Any:
        """Return the value in the bytes.

        A well-formed but wrong part (a number without an object, an unknown dtype) becomes None,
        and its error goes to `problem`, so that the answer can carry the request's id.

        Raises:
            ProtocolError: the bytes are not one value within the limits.
        """
        self.problem = None
        self.long_numbers = False
        return self._wire.unpack(data)

    def _ext(self, code: int, data: bytes) -> Any:
        """Return an extension of a message, on a short path for a handle that the session has."""
        if code == wire.HANDLE and len(data) == 8:
            found = self._find(int.from_bytes(data, "little"))
            if found is not None:
                return found
        return self._wire.ext(code, data)

    def _deferring_errors(self, read: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
        def unpack(data: bytes) -> Any:
            try:
                return read(data)
            except Exception as error:
                self.problem = self.problem or error
                return None

        return unpack

    def _long_number(self, data: bytes) -> int:
        if len(data) > MOST_DIGITS:
            raise TypeError("a whole number is too long to be sent to the server")
        self.long_numbers = True
        return int.from_bytes(data, "little", signed=True)

    def _dtype(self, data: bytes) -> np.dtype[Any]:
        return dtype_from_description(self._wire.unpack(data))

    def _scalar_type(self, data: bytes) -> Any:
        found = _TYPES_BY_NAME.get(self._wire.unpack(data))
        if found is None:
            raise TypeError("a message names a type that is not known here")
        if found is np.object_:
            raise TypeError(NO_OBJECTS)
        return found

    def _ndarray(self, data: bytes) -> Array:
        dtype, shape, content = self._wire.unpack(data)
        return array_from(dtype, shape, content)

    def _scalar(self, data: bytes) -> Any:
        dtype, value = self._wire.unpack(data)
        found = dtype_from_description(dtype)
        if found.kind not in "biufcmM":  # numpy.void(n) would take n bytes
            raise TypeError(f"a scalar of dtype {found} cannot be sent to the server")
        return scalar(found.type(value))

    # Out

    def pack_answer(self, number: int, result: Any) -> bytes:
        """The reply to request `number` of an operation that went well and warned of nothing."""
        kind = type(result)
        if kind is Array:
            content = [self._register(result), _dtype_text(result.dtype), result.shape, None, False]
            result = _ext(_ExtType, (wire.ARRAY, self._pack_plain(content)))
        elif kind is Scalar:
            item = base_view(result).item()
            dtype = result.dtype
            if type(item) in _PLAIN and dtype.char not in "gG":
                result = _ext(_ExtType, (wire.SCALAR, self._pack_plain([_dtype_text(dtype), item])))
        if type(result) is _ExtType:
            packed: bytes = self._pack_plain({"id": number, "r": result})
            return packed
        return self.pack({"id": number, "r": result})

    def _pack(self, value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return self._pack_array(value)
        if isinstance(value, np.generic):
            if isinstance(value, (np.str_, np.bytes_)):
                return value.item()
            return self._pack_array(np.asarray(value).view(Scalar))
        if isinstance(value, np.dtype):
            return msgpack.ExtType(wire.DTYPE, self._wire_pack(describe_dtype(value)))
        if isinstance(value, type):
            name = _SCALAR_TYPES.get(value)
            return name and msgpack.ExtType(wire.SCALAR_TYPE, self._wire_pack(name))
        name = type(value).__name__
        if hasattr(value, "_fields"):
            return self._record(name, list(value._fields), list(value))
        times = _TIMES.get(type(value))
        if times is not None:
            return self._record(name, list(times), [getattr(value, field) for field in times])
        if name in _RECORDS:
            fields = [field.name for field in dataclasses.fields(value)]
            return self._record(name, fields, [getattr(value, field) for field in fields])
        if name in _OBJECTS:
            number = self._objects.register(value)
            return msgpack.ExtType(wire.OBJECT, self._wire_pack([number, name]))
        return None

    def _record(self, name: str, fields: list[str], values: list[Any]) -> Any:
        return msgpack.ExtType(wire.RECORD, self._wire_pack([name, fields, values]))

    def _pack_array(self, value: Any) -> Any:
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
    """Return a 0-d array as a Python number; None if a number cannot hold it."""
    item = base_view(value).item()
    return item if isinstance(item, _INLINE) and value.dtype.char not in "gG" else None


_texts: dict[np.dtype[Any], Any] = {}


def _dtype_text(dtype: np.dtype[Any]) -> Any:
    """`describe_dtype`, made once for each of the common dtypes."""
    found = _texts.get(dtype)
    if found is None:
        found = describe_dtype(dtype)
        if dtype.isbuiltin == 1:
            _texts[dtype] = found
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
    if len(description) == 2 and all(isinstance(n, int) for n in description[1]):
        return _dtype_argument(description[0]), tuple(description[1])
    return [(name, _dtype_argument(inner)) for name, inner in description]


def dtype_from_description(description: Any) -> np.dtype[Any]:
    """Return the dtype that a client describes; never one that holds Python objects.

    Raises:
        TypeError: there is no such dtype, or it holds objects.
    """
    try:
        dtype: np.dtype[Any] = np.dtype(_dtype_argument(description))
    except (TypeError, ValueError, SyntaxError, RecursionError):
        raise TypeError(f"data type {str(description)[:80]!r} not understood") from None
    if dtype.hasobject:
        raise TypeError(NO_OBJECTS)
    return dtype


def array_from(dtype: Any, shape: Any, content: Any) -> Array:
    """Return a new array from the bytes of a client.

    Raises:
        ProtocolError: the bytes do not fill that shape.
    """
    found = dtype_from_description(dtype)
    if (
        type(shape) is not list
        or len(shape) > 64
        or not all(type(n) is int and 0 <= n < 2**48 for n in shape)
        or not isinstance(content, bytes)
    ):
        raise ProtocolError("an array in a message is malformed")
    size = found.itemsize
    for length in shape:
        size *= length
    if size != len(content):
        raise ProtocolError(f"an array in a message has {len(content):,} bytes and needs {size:,}")
    return np.frombuffer(bytearray(content), found).reshape(shape).view(Array)
