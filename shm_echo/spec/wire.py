"""The flat form of a tree's structure, of plain types, in which processes compare examples.

The wire form is a map of two entries, `version` and `nodes`. The nodes are lists in preorder, so
the nesting of the form does not grow with the depth of the tree:

    ["leaf", "<f4", [4]]                     dtype as text (see `leaf.dtype_text`), shape
    ["ragged", "<i4", [512], "", 0]          dtype, shape of a row, padding in hex, truncate or not
    ["none"]
    ["dict", ["obs", 3, ["bytes", "b'x'"]]]  keys as tokens (see `keys`), in canonical order
    ["list", 2]  ["tuple", 2]  ["deque", 2]  arity
    ["namedtuple", "Point", ["x", "y"]]      name and fields; "structseq" likewise
    ["custom", "Box", "None", [".low"]]      name, metadata as text, steps to the children

Two forms are equal exactly if `compare` finds no difference, and `digest` is the same in every
process. Neither looks at `truncate`, which concerns one producer alone.

A form from an untrusted peer is checked completely before it is used; a malformed one raises
ProtocolError. No type and no code is made from it, and a dtype only for a message and only from the
plainest texts. Any codec of maps, lists, strings and integers can encode a form; the caller bounds
its size in bytes.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import reprlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from shm_echo.errors import ProtocolError, SpecMismatchError
from shm_echo.spec.keys import Token, index_step, metadata_text, token_order
from shm_echo.spec.leaf import dtype_text, readable_dtype, readable_value
from shm_echo.spec.ragged import ragged_text
from shm_echo.spec.structure import MAX_DEPTH, MAX_NODES, Node, describe_node

VERSION = 1

_MAX_DIMENSIONS = 64
_MAX_SIZE = 2**63 - 1

# Whole bytes, as bytes.hex() writes them.
_HEX = re.compile(r"([0-9a-f]{2})*")

_SEQUENCES = ("list", "tuple", "deque")
_NAMED = ("namedtuple", "structseq")


# ---------------------------------------------------------------- writing


def to_wire(root: Node) -> dict[str, Any]:
    """Return the wire form of an example's structure."""
    return {"version": VERSION, "nodes": list(_preorder(root))}


def _preorder(node: Node) -> Iterator[list[Any]]:
    kind = node.kind
    if kind == "leaf":
        assert node.leaf is not None
        yield [kind, dtype_text(node.leaf.dtype), list(node.leaf.shape)]
    elif kind == "ragged":
        ragged = node.ragged
        assert ragged is not None
        padding = ragged.padding_bytes.hex()
        shape = list(ragged.row_shape)
        yield [kind, dtype_text(ragged.dtype), shape, padding, int(ragged.truncate)]
    elif kind == "none":
        yield [kind]
    elif kind == "dict":
        yield [kind, [list(t) if isinstance(t, tuple) else t for t in node.tokens]]
    elif kind == "custom":
        yield [kind, node.name, metadata_text(node.metadata), list(node.steps)]
    elif kind in _NAMED:
        yield [kind, node.name, list(node.tokens)]
    else:
        yield [kind, len(node.children)]
    for child in node.children:
        yield from _preorder(child)


def digest(wire: dict[str, Any]) -> bytes:
    """Return the SHA-256 of a canonical encoding: equal exactly if the wire forms are."""
    nodes = [node[:4] if node[0] == "ragged" else node for node in wire["nodes"]]
    text = json.dumps({**wire, "nodes": nodes}, separators=(",", ":"), sort_keys=True)
    return hashlib.sha256(text.encode("ascii")).digest()


# ---------------------------------------------------------------- reading


@dataclass(slots=True)
class WireNode:
    """One checked node of a wire form."""

    kind: str
    arity: int = 0
    name: str = ""
    metadata: str = ""
    tokens: tuple[Token, ...] = ()
    dtype: str = ""
    shape: tuple[int, ...] = ()
    padding: str = ""
    truncate: bool = False
    children: list[WireNode] = field(default_factory=list)

    def step(self, index: int) -> str:
        """Return the step that a child adds to the path."""
        if self.kind == "dict":
            return index_step(self.tokens[index])
        if self.kind == "custom":
            return str(self.tokens[index])
        return f".{self.tokens[index]}" if self.tokens else f"[{index}]"

    @property
    def description(self) -> str:
        """Describe the node for an error message."""
        dtype = readable_dtype(self.dtype)
        if self.kind == "ragged":
            leaf = ragged_text(dtype, self.shape, readable_value(self.dtype, self.padding))
        else:
            leaf = f"{dtype} {self.shape}"
        return describe_node(self.kind, self.name, self.tokens, self.arity, leaf)


