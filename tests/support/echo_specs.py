"""Examples of every kind that echo's wire can carry, and random samples of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import optree

__all__ = ["GREETINGS", "SPECS", "assert_same", "random_sample", "stacked_samples"]


def _array(dtype: Any, *shape: int) -> np.ndarray[Any, Any]:
    return np.zeros(shape, dtype)


SPECS: dict[str, Any] = {
    "one flat array": _array(np.float32, 4),
    "one 0-d array": _array(np.int64),
    "0-d leaves": {"a": _array(np.int64), "b": _array(np.bool_), "c": _array(np.float16)},
    "a leaf of zero size": {
        "a": _array(np.int64),
        "b": _array(np.float32, 2, 3),
        "z": _array("i1", 0),
    },
    "zero size inside": {
        "a": _array("i2", 3),
        "m": _array("f8", 2, 0, 3),
        "z": _array("u1", 5),
    },
    "keys out of order": {"z": _array("u1", 2), "a": _array("u2", 1), "m": {"y": _array("u4", 1)}},
    "deep": {"a": {"b": {"c": {"d": _array("f4", 2)}, "e": _array("f8", 1)}}, "f": _array("i4", 3)},
    "tuples, lists": (
        _array("f4", 2),
        [_array("i1", 3), (_array("u8", 1),)],
        {"k": _array("f8")},
    ),
    "narrow": {"half": _array("f2", 7), "flag": _array("?", 5), "byte": _array("i1", 3)},
    "wide": {"complex": _array("c16", 3), "single": _array("c8", 2), "time": _array("M8[ns]", 2)},
    "text": {"bytes": _array("S5", 3), "text": _array("U3", 2)},
    "long axis": {"x": _array("u1", 70_000), "y": _array("u1", 300, 257)},
    "six axes": {"x": _array("i2", 1, 2, 1, 3, 2, 1)},
    "many leaves": {f"leaf{i:03}": _array("u1", i % 5 + 1) for i in range(300)},
    "one byte": {"x": _array("u1", 1)},
    "odd size": {"x": _array("u1", 13), "y": _array("f8", 3), "z": _array("u1", 1)},
    "a megabyte": {"x": _array("f4", 512, 256), "y": _array("f4", 512, 256)},
}

# Recorded from a server of id-echo 0.2.1, in hexadecimal: magic, version, leaves, then words.
GREETINGS: dict[str, str] = {
    "one flat array": "4543484f 01 01000000 04000000 01000000 04000000",
    "one 0-d array": "4543484f 01 01000000 08000000 00000000",
    "0-d leaves": "4543484f 01 03000000 08000000 00000000 01000000 00000000 02000000 00000000",
    "a leaf of zero size": "4543484f 01 03000000 "
    "08000000 00000000 04000000 02000000 02000000 03000000 01000000 01000000 00000000",
    "zero size inside": "4543484f 01 03000000 "
    "02000000 01000000 03000000 08000000 03000000 02000000 00000000 03000000 "
    "01000000 01000000 05000000",
    "keys out of order": "4543484f 01 03000000 "
    "02000000 01000000 01000000 04000000 01000000 01000000 01000000 01000000 02000000",
    "deep": "4543484f 01 03000000 "
    "04000000 01000000 02000000 08000000 01000000 01000000 04000000 01000000 03000000",
    "tuples, lists": "4543484f 01 04000000 "
    "04000000 01000000 02000000 01000000 01000000 03000000 08000000 01000000 "
    "01000000 08000000 00000000",
    "narrow": "4543484f 01 03000000 "
    "01000000 01000000 03000000 01000000 01000000 05000000 02000000 01000000 07000000",
    "wide": "4543484f 01 03000000 "
    "10000000 01000000 03000000 08000000 01000000 02000000 08000000 01000000 02000000",
    "text": "4543484f 01 02000000 05000000 01000000 03000000 0c000000 01000000 02000000",
    "long axis": "4543484f 01 02000000 "
    "01000000 01000000 70110100 01000000 02000000 2c010000 01010000",
    "six axes": "4543484f 01 01000000 "
    "02000000 06000000 01000000 02000000 01000000 03000000 02000000 01000000",
    "one byte": "4543484f 01 01000000 01000000 01000000 01000000",
    "odd size": "4543484f 01 03000000 "
    "01000000 01000000 0d000000 08000000 01000000 03000000 01000000 01000000 01000000",
    "a megabyte": "4543484f 01 02000000 "
    "04000000 02000000 00020000 00010000 04000000 02000000 00020000 00010000",
}


def random_sample(example: Any, seed: int) -> Any:
    """Return a sample like the example, with random bytes that every dtype allows."""
    source = np.random.default_rng(seed)

    def fill(leaf: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        kind = leaf.dtype.kind
        if kind == "?" or kind == "b":
            return source.integers(0, 2, leaf.shape).astype(leaf.dtype)
        if kind == "U":
            return np.array(source.integers(100, 999, leaf.shape)).astype(leaf.dtype)
        if kind in "fc":
            return np.asarray(source.normal(size=leaf.shape)).astype(leaf.dtype)
        data = source.integers(1, 255, leaf.nbytes, np.uint8).tobytes()
        return np.frombuffer(data, leaf.dtype, leaf.size).reshape(leaf.shape).copy()

    return optree.tree_map(fill, example)


def stacked_samples(samples: list[Any]) -> Any:
    """Return the batch that these samples make."""
    return optree.tree_map(lambda *leaves: np.stack(leaves), *samples)


def assert_same(got: Any, expected: Any) -> None:
    """Compare two trees by structure, dtypes, shapes and bytes."""
    assert optree.tree_structure(got) == optree.tree_structure(expected)
    paths = optree.tree_paths(expected)
    leaves = zip(paths, optree.tree_leaves(got), optree.tree_leaves(expected), strict=True)
    for path, mine, right in leaves:
        assert (mine.dtype, mine.shape) == (right.dtype, right.shape), path
        assert mine.tobytes() == right.tobytes(), path
