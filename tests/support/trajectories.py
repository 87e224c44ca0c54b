"""An example of trajectories, and steps of them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import optree

__all__ = ["F4", "Step", "array", "assert_same", "example", "slot_like", "step"]

F4 = np.float32


class Step(NamedTuple):
    obs: Any
    info: Any


def array(*shape: int, dtype: Any = F4) -> np.ndarray[Any, Any]:
    return np.zeros(shape, dtype)


def example() -> dict[str, Any]:
    return {
        "steps": Step(
            obs=array(3, 2), info={"reward": array(3), "action": array(3, 1, dtype="i4")}
        ),
        "last": {"obs": array(1, 2)},
        "episode": {"return": np.float64(0), "counts": array(4, dtype="i8")},
    }


def step(i: float) -> Step:
    return Step(np.full(2, i, F4), {"reward": np.full((), i, F4), "action": np.full(1, i, "i4")})


def assert_same(tree: Any, expected: Any) -> None:
    assert optree.tree_structure(tree) == optree.tree_structure(expected)
    for got, want in zip(optree.tree_leaves(tree), optree.tree_leaves(expected), strict=True):
        assert got.dtype == want.dtype
        np.testing.assert_array_equal(got, want, strict=True)


def slot_like(tree: Any, fill: float = 77) -> SimpleNamespace:
    """Return an object like the result of `reserve()`, filled with an old sample."""
    return SimpleNamespace(
        tree=optree.tree_map(lambda leaf: np.full(leaf.shape, fill, leaf.dtype), tree)
    )
