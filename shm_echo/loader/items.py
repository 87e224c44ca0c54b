"""Items as rows of a batch: what an item may be, and the spec that the first one fixes.

An item is a tree of arrays, NumPy scalars and Python numbers, as for the rest of the package. A
loader's datasets also give torch tensors, PIL images and mappings that are no dicts, which are
converted here: `ItemSpec` is the front of the tree spec that accepts them.
"""

from __future__ import annotations

import reprlib
import sys
from collections import OrderedDict, defaultdict, deque
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import optree

from shm_echo.errors import SpecMismatchError
from shm_echo.spec import TreeSpec
from shm_echo.spec.ragged import Ragged
from shm_echo.spec.ragged_row import length_error
from shm_echo.spec.structure import MAX_DEPTH

__all__ = ["ItemSpec", "RowWriter", "item_arrays"]

_NUMBERS = (bool, int, float, complex)
_PLAIN_NUMBERS = set(_NUMBERS)
_DICTS = (dict, OrderedDict, defaultdict)


class RowWriter(Protocol):
    """The rows that an item is written to: a run of the ring, or a batch in this process."""

    def write(self, row: int, tree: Any, /) -> None:
        """Check a tree against the spec and copy it into a row."""
        ...


class Mendable(Protocol):
    """A run whose rows were written in place."""

    @property
    def indices(self) -> tuple[int, ...]: ...
    def mend(self) -> tuple[int, str, int] | None: ...


class ItemSpec:
    """The structure, shapes and dtypes of a dataset's items.

    A Python bool, int, float or complex becomes a leaf of bool, int64, float64 or complex128. None
    is possible where every item has it. Strings, bytes and other objects are not.

    Attributes:
        tree: the spec of one item's arrays.

    Example:
        >>> import numpy as np
        >>> from shm_echo.loader.items import ItemSpec
        >>> spec = ItemSpec.from_item((np.zeros((32, 32, 3), np.uint8), 7), index=0)
        >>> [f"{leaf.path}: {leaf}" for leaf in spec.tree.leaves]
        ['[0]: uint8 (32, 32, 3)', '[1]: int64 ()']
    """

    __slots__ = ("_converts", "_ragged_paths", "tree")

    def __init__(self, tree: TreeSpec, converts: bool) -> None:
        self.tree = tree
        self._converts = converts
        self._ragged_paths = {tree.leaves[row].path: leaf for row, leaf in tree.ragged.items()}

    def __reduce__(self) -> tuple[Any, ...]:
        return ItemSpec, (self.tree, self._converts)

    def __repr__(self) -> str:
        shown = self.tree.shown
        leaves = ", ".join(f"{path or 'item'}: {text}" for path, text in shown[:8])
        more = f", ... ({len(shown)} leaves)" if len(shown) > 8 else ""
        return f"<ItemSpec {leaves}{more}>"

    @property
    def nbytes(self) -> int:
        """The size of an item's arrays."""
        return self.tree.nbytes

    @classmethod
    def from_item(cls, item: Any, index: int | None = None) -> ItemSpec:
        """Return the spec that an item fixes.

        Args:
            item: the item; nothing refers to it afterwards.
            index: its index, for messages; None for the loader's `example=`.

        Raises:
            TypeError: it has a leaf of a type that no batch can be made of yet.
            ValueError: it has no leaves, or is nested too deeply.
        """
        whose = "the example" if index is None else f"item {index} of the dataset"
        try:
            tree, converts = item_arrays(item)
            return cls(TreeSpec.from_example(_with_arrays(tree)), converts)
        except TypeError as error:
            raise TypeError(f"{whose}: {error}") from None
        except ValueError as error:
            raise ValueError(f"{whose}: {error}") from None

    def write(self, rows: RowWriter, row: int, item: Any, index: int) -> None:
        """Write an item into a row.

        Args:
            rows: the rows.
            row: number of the row in them.
            item: the item.
            index: its index, for messages.

        Raises:
            SpecMismatchError: the item does not fit the first one; names index and path.
        """
        if not self._converts:
            try:
                rows.write(row, item)
                return
            except (SpecMismatchError, TypeError):
                pass  # it may fit once it is converted; else the error comes again, worded
        try:
            tree, _ = item_arrays(item)
        except (TypeError, ValueError) as error:
            path, _, _ = str(error).partition(": ")
            raise SpecMismatchError.worded(
                path, f"item {index} of the dataset can't be put into a batch: {error}"
            ) from None
        try:
            rows.write(row, tree)
        except SpecMismatchError as error:
            detail = str(error).removeprefix("the sample: ")
            if error.path in self._ragged_paths:
                raise SpecMismatchError.worded(
                    error.path, f"item {index} of the dataset does not fit: {detail}"
                ) from None
            where = " at " if error.path else ": "
            raise SpecMismatchError.worded(
                error.path,
                f"item {index} of the dataset differs from the first one{where}{detail}"
                f"{_shape_advice(detail)}",
            ) from None

    def mend(self, run: Mendable) -> tuple[int, SpecMismatchError] | None:
        """Fill the memory behind ragged rows that a dataset has written into a run in place.

        Returns:
            The place of the first row whose length is wrong, and the error; None if all is well.
        """
        if not self.tree.ragged:
            return None
        wrong = run.mend()
        if wrong is None:
            return None
        place, path, length = wrong
        text = length_error(length, self._ragged_paths[path].max_length)
        where = f"{path}: " if path else ""
        return place, SpecMismatchError.worded(
            path, f"item {run.indices[place]} of the dataset was not written: {where}{text}"
        )


