"""Trees that have the structure of the example, and the errors for other trees."""

from __future__ import annotations

import enum
from collections import OrderedDict, UserDict, defaultdict, deque
from types import MappingProxyType
from typing import Any

import msgpack
import pytest

from shm_echo.errors import SpecMismatchError
from shm_echo.spec import TreeSpec
from tests.spec.trees import Box, OtherPoint, Pair, Point, array, refusal


class Frozen(UserDict[str, Any]):
    """A mapping other than a dict."""


def test_mappings_fit_by_their_key_set() -> None:
    spec = TreeSpec.from_example({"b": array(1), "a": array(2)})
    a, b = array(2), array(1)

    def explode() -> None:
        raise AssertionError("the default factory was called")

    for tree in (
        {"a": a, "b": b},
        {"b": b, "a": a},
        OrderedDict(b=b, a=a),
        defaultdict(explode, b=b, a=a),
        MappingProxyType({"b": b, "a": a}),
        Frozen(b=b, a=a),
    ):
        for leaves in (spec.flatten(tree), spec.check(tree), spec.check(tree)):
            assert leaves[0] is a
            assert leaves[1] is b


def test_an_ordered_dict_example_keeps_its_order_and_the_canonical_leaves() -> None:
    ordered = TreeSpec.from_example({"x": OrderedDict(b=array(1), a=array(2)), "w": array(3)})
    plain = TreeSpec.from_example({"w": array(3), "x": {"a": array(2), "b": array(1)}})
    assert ordered.leaves == plain.leaves
    assert ordered.digest() == plain.digest()
    tree = {"x": {"a": "A", "b": "B"}, "w": "W"}
    assert ordered.fast_flatten(tree) == plain.fast_flatten(tree) == ["W", "A", "B"]
    rebuilt = ordered.unflatten(["W", "A", "B"])
    assert rebuilt == tree
    assert list(rebuilt["x"]) == ["b", "a"]
    assert type(rebuilt["x"]) is OrderedDict


def test_a_cyclic_permutation_of_leaves_is_undone_when_a_tree_is_built() -> None:
    spec = TreeSpec.from_example(OrderedDict(b=array(2), c=array(3), a=array(1)))
    assert [leaf.shape for leaf in spec.leaves] == [(1,), (2,), (3,)]
    assert spec.unflatten(["A", "B", "C"]) == OrderedDict(b="B", c="C", a="A")


def test_keys_of_mixed_types_have_one_order_independent_of_insertion() -> None:
    class Color(enum.Enum):
        RED = 1

    class Name(str, enum.Enum):
        N = "name"

    items: list[tuple[Any, Any]] = [
        (Color.RED, array(1)),
        (3, array(2)),
        (-1, array(3)),
        ("z", array(4)),
        (("t", frozenset({"p", "q"})), array(5)),
        (Name.N, array(6)),
        (b"raw", array(7)),
        (2**70, array(8)),
        ("\ud800", array(9)),
        (None, array(10)),
    ]
    one, other = TreeSpec.from_example(dict(items)), TreeSpec.from_example(dict(items[::-1]))
    assert one.leaves == other.leaves
    assert one.digest() == other.digest()
    paths = {leaf.path for leaf in one.leaves}
    assert {"['name']", "[-1]", "[b'raw']", "[None]"} <= paths
    assert "[('t', frozenset({'p', 'q'}))]" in paths
    assert any(path.endswith("Color.RED]") for path in paths)
    rows = one.fast_flatten(dict(items[::-1]))
    assert [row.shape for row in rows] == [leaf.shape for leaf in one.leaves]
    assert one.unflatten(rows).keys() == dict(items).keys()
    one.require_equal(msgpack.unpackb(msgpack.packb(other.to_wire()), strict_map_key=False))


def test_namedtuples_of_different_classes_fit_by_name_and_fields() -> None:
    spec = TreeSpec.from_example([Point(array(1), array(2))])
    for kind in (Point, OtherPoint):
        assert [leaf.shape for leaf in spec.check([kind(array(1), array(2))])] == [(1,), (2,)]
    for wrong in (Pair(array(1), array(2)), (array(1), array(2))):
        error = refusal([wrong], [Point(array(1), array(2))])
        assert error.path == "[0]"
        assert "expected a Point(x, y) namedtuple" in str(error)


