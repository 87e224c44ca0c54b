"""Frames: how messages are told apart in a stream of bytes.

    +----------------------+-------------------+
    | length, uint32, LE   | payload           |
    +----------------------+-------------------+

Bytes in, payloads out; no I/O. The length is checked when its four bytes are there, before
memory is taken for what it promises. What a payload means is the codec's matter.
"""

from __future__ import annotations

import struct

from shm_echo.errors import ProtocolError

__all__ = ["MAX_FRAME", "FrameDecoder", "encode_frame"]

# Control messages are small: samples go through shared memory. The largest one is the table of a
# tree's leaves, some 100 bytes each. The limit is also what a hostile peer can make us hold.
MAX_FRAME = 1 << 20

_HEADER = struct.Struct("<I")


def encode_frame(payload: bytes, max_frame: int = MAX_FRAME) -> bytes:
    """Put the length in front of a payload.

    Raises:
        ValueError: the payload is empty, or longer than the other side takes.
    """
    if not payload:
        raise ValueError("a message cannot be empty")
    if len(payload) > max_frame:
        raise ValueError(
            f"a message of {len(payload):,} bytes is above the limit of {max_frame:,} bytes"
        )
    return _HEADER.pack(len(payload)) + payload


class FrameDecoder:
    """Collects bytes and gives back whole payloads.

    Holds at most one frame and what its caller feeds at once, provided that the caller takes all
    payloads between two calls of ``feed``. After an error it gives that error for ever: there is
    no way to find the next frame.

    Attributes:
        max_frame: the longest payload that is taken from now on.
    """

    def __init__(self, max_frame: int = MAX_FRAME) -> None:
        self.max_frame = max_frame
        self._buffer = bytearray()
        self._error: str | None = None

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the stream, however they are cut."""
        if self._error is None:
            self._buffer += data

    def next_frame(self) -> bytes | None:
        """The next whole payload, or None while it is not there yet.

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
    def unfinished(self) -> bool:
        """Bytes are left that ``next_frame`` could not make a payload of."""
        return bool(self._buffer)
