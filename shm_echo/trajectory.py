"""The trajectory accumulator: collects steps into one sample with a row per step.

An `add()` that raises has stored nothing. A built tree holds the added rows followed by zeros,
never rows of an earlier trajectory or the former content of a ring slot. Errors name the time scale
and the leaf. There is no locking: one accumulator belongs to one thread.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from shm_echo.copying import reject_copy
from shm_echo.errors import SpecMismatchError
from shm_echo.spec import LeafSpec, TreeSpec
from shm_echo.spec.leaf import Array, as_array, describe

_NUMERIC = "biufc"


class TrajectoryAccumulator:
    """Fills a sample of fixed size step by step, on several time scales at once.

    The example is a dict of time scales. The shapes of each value, a pytree of arrays, determine
    how many `add()` calls fill its time scale:

    - **buffered**: all leaves share a leading dimension N > 1, and each `add()` fills the next
      of N rows;
    - **single-item**: some leaf is 0-d, or all leading dimensions are 1. It holds one piece of
      context (a bootstrap observation, an episode return), and one `add()` replaces every leaf.

    An item has the structure of its time scale, and the leaves of one row: the leaf's shape without
    the leading dimension. Leading axes of length 1 may be present or not. An array is cast where
    NumPy's `same_kind` rule allows it (float64 to float32, int64 to int32, int to float; not float
    to int); strings, dates and structures only where the cast is `safe`. A single number, in any of
    its forms, is cast as in `ShmClient.send`: its value must be in range. Lists are not arrays.

    Example:
        >>> import numpy as np
        >>> from shm_echo import TrajectoryAccumulator
        >>> steps = {"obs": np.zeros((3, 2), np.float32), "reward": np.zeros(3, np.float32)}
        >>> last = {"obs": np.zeros((1, 2), np.float32)}
        >>> accumulator = TrajectoryAccumulator({"steps": steps, "last": last})
        >>> for step in range(2):
        ...     accumulator.add("steps", {"obs": np.full(2, float(step)), "reward": 0.5})
        >>> accumulator.add("last", {"obs": np.full(2, 2.0)})
        >>> accumulator.counts
        {'steps': 2, 'last': 1}
        >>> tree = accumulator.build()  # ready for ShmClient.send
        >>> tree["steps"]["reward"].tolist()
        [0.5, 0.5, 0.0]
        >>> tree["last"]["obs"].tolist()
        [[2.0, 2.0]]

    **Without a copy.** After `attach(slot)` the rows are written straight into a reserved slot of
    the ring:

    ```python
    with client.reserve() as slot:
        accumulator.attach(slot)
        for _ in range(128):
            ...
            accumulator.add("steps", {"obs": obs, "reward": reward})
        accumulator.add("last", {"obs": obs})
        accumulator.build()
    ```

    The slot is claimed for the whole rollout, and its batch cannot be delivered before the rollout
    ends. Build in the accumulator's own buffers and call `send()`, which costs one copy, if a
    rollout takes long beside the time that the learner needs for a batch, if actors are uneven, or
    if a step may block. Attach if samples are so large that the copy takes noticeable time.

    If an exception leaves the `with` block, the slot goes back to the ring and the accumulator must
    not write into it any more: call `reset()`, or `attach()` a new slot, before the next `add()`.

    Raises:
        TypeError: the example is not a dict, or a leaf is not a NumPy value that can be shared.
        ValueError: a time scale has no leaves, or leading dimensions that differ or are 0.
    """

    def __init__(self, example: dict[str, Any]) -> None:
        if not isinstance(example, dict):
            raise TypeError(
                "the example must be a dict with the time scales as its keys, "
                f"got {describe(example)}"
            )
        if not example:
            raise ValueError("the example has no time scales")
        self._scales = {name: _TimeScale(name, tree) for name, tree in example.items()}
        self._attached: Any = None
        self._built = False  # the buffers were handed out, and perhaps they are still referred to

    @property
    def counts(self) -> dict[str, int]:
        """Return the number of rows in each time scale since the last build, reset or attach."""
        return {name: scale.count for name, scale in self._scales.items()}

    def add(self, name: str, data: Any) -> None:
        """Store one item in the next row of the time scale `name`.

        Raises:
            KeyError: the example has no such time scale.
            IndexError: the time scale is full.
            SpecMismatchError: `data` has another structure, shape or kind of dtype; nothing was
                stored.
            RuntimeError: the attached slot was committed or aborted before.
        """
        try:
            scale = self._scales[name]
        except KeyError:
            raise KeyError(f"unknown time scale {name!r}; known are {list(self._scales)}") from None
        at = scale.count
        if self._built:
            self._renew()
        if at >= scale.capacity:
            raise IndexError(
                f"Timescale {name!r} has {scale.capacity} slots, but you tried to add at index "
                f"{at}; call build() or reset() first"
            )
        leaves = scale.split(data)
        key = ... if scale.whole else at
        try:
            for stored, leaf in zip(scale.stored, leaves, strict=True):
                stored[key] = leaf
        except ValueError:
            self._require_open_slot()
            raise
        scale.count = at + 1

    def build(self) -> dict[str, Any]:
        """Return the tree of all added rows, and start an empty trajectory.

        Rows that were not added read as zeros (see `counts`). The leaves are the accumulator's own
        buffers, without a copy. It uses a buffer again only when nothing refers to it any more: a
        tree that is sent and dropped costs no fresh memory, and one that is kept stays as it is.
        While a slot is attached, the result is the slot's tree, and the accumulator detaches from
        the slot: the next rollout needs a new `attach()`.

        Raises:
            RuntimeError: the attached slot was committed or aborted before.
        """
        self._require_open_slot()
        tree = self._attached
        if tree is None and self._built:
            self._renew()
        for scale in self._scales.values():
            scale.zero_the_rest()
        if tree is None:
            self._built = True
            tree = {
                name: scale.spec.unflatten(scale.stored) for name, scale in self._scales.items()
            }
        self.reset()
        return tree  # type: ignore[no-any-return]

    def reset(self) -> None:
        """Discard the added rows, and detach from a slot. Call it after an aborted rollout."""
        self._attached = None
        for scale in self._scales.values():
            scale.store_in(scale.own)

    def attach(self, slot: Any) -> None:
        """Write into a reserved slot from now on, until `build`, `detach` or `reset`.

        Rows that were added before and not built are discarded. A slot that was attached before
        keeps its content.

        Args:
            slot: the result of `ShmClient.reserve()`; or any object whose `tree` is like the
                example and has writable arrays; or such a tree itself.

        Raises:
            SpecMismatchError: the structure, a shape or a dtype differs from the example's, or an
                array is read-only; nothing was changed.
        """
        tree = slot if isinstance(slot, Mapping) else getattr(slot, "tree", slot)
        if not isinstance(tree, Mapping) or set(tree) != set(self._scales):
            raise SpecMismatchError(
                "",
                f"expected a slot with the time scales {list(self._scales)}, got {describe(tree)}",
            )
        stores = [scale.check_store(tree[name]) for name, scale in self._scales.items()]
        for scale, store in zip(self._scales.values(), stores, strict=True):
            scale.store_in(store)
        self._attached = tree

    def detach(self) -> None:
        """Return to the accumulator's own, empty buffers, as `reset` does."""
        self.reset()

    def _renew(self) -> None:
        """Replace the buffers that the last built tree, or anything else, still refers to."""
        for scale in self._scales.values():
            scale.renew()
        self._built = False

    def __copy__(self) -> TrajectoryAccumulator:
        """Return a deep copy: two accumulators never share the rows that they write."""
        return copy.deepcopy(self)

    def __getstate__(self) -> dict[str, Any]:
        if self._attached is not None:
            reject_copy(
                "a TrajectoryAccumulator with an attached slot",
                "two would write into one sample; build(), detach() or reset() it first",
            )
        return vars(self)

    def _require_open_slot(self) -> None:
        # The arrays of a slot become read-only when it is committed or aborted.
        stores = [array for scale in self._scales.values() for array in scale.stored]
        if self._attached is not None and not all(array.flags.writeable for array in stores):
            raise RuntimeError(
                "the attached slot is not writable any more: it was committed or aborted; call "
                "reset() to go back to the accumulator's own buffers, or attach() a new slot"
            )


