"""The nodes above the leaves: the structure of an example, and flattening of trees like it.

The leaves of an example, and of every tree that fits it, have one canonical order, which depends on
the key sets of mappings and never on insertion order. A tree that does not fit is rejected with the
path of the first node that differs.

These trees fit: a mapping of any type with the same keys; a list for a list, a plain tuple for a
tuple, a deque for a deque, of the same length; a namedtuple (or struct sequence) with the same name
and fields, even if another module defines its class; None for None; a custom node of the same
registered type with equal metadata. This module is slow and exact. optree's `flatten_up_to` accepts
some of these trees much faster, in the same order.
"""

from __future__ import annotations

import itertools
import math
import reprlib
from collections import deque
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import optree

from shm_echo.errors import SpecMismatchError
from shm_echo.spec.keys import Token, index_step, key_token, metadata_text, token_order
from shm_echo.spec.leaf import LeafSpec, abbreviated_list, describe, leaf_from_example
from shm_echo.spec.ragged import LENGTH_DTYPE, Ragged

Kind: TypeAlias = Literal[
    "leaf", "ragged", "none", "dict", "list", "tuple", "deque", "namedtuple", "structseq", "custom"
]

# Bounds for local examples and for those of peers. No real sample comes near them, but a cycle or a
# hostile peer does. The root is at level 0; leaves and containers are nodes. A transport may have
# narrower bounds.
MAX_DEPTH = 64
MAX_NODES = 65536

_KINDS: dict[Any, Kind] = {
    optree.PyTreeKind.CUSTOM: "custom",
    optree.PyTreeKind.LEAF: "leaf",
    optree.PyTreeKind.NONE: "none",
    optree.PyTreeKind.TUPLE: "tuple",
    optree.PyTreeKind.LIST: "list",
    optree.PyTreeKind.DICT: "dict",
    optree.PyTreeKind.NAMEDTUPLE: "namedtuple",
    optree.PyTreeKind.ORDEREDDICT: "dict",
    optree.PyTreeKind.DEFAULTDICT: "dict",
    optree.PyTreeKind.DEQUE: "deque",
    optree.PyTreeKind.STRUCTSEQUENCE: "structseq",
}
if hasattr(optree.PyTreeKind, "FROZENDICT"):
    _KINDS[optree.PyTreeKind.FROZENDICT] = "dict"


@dataclass(frozen=True, slots=True)
class Node:
    """One node of an example, with its children in canonical order.

    Attributes:
        kind: the kind of node.
        children: the child nodes.
        name: the name of the type of a namedtuple, struct sequence or custom node.
        tokens: keys of a dict, field names, or entries of a custom node; else empty.
        steps: the step that each child adds to the path (`"['obs']"`, `"[0]"`, `".x"`).
        keys: the keys of a dict, as the example has them.
        type: the type of a custom node.
        metadata: the metadata of a custom node.
        leaf: the spec of a leaf; of a ragged one, of its values.
        ragged: the declaration of a ragged leaf.
    """

    kind: Kind
    children: tuple[Node, ...] = ()
    name: str = ""
    tokens: tuple[Token, ...] = ()
    steps: tuple[str, ...] = ()
    keys: tuple[Hashable, ...] = ()
    type: type[Any] | None = None
    metadata: Any = None
    leaf: LeafSpec | None = None
    ragged: Ragged | None = None

    @property
    def description(self) -> str:
        """Describe the node for an error message."""
        leaf = str(self.ragged or self.leaf)
        return describe_node(self.kind, self.name, self.tokens, len(self.children), leaf)


def describe_node(kind: str, name: str, tokens: Sequence[Token], arity: int, leaf: str) -> str:
    """Describe a node for an error message."""
    if kind in ("leaf", "ragged"):
        return leaf
    if kind == "none":
        return "None"
    if kind == "dict":
        return f"a dict with keys {abbreviated_list(index_step(token)[1:-1] for token in tokens)}"
    if kind in ("namedtuple", "structseq"):
        return f"a {name}({', '.join(map(str, tokens))}) {kind}"
    if kind == "custom":
        return f"a {name} node of {arity}"
    return f"a {kind} of {arity}"


# ---------------------------------------------------------------- from an example


