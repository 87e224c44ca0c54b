"""The contents of an array that the server is to make, as bytes: from buffers and nested lists."""

from __future__ import annotations

from array import array
from typing import Any

from shm_echo.mechestim.errors import NO_OBJECTS, NotSendableError
from shm_echo.mechestim.remote.connection import arena
from shm_echo.mechestim.remote.dtypes import dtypes

# The text of the dtype for each format of the buffer protocol.
_DTYPE_TEXTS = {
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


class PackedArray:
    """The contents of an array: description of its dtype, shape, and bytes in C order."""

    __slots__ = ("content", "dtype", "shape")

    def __init__(
        self, dtype: Any, shape: tuple[int, ...], content: bytes | memoryview | array[Any]
    ) -> None:
        self.dtype = dtype
        self.shape = shape
        self.content = content

    @property
    def nbytes(self) -> int:
        """The bytes of the contents."""
        return memoryview(self.content).nbytes


def from_buffer(value: Any) -> PackedArray | None:
    """Pack an `array.array`, a typed `memoryview` or a NumPy array; None for other values.

    Raises:
        NotSendableError: A dtype of the client cannot describe the items.
    """
    if isinstance(value, (bytes, bytearray, str)):
        return None
    try:
        view = memoryview(value)
    except TypeError:
        return None
    except ValueError:  # NumPy's dates have no buffer format
        return _from_numpy(value)
    dtype = _DTYPE_TEXTS.get(view.format)
    if dtype is None:
        if hasattr(value, "__array_interface__"):
            return _from_numpy(value)
        raise NotSendableError(f"a buffer of format {view.format!r} cannot be sent to the server")
    if not view.c_contiguous:
        return PackedArray(dtype, view.shape or (), view.tobytes())
    # Large contents are copied into the arena; a copy here would be a second one.
    content = view if view.nbytes >= arena.MIN_BYTES else bytes(view)
    return PackedArray(dtype, view.shape or (), content)


def _from_numpy(value: Any) -> PackedArray:
    dtype = dtypes.dtype(value.dtype)
    if dtype.hasobject:
        raise NotSendableError(NO_OBJECTS)
    return PackedArray(dtype.description, value.shape, value.tobytes())


def from_list(value: Any) -> PackedArray | None:
    """Pack a nested list of numbers of one kind; None for any other list.

    The dtype is the one that NumPy would choose: float64 for floats (and ints among them), int64
    for ints alone where they fit, bool for bools alone.

    Example:
        >>> from_list([[1, 2], [3, 4]]).shape
        (2, 2)
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
        if not set(map(type, flat)) <= {list, tuple}:
            return None
        inner = len(flat[0])
        if any(len(item) != inner for item in flat):
            return None
        flat = [item for row in flat for item in row]
    kinds = set(map(type, flat))
    try:
        if kinds == {float} or kinds == {int, float}:
            return PackedArray("<f8", tuple(shape), array("d", flat))
        if kinds == {int}:
            return PackedArray("<i8", tuple(shape), array("q", flat))
        if kinds == {bool}:
            return PackedArray("|b1", tuple(shape), bytes(flat))
    except OverflowError:  # NumPy chooses another dtype; the server reads the list itself
        return None
    return None
