"""Batches of ragged rows, as a learner gets them and as a producer may send them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from shm_echo.errors import SpecMismatchError
from shm_echo.spec.leaf import Array, castable, describe, found_text
from shm_echo.spec.ragged import LENGTH_DTYPE, Ragged
from shm_echo.spec.ragged_row import (
    UNSET,
    RaggedRow,
    as_numpy,
    fit_row,
    length_error,
    register_node,
)

__all__ = ["PackedRows", "RaggedBatch", "fit_rows", "join", "mend_rows", "pad_behind"]


class PackedRows(NamedTuple):
    """The rows of a batch, one behind the other.

    Attributes:
        values: the elements of all rows, of shape `(total, *trailing_shape)`.
        offsets: where each row begins, and where the last one ends: int64 of shape `(rows + 1,)`.
    """

    values: Array
    offsets: Array


class RaggedBatch:
    """The rows of a batch at a [Ragged][shm_echo.Ragged] leaf: padded memory, and their lengths.

    `batch[i]` is row `i` as an array; a slice, an array of indices or a mask selects rows. Rows,
    slices, `padded` and `lengths` are views of the batch's memory and keep its lease, as the arrays
    of other leaves do. `copy.deepcopy` and pickles have memory of their own.

    Its array (`np.asarray(batch)`) is `padded`. As a node of optree it has the children `padded`
    and `lengths`, so that a tree map over a batch converts both: the class takes arrays of other
    libraries, too, for which indexing, `len` and `trim` work.

    Example:
        >>> import numpy as np
        >>> from shm_echo import RaggedBatch
        >>> batch = RaggedBatch(np.array([[1, 2, 0], [3, 0, 0]]), np.array([2, 1]))
        >>> batch
        <RaggedBatch of 2 rows, int64, lengths 1 to 2 of at most 3>
        >>> batch[0].tolist(), batch.packed().values.tolist(), batch.packed().offsets.tolist()
        ([1, 2], [1, 2, 3], [0, 2, 3])
        >>> batch.trim().padded.tolist()
        [[1, 2], [3, 0]]

    Args:
        padded: the rows, of shape `(rows, max_length, *trailing_shape)`.
        lengths: the length of each row, of shape `(rows,)`.
        ragged: the declaration; None for rows that are padded with zeros.

    Attributes:
        padded, lengths: as given.
    """

    __slots__ = ("__weakref__", "_ragged", "lengths", "padded")

    def __init__(self, padded: Any, lengths: Any, ragged: Ragged | None = None) -> None:
        self.padded = padded
        self.lengths = lengths
        self._ragged = ragged

    @property
    def dtype(self) -> Any:
        """The dtype of the elements."""
        return self.padded.dtype

    @property
    def max_length(self) -> int:
        """The length for which each row has room."""
        return int(self.padded.shape[1])

    # ---------------------------------------------------------------- rows

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, key: Any) -> Any:
        """Return row `key` as an array; of a slice, an index array or a mask, a RaggedBatch."""
        if isinstance(key, (int, np.integer)):
            return self.padded[key][: self._length(key)]
        if isinstance(key, tuple):
            raise IndexError("a RaggedBatch takes one index: batch[i][j], or batch.padded[i, j]")
        return RaggedBatch(self.padded[key], self.lengths[key], self._ragged)

    def __setitem__(self, key: int, row: Any) -> None:
        """Write a row: its elements, the padding and the length.

        Raises:
            SpecMismatchError: it does not fit; nothing was written.
        """
        if not isinstance(key, (int, np.integer)):
            raise TypeError(f"rows are written one by one, by their number, not by {key!r}")
        # Not self.lengths[key]: that is a number, and no memory.
        RaggedRow(self.padded[key], self.lengths[key, ...], self._declaration()).set(row)

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def _length(self, i: Any) -> int:
        length = int(self.lengths[i])
        if 0 <= length <= self.max_length:
            return length
        raise ValueError(_row_error(int(i), length, self.max_length))

    def _declaration(self) -> Ragged:
        if self._ragged is None:
            return Ragged(self.padded.dtype, self.max_length, self.padded.shape[2:])
        return self._ragged

    def to_list(self) -> list[Array]:
        """Return the rows as a list of arrays, which are views."""
        return [
            row[:length]
            for row, length in zip(self.padded, self._checked_lengths().tolist(), strict=True)
        ]

    def packed(self) -> PackedRows:
        """Return the elements of all rows one behind the other, and the offsets of the rows.

        The values are a copy. Libraries call this form values and offsets, row splits, or
        cumulative sequence lengths.
        """
        offsets = np.zeros(len(self) + 1, LENGTH_DTYPE)
        np.cumsum(self._checked_lengths(), out=offsets[1:])
        values = np.empty((offsets[-1], *self.padded.shape[2:]), self.dtype)
        if len(values):
            np.concatenate(self.to_list(), out=values)
        return PackedRows(values, offsets)

    def mask(self) -> Array:
        """Return a new bool array `(rows, max_length)`: True where there is an element."""
        mask: Array = np.arange(self.max_length) < self._checked_lengths()[:, None]
        return mask

    def trim(self) -> RaggedBatch:
        """Return a view of this batch, with room for its longest row only."""
        longest = int(self.lengths.max()) if len(self) else 0
        return RaggedBatch(self.padded[:, : max(0, longest)], self.lengths, self._ragged)

    def _checked_lengths(self) -> Array:
        # Other processes write them, and a peer on echo's wire without any check.
        lengths = np.asarray(self.lengths)
        wrong = (lengths < 0) | (lengths > self.max_length)
        if wrong.any():
            i = int(np.argmax(wrong))
            raise ValueError(_row_error(i, int(lengths[i]), self.max_length))
        return lengths

    # ---------------------------------------------------------------- as an array, and as a node

    def copy(self) -> RaggedBatch:
        """Return a batch with memory of its own, which is writable."""
        return RaggedBatch(self.padded.copy(), self.lengths.copy(), self._ragged)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return as_numpy(self.padded, dtype, copy)

    def __reduce__(self) -> tuple[Any, ...]:
        return RaggedBatch, (self.padded, self.lengths, self._ragged)

    def __repr__(self) -> str:
        if not isinstance(self.padded, np.ndarray) or not isinstance(self.lengths, np.ndarray):
            kinds = " and ".join(type(part).__name__ for part in (self.padded, self.lengths))
            return f"<RaggedBatch of {kinds}>"
        if not self.lengths.size:
            return f"<RaggedBatch of 0 rows, {self.dtype}>"
        return (
            f"<RaggedBatch of {len(self)} rows, {self.dtype}, lengths {self.lengths.min()} to "
            f"{self.lengths.max()} of at most {self.max_length}>"
        )

    def tree_flatten(self) -> tuple[tuple[Any, Any], Ragged | None]:
        """Return the children and the metadata of this node, for optree and jax."""
        return (self.padded, self.lengths), self._ragged

    @classmethod
    def tree_unflatten(cls, metadata: Ragged | None, children: Any) -> RaggedBatch:
        """Return the node with these children, for optree and jax."""
        padded, lengths = children
        return cls(padded, lengths, metadata)


register_node(RaggedBatch, ("padded", "lengths"))


def _row_error(row: int, length: int, most: int) -> str:
    return f"row {row}: {length_error(length, most)}"


# ---------------------------------------------------------------- between trees and memory


def join(ragged: Ragged, padded: Array, lengths: Array) -> RaggedBatch | RaggedRow:
    """Return what a tree has in the place of a ragged leaf: a batch, or the row of a sample."""
    kind = RaggedBatch if lengths.ndim else RaggedRow
    return kind(padded, lengths, ragged)


def fit_rows(
    ragged: Ragged, path: str, value: Any, *, same_kind: bool = False
) -> tuple[Array, Array]:
    """Return the memory and the lengths of the rows of several samples.

    Args:
        ragged: the declaration.
        path: of the leaf, for messages.
        value: a RaggedBatch, a list of rows, or an array of rows of equal lengths.
        same_kind: also cast arrays, by NumPy's rule of this name.

    Raises:
        SpecMismatchError: the value does not fit; the message has the number of the row.
    """
    if isinstance(value, RaggedBatch):
        return _fit_batch(ragged, path, value, same_kind)
    stacked = isinstance(value, np.ndarray) and value.ndim == len(ragged.row_shape) + 1
    if not (stacked or isinstance(value, (list, tuple))):
        raise SpecMismatchError(
            path,
            f"expected a RaggedBatch, a list of rows or an array of equal rows for {ragged}, got "
            f"{found_text(value)}",
        )
    padded, lengths = empty_rows(ragged, len(value))
    for i, each in enumerate(value):
        row = fit_row(ragged, f"{path}[{i}]", each, same_kind=same_kind)
        padded[i, : len(row)] = row
        lengths[i] = len(row)
    pad_behind(ragged, padded, lengths)
    return padded, lengths


def _fit_batch(
    ragged: Ragged, path: str, batch: RaggedBatch, same_kind: bool
) -> tuple[Array, Array]:
    try:
        given, lengths = np.asarray(batch.padded), batch._checked_lengths().astype(LENGTH_DTYPE)
    except ValueError as error:
        raise SpecMismatchError(path, str(error)) from None
    fits = given.dtype == ragged.dtype or (same_kind and castable(given.dtype, ragged.dtype))
    if not fits or given.ndim < 2 or given.shape[2:] != ragged.trailing_shape:
        raise SpecMismatchError(path, f"expected {ragged}, got rows of {describe(given)}")
    if lengths.max(initial=0) > ragged.max_length:
        i = int(np.argmax(lengths))
        fit_row(ragged, f"{path}[{i}]", batch[i], same_kind=same_kind)  # raises, or truncates
        np.minimum(lengths, ragged.max_length, out=lengths)
    padded, _ = empty_rows(ragged, len(lengths))
    room = min(ragged.max_length, given.shape[1])
    padded[:, :room] = given[:, :room]
    pad_behind(ragged, padded, lengths)
    return padded, lengths


def empty_rows(ragged: Ragged, count: int) -> tuple[Array, Array]:
    """Return memory for rows, and their lengths, which are not set."""
    return (
        np.empty((count, *ragged.row_shape), ragged.dtype),
        np.full(count, UNSET, LENGTH_DTYPE),
    )


def pad_behind(ragged: Ragged, padded: Array, lengths: Array) -> None:
    """Fill the memory behind each row."""
    value = ragged.padding_value
    for row, length in zip(padded, lengths.tolist(), strict=True):
        row[length:] = value


def mend_rows(ragged: Ragged, padded: Array, lengths: Array) -> tuple[int, int] | None:
    """Fill the memory behind rows that somebody has written in place.

    Returns:
        The number of the first row whose length is wrong, and that length; None if all is well.
    """
    wrong = (lengths < 0) | (lengths > ragged.max_length)
    if wrong.any():
        i = int(np.argmax(wrong))
        return i, int(lengths[i])
    pad_behind(ragged, padded, lengths)
    return None