class _TimeScale:
    """One time scale: its rows, the number of filled ones, and the checks of new items."""

    def __init__(self, name: object, example: Any) -> None:
        self.spec = TreeSpec.from_example(example, root=f"[{name!r}]")
        for row in self.spec.ragged:
            raise TypeError(
                f"{self.spec.leaves[row].path}: a Ragged leaf has no rows to be added one by one: "
                "leave it out of the accumulator's example, and put its row into the tree that "
                "build() returns"
            )
        leading = [leaf.shape[0] if leaf.shape else None for leaf in self.spec.leaves]
        # A 0-d leaf has no leading axis to count along, so all leaves are replaced as a whole. If
        # all leading dimensions are 1, the buffer of one row behaves as a single item.
        self.whole = None in leading
        self.capacity = 1 if self.whole else _common(name, leading)
        skipped = 0 if self.whole else 1
        self._rows = [_Row(leaf, skipped) for leaf in self.spec.leaves]
        self.own = [np.zeros(leaf.shape, leaf.dtype) for leaf in self.spec.leaves]
        self._zeros = [np.zeros((), leaf.dtype) for leaf in self.spec.leaves]
        self._fast_flatten = self.spec.fast_flatten
        self.store_in(self.own)

    def renew(self) -> None:
        """Replace own buffers that others refer to. Call it before the first row is stored."""
        for i in range(len(self.own)):
            # Views, memoryviews and foreign arrays over a buffer refer to it, too.
            if _references(self.own, i) > _LISTED_ONLY:
                # In place: `stored` is the same list, unless a slot is attached.
                self.own[i] = np.zeros_like(self.own[i])

    def store_in(self, arrays: list[Array]) -> None:
        self.stored = arrays
        self.count = 0

    def split(self, data: Any) -> list[Any]:
        """Return the leaves of one item, each checked to fit into a row."""
        try:
            leaves = self._fast_flatten(data)
        except Exception:  # from optree or a custom node; the exact check decides and words it
            leaves = self.spec.flatten(data)
        for i, leaf in enumerate(leaves):
            row = self._rows[i]
            kind = type(leaf)
            if kind is np.ndarray:
                if leaf.shape == row.shape and leaf.dtype == row.dtype:
                    continue
            elif kind is row.scalar_type:
                continue
            elif kind in row.bounds:
                least, most = row.bounds[kind]
                if least <= leaf <= most:
                    continue
            leaves[i] = row.fit(leaf)
        return leaves

    def zero_the_rest(self) -> None:
        if self.count < self.capacity:
            key: Any = ... if self.whole else slice(self.count, None)
            for stored, zero in zip(self.stored, self._zeros, strict=True):
                stored[key] = zero

    def check_store(self, tree: Any) -> list[Array]:
        arrays = self.spec.flatten(tree)
        for leaf, array in zip(self.spec.leaves, arrays, strict=True):
            if not isinstance(array, np.ndarray):
                raise SpecMismatchError(leaf.path, f"expected {leaf}, got {describe(array)}")
            as_array(leaf, array)
            if not array.flags.writeable:
                raise SpecMismatchError(
                    leaf.path, f"expected a writable {leaf}, got a read-only one"
                )
        return arrays


