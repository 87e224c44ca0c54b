"""The batch of some items in NumPy, where they do not fit rows of fixed shapes and dtypes.

Each batch stands for itself: its leaves are stacked, and shapes and dtypes may be others than those
of the batch before. Strings, bytes and other objects become lists.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from typing import Any

import numpy as np
import optree

from shm_echo.loader.items import item_arrays

__all__ = ["LeafError", "UnequalItemsError", "collate", "convert"]

_NUMBERS = (bool, int, float, complex)


class UnequalItemsError(Exception):
    """Items of one batch differ, so that nothing can be stacked.

    Attributes:
        place: number of the first item that differs from item 0 of its batch.
        path: path of the leaf in the item, "" for the item itself.
        detail: the difference.
    """

    def __init__(self, place: int, path: str, detail: str) -> None:
        super().__init__(f"{path or 'the item'}: {detail}")
        self.place, self.path, self.detail = place, path, detail


class LeafError(Exception):
    """No array can be made of a leaf of an item.

    Attributes:
        place: number of the item in its batch.
    """

    def __init__(self, place: int, detail: str) -> None:
        super().__init__(detail)
        self.place = place


def collate(items: list[Any]) -> Any:
    """Return the batch of some items: a tree like an item.

    Its leaves are arrays with a leading axis, lists of str, bytes and other objects, or None where
    every item has None. Python numbers and NumPy scalars of several dtypes become an array of their
    common one. Dicts, lists, tuples and named tuples keep their class.

    Raises:
        UnequalItemsError: items differ in structure, shapes or dtypes.
        LeafError: no array can be made of a leaf, or an item is cyclic or nested too deeply.

    Example:
        >>> import numpy as np
        >>> from shm_echo.loader.collation import collate
        >>> collate([(np.zeros(2), "a"), (np.ones(2), "b")])
        (array([[0., 0.],
               [1., 1.]]), ['a', 'b'])
    """
    trees = []
    for place, item in enumerate(items):
        try:
            trees.append(item_arrays(item, objects=True)[0])
        except (TypeError, ValueError) as error:
            raise LeafError(place, str(error)) from None
    return _collate(trees, "")


def convert(item: Any) -> Any:
    """Return the batch that is one item (`batch_size=None`): the item itself."""
    return item


def _collate(values: list[Any], path: str) -> Any:
    first = values[0]
    for place, value in enumerate(values):
        if _kind(value) is not _kind(first):
            raise UnequalItemsError(
                place, path, f"expected {type(first).__name__}, got {type(value).__name__}"
            )
    if first is None:
        return None
    if isinstance(first, np.ndarray):
        return _stack(values, path)
    if isinstance(first, (np.generic, *_NUMBERS)) and not isinstance(first, (str, bytes)):
        return np.asarray(values)
    if isinstance(first, dict):
        return _collate_dicts(values, path)
    if isinstance(first, (list, tuple, deque)):
        return _collate_sequences(values, path)
    if not optree.tree_is_leaf(first):
        return _collate_nodes(values, path)
    return values


def _kind(value: Any) -> Any:
    """Return what all values of a leaf or a node have in common."""
    if isinstance(value, (np.generic, *_NUMBERS)) and not isinstance(value, (str, bytes)):
        return float  # any number
    for kind in (np.ndarray, str, bytes):
        if isinstance(value, kind):
            return kind
    if value is not None and optree.tree_is_leaf(value):
        return object
    return type(value)


def _stack(arrays: list[np.ndarray[Any, Any]], path: str) -> np.ndarray[Any, Any]:
    first = arrays[0]
    for place, array in enumerate(arrays):
        if array.shape != first.shape or array.dtype != first.dtype:
            raise UnequalItemsError(
                place,
                path,
                f"expected {first.dtype} {first.shape}, got {array.dtype} {array.shape}; the items "
                "of a batch need the same shapes and dtypes: resize, pad or cast in __getitem__ or "
                "in a collate_fn=",
            )
    return np.ma.stack(arrays) if isinstance(first, np.ma.MaskedArray) else np.stack(arrays)


def _collate_dicts(values: list[dict[Any, Any]], path: str) -> Any:
    first = values[0]
    for place, value in enumerate(values):
        if value.keys() != first.keys():
            raise UnequalItemsError(
                place, path, f"expected the keys {list(first)}, got {list(value)}"
            )
    children = {
        key: _collate([value[key] for value in values], f"{path}[{key!r}]") for key in first
    }
    if isinstance(first, defaultdict):
        return defaultdict(first.default_factory, children)
    return OrderedDict(children) if isinstance(first, OrderedDict) else children


def _collate_sequences(values: list[Any], path: str) -> Any:
    first = values[0]
    for place, value in enumerate(values):
        if len(value) != len(first):
            raise UnequalItemsError(
                place, path, f"expected {len(first)} elements, got {len(value)}"
            )
    names = getattr(type(first), "_fields", None)
    children = [
        _collate(list(column), f"{path}.{names[i]}" if names else f"{path}[{i}]")
        for i, column in enumerate(zip(*values, strict=True))
    ]
    if names:
        return type(first)._make(children)
    return children if isinstance(first, list) else type(first)(children)


def _collate_nodes(values: list[Any], path: str) -> Any:
    """Collate the children of nodes that are registered with optree."""
    parts = [optree.tree_flatten_one_level(value) for value in values]
    children, metadata, entries, rebuild, *_ = parts[0]
    for place, part in enumerate(parts):
        if len(part[0]) != len(children) or part[1] != metadata:
            raise UnequalItemsError(place, path, "expected the same structure")
    columns = zip(*(part[0] for part in parts), strict=True)
    return rebuild(
        metadata,
        [
            _collate(list(column), f"{path}[{entry!r}]")
            for column, entry in zip(columns, entries, strict=True)
        ],
    )