def from_wire(wire: object) -> WireNode:
    """Return the root of a wire form, which may come from an untrusted peer.

    Raises:
        ProtocolError: the form is malformed.
    """
    if not isinstance(wire, dict) or set(wire) != {"version", "nodes"}:
        raise _malformed("it is not a map of 'version' and 'nodes'")
    if type(wire["version"]) is not int or wire["version"] != VERSION:
        raise _malformed(f"its version is {_short(wire['version'])}, not {VERSION}")
    records = wire["nodes"]
    if not isinstance(records, (list, tuple)) or not 0 < len(records) <= MAX_NODES:
        raise _malformed(f"its nodes are not a list of 1 to {MAX_NODES}")
    root = _node(records[0], 0)
    open_nodes = [root]  # the path of nodes from the root that may still lack children
    for position, record in enumerate(records[1:], start=1):
        while open_nodes and len(open_nodes[-1].children) == open_nodes[-1].arity:
            open_nodes.pop()
        if not open_nodes:
            raise _malformed(f"node {position} has no parent")
        if len(open_nodes) > MAX_DEPTH:
            raise _malformed(f"it is nested deeper than {MAX_DEPTH} levels")
        node = _node(record, position)
        open_nodes[-1].children.append(node)
        open_nodes.append(node)
    if any(len(node.children) != node.arity for node in open_nodes):
        raise _malformed("it ends before the last node has all its children")
    return root


def _node(record: object, position: int) -> WireNode:
    if isinstance(record, (list, tuple)) and record and isinstance(record[0], str):
        kind, *rest = record
        if kind == "none" and not rest:
            return WireNode(kind)
        if kind == "leaf" and len(rest) == 2 and _is_text(rest[0]) and _is_shape(rest[1]):
            return WireNode(kind, dtype=rest[0], shape=tuple(rest[1]))
        if kind == "ragged" and _is_ragged(rest):
            return WireNode(
                kind, dtype=rest[0], shape=tuple(rest[1]), padding=rest[2], truncate=bool(rest[3])
            )
        if kind in _SEQUENCES and len(rest) == 1 and _is_size(rest[0]) and rest[0] < MAX_NODES:
            return WireNode(kind, rest[0])
        if kind == "dict" and len(rest) == 1 and _is_key_list(rest[0]):
            tokens = tuple(map(_token, rest[0]))
            return WireNode(kind, len(tokens), tokens=tokens)
        if kind in _NAMED and len(rest) == 2 and _is_text(rest[0]) and _is_texts(rest[1]):
            return WireNode(kind, len(rest[1]), rest[0], tokens=tuple(rest[1]))
        if kind == "custom" and len(rest) == 3 and _is_texts(rest[:2]) and _is_texts(rest[2]):
            return WireNode(kind, len(rest[2]), rest[0], rest[1], tuple(rest[2]))
    raise _malformed(f"node {position} is not one that this version knows: {_short(record)}")


def _malformed(reason: str) -> ProtocolError:
    return ProtocolError(f"the peer's description of its example is malformed: {reason}")


def _short(value: object) -> str:
    return reprlib.repr(value)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_texts(value: object) -> bool:
    return isinstance(value, (list, tuple)) and all(map(_is_text, value))


def _is_size(value: object) -> bool:
    return type(value) is int and 0 <= value <= _MAX_SIZE


def _is_shape(value: object) -> bool:
    if not isinstance(value, (list, tuple)) or len(value) > _MAX_DIMENSIONS:
        return False
    return all(map(_is_size, value))


def _is_ragged(rest: list[Any]) -> bool:
    if len(rest) != 4 or not _is_text(rest[0]) or not _is_shape(rest[1]):
        return False
    hex_digits = isinstance(rest[2], str) and _HEX.fullmatch(rest[2]) is not None
    return hex_digits and bool(rest[1]) and rest[1][0] > 0 and rest[3] in (0, 1)


def _is_key_list(value: object) -> bool:
    if not isinstance(value, (list, tuple)) or not all(map(_is_token, value)):
        return False
    # Leaves are matched by position, so another order of keys would exchange them.
    order = [token_order(_token(token)) for token in value]
    return all(left < right for left, right in itertools.pairwise(order))


def _token(value: Any) -> Token:
    return (value[0], value[1]) if isinstance(value, (list, tuple)) else value


def _is_token(value: object) -> bool:
    if isinstance(value, (list, tuple)):
        return len(value) == 2 and all(map(_is_text, value))
    return isinstance(value, str) or type(value) is int


# ---------------------------------------------------------------- comparing


def compare(expected: WireNode, given: WireNode, path: str = "") -> None:
    """Compare two examples node by node.

    Raises:
        SpecMismatchError: the examples differ; the message names the first node, by its path.
    """
    if expected.kind == given.kind == "dict":
        _compare_keys(expected, given, path)
    elif _label(expected) != _label(given):
        raise _difference(path, expected.description, given.description)
    elif expected.metadata != given.metadata:
        raise _difference(path, f"metadata {expected.metadata}", f"metadata {given.metadata}")
    pairs = zip(expected.children, given.children, strict=True)
    for index, (left, right) in enumerate(pairs):
        compare(left, right, path + expected.step(index))


def _label(node: WireNode) -> tuple[object, ...]:
    return (node.kind, node.arity, node.name, node.tokens, node.dtype, node.shape, node.padding)


def _compare_keys(expected: WireNode, given: WireNode, path: str) -> None:
    theirs, ours = set(given.tokens), set(expected.tokens)
    for node, token in zip(expected.children, expected.tokens, strict=True):
        if token not in theirs:
            where = path + index_step(token)
            raise _difference(where, node.description, f"{given.description} without this key")
    for node, token in zip(given.children, given.tokens, strict=True):
        if token not in ours:
            where = path + index_step(token)
            raise _difference(where, f"{expected.description} without this key", node.description)


def _difference(path: str, expected: str, given: str) -> SpecMismatchError:
    return SpecMismatchError(
        path, f"expected {expected}, got {given} (the server's example, and the client's)"
    )
