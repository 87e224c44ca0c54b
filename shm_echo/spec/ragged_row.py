"""The row of one sample at a ragged leaf, and the check of a row against the declaration."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Any

import numpy as np
import optree

from shm_echo.errors import SpecMismatchError
from shm_echo.spec.leaf import (
    Array,
    LeafSpec,
    as_array,
    castable,
    casts_without_loss,
    describe,
    found_text,
)
from shm_echo.spec.ragged import LENGTH_DTYPE, Ragged
from shm_echo.validation import check_count

__all__ = [
    "UNSET",
    "RaggedRow",
    "as_numpy",
    "fit_padded_row",
    "fit_row",
    "length_error",
    "register_node",
]

# The length of a row in memory that was handed out to be written, and not written yet.
UNSET = -1

# Not str and bytes, whose elements are no numbers; not sets and dicts, which have no order.
_SEQUENCES = (list, tuple, range, array)
_BYTES = (bytes, bytearray)


class RaggedRow:
    """The row of one sample at a [Ragged][shm_echo.Ragged] leaf, in memory for the longest.

    It is what `reserve()` and a dataset's `load_into` hand out to be written: `set()` writes a row;
    or write `padded[:n]` and then `length = n`, which fills the memory behind. The tree of a slot
    takes an array in its place, too. A published value has rows that are read-only.

    Its array (`np.asarray(row)`) is `values`. As a node of optree it has the children `padded` and
    `length`.

    Example:
        >>> import numpy as np
        >>> from shm_echo import Ragged, Server, ShmClient, ShmTransport
        >>> example = {"tokens": Ragged(np.int32, max_length=4)}
        >>> with Server(example, 1, ShmTransport("ragged-row-example")) as server:
        ...     with ShmClient("ragged-row-example", example) as client:
        ...         with client.reserve() as slot:
        ...             slot["tokens"].set([7, 8])
        ...     server.sample().batch["tokens"].to_list()
        [array([7, 8], dtype=int32)]

    Args:
        padded: the memory, of shape `(max_length, *trailing_shape)`.
        length: the number of elements, as an array of shape `()` or an int.
        ragged: the declaration; None for rows that are padded with zeros.

    Attributes:
        padded: as given.
    """

    __slots__ = ("__weakref__", "_length", "_ragged", "padded")

    def __init__(self, padded: Any, length: Any, ragged: Ragged | None = None) -> None:
        self.padded = padded
        self._length = length
        self._ragged = ragged

    @property
    def length(self) -> int:
        """The number of elements; -1 in memory that was not written yet.

        Setting it fills the memory behind with the padding value.
        """
        return int(self._length)

    @length.setter
    def length(self, length: int) -> None:
        count = check_count("length", length, 0, most=len(self.padded))
        if not isinstance(self._length, np.ndarray):
            raise TypeError("the length of this row is not in memory that can be written")
        self.padded[count:] = 0 if self._ragged is None else self._ragged.padding_value
        self._length[...] = count

    @property
    def values(self) -> Any:
        """The elements: the part of `padded` before the padding.

        Raises:
            ValueError: the length was not set, or is no length of such a row.
        """
        return self.padded[: len(self)]

    def set(self, row: Any) -> None:
        """Write a row: its elements, the padding and the length.

        Args:
            row: an array or a sequence, as for a sample.

        Raises:
            SpecMismatchError: it does not fit; nothing was written.
        """
        ragged = self._ragged
        if ragged is None:
            ragged = Ragged(self.padded.dtype, len(self.padded), self.padded.shape[1:])
        try:
            fitting = fit_row(ragged, "", row)
        except SpecMismatchError as error:
            text = str(error).replace("the sample: ", "the row: ", 1)
            raise SpecMismatchError.worded("", text) from None
        self.padded[: len(fitting)] = fitting
        self.length = len(fitting)

    def __len__(self) -> int:
        length = self.length
        if not 0 <= length <= len(self.padded):
            raise ValueError(length_error(length, len(self.padded)))
        return length

    def __getitem__(self, key: Any) -> Any:
        return self.values[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.values)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return as_numpy(self.values, dtype, copy)

    def __reduce__(self) -> tuple[Any, ...]:
        return RaggedRow, (self.padded, self._length, self._ragged)

    def __repr__(self) -> str:
        return f"<RaggedRow {describe(self.padded)}, length {self._length}>"

    def tree_flatten(self) -> tuple[tuple[Any, Any], Ragged | None]:
        """Return the children and the metadata of this node, for optree and jax."""
        return (self.padded, self._length), self._ragged

    @classmethod
    def tree_unflatten(cls, metadata: Ragged | None, children: Any) -> RaggedRow:
        """Return the node with these children, for optree and jax."""
        padded, length = children
        return cls(padded, length, metadata)


def length_error(length: int, most: int) -> str:
    """Return what is wrong with a length in memory; the C side has the same words."""
    if length == UNSET:
        return "its length was not set: use set(row), or length = n"
    return f"a row of at most {most} elements has no length {length}"


def as_numpy(value: Any, dtype: Any, copy: bool | None) -> Array:
    """Return an array for the protocol `__array__`, whose `copy` NumPy 1 does not pass.

    Raises:
        ValueError: `copy` is False, and another dtype is asked for.
    """
    plain = np.asarray(value)
    if dtype is not None and plain.dtype != dtype:
        if copy is False:
            raise ValueError(f"{plain.dtype} can't become {np.dtype(dtype)} without a copy")
        return plain.astype(dtype)
    return plain.copy() if copy else plain


def register_node(kind: type[Any], names: tuple[str, str]) -> None:
    """Make a class of this package a node of optree everywhere, with two named children."""

    def flatten(node: Any) -> Any:
        return (*node.tree_flatten(), names)

    optree.register_pytree_node(
        kind,
        flatten,
        kind.tree_unflatten,
        path_entry_type=optree.GetAttrEntry,
        # The class is this package's own, so that no other library registers it differently.
        namespace=optree.registry.__GLOBAL_NAMESPACE,
    )


register_node(RaggedRow, ("padded", "length"))


# ---------------------------------------------------------------- checks


def fit_row(ragged: Ragged, path: str, value: Any, *, same_kind: bool = False) -> Array:
    """Return a row as an array of the declared dtype and shape `(n, *trailing_shape)`.

    Args:
        ragged: the declaration.
        path: of the leaf, for messages.
        value: the row; arrays of the right dtype are returned without a copy.
        same_kind: also cast arrays, by NumPy's rule of this name.

    Raises:
        SpecMismatchError: the value does not fit, or is longer than the maximum.
    """
    if isinstance(value, RaggedRow):
        try:
            value = value.values
        except ValueError as error:
            raise SpecMismatchError(path, str(error)) from None
    if isinstance(value, np.ma.MaskedArray):
        raise SpecMismatchError(
            path,
            f"expected {ragged}, got a masked array: its mask would be lost, so fill it first "
            "(.filled())",
        )
    if isinstance(value, np.ndarray):
        row = value if type(value) is np.ndarray else np.asarray(value)
        if row.ndim == len(ragged.row_shape) and row.shape[1:] == ragged.trailing_shape:
            if row.dtype == ragged.dtype:
                return row[: _fitting_length(ragged, path, row)]
            if same_kind and castable(row.dtype, ragged.dtype):
                return row[: _fitting_length(ragged, path, row)].astype(ragged.dtype)
    elif isinstance(value, _BYTES):
        if ragged.dtype == np.uint8 and not ragged.trailing_shape:
            return np.frombuffer(value, np.uint8)[: _fitting_length(ragged, path, value)]
    elif isinstance(value, _SEQUENCES):
        return _from_sequence(ragged, path, value[: _fitting_length(ragged, path, value)])
    raise SpecMismatchError(path, f"expected {ragged}, got {found_text(value)}")


def _fitting_length(ragged: Ragged, path: str, row: Any) -> int:
    """Return the number of elements of a row to take."""
    length = len(row)
    if length <= ragged.max_length:
        return length
    if ragged.truncate:
        return ragged.max_length
    raise SpecMismatchError(
        path,
        f"expected {ragged}, got {describe(row)}: its length is {length:,}, and max_length "
        f"{ragged.max_length:,}; shorten the row, raise max_length, or declare truncate=True",
    )


def _from_sequence(ragged: Ragged, path: str, value: Any) -> Array:
    """Return a sequence of numbers as a row, by the rule of numbers at 0-d leaves."""
    if len(value) == 0:
        return np.empty((0, *ragged.trailing_shape), ragged.dtype)
    try:
        row = np.asarray(value)
    except (TypeError, ValueError, OverflowError):  # elements of different shapes, or no numbers
        raise SpecMismatchError(
            path, f"expected {ragged}, got {describe(value)} that do not make an array"
        ) from None
    if row.shape[1:] != ragged.trailing_shape:
        raise SpecMismatchError(
            path, f"expected {ragged}, got {describe(value)}, which makes an array {row.shape}"
        )
    fitting = casts_without_loss(row, ragged.dtype)
    if fitting is not None:
        return fitting
    if ragged.trailing_shape:
        raise SpecMismatchError(
            path,
            f"expected {ragged}, got {describe(value)}, of which not every element casts to it "
            f"without loss (together they are {row.dtype})",
        )
    # Together they have one dtype, which may be wider than each needs: integers above 2**63.
    leaf = LeafSpec("", ragged.dtype, (), ragged.dtype.itemsize)
    fitting = np.empty(len(value), ragged.dtype)
    for i, element in enumerate(value):
        try:
            fitting[i] = as_array(leaf, element)
        except SpecMismatchError as error:
            detail = str(error).removeprefix("the sample: ")
            raise SpecMismatchError(
                path, f"expected {ragged}, got {describe(value)}, of which element {i}: {detail}"
            ) from None
    return fitting


def fit_padded_row(
    ragged: Ragged, path: str, value: Any, *, same_kind: bool = False
) -> tuple[Array, Array]:
    """Return the memory and the length of a row; arguments and errors are those of `fit_row`."""
    row = fit_row(ragged, path, value, same_kind=same_kind)
    padded = np.empty(ragged.row_shape, ragged.dtype)
    padded[: len(row)] = row
    padded[len(row) :] = ragged.padding_value
    return padded, np.array(len(row), LENGTH_DTYPE)
