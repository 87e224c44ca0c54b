"""The spec of a tree: structure, shapes and dtypes that one example fixes for all samples.

Leaves have one canonical order in every process that holds an equal example. `TreeSpec.check`
rejects each tree of another structure, shape or dtype, and names the leaf by its path.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from operator import itemgetter
from typing import Any

import numpy as np
import optree

from shm_echo.errors import SpecMismatchError
from shm_echo.spec import structure, wire
from shm_echo.spec.leaf import Array, LeafSpec, as_array, as_stacked_array, stacked_text
from shm_echo.spec.ragged import Ragged
from shm_echo.spec.ragged_batch import fit_rows, join
from shm_echo.spec.ragged_row import fit_padded_row


class TreeSpec:
    """The leaf table of a pytree, and the checks of trees against it.

    Example:
        >>> import numpy as np
        >>> from shm_echo.spec import TreeSpec
        >>> spec = TreeSpec.from_example({"obs": np.zeros(2, np.float32), "reward": np.float32(0)})
        >>> [f"{leaf.path}: {leaf}" for leaf in spec.leaves]
        ["['obs']: float32 (2,)", "['reward']: float32 ()"]
        >>> spec.check({"obs": np.ones(3, np.float32), "reward": 1.0})
        Traceback (most recent call last):
            ...
        shm_echo.errors.SpecMismatchError: ['obs']: expected float32 (2,), got float32 (3,)

    Attributes:
        leaves: one row per array of a sample, in canonical order (dict keys sorted). A ragged leaf
            has two: its values, and its length.
        ragged: the declarations of ragged leaves, by the row of their values.
        nbytes: the size of all leaves of one sample.
        treedef: optree's treedef of the example. Its leaf order is the canonical one unless an
            OrderedDict was filled in another order; `fast_flatten` and `unflatten` always use the
            canonical order.
        fast_flatten: `fast_flatten(tree)` returns the leaves of a tree at the speed of optree, for
            the hot path. It accepts a list, a dict or None in the place of a leaf, and rejects some
            trees that fit. On an exception, or a leaf other than an array of the right dtype and
            shape, call `check`, which decides. A ragged leaf is followed by a None.
        plan: the plan by which C walks trees of plain dicts, lists and tuples; None if the example
            has other nodes (see `structure.plain_plan`).
        unflatten: `unflatten(arrays)` builds a tree of the example's container types, with a
            RaggedBatch, or a RaggedRow for a single sample, at each ragged leaf.
    """

    __slots__ = (
        "_exact_first",
        "_order",
        "_path",
        "_root",
        "_rows",
        "_wire",
        "fast_flatten",
        "leaves",
        "nbytes",
        "plan",
        "ragged",
        "treedef",
        "unflatten",
    )

    leaves: tuple[LeafSpec, ...]
    ragged: dict[int, Ragged]
    nbytes: int
    treedef: Any
    fast_flatten: Callable[[Any], list[Any]]
    plan: tuple[Any, ...] | None
    unflatten: Callable[[Sequence[Any]], Any]

    def __init__(self, root: structure.Node, built: structure.Builder, treedef: Any) -> None:
        leaves, order = built.leaves, built.order
        self._root = root
        self._order = tuple(order)
        self._rows = tuple(built.rows)
        self._path = built.path
        self._exact_first = False
        self._wire: dict[str, Any] | None = None
        self.leaves = tuple(leaves)
        self.ragged = built.ragged
        self.nbytes = sum(leaf.nbytes for leaf in leaves)
        self.treedef = treedef
        self.plan = structure.plain_plan(root)
        if list(order) == list(range(len(order))):
            self.fast_flatten = treedef.flatten_up_to
            self.unflatten = treedef.unflatten
        else:
            self.fast_flatten = _permuted_flatten(treedef, order)
            self.unflatten = _permuted_unflatten(treedef, order)
        if self.ragged:
            self.fast_flatten = partial(_ragged_flatten, self.fast_flatten, self.ragged)
            self.unflatten = partial(_ragged_unflatten, self.unflatten, self._rows, self.ragged)

    @classmethod
    def from_example(cls, example: Any, *, root: str = "") -> TreeSpec:
        """Return the spec that an example fixes.

        Args:
            example: a pytree whose leaves are NumPy arrays or scalars of any dtype without Python
                objects.
            root: the path of the example in something larger; all paths begin with it.

        Raises:
            TypeError: a leaf is not a NumPy value, or its dtype holds objects.
            ValueError: there are no leaves.
            ValueError: the tree is cyclic, nested deeper than 64 levels, or has more than 65,536
                nodes (leaves and containers).
        """
        try:
            treedef = optree.tree_structure(example)
        except RecursionError:
            raise ValueError(
                f"the example is cyclic or nested deeper than {structure.MAX_DEPTH} levels"
            ) from None
        if treedef.num_nodes > structure.MAX_NODES:
            raise ValueError(
                f"{root or 'the example'} has {treedef.num_nodes:,} nodes (leaves and containers), "
                f"and at most {structure.MAX_NODES:,} are possible: stack leaves into arrays"
            )
        builder = structure.Builder(root)
        node = builder.build(treedef, example, root)
        if not builder.leaves:
            raise ValueError(f"{root or 'the example'} has no array leaves: nothing could be sent")
        return cls(node, builder, treedef)

    @property
    def optree_order(self) -> tuple[int, ...]:
        """The rows of `leaves` in the order of optree: for each of its leaves, the row or rows."""
        return tuple(
            row
            for first in self._first_rows()
            for row in ((first, first + 1) if first in self.ragged else (first,))
        )

    def _first_rows(self) -> list[int]:
        """Return the first row of `leaves` of each leaf of the tree, in the order of optree."""
        by_place = sorted(range(len(self._order)), key=self._order.__getitem__)
        return [self._rows[i] for i in by_place]

    @property
    def shown(self) -> list[tuple[str, str]]:
        """The path of each leaf of the tree, and what it takes, for messages."""
        return [
            (self.leaves[row].path, str(self.ragged.get(row, self.leaves[row])))
            for row in self._rows
        ]

    @property
    def leaf_table(self) -> tuple[tuple[Any, ...], ...]:
        """The table of `leaves` for the C side: dtype and shape of each.

        The values of a ragged leaf have a third entry: path, bytes of the padding, truncate.
        """
        return tuple(
            (leaf.dtype, leaf.shape)
            if (ragged := self.ragged.get(row)) is None
            else (leaf.dtype, leaf.shape, (leaf.path, ragged.padding_bytes, ragged.truncate))
            for row, leaf in enumerate(self.leaves)
        )

    def __repr__(self) -> str:
        return f"<TreeSpec: {len(self.leaves)} leaves, {self.nbytes} bytes, {self.treedef}>"

    def __reduce__(self) -> tuple[Any, ...]:
        # By dtypes and shapes: an example of zeros would be as large as a sample.
        parts = [
            self.ragged.get(row) or (self.leaves[row].dtype, self.leaves[row].shape)
            for row in self._first_rows()
        ]
        return _from_parts, (self.treedef, parts, self._path)

    # ------------------------------------------------------------ trees of this process

    def flatten(self, tree: Any) -> list[Any]:
        """Return the leaves of `tree` in canonical order, without a check of the leaves.

        A ragged leaf is followed by a None.

        Raises:
            SpecMismatchError: the structure differs (see `structure` for the trees that fit).
        """
        out: list[Any] = []
        structure.flatten(self._root, tree, self._path, out)
        return out

    def check(
        self, tree: Any, stacked: int | None = None, *, same_kind: bool = False
    ) -> list[Array]:
        """Return the leaves of `tree` as arrays of exactly the right dtype and shape.

        A NumPy scalar, a Python number or a 0-d array that casts without loss of kind or overflow
        becomes a 0-d array of the leaf's dtype; arrays, strided ones too, are returned without a
        copy. A ragged leaf gives two new arrays: its padded row, and its length.

        Args:
            tree: one sample, or a stack of samples.
            stacked: the number of samples that `tree` stacks along a leading axis of each leaf;
                None for a single sample.
            same_kind: also cast arrays with axes, by NumPy's rule of this name.

        Raises:
            SpecMismatchError: a leaf or node differs; the message names the first one.
        """
        if stacked is not None:
            count, arrays = self.check_stacked(tree, same_kind=same_kind)
            if count != stacked:
                leaf = self.leaves[0]
                raise SpecMismatchError(
                    leaf.path,
                    f"expected {stacked_text(leaf, stacked)}, got {stacked_text(leaf, count)}",
                )
            return arrays
        values = self._split(tree)
        if self.ragged:
            values = self._with_padded_rows(values, fit_padded_row, same_kind)
        pairs = zip(self.leaves, values, strict=True)
        return [as_array(leaf, value, same_kind=same_kind) for leaf, value in pairs]

    def check_stacked(self, tree: Any, *, same_kind: bool = False) -> tuple[int, list[Array]]:
        """Return the number of samples that `tree` stacks, and its leaves as in `check`.

        Every leaf has shape `(N, *leaf.shape)` with the same N, 0 included.
        """
        values = self._split(tree)
        if self.ragged:
            values = self._with_padded_rows(values, fit_rows, same_kind)
        pairs = zip(self.leaves, values, strict=True)
        arrays = [as_stacked_array(leaf, value, same_kind=same_kind) for leaf, value in pairs]
        first = self.leaves[0]
        count = len(arrays[0])
        for leaf, array in zip(self.leaves, arrays, strict=True):
            if len(array) != count:
                raise SpecMismatchError(
                    leaf.path,
                    f"expected {count} samples along the leading axis, as "
                    f"{first.path or 'the first leaf'} has, got {len(array)}",
                )
        return count, arrays

    def _with_padded_rows(
        self, values: list[Any], fit: Callable[..., tuple[Array, Array]], same_kind: bool
    ) -> list[Any]:
        """Return the leaves of a tree with the memory and the lengths of its ragged ones."""
        values = list(values)
        for row, ragged in self.ragged.items():
            path = self.leaves[row].path
            values[row], values[row + 1] = fit(ragged, path, values[row], same_kind=same_kind)
        return values

    def _split(self, tree: Any) -> list[Any]:
        if self._exact_first:
            return self.flatten(tree)
        try:
            return self.fast_flatten(tree)
        except Exception:  # from optree or a custom node; the exact check decides and words it
            leaves = self.flatten(tree)
            # Later trees of this sender will need the exact check too, and optree's exception is
            # slow: its message prints every array.
            self._exact_first = True
            return leaves

    # ------------------------------------------------------------ the other process

    def to_wire(self) -> dict[str, Any]:
        """Return structure, dtypes and shapes as plain maps, lists, strings and integers.

        Each call returns the same object: don't change it.
        """
        if self._wire is None:
            self._wire = wire.to_wire(self._root)
        return self._wire

    def digest(self) -> bytes:
        """Return 32 bytes that are equal in any two processes exactly if their specs are."""
        return wire.digest(self.to_wire())

    @staticmethod
    def compare(server: object, client: object) -> None:
        """Compare a client's wire form with the server's. Either may come from an untrusted peer.

        Raises:
            SpecMismatchError: the forms differ.
            ProtocolError: one of the forms is malformed.
        """
        wire.compare(wire.from_wire(server), wire.from_wire(client))

    def require_equal(self, other: object, whose: str = "server") -> None:
        """Compare with the wire form of the peer, which is the "server" or the "client"."""
        if whose == "server":
            self.compare(other, self.to_wire())
        else:
            self.compare(self.to_wire(), other)


def _from_parts(treedef: Any, parts: Sequence[Any], root: str) -> TreeSpec:
    """Make the spec of a pickle from its leaves in the treedef's order.

    Args:
        treedef, root: of the spec.
        parts: for each leaf its dtype and shape, or its declaration if it is ragged.
    """
    leaves = [
        part if isinstance(part, Ragged) else np.broadcast_to(np.zeros((), part[0]), part[1])
        for part in parts
    ]
    return TreeSpec.from_example(treedef.unflatten(leaves), root=root)


def _permuted_flatten(treedef: Any, order: Sequence[int]) -> Callable[[Any], list[Any]]:
    flatten_up_to = treedef.flatten_up_to
    pick = itemgetter(*order)  # a permutation other than the identity has at least two leaves

    def fast_flatten(tree: Any) -> list[Any]:
        return list(pick(flatten_up_to(tree)))

    return fast_flatten


def _permuted_unflatten(treedef: Any, order: Sequence[int]) -> Callable[[Sequence[Any]], Any]:
    rank = sorted(range(len(order)), key=order.__getitem__)

    def unflatten(leaves: Sequence[Any]) -> Any:
        return treedef.unflatten([leaves[i] for i in rank])

    return unflatten


def _ragged_flatten(
    flatten: Callable[[Any], list[Any]], ragged: dict[int, Ragged], tree: Any
) -> list[Any]:
    leaves = flatten(tree)
    for row in ragged:  # in ascending order: each one before has its None already
        leaves.insert(row + 1, None)
    return leaves


def _ragged_unflatten(
    unflatten: Callable[[Sequence[Any]], Any],
    rows: Sequence[int],
    ragged: dict[int, Ragged],
    arrays: Sequence[Any],
) -> Any:
    return unflatten(
        [
            join(ragged[row], arrays[row], arrays[row + 1]) if row in ragged else arrays[row]
            for row in rows
        ]
    )
