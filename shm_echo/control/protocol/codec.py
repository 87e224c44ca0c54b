"""The codec: msgpack maps to bytes and back, within limits that hold before memory is taken.

A few bytes of msgpack can announce gigabytes (an array header promises up to 2**32 items, and
headers nest). So the bytes are first walked once, flat, without building anything: every length
must fit into the remaining bytes, nesting and the number of nodes are bounded, keys are text,
extension types are registered ones. Only then does msgpack build objects. `messages` gives the map
its meaning.

Bytes from outside raise ProtocolError; a message that this process cannot send raises ValueError.
Both have fixed texts and never show contents.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgpack

from shm_echo.control.protocol.frames import MAX_FRAME
from shm_echo.errors import ProtocolError

__all__ = ["Codec", "Extension", "Limits"]


@dataclass(frozen=True)
class Limits:
    """The limits of one message. The defaults keep its objects below 8 MiB."""

    max_depth: int = 16
    max_nodes: int = 1 << 15
    max_str: int = 1 << 16
    max_bin: int = MAX_FRAME
    max_ext: int = MAX_FRAME
    max_array: int = 1 << 15
    max_map: int = 1 << 14

    @cached_property
    def max_sizes(self) -> tuple[int, ...]:
        """Return the largest size or number of items of each kind, from `_SCALAR` to `_INVALID`.

        8 is the longest scalar; -1 rejects a byte that msgpack does not use.
        """
        lengths = (self.max_str, self.max_bin, self.max_ext, self.max_array, self.max_map)
        return (8, *lengths, -1)


@dataclass(frozen=True)
class Extension:
    """One type that travels as a msgpack extension.

    Attributes:
        code: from 0 to 127.
        type: instances of exactly this type are packed.
        pack: turns a value into bytes.
        unpack: turns bytes from outside into a value; raises ValueError for malformed bytes.
    """

    code: int
    type: type
    pack: Callable[[Any], bytes]
    unpack: Callable[[bytes], Any]

    def __post_init__(self) -> None:
        if not 0 <= self.code <= 127:
            raise ValueError(f"an extension code is from 0 to 127, got {self.code}")


class _MalformedError(ValueError):
    """The reason why bytes are malformed. The caller decides which side is at fault."""


class Codec:
    """Encodes and decodes messages. Has no state, so one may serve any number of connections.

    Example:
        >>> codec = Codec()
        >>> codec.decode(codec.encode({"type": "goodbye"}))
        {'type': 'goodbye'}
    """

    def __init__(self, limits: Limits | None = None, extensions: Iterable[Extension] = ()) -> None:
        self._limits = limits or Limits()
        self._by_code = {extension.code: extension for extension in extensions}
        self._by_type = {extension.type: extension for extension in self._by_code.values()}

    def encode(self, message: Mapping[str, Any]) -> bytes:
        """Return the message as one msgpack map.

        Raises:
            ValueError: a value has no msgpack form, or exceeds the limits of the other side.
        """
        try:
            data: bytes = msgpack.packb(dict(message), default=self._pack_extension)
            scan(data, self._limits, self._by_code)
        except OverflowError:
            raise ValueError(
                "the message cannot be sent: it has an integer of more than 64 bits"
            ) from None
        except TypeError as error:
            raise ValueError(f"the message cannot be sent: {error}") from None
        except (ValueError, RecursionError) as error:
            raise ValueError(f"the message cannot be sent: {_reason(error)}") from None
        return data

    def decode(self, data: bytes) -> dict[str, Any]:
        """Return the map that the bytes hold.

        Raises:
            ProtocolError: the bytes are not one msgpack map within the limits.
        """
        try:
            scan(data, self._limits, self._by_code)
            message = msgpack.unpackb(
                data,
                raw=False,
                strict_map_key=True,
                object_pairs_hook=_without_duplicates,
                ext_hook=self._unpack_extension,
                max_str_len=self._limits.max_str,
                max_bin_len=self._limits.max_bin,
                max_array_len=self._limits.max_array,
                max_map_len=self._limits.max_map,
                max_ext_len=self._limits.max_ext,
            )
        except (ValueError, msgpack.UnpackException, RecursionError) as error:
            raise ProtocolError(f"a message is malformed: {_reason(error)}") from None
        if not isinstance(message, dict):
            raise ProtocolError("a message is malformed: it is not a map")
        return message

    def _pack_extension(self, value: Any) -> msgpack.ExtType:
        extension = self._by_type.get(type(value))
        if extension is None:
            if isinstance(value, int):
                raise OverflowError
            raise TypeError(f"no form for {type(value).__name__} objects")
        return msgpack.ExtType(extension.code, extension.pack(value))

    def _unpack_extension(self, code: int, data: bytes) -> Any:
        # `scan` has rejected every code that is not registered.
        return self._by_code[code].unpack(data)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise _MalformedError("a map has the same key twice")
    return result


def _reason(error: Exception) -> str:
    """Return a fixed text: the messages of msgpack and of Unicode errors quote their input."""
    if isinstance(error, _MalformedError):
        return str(error)
    if isinstance(error, UnicodeError):
        return "text is not valid UTF-8"
    if isinstance(error, RecursionError) or "recursion" in str(error):
        return "it is nested too deeply"
    return "its bytes are not valid msgpack, or an extension value is wrong"


# ---------------------------------------------------------------- the flat walk

_SCALAR, _STR, _BIN, _EXT, _ARRAY, _MAP, _INVALID = range(7)


def _formats() -> list[tuple[int, int, int]]:
    """Return kind, width of the length field, and size (or items) for every first byte.

    The size is that of a format without a length field. The first bytes are those of the msgpack
    specification: fixmap 0x80, fixarray 0x90, fixstr 0xa0, and so on.
    """
    table = [(_SCALAR, 0, 0)] * 256
    for byte in range(16):
        table[0x80 + byte] = (_MAP, 0, byte)
        table[0x90 + byte] = (_ARRAY, 0, byte)
    for byte in range(32):
        table[0xA0 + byte] = (_STR, 0, byte)
    table[0xC1] = (_INVALID, 0, 0)
    for power, width in enumerate((1, 2, 4)):
        table[0xC4 + power] = (_BIN, width, 0)
        table[0xC7 + power] = (_EXT, width, 0)
        table[0xD9 + power] = (_STR, width, 0)
    for power, size in enumerate((4, 8)):
        table[0xCA + power] = (_SCALAR, 0, size)
    for power in range(4):
        table[0xCC + power] = (_SCALAR, 0, 1 << power)
        table[0xD0 + power] = (_SCALAR, 0, 1 << power)
    for power in range(5):
        table[0xD4 + power] = (_EXT, 0, 1 << power)
    for power, width in enumerate((2, 4)):
        table[0xDC + power] = (_ARRAY, width, 0)
        table[0xDE + power] = (_MAP, width, 0)
    return table


_FORMATS = _formats()
_CUT_SHORT = "it is cut short"


def _too_large(kind: int, size: int, limit: int) -> _MalformedError:
    """Return the error for a size above the limit of its kind."""
    if kind == _INVALID:
        return _MalformedError("it has a byte that msgpack does not use")
    names = {_STR: "text", _BIN: "binary data", _EXT: "an extension", _ARRAY: "an array"}
    unit = "bytes" if kind < _ARRAY else "items"
    name = names.get(kind, "a map")
    return _MalformedError(f"{name} of {size:,} {unit} (allowed: {limit:,})")


def scan(data: bytes, limits: Limits, ext_codes: Mapping[int, object]) -> None:
    """Walk over one msgpack object without building it, in time proportional to its length.

    Args:
        data: the bytes.
        limits: the bounds on lengths, depth and items.
        ext_codes: the extension types that are registered.

    Raises:
        ValueError: the object is cut short, followed by more bytes, too large or too deep, or it
            has a key that is not text or an extension type that is not registered.
    """
    end, max_sizes = len(data), limits.max_sizes
    pos = 0
    nodes = 1  # all items announced so far
    # Items that the open containers still announce. Each takes at least one byte, so a header that
    # announces more items than there are bytes is rejected at once.
    announced = 1
    items_left, in_map = 1, False  # of the innermost container; the object itself counts as one
    stack: list[tuple[int, bool]] = []
    # One long loop on purpose: a call of a helper for each item would cost more than the item.
    while True:
        while items_left == 0:
            if not stack:
                if pos != end:
                    raise _MalformedError("bytes follow its end" if pos < end else _CUT_SHORT)
                return
            items_left, in_map = stack.pop()
        if pos >= end:
            raise _MalformedError(_CUT_SHORT)
        kind, width, size = _FORMATS[data[pos]]
        # Keys come first in each pair, so an even number of items is left before a key.
        if in_map and not items_left & 1 and kind != _STR:
            raise _MalformedError("a map has a key that is not text")
        items_left -= 1
        announced -= 1
        pos += 1
        if width:
            size = int.from_bytes(data[pos : pos + width], "big")
            pos += width
        if kind == _SCALAR:  # first, because most items are scalars
            pos += size
        elif size > max_sizes[kind]:
            raise _too_large(kind, size, max_sizes[kind])
        elif kind >= _ARRAY:
            items = 2 * size if kind == _MAP else size
            announced += items
            nodes += items
            if announced > end - pos:
                raise _MalformedError("it announces more items than it has bytes")
            if nodes > limits.max_nodes:
                raise _MalformedError(f"it has more than {limits.max_nodes:,} items")
            stack.append((items_left, in_map))
            if len(stack) > limits.max_depth:
                raise _MalformedError(f"it is nested more than {limits.max_depth} deep")
            items_left, in_map = items, kind == _MAP
        elif kind == _EXT:
            # Codes above 127 are msgpack's own, such as its timestamps; none can be registered.
            if pos < end and data[pos] not in ext_codes:
                raise _MalformedError("it has an extension type that is not known here")
            pos += 1 + size
        else:
            pos += size