class Builder:
    """Walks an example and its treedef side by side.

    Attributes:
        path: the path of the example in something larger.
        leaves: the leaf table, in canonical order. A ragged leaf has two rows: values and length.
        ragged: the declarations of ragged leaves, by the row of their values.
        rows: for each leaf of the tree, in canonical order, its first row of `leaves`.
        order: for each of `rows`, the index of the leaf in the treedef.
    """

    def __init__(self, path: str = "") -> None:
        self.path = path
        self.leaves: list[LeafSpec] = []
        self.ragged: dict[int, Ragged] = {}
        self.rows: list[int] = []
        self.order: list[int] = []

    def build(
        self, treedef: Any, tree: Any, path: str = "", first_leaf: int = 0, depth: int = 0
    ) -> Node:
        """Return the node of `tree`, whose leaves are the treedef's from `first_leaf` on."""
        if depth > MAX_DEPTH:
            raise ValueError(
                f"{self.path or 'the example'} is nested deeper than {MAX_DEPTH} levels, at "
                f"{reprlib.repr(path)}"
            )
        kind = _KINDS[treedef.kind]
        if kind == "none":
            return Node(kind)
        if kind == "leaf":
            self.rows.append(len(self.leaves))
            self.order.append(first_leaf)
            if isinstance(tree, Ragged):
                return self._build_ragged(tree, path)
            _reject_unregistered_node(path, tree)
            leaf = leaf_from_example(path, tree)
            self.leaves.append(leaf)
            return Node(kind, leaf=leaf)
        return self._build_inner(kind, treedef, tree, path, first_leaf, depth)

    def _build_ragged(self, ragged: Ragged, path: str) -> Node:
        self.ragged[len(self.leaves)] = ragged
        shape = ragged.row_shape
        values = LeafSpec(path, ragged.dtype, shape, math.prod(shape) * ragged.dtype.itemsize)
        length = LeafSpec(f"{path}.length", LENGTH_DTYPE, (), LENGTH_DTYPE.itemsize)
        self.leaves += values, length
        return Node("ragged", leaf=values, ragged=ragged)

    def _build_inner(
        self, kind: Kind, treedef: Any, tree: Any, path: str, first_leaf: int, depth: int
    ) -> Node:
        definitions = treedef.children()
        firsts = [first_leaf]
        for definition in definitions:
            firsts.append(firsts[-1] + definition.num_leaves)
        keys: tuple[Hashable, ...] = ()
        name, metadata = "", None
        del firsts[-1]
        tokens: tuple[Token, ...] = ()
        if kind == "dict":
            keys, tokens, index_list = _ordered_keys(treedef.entries(), path)
            steps = [index_step(token) for token in tokens]
            definitions = [definitions[i] for i in index_list]
            firsts = [firsts[i] for i in index_list]
            values = [tree[key] for key in keys]
        elif kind == "custom":
            name = treedef.type.__qualname__
            values, metadata, entries, *_ = optree.tree_flatten_one_level(tree)
            steps = [_custom_step(tree, entry) for entry in entries]
            tokens = tuple(steps)
        elif kind in ("namedtuple", "structseq"):
            name = treedef.type.__name__
            tokens = _field_names(treedef.type)
            steps = [f".{field}" for field in tokens]
            values = list(tree)
        else:
            steps = [f"[{i}]" for i in range(len(definitions))]
            values = list(tree)
        children = tuple(
            self.build(definition, value, path + step, first, depth + 1)
            for definition, value, step, first in zip(
                definitions, values, steps, firsts, strict=True
            )
        )
        return Node(kind, children, name, tokens, tuple(steps), keys, treedef.type, metadata)


def _reject_unregistered_node(path: str, value: object) -> None:
    """Reject containers that optree takes for leaves: it could not build a batch of them."""
    if isinstance(value, (Mapping, list, tuple, deque)):
        plain = next(
            kind.__name__
            for base, kind in ((Mapping, dict), (list, list), (tuple, tuple), (deque, deque))
            if isinstance(value, base)
        )
        raise TypeError(
            f"{path or 'the example'}: {describe(value)} is not a type that optree knows as a "
            f"node, so no batch could be built of it: convert it with {plain}(...) in the example"
        )


def _ordered_keys(
    keys: Sequence[Hashable], path: str
) -> tuple[tuple[Hashable, ...], tuple[Token, ...], list[int]]:
    """Return the keys and their tokens in canonical order, and the index of each in `keys`."""
    try:
        tokens = [key_token(key) for key in keys]
    except TypeError as error:
        raise TypeError(f"{path or 'the example'}: {error}") from None
    order = sorted(range(len(keys)), key=lambda i: token_order(tokens[i]))
    for i, j in itertools.pairwise(order):
        if token_order(tokens[i]) == token_order(tokens[j]):
            raise ValueError(
                f"{path or 'the example'}: two different keys both read {index_step(tokens[i])}, "
                "so another process could not tell them apart"
            )
    return tuple(keys[i] for i in order), tuple(tokens[i] for i in order), order