def test_subclasses_of_list_and_tuple_fit_as_their_base() -> None:
    rows, cells = type("Rows", (list,), {}), type("Cells", (tuple,), {})
    spec = TreeSpec.from_example([(array(1),)])
    assert len(spec.check(rows([cells([array(1)])]))) == 1


@pytest.mark.parametrize(
    ("example", "tree", "path", "words"),
    [
        ({"a": array(1)}, [array(1)], "", "expected a dict with keys ['a'], got a list of 1"),
        ({"a": array(1)}, None, "", "expected a dict with keys ['a'], got None"),
        (
            {"a": array(1)},
            {"b": array(1)},
            "['a']",
            "expected float32 (1,), but the key is missing",
        ),
        ({"a": array(1)}, {"a": array(1), "b": 0}, "['b']", "this key is not in the example"),
        ({"a": {"b": array(1)}}, {"a": {}}, "['a']['b']", "missing in a dict with keys []"),
        ({"a": {"b": array(1)}}, {"a": array(1)}, "['a']", "got float32 (1,)"),
        ([array(1)], (array(1),), "", "expected a list of 1, got a tuple of 1"),
        ((array(1),), [array(1)], "", "expected a tuple of 1, got a list of 1"),
        ((array(1),), deque([array(1)]), "", "expected a tuple of 1, got a deque of 1"),
        ((array(1), array(2)), Point(array(1), array(2)), "", "a tuple of 2, got a Point(x, y)"),
        (deque([array(1)]), [array(1)], "", "expected a deque of 1, got a list of 1"),
        ([array(1)], [array(1), array(1)], "", "expected a list of 1, got a list of 2"),
        ({"a": (array(1), None)}, {"a": (array(1), array(1))}, "['a'][1]", "expected None, got"),
        (
            {"a": (array(1), array(2))},
            {"a": (array(1), None)},
            "['a'][1]",
            "float32 (2,), got None",
        ),
        ([array(1)], [[1.0]], "[0]", "expected float32 (1,), got a list of 1"),
        ([array(1)], [{"x": 1}], "[0]", "expected float32 (1,), got a dict with keys ['x']"),
        ([array(1)], [Point(1, 2)], "[0]", "got a Point(x, y) namedtuple"),
        ([array(1)], [MappingProxyType({})], "[0]", "got a mappingproxy with keys []"),
        ([array(1)], [()], "[0]", "got a tuple of 0"),
    ],
)
def test_another_structure_is_rejected_with_the_path_and_the_found_node(
    example: Any, tree: Any, path: str, words: str
) -> None:
    error = refusal(tree, example)
    assert (error.path, words in str(error)) == (path, True), str(error)
    with pytest.raises(SpecMismatchError) as caught:
        TreeSpec.from_example(example).flatten(tree)
    assert caught.value.path == path


def test_custom_nodes_fit_by_registered_type_and_metadata(box: type[Box]) -> None:
    example = {"space": box(array(2), array(3))}
    spec = TreeSpec.from_example(example)
    assert [leaf.path for leaf in spec.leaves] == ["['space'].low", "['space'].high"]
    assert len(spec.check({"space": box(array(2), array(3))})) == 2
    assert refusal({"space": box(array(2), array(4))}, example).path == "['space'].high"
    error = refusal({"space": box(array(2), array(3), "open")}, example)
    assert error.path == "['space']"
    assert "metadata 'closed', got 'open'" in str(error)
    error = refusal({"space": (array(2), array(3))}, example)
    assert "expected a Box node of 2, got a tuple of 2" in str(error)
    opened = TreeSpec.from_example({"space": box(array(2), array(3), "open")})
    with pytest.raises(SpecMismatchError, match="metadata 'open', got metadata 'closed'"):
        spec.require_equal(opened.to_wire())


def test_metadata_that_cannot_be_compared_counts_as_different(box: type[Box]) -> None:
    error = refusal(box(array(1), array(1), array(2)), box(array(1), array(1), array(2)))
    assert "metadata" in str(error)
