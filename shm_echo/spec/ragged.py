"""Ragged leaves: rows of different lengths, each in memory for the longest.

`Ragged` stands in an example for a leaf whose first axis has another length in each sample. In
memory it is two leaves: the values, with room for the maximum, and the length. `ragged_row` has the
check of a row, and the row of one sample; `ragged_batch` has batches.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from shm_echo.errors import SpecMismatchError
from shm_echo.spec.leaf import LeafSpec, as_array
from shm_echo.validation import check_count

__all__ = ["LENGTH_DTYPE", "Ragged", "ragged_from_parts", "ragged_text"]

LENGTH_DTYPE = np.dtype(np.int64)

Shape: TypeAlias = "tuple[int, ...]"


class Ragged:
    """A leaf of an example whose first axis has another length in each sample.

    A sample has there an array of shape `(n, *trailing_shape)` and of the given dtype, with any `n`
    from 0 to `max_length`. A list or another sequence of numbers is taken, too, if none of them
    loses its kind (float to int) or leaves the range of the dtype, and bytes where the dtype is
    uint8. A batch has a [RaggedBatch][shm_echo.RaggedBatch].

    The ring has room for `max_length` in each sample, so choose it with care. What lies behind a
    row is always filled with the padding value.

    Example:
        >>> import numpy as np
        >>> from shm_echo import Ragged, Server
        >>> example = {"tokens": Ragged(np.int32, max_length=4), "label": np.int64(0)}
        >>> with Server(example, batch_size=2) as server:
        ...     server.submit({"tokens": np.array([5, 6, 7], np.int32), "label": 1})
        ...     server.submit({"tokens": [8], "label": 0})
        ...     tokens = server.sample().batch["tokens"]
        >>> tokens.lengths.tolist(), tokens.padded.tolist()
        ([3, 1], [[5, 6, 7, 0], [8, 0, 0, 0]])

    Args:
        dtype: of the elements: any without Python objects.
        max_length: the length of the longest row.
        trailing_shape: the shape of one element of a row.
        truncate: True to cut longer rows off at the end, instead of an error.
        padding_value: the number that fills the memory behind a row.

    Attributes:
        dtype, max_length, trailing_shape, truncate: as given; the dtype as a `numpy.dtype`.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument is out of range.
    """

    __slots__ = ("_padding", "dtype", "max_length", "trailing_shape", "truncate")

    def __init__(
        self,
        dtype: npt.DTypeLike,
        max_length: int,
        trailing_shape: int | tuple[int, ...] = (),
        *,
        truncate: bool = False,
        padding_value: complex = 0,
    ) -> None:
        self.dtype: np.dtype[Any] = _check_dtype(dtype)
        self.max_length: int = check_count("max_length", max_length, 1, most=2**62)
        axes = trailing_shape if isinstance(trailing_shape, (tuple, list)) else (trailing_shape,)
        self.trailing_shape: Shape = tuple(
            check_count("each axis of trailing_shape", axis, 0, most=2**62) for axis in axes
        )
        # As NumPy counts: axes of 0 elements do not make the others smaller.
        if math.prod(axis or 1 for axis in self.row_shape) * self.dtype.itemsize >= 2**63:
            raise ValueError(
                f"rows of {self.dtype} {self.row_shape} are too large for an array: use a smaller "
                "max_length or trailing_shape"
            )
        if not isinstance(truncate, bool):
            raise TypeError(f"truncate must be True or False, not {truncate!r}")
        self.truncate: bool = truncate
        self._padding = _padding_bytes(self.dtype, padding_value)

    @property
    def padding_value(self) -> Any:
        """The value that fills the memory behind a row, as a NumPy scalar."""
        return np.frombuffer(self._padding or bytes(self.dtype.itemsize), self.dtype)[0]

    @property
    def padding_bytes(self) -> bytes:
        """The bytes of the padding value; empty if all of them are 0."""
        return self._padding

    @property
    def row_shape(self) -> tuple[int, ...]:
        """The shape of the memory of one row: `(max_length, *trailing_shape)`."""
        return (self.max_length, *self.trailing_shape)

    def _key(self) -> tuple[Any, ...]:
        return (self.dtype, self.row_shape, self._padding, self.truncate)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ragged) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __reduce__(self) -> tuple[Any, ...]:
        return ragged_from_parts, (self.dtype, self.row_shape, self._padding, self.truncate)

    def __repr__(self) -> str:
        parts = [str(self.dtype), f"max_length={self.max_length}"]
        if self.trailing_shape:
            parts.append(f"trailing_shape={self.trailing_shape}")
        if self.truncate:
            parts.append("truncate=True")
        if self._padding:
            parts.append(f"padding_value={self.padding_value}")
        return f"Ragged({', '.join(parts)})"

    def __str__(self) -> str:
        padding = str(self.padding_value) if self._padding else ""
        return ragged_text(str(self.dtype), self.row_shape, padding)


def ragged_text(dtype: str, row_shape: Shape, padding: str) -> str:
    """Describe a ragged leaf for a message, such as `ragged int32 (<=512,)`."""
    axes = "".join(f", {axis}" for axis in row_shape[1:]) or ","
    return f"ragged {dtype} (<={row_shape[0]}{axes}){f' padded with {padding}' if padding else ''}"


def ragged_from_parts(
    dtype: np.dtype[Any], row_shape: Shape, padding: bytes, truncate: bool
) -> Ragged:
    """Return the declaration with these parts, as a pickle or a peer has them.

    Raises:
        ValueError: a part is out of range.
    """
    ragged = Ragged(dtype, row_shape[0], tuple(row_shape[1:]), truncate=truncate)
    if padding:
        if len(padding) != ragged.dtype.itemsize:
            raise ValueError(f"{len(padding)} bytes are no padding value of {ragged.dtype}")
        ragged._padding = padding
    return ragged


def _check_dtype(dtype: npt.DTypeLike) -> np.dtype[Any]:
    try:
        found: np.dtype[Any] = np.dtype(dtype)
    except (TypeError, ValueError) as error:
        raise TypeError(f"the dtype of a Ragged must be one of NumPy: {error}") from None
    if found.hasobject:
        raise TypeError(
            f"dtype {found} holds Python objects, which can't be shared between processes"
        )
    if found.subdtype is not None:
        raise TypeError(f"dtype {found} has a shape of its own: give it as trailing_shape")
    if found.itemsize == 0:
        raise ValueError(f"dtype {found} has no size: give one, such as {found.kind}16")
    return found


def _padding_bytes(dtype: np.dtype[Any], value: complex) -> bytes:
    if isinstance(value, (int, np.integer)) and value == 0:
        return b""
    try:
        scalar = as_array(LeafSpec("padding_value", dtype, (), dtype.itemsize), value)
    except SpecMismatchError as error:
        raise TypeError(str(error)) from None
    content = scalar.tobytes()
    return content if any(content) else b""