def _custom_step(node: object, entry: object) -> str:
    if isinstance(entry, str) and entry.isidentifier() and hasattr(node, entry):
        return f".{entry}"
    return f"[{metadata_text(entry)}]"


def _field_names(kind: type[Any]) -> tuple[str, ...]:
    if hasattr(kind, "_fields"):
        return tuple(kind._fields)
    return tuple(optree.structseq_fields(kind))


# ---------------------------------------------------------------- flattening other trees


def flatten(node: Node, tree: Any, path: str, out: list[Any]) -> None:
    """Append the leaves of `tree` in canonical order; a ragged one is followed by a None.

    Raises:
        SpecMismatchError: the tree does not fit.
    """
    kind = node.kind
    if kind == "leaf":
        if not optree.tree_is_leaf(tree) or isinstance(tree, (Mapping, list, tuple, deque)):
            raise _mismatch(node, tree, path)
        out.append(tree)
    elif kind == "ragged":
        out += tree, None  # whatever it is: the check of the row decides
    elif kind == "none":
        if tree is not None:
            raise _mismatch(node, tree, path)
    else:
        values = _dict_values(node, tree, path) if kind == "dict" else _values(node, tree, path)
        for child, value, step in zip(node.children, values, node.steps, strict=True):
            flatten(child, value, path + step, out)


def _mismatch(node: Node, found: object, path: str) -> SpecMismatchError:
    return SpecMismatchError(path, f"expected {node.description}, got {describe(found)}")


def _dict_values(node: Node, tree: Any, path: str) -> list[Any]:
    if not isinstance(tree, Mapping):
        raise _mismatch(node, tree, path)
    for key, child, step in zip(node.keys, node.children, node.steps, strict=True):
        if key not in tree:
            raise SpecMismatchError(
                path + step,
                f"expected {child.description}, but the key is missing in {describe(tree)}",
            )
    if len(tree) > len(node.keys):
        known = set(node.keys)
        extra = next(key for key in tree if key not in known)
        raise SpecMismatchError(
            f"{path}[{extra!r}]", f"this key is not in the example, which is {node.description}"
        )
    return [tree[key] for key in node.keys]


def _values(node: Node, tree: Any, path: str) -> Sequence[Any]:
    """Return the children of a node other than a dict."""
    if node.kind == "custom":
        if type(tree) is not node.type:
            raise _mismatch(node, tree, path)
        values, metadata, *_ = optree.tree_flatten_one_level(tree)
        if not _equal(metadata, node.metadata):
            raise SpecMismatchError(
                path,
                f"expected a {node.name} with metadata {reprlib.repr(node.metadata)}, "
                f"got {reprlib.repr(metadata)}",
            )
    else:
        if not _same_sequence_type(node, tree):
            raise _mismatch(node, tree, path)
        values = tree
    if len(values) != len(node.children):
        raise _mismatch(node, tree, path)
    return list(values)


def _same_sequence_type(node: Node, tree: Any) -> bool:
    kind = type(tree)
    if node.kind == "list":
        return isinstance(tree, list)
    if node.kind == "deque":
        return isinstance(tree, deque)
    if not isinstance(tree, tuple):
        return False
    named = hasattr(kind, "_fields") or optree.is_structseq_class(kind)
    if node.kind == "tuple":
        return not named
    return named and kind.__name__ == node.name and _field_names(kind) == node.tokens


def _equal(left: Any, right: Any) -> bool:
    try:
        return bool(left == right)
    except Exception:  # comparing a user's metadata may raise (it does for arrays)
        return False


# ---------------------------------------------------------------- for the hot path


def plain_plan(node: Node) -> tuple[Any, ...] | None:
    """Return the plan by which C walks trees of this structure; None if it needs optree.

    Dicts, lists and tuples need no optree. The plan of a leaf is `()`, of a ragged leaf
    `(None,)`, of another node `(container type, keys or None, plans of the children)`.
    """
    if node.kind == "leaf":
        return ()
    if node.kind == "ragged":
        return (None,)
    container = {"dict": dict, "list": list, "tuple": tuple}.get(node.kind)
    children = tuple(plain_plan(child) for child in node.children)
    if container is None or None in children:
        return None
    return container, node.keys if container is dict else None, children
