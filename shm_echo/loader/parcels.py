"""Parcels: whole batches as one piece of memory.

A parcel is a pickle of protocol 5. The memory of its arrays lies beside the pickle, so that the
arrays that come back refer to the memory of the parcel and nothing is copied. It begins with
numbers of 64 bits: the number of items, the bytes of the pickle, the number of buffers, and then
offset and size of each. Then come the pickle and the buffers. Both ends are processes of one loader
(see `channel` about pickle).
"""

from __future__ import annotations

import io
import pickle
import struct
from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["PackedBatch", "pack", "unpack"]

_WORD = struct.Struct("<Q")
_HEAD_WORDS = 3
# Vector instructions want arrays that begin at a cache line.
_ALIGNMENT = 64
# Smaller arrays are copied into the pickle: a batch of a few numbers holds no memory of a ring.
_SMALLEST_BUFFER = 256


class PackedBatch:
    """A batch that is pickled, and whose arrays are still where they were.

    Attributes:
        nbytes: size of the parcel.
    """

    def __init__(self, items: int, pickled: memoryview, buffers: list[memoryview]) -> None:
        offset = _WORD.size * (_HEAD_WORDS + 2 * len(buffers))
        self._pieces: list[tuple[int, memoryview]] = [(offset, pickled)]
        end = offset + pickled.nbytes
        words = [items, pickled.nbytes, len(buffers)]
        for buffer in buffers:
            offset = -(-end // _ALIGNMENT) * _ALIGNMENT
            end = offset + buffer.nbytes
            words += [offset, buffer.nbytes]
            self._pieces.append((offset, buffer))
        self._head = struct.pack(f"<{len(words)}Q", *words)
        self.nbytes = end

    def write(self, memory: np.ndarray[Any, Any]) -> None:
        """Write the parcel into bytes, which are enough.

        Args:
            memory: C-contiguous uint8.
        """
        memory[: len(self._head)] = np.frombuffer(self._head, np.uint8)
        for offset, piece in self._pieces:
            memory[offset : offset + piece.nbytes] = np.frombuffer(piece, np.uint8)

    def to_bytes(self) -> bytearray:
        """Return the parcel as bytes of its own."""
        data = bytearray(self.nbytes)
        self.write(np.frombuffer(data, np.uint8))
        return data


def pack(batch: Any, items: int, reducer: Callable[[Any], Any] | None = None) -> PackedBatch:
    """Return the parcel of a batch. The batch must not change until it is written.

    Args:
        batch: any object that can be pickled.
        items: number of items in it, for the loader.
        reducer: as `Face.reducer`.

    Raises:
        Exception: it cannot be pickled.
    """
    buffers: list[memoryview] = []

    def keep(buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes < _SMALLEST_BUFFER:
            return True  # into the pickle
        buffers.append(raw)
        return False

    file = io.BytesIO()
    _Pickler(file, keep, reducer).dump(batch)
    return PackedBatch(items, file.getbuffer(), buffers)


def unpack(memory: Any) -> tuple[Any, int]:
    """Return the batch in a parcel, and its number of items.

    The arrays of the batch refer to the memory, and are writable if it is.

    Args:
        memory: bytes that begin with the parcel: an array of uint8, or a bytearray.

    Raises:
        Exception: an object in it cannot be built here.
    """
    view = memoryview(memory)
    items, size, count = struct.unpack_from(f"<{_HEAD_WORDS}Q", view)
    words = struct.unpack_from(f"<{2 * count}Q", view, _WORD.size * _HEAD_WORDS)
    start = _WORD.size * (_HEAD_WORDS + 2 * count)
    buffers = [
        view[offset : offset + nbytes]
        for offset, nbytes in zip(words[::2], words[1::2], strict=True)
    ]
    return pickle.loads(view[start : start + size], buffers=buffers), items


class _Pickler(pickle.Pickler):
    def __init__(
        self,
        file: io.BytesIO,
        keep: Callable[[pickle.PickleBuffer], bool],
        reducer: Callable[[Any], Any] | None,
    ) -> None:
        super().__init__(file, 5, buffer_callback=keep)
        self._reducer = reducer

    def reducer_override(self, obj: Any) -> Any:
        kind = type(obj)
        if kind is np.ndarray or kind is np.memmap:
            if kind is np.ndarray and (obj.flags.forc or obj.dtype.hasobject):
                return NotImplemented  # NumPy's own way gives the buffer
            array = np.asarray(obj)
            # A view with gaps would be copied into the pickle; a memmap would lose its class.
            return np.ascontiguousarray(array).reshape(array.shape).__reduce_ex__(5)
        return NotImplemented if self._reducer is None else self._reducer(obj)
