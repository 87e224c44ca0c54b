"""Makes an example tree from the wire form of another process, for plain containers.

A client that only reads published values needs no example: dicts with string or integer keys,
lists, tuples, None and ragged leaves can be made from the wire form alone. Named tuples, custom
nodes and other types of keys need their Python types, which are never looked up by name: the wire
form is untrusted.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from shm_echo.spec.ragged import ragged_from_parts
from shm_echo.spec.wire import WireNode, from_wire

__all__ = ["example_from_wire"]


def example_from_wire(wire: object) -> Any:
    """Return a tree of zeros with the structure, shapes and dtypes of a wire form.

    Raises:
        ProtocolError: the form is malformed.
        ValueError: the form has a node other than plain containers and None.
    """
    return _build(from_wire(wire))


def _build(node: WireNode) -> Any:
    children = node.children
    if node.kind == "leaf":
        return np.broadcast_to(np.zeros((), _dtype(node.dtype)), node.shape)
    if node.kind == "ragged":
        padding = bytes.fromhex(node.padding)
        return ragged_from_parts(_dtype(node.dtype), node.shape, padding, node.truncate)
    if node.kind == "none":
        return None
    if node.kind == "list":
        return [_build(child) for child in children]
    if node.kind == "tuple":
        return tuple(_build(child) for child in children)
    if node.kind == "dict" and all(isinstance(token, (str, int)) for token in node.tokens):
        return {token: _build(child) for token, child in zip(node.tokens, children, strict=True)}
    raise ValueError(f"{node.description} cannot be made from its description")


def _dtype(text: str) -> np.dtype[Any]:
    try:
        dtype = np.dtype(text)
    except (TypeError, ValueError, SyntaxError):
        dtype = None
    if dtype is None or dtype.hasobject or dtype.names is not None:
        raise ValueError(f"dtype {text!r} cannot be made from its description")
    return dtype
