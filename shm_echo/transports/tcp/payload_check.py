"""The check of a sample that a TcpClient sends, with the sizes that echo's client names."""

from __future__ import annotations

from typing import Any

import numpy as np
import optree

from shm_echo.errors import SpecMismatchError
from shm_echo.spec import TreeSpec

__all__ = ["check_sample"]


def check_sample(spec: TreeSpec, tree: Any, stacked: bool, *, same_kind: bool) -> list[Any]:
    """Return the leaves of a sample, or of a stack of samples, as arrays that fit.

    Raises:
        SpecMismatchError: the tree differs from the example. The message begins as echo's, where
            the sizes of one sample differ.
    """
    try:
        if stacked:
            return spec.check_stacked(tree, same_kind=same_kind)[1]
        return spec.check(tree, same_kind=same_kind)
    except SpecMismatchError as error:
        size = _payload_size(tree)
        if stacked or spec.ragged or size is None or size == spec.nbytes:
            raise
        raise SpecMismatchError.worded(
            error.path, f"Payload size {size} != expected {spec.nbytes}: {error}"
        ) from None


def _payload_size(tree: Any) -> int | None:
    """Return the bytes of all leaves of a tree; None if it has one that is no array or number."""
    try:
        leaves = optree.tree_leaves(tree)
    except (RecursionError, TypeError, ValueError):
        return None
    sizes = 0
    for leaf in leaves:
        if isinstance(leaf, (bool, int, float, complex)):
            leaf = np.asarray(leaf)
        if not isinstance(leaf, (np.ndarray, np.generic)):
            return None
        sizes += leaf.nbytes
    return sizes
