"""Values in messages between a mechestim client and its server: msgpack with extension types.

Both ends use this module, so it imports no NumPy. Each end gives hooks for its own values: arrays
on the server, handles on the client. The extension codes below are the only values that are built
from bytes, so no message can name a class, a module or an attribute.

Messages are msgpack maps in frames of `control.protocol.frames`. Small frames are decoded in one
step: their size bounds what they can announce. Larger ones are walked first (see
`control.protocol.codec`).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgpack

from shm_echo.control.protocol.codec import Limits, scan
from shm_echo.errors import ProtocolError
from shm_echo.mechestim.errors import NotSendableError

# Extension codes. The numbers are part of the protocol; never reuse one.
HANDLE = 1  # uint64: an object of the server
ARRAY = 2  # server to client: [handle, dtype, shape, symmetric axes or None, is a scalar]
COMPLEX = 3  # two float64
BIGINT = 4  # two's complement, little-endian
SLICE = 5  # [start, stop, step]
ELLIPSIS = 6
TUPLE = 7  # a msgpack array
DTYPE = 8  # text: a dtype's str, or its field list as a msgpack array
NDARRAY = 9  # [dtype, shape, bytes]: an array with its contents
CALLBACK = 10  # uint64: a function of the client
RECORD = 11  # [name, fields, values]: a named tuple, such as SVDResult
SCALAR_TYPE = 12  # text: a dtype given as a class, such as mechestim.float32
ARENA = 13  # [dtype, shape, offset, length]: an array that lies in the arena
OBJECT = 14  # [handle, class]: a random generator and the like
SCALAR = 15  # [dtype, value]: a 0-d result; the server keeps no object for it
FROZENSET = 16  # a msgpack array

_MAX_REUSED_BYTES = 1 << 16  # after a longer message, its Packer is not used again
SMALL = 4096  # bytes: a frame of this size can announce no more than msgpack's own stack holds

# msgpack reads an extension in a call of its own: it copies the bytes, and each level of nesting
# takes some 40 KiB of the thread's stack. So depth and copied bytes are limited.
_MAX_EXT_DEPTH = 24
_MAX_COPIES = 8  # copied bytes, as a multiple of the outermost extension
_FREE_COPY_BYTES = 1 << 16  # in addition, so that a small message may nest to the full depth
_MAX_SET_ITEMS = 1024  # a hostile client can choose items with equal hashes

_COMPLEX = struct.Struct("<dd")
_U64 = struct.Struct("<Q")
_LIMITS = Limits(
    max_depth=64, max_nodes=1 << 22, max_array=1 << 22, max_bin=1 << 30, max_ext=1 << 30
)
ANSWERS = replace(_LIMITS, max_str=1 << 30)  # the text of a large array is long
_ALL_CODES = dict.fromkeys(range(1, 17))

Hook = Callable[[Any], "msgpack.ExtType | None"]


class Wire:
    """Packs and unpacks the messages of one end.

    Args:
        pack: Returns the `ExtType` of a value that this module does not know; None if there is
            none.
        unpack: The readers of the extension codes of this end.
        limits: The limits of one message.

    Attributes:
        hook: Reads the extensions of a message: `ext`, or a function that an end puts in its place
            to read its most common ones in fewer steps.

    Example:
        >>> both = Wire(lambda value: None, {})
        >>> both.unpack(both.pack([1j, slice(None, 3)]))
        [1j, slice(None, 3, None)]
    """

    def __init__(
        self, pack: Hook, unpack: dict[int, Callable[[bytes], Any]], limits: Limits = _LIMITS
    ) -> None:
        self.hook: Callable[[int, bytes], Any] = self.ext
        self._pack_own = pack
        self._limits = limits
        self._unpackers: dict[int, Callable[[bytes], Any]] = {
            COMPLEX: lambda data: complex(*_COMPLEX.unpack(data)),
            BIGINT: lambda data: int.from_bytes(data, "little", signed=True),
            SLICE: self._unpack_slice,
            ELLIPSIS: lambda _: Ellipsis,
            TUPLE: self._unpack_tuple,
            FROZENSET: self._unpack_frozenset,
            **unpack,
        }
        # One for each level of nesting: a Packer is not re-entrant.
        self._packers = [self._new_packer()]
        self._level = 0
        self._open_sizes: list[int] = []  # bytes of the extensions that are being read

    def pack(self, value: Any) -> bytes:
        """Return the bytes of a value.

        Raises:
            NotSendableError: The value, or a part of it, has no form in a message.
        """
        self._level = 0  # an error in a hook may have left another level
        try:
            packed: bytes = self._packers[0].pack(value)
        except OverflowError:
            # An int of more than 64 bits: msgpack raises this instead of calling `default`.
            packed = self._new_packer().pack(_without_bigints(value))
        except (ValueError, RecursionError):
            self._packers = [self._new_packer()]  # after an error they hold half a message
            raise NotSendableError("a value is too large or nested too deeply to be sent") from None
        except BaseException:
            self._packers = [self._new_packer()]
            raise
        if len(packed) > _MAX_REUSED_BYTES:  # a Packer keeps the memory of its longest message
            self._packers = [self._new_packer()]
        return packed

    def unpack(self, data: bytes | memoryview) -> Any:
        """Return the value of the bytes.

        Raises:
            ProtocolError: They are not one value within the limits.
        """
        try:
            if len(data) > SMALL:
                scan(bytes(data), self._limits, _ALL_CODES)
            # The limits of unpackb() follow from the length of `data`.
            return msgpack.unpackb(data, ext_hook=self.hook)
        except (ValueError, TypeError, KeyError, msgpack.UnpackException, struct.error) as error:
            if isinstance(error, ProtocolError):
                raise
            raise ProtocolError("a message is malformed: its bytes are no valid message") from None
        except RecursionError:
            raise ProtocolError("a message is malformed: it is nested too deeply") from None

    def _new_packer(self) -> Any:
        return msgpack.Packer(default=self._default, strict_types=True)

    def ext(self, code: int, data: bytes) -> Any:
        """Return the value of an extension, as msgpack's `ext_hook`."""
        sizes = self._open_sizes
        if len(sizes) >= _MAX_EXT_DEPTH or (
            sizes and sum(sizes) + len(data) > _MAX_COPIES * sizes[0] + _FREE_COPY_BYTES
        ):
            raise ProtocolError("a message is malformed: it is nested too deeply")
        sizes.append(len(data))
        try:
            return self._unpackers[code](data)
        finally:
            sizes.pop()

    def _unpack_slice(self, data: bytes) -> slice:
        start, stop, step = self.unpack(data)
        return slice(start, stop, step)

    def _unpack_frozenset(self, data: bytes) -> frozenset[Any]:
        items = self._unpack_tuple(data)
        if len(items) > _MAX_SET_ITEMS:
            raise ValueError  # `unpack` turns it into a ProtocolError
        return frozenset(items)

    def _unpack_tuple(self, data: bytes) -> tuple[Any, ...]:
        items = self.unpack(data)
        if type(items) is not list:
            raise ValueError
        return tuple(items)

    def _default(self, value: Any) -> Any:
        kind = type(value)
        if kind is tuple:
            return msgpack.ExtType(TUPLE, self.pack_nested(list(value)))
        if kind is slice:
            return msgpack.ExtType(SLICE, self.pack_nested([value.start, value.stop, value.step]))
        if kind is frozenset:
            # Sorted, so that equal sets have equal bytes.
            return msgpack.ExtType(FROZENSET, self.pack_nested(sorted(value)))
        if value is Ellipsis:
            return msgpack.ExtType(ELLIPSIS, b"")
        ext = self._pack_own(value)
        if ext is not None:
            return ext
        # Subclasses: strict_types brings them here instead of packing them as their base.
        if isinstance(value, bool):
            return bool(value)
        if isinstance(value, int):
            return bigint(int(value))
        if isinstance(value, float):
            return float(value)
        if isinstance(value, complex):
            return msgpack.ExtType(COMPLEX, _COMPLEX.pack(value.real, value.imag))
        if isinstance(value, str):
            return str.__str__(value)  # not str(value), which a subclass may override
        if isinstance(value, (bytearray, memoryview)):
            return bytes(value)
        if isinstance(value, (list, range)):
            return list(value)
        if isinstance(value, tuple):
            return msgpack.ExtType(TUPLE, self.pack_nested(list(value)))
        if isinstance(value, dict):
            return dict(value)
        raise NotSendableError(f"{kind.__name__} objects cannot be sent to the server")

    def pack_nested(self, value: Any) -> bytes:
        """Return the bytes of a value inside an extension, for the hooks."""
        self._level = level = self._level + 1
        if level == len(self._packers):
            self._packers.append(self._new_packer())
        try:
            packed: bytes = self._packers[level].pack(value)
        except OverflowError:
            self._packers[level] = self._new_packer()
            packed = self._new_packer().pack(_without_bigints(value))
        self._level = level - 1
        return packed