def _shape_advice(detail: str) -> str:
    if "expected" not in detail or "got" not in detail or "(" not in detail.split("got", 1)[1]:
        return ""
    return "; all items need the same shapes and dtypes: resize, pad or cast in __getitem__"


def _with_arrays(tree: Any) -> Any:
    """Return the tree with NumPy scalars in the place of Python numbers."""
    return optree.tree_map(
        lambda leaf: np.asarray(leaf)[()] if isinstance(leaf, _NUMBERS) else leaf, tree
    )


# ---------------------------------------------------------------- conversion


def item_arrays(item: Any, objects: bool = False) -> tuple[Any, bool]:
    """Return an item as a tree of arrays and numbers, and True if that took a conversion.

    Torch tensors and PIL images become arrays, which alias them where that is possible; mappings
    become dicts, and subclasses of list and tuple these.

    Args:
        item: the item.
        objects: True to leave str, bytes and other objects as they are.

    Raises:
        TypeError: no array can be made of a leaf; the message begins with its path.
        ValueError: the item is cyclic or nested deeper than 64 levels.
    """
    return _convert(item, "", 0, objects)


def _convert(value: Any, path: str, depth: int, objects: bool) -> tuple[Any, bool]:
    kind = type(value)
    if (
        kind is np.ndarray
        or kind in _NUMBERS
        or value is None
        or (isinstance(value, np.generic) and not isinstance(value, (str, bytes)))
    ):
        return value, False
    if depth > MAX_DEPTH:
        raise ValueError(f"it is cyclic or nested deeper than {MAX_DEPTH} levels")
    if kind in _DICTS or isinstance(value, Mapping):
        return _convert_mapping(value, path, depth, objects)
    if isinstance(value, (list, tuple, deque)):
        return _convert_sequence(value, path, depth, objects)
    array = _leaf_array(value, path, objects)
    if array is not value:
        return array, True
    if not optree.tree_is_leaf(value):
        return _convert_node(value, path, depth, objects)
    return value, False


def _convert_mapping(value: Any, path: str, depth: int, objects: bool) -> tuple[Any, bool]:
    changed = type(value) not in _DICTS
    children: dict[Any, Any] = {}
    for key in value:
        children[key], child_changed = _convert(value[key], f"{path}[{key!r}]", depth + 1, objects)
        changed |= child_changed
    if not changed:
        return value, False
    return OrderedDict(children) if type(value) is OrderedDict else children, True


