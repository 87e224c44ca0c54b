"""Frames: the boundaries of messages in a stream of bytes.

    +----------------------+-------------------+
    | length, uint32, LE   | payload           |
    +----------------------+-------------------+

Bytes in, payloads out; no I/O. The length is checked as soon as its four bytes are there, before
any memory is taken for the payload. `codec` decodes payloads.
"""

from __future__ import annotations

import struct

from shm_echo.errors import ProtocolError

__all__ = ["MAX_FRAME", "FrameDecoder", "encode_frame"]

# Control messages are small: samples go through shared memory. The largest message is the table of
# a tree's leaves, some 100 bytes each. A hostile peer can make this process hold one such frame.
MAX_FRAME = 1 << 20

_HEADER = struct.Struct("<I")


def encode_frame(payload: bytes, max_frame: int = MAX_FRAME) -> bytes:
    """Put the length in front of a payload.

    Raises:
        ValueError: the payload is empty, or longer than the other side accepts.

    Example:
        >>> encode_frame(b"abc").hex(" ")
        '03 00 00 00 61 62 63'
    """
    if not payload:
        raise ValueError("a message cannot be empty")
    if len(payload) > max_frame:
        raise ValueError(
            f"a message of {len(payload):,} bytes is above the limit of {max_frame:,} bytes"
        )
    return _HEADER.pack(len(payload)) + payload


class FrameDecoder:
    """Collects bytes and returns whole payloads.

    If the caller takes all payloads between two calls of `feed`, the decoder holds at most one
    frame and the bytes of one `feed`. After an error every call raises that error again, since
    nothing marks where the next frame begins.

    Attributes:
        max_frame: the longest payload that is accepted from now on.
    """

    def __init__(self, max_frame: int = MAX_FRAME) -> None:
        self.max_frame = max_frame
        self._buffer = bytearray()
        self._error: str | None = None

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the stream, in pieces of any size."""
        if self._error is None:
            self._buffer += data

    def next_frame(self) -> bytes | None:
        """Return the next whole payload; None while it is incomplete.

        Raises:
            ProtocolError: the stream announces a frame that is too long, or an empty one.
        """
        if self._error is not None:
            raise ProtocolError(self._error)
        if len(self._buffer) < _HEADER.size:
            return None
        (length,) = _HEADER.unpack_from(self._buffer)
        if not 0 < length <= self.max_frame:
            self._buffer.clear()
            self._error = (
                f"a frame of {length:,} bytes was announced (allowed: 1 to {self.max_frame:,})"
            )
            raise ProtocolError(self._error)
        end = _HEADER.size + length
        if len(self._buffer) < end:
            return None
        payload = bytes(self._buffer[_HEADER.size : end])
        del self._buffer[:end]
        return payload

    @property
    def missing(self) -> int:
        """The number of bytes that the next frame still lacks, as far as it is known.

        A caller that reads no more than this takes nothing that follows the frame.
        """
        if len(self._buffer) < _HEADER.size:
            return _HEADER.size - len(self._buffer)
        (length,) = _HEADER.unpack_from(self._buffer)
        return max(0, _HEADER.size + int(length) - len(self._buffer))

    @property
    def has_partial_frame(self) -> bool:
        """True if bytes have come that are not a whole frame yet."""
        return bool(self._buffer)