def bigint(value: int) -> msgpack.ExtType:
    """Return the form of an integer of more than 64 bits."""
    return msgpack.ExtType(
        # // 8 + 1 leaves room for the sign bit.
        BIGINT,
        value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True),
    )


def _without_bigints(value: Any) -> Any:
    """Return the value with an extension in place of each integer beyond 64 bits.

    Only exact lists and dicts are searched: msgpack calls `_default` for all other containers.
    """
    if type(value) is int and not -(2**63) <= value < 2**64:
        return bigint(value)
    if type(value) is list:
        return [_without_bigints(item) for item in value]
    if type(value) is dict:
        return {key: _without_bigints(item) for key, item in value.items()}
    return value


def handle_ext(number: int) -> msgpack.ExtType:
    """Return a reference to an object of the server."""
    # Without ExtType.__new__, whose checks take longer than the rest; the parts are valid.
    ext: msgpack.ExtType = tuple.__new__(msgpack.ExtType, (HANDLE, _U64.pack(number)))
    return ext


def callback_ext(number: int) -> msgpack.ExtType:
    """Return a reference to a function of the client."""
    return msgpack.ExtType(CALLBACK, _U64.pack(number))


def number_of(data: bytes) -> int:
    """Return the number in a HANDLE or CALLBACK.

    Raises:
        ValueError: The data is not 8 bytes long.
    """
    if len(data) != _U64.size:
        raise ValueError("the number of an object or of a function has 8 bytes")
    (number,) = _U64.unpack(data)
    return int(number)