def _convert_sequence(value: Any, path: str, depth: int, objects: bool) -> tuple[Any, bool]:
    kind = type(value)
    if kind is list and set(map(type, value)) <= _PLAIN_NUMBERS:
        return value, False  # often a ragged row: thousands of tokens
    named = isinstance(value, tuple) and hasattr(kind, "_fields")
    known = kind in (list, tuple, deque) or named or optree.is_structseq_class(kind)
    steps = [f".{name}" for name in kind._fields] if named else None
    pairs = [
        _convert(child, path + (steps[i] if steps else f"[{i}]"), depth + 1, objects)
        for i, child in enumerate(value)
    ]
    if known and not any(changed for _, changed in pairs):
        return value, False
    children = [child for child, _ in pairs]
    if named:
        return kind._make(children), True
    if known and kind is not list:
        return kind(children), True
    return tuple(children) if isinstance(value, tuple) else children, True


def _convert_node(value: Any, path: str, depth: int, objects: bool) -> tuple[Any, bool]:
    """Convert the children of a node that is registered with optree."""
    children, metadata, entries, rebuild, *_ = optree.tree_flatten_one_level(value)
    pairs = [
        _convert(child, f"{path}[{entry!r}]", depth + 1, objects)
        for child, entry in zip(children, entries, strict=True)
    ]
    if not any(changed for _, changed in pairs):
        return value, False
    return rebuild(metadata, [child for child, _ in pairs]), True


def _leaf_array(value: Any, path: str, objects: bool) -> Any:
    """Return a leaf as an array or number; itself if it needs none, or is a node.

    Raises:
        TypeError: no array can be made of it.
    """
    where = path or "the item"
    if isinstance(value, (str, bytes)):
        if objects:
            return value
        raise TypeError(
            f"{where}: {'bytes' if isinstance(value, bytes) else 'str'} does not fit into an array "
            f"(got {reprlib.repr(value)})"
        )
    if isinstance(value, Ragged):  # in an example
        return value
    if isinstance(value, _NUMBERS):  # IntEnum and its like
        plain: Any = next(kind for kind in _NUMBERS if isinstance(value, kind))
        return plain(value)
    if isinstance(value, np.ndarray):
        # Plain views of a memmap's rows take the ring's fast path. The spec refuses masked arrays.
        return value if isinstance(value, np.ma.MaskedArray) else np.asarray(value)
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, getattr(torch, "Tensor", ())):
        return _tensor_array(value, where)
    images = sys.modules.get("PIL.Image")
    if images is not None and isinstance(value, getattr(images, "Image", ())):
        return _image_array(value, where)
    if optree.tree_is_leaf(value) and not objects:
        kind = type(value)
        raise TypeError(
            f"{where}: no batch can be made of a {kind.__module__}.{kind.__qualname__}: a "
            "dataset's items are trees of arrays, numbers, torch tensors and PIL images"
        )
    return value


def _tensor_array(tensor: Any, where: str) -> Any:
    if tensor.device.type != "cpu":
        raise TypeError(
            f"{where}: the tensor is on {tensor.device}: move it to the CPU in __getitem__ "
            "(.cpu()), and the batch to the device in the training loop"
        )
    try:
        return tensor.detach().resolve_conj().resolve_neg().numpy()
    except (TypeError, RuntimeError) as error:  # bfloat16, sparse, nested
        raise TypeError(
            f"{where}: NumPy has no array for a tensor of dtype {tensor.dtype} and layout "
            f"{tensor.layout}: convert it in __getitem__, bfloat16 with .float() ({error})"
        ) from None


def _image_array(image: Any, where: str) -> Any:
    if image.mode in ("P", "PA"):
        raise TypeError(
            f"{where}: the image has a palette (mode {image.mode}), so its array would hold places "
            "in the palette: use image.convert('RGB') in __getitem__"
        )
    return np.asarray(image)