def _references(arrays: list[Array], i: int) -> int:
    return sys.getrefcount(arrays[i])


# The result for an array that nothing but the list refers to.
_LISTED_ONLY = _references([np.zeros(1)], 0)


def _common(name: object, leading: list[int | None]) -> int:
    first = leading[0]
    if any(n != first for n in leading):
        raise ValueError(
            f"all leaves of buffered time scale {name!r} must share the same leading dimension, "
            f"got {leading}; make a leaf 0-d, or all of shape (1, ...), to mark it single-item"
        )
    if not first:
        raise ValueError(f"the leaves of time scale {name!r} have a leading dimension of 0")
    return first


class _Row:
    """The shape, dtype and casts of one leaf in an item."""

    __slots__ = ("bounds", "dtype", "item", "scalar", "scalar_type", "shape", "significant")

    def __init__(self, leaf: LeafSpec, skipped: int) -> None:
        self.item = replace(leaf, shape=leaf.shape[skipped:])
        self.significant = _significant(self.item.shape)
        # A row of one element accepts a Python number, as a 0-d leaf does.
        self.scalar = self.item if self.significant else replace(leaf, shape=())
        # Values that can be assigned without `fit`, which is slower.
        self.shape, self.dtype = self.item.shape, leaf.dtype
        plain = not self.significant and leaf.dtype.kind in "biuf"
        self.scalar_type = leaf.dtype.type if plain else None
        self.bounds = _bounds(leaf.dtype) if plain else {}

    def fit(self, value: Any) -> Array:
        """Return `value` as an array that can be assigned to a row.

        Raises:
            SpecMismatchError: no such array exists.
        """
        item = self.item
        if not isinstance(value, (np.ndarray, np.generic)):
            return as_array(self.scalar, value)
        if isinstance(value, np.ma.MaskedArray):
            return as_array(item, value)  # raises: masks are rejected
        array = np.asarray(value)
        if array.shape != item.shape:
            if _significant(array.shape) != self.significant:
                raise SpecMismatchError(item.path, f"expected {item}, got {describe(value)}")
            array = array.reshape(item.shape)
        if array.dtype == item.dtype:
            return array
        both_numeric = array.dtype.kind in _NUMERIC and item.dtype.kind in _NUMERIC
        if both_numeric and not self.significant:
            return as_array(self.scalar, array.reshape(()))
        rule: Any = "same_kind" if both_numeric else "safe"
        if not np.can_cast(array.dtype, item.dtype, rule):
            raise SpecMismatchError(
                item.path,
                f"expected {item}, got {describe(value)}, which NumPy does not cast to it "
                f"by its {rule!r} rule",
            )
        return array.astype(item.dtype)


def _bounds(dtype: np.dtype[Any]) -> dict[type, tuple[Any, Any]]:
    """Return the ranges of Python numbers, by type, that cast without loss of kind or overflow."""
    if dtype.kind == "b":
        return {bool: (False, True)}
    if dtype.kind in "iu":
        return {int: (np.iinfo(dtype).min, np.iinfo(dtype).max)}
    most = min(float(np.finfo(dtype).max), sys.float_info.max)
    return {float: (-most, most), int: (-most, most)}


def _significant(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape without its leading axes of length 1, which assignment ignores."""
    for axis, length in enumerate(shape):
        if length != 1:
            return shape[axis:]
    return ()
