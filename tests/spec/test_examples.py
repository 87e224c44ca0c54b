"""Examples that a TreeSpec accepts, and examples that it rejects."""

from __future__ import annotations

import time
from collections import deque
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from shm_echo.errors import SpecMismatchError
from shm_echo.spec import TreeSpec
from tests.spec.trees import Point, array, refusal


def test_the_leaf_table_lists_path_dtype_shape_and_bytes() -> None:
    example = {
        "obs": [Point(array(4), array(2, 3, dtype="u1")), None],
        "info": {7: (np.float64(1), deque([array(dtype=bool)]))},
    }
    spec = TreeSpec.from_example(example)
    assert [(leaf.path, str(leaf.dtype), leaf.shape, leaf.nbytes) for leaf in spec.leaves] == [
        ("['info'][7][0]", "float64", (), 8),
        ("['info'][7][1][0]", "bool", (), 1),
        ("['obs'][0].x", "float32", (4,), 16),
        ("['obs'][0].y", "uint8", (2, 3), 6),
    ]
    assert spec.nbytes == 31
    assert "4 leaves, 31 bytes" in repr(spec)


def test_a_bare_array_is_a_tree_with_an_empty_path() -> None:
    spec = TreeSpec.from_example(array(2))
    assert spec.leaves[0].path == ""
    leaf = array(2)
    assert spec.check(leaf)[0] is leaf
    assert str(refusal(array(3), array(2))).startswith("the sample: expected float32 (2,), got")


def test_struct_sequences_have_field_names_in_their_paths() -> None:
    moment = time.struct_time([np.int64(i) for i in range(9)])
    spec = TreeSpec.from_example(moment)
    assert spec.leaves[0].path == ".tm_year"
    assert refusal((1,) * 9, moment).path == ""
    assert len(spec.flatten(moment)) == 9


@pytest.mark.parametrize(
    "dtype",
    [
        *("f2", "f4", "g", "F", "?", "i1", "u8", ">f4", ">i2", "M8[ns]", "m8[25us]"),
        *("U5", "S3", "V8", []),
        [("a", "<f4"), ("b", ">i2", (2, 2))],
        {"names": ["a"], "formats": ["f4"], "itemsize": 9},
    ],
    ids=str,
)
def test_every_dtype_without_objects_is_taken_with_any_shape(dtype: Any) -> None:
    for shape in ((), (3,), (0, 2), (2, 1, 3)):
        leaf = np.zeros(shape, dtype)
        spec = TreeSpec.from_example({"a": leaf})
        assert spec.leaves[0].nbytes == leaf.nbytes
        assert spec.check({"a": leaf})[0] is leaf
        spec.require_equal(spec.to_wire())


@pytest.mark.parametrize(
    ("leaf", "words"),
    [
        (1.0, "got a Python float"),
        ("text", "got a Python str"),
        (array(2, dtype=object), "dtype object holds Python objects"),
        (array(2, dtype=[("a", "f4"), ("b", "O")]), "holds Python objects"),
        (np.zeros(2, np.dtypes.StringDType()), "holds Python objects"),
        (np.ma.zeros(3), "its mask would be lost"),
        (MappingProxyType({}), r"convert it with dict\(...\)"),
        (type("Rows", (list,), {})([1]), r"a Rows of 1 .* convert it with list\(...\)"),
        (object(), "got a builtins.object"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_an_example_leaf_that_cannot_be_shared_is_a_type_error_with_its_path(
    leaf: Any, words: str
) -> None:
    with pytest.raises(TypeError, match=r"^\['a'\]\[1\]: .*" + words):
        TreeSpec.from_example({"a": (array(1), leaf)})


@pytest.mark.parametrize("example", [{}, [], None, {"a": None, "b": ()}])
def test_an_example_without_leaves_is_a_value_error(example: Any) -> None:
    with pytest.raises(ValueError, match="no array leaves"):
        TreeSpec.from_example(example)


def test_cyclic_and_very_deep_examples_are_value_errors() -> None:
    cycle: list[Any] = []
    cycle.append(cycle)
    with pytest.raises(ValueError, match="cyclic or nested deeper than 64"):
        TreeSpec.from_example(cycle)
    tree: Any = array(1)
    for _ in range(64):
        tree = [tree]
    spec = TreeSpec.from_example(tree)
    spec.require_equal(spec.to_wire())
    with pytest.raises(ValueError, match="nested deeper than 64"):
        TreeSpec.from_example([tree])


def test_keys_without_a_stable_text_are_rejected() -> None:
    with pytest.raises(TypeError, match=r"^\['a'\]: a key of type object has no text"):
        TreeSpec.from_example({"a": {object(): array(1)}})


def test_keys_with_equal_texts_are_rejected() -> None:
    class Vague:
        def __repr__(self) -> str:
            return "Vague"

    with pytest.raises(ValueError, match=r"two different keys both read \[Vague\]"):
        TreeSpec.from_example({Vague(): array(1), Vague(): array(1)})


def test_the_root_path_stands_before_every_path() -> None:
    spec = TreeSpec.from_example({"obs": array(2)}, root="['steps']")
    assert spec.leaves[0].path == "['steps']['obs']"
    for tree, path in (({"obs": array(3)}, "['steps']['obs']"), ([], "['steps']")):
        with pytest.raises(SpecMismatchError) as caught:
            spec.check(tree)
        assert caught.value.path == path
