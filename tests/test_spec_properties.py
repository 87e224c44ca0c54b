"""TreeSpec over random trees: equal trees fit, changed nodes are named, digests agree."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator
from types import MappingProxyType
from typing import Any, NamedTuple

import msgpack
import numpy as np
import optree
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from shm_echo.errors import ProtocolError, SpecMismatchError
from shm_echo.spec import TreeSpec

# No deadline: how long an example takes says something about the machine only.
quick = settings(
    deadline=None,
    max_examples=100,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


class Point(NamedTuple):
    x: Any
    y: Any


class Single(NamedTuple):
    value: Any


DTYPES = [
    *(np.dtype(code) for code in ("f4", "f8", ">f4", "f2", "i4", "u1", "?", "M8[ns]", "S3", "F")),
    np.dtype([("a", "<f4"), ("b", ">i2")]),
]
shapes = st.lists(st.integers(0, 3), max_size=3).map(tuple)
leaves = st.builds(np.zeros, shapes, st.sampled_from(DTYPES))
keys = st.one_of(st.sampled_from("abcde"), st.integers(-3, 3), st.text(max_size=3))


def containers(children: Any) -> Any:
    few = st.lists(children, max_size=3)
    mapping = st.dictionaries(keys, children, max_size=3)
    return st.one_of(
        few,
        few.map(tuple),
        few.map(deque),
        mapping,
        mapping.map(OrderedDict),
        mapping.map(lambda items: defaultdict(list, items)),
        st.builds(Point, children, children),
        st.builds(Single, children),
    )


trees = st.recursive(st.one_of(leaves, st.none()), containers, max_leaves=8).filter(
    lambda tree: bool(optree.tree_leaves(tree))
)


def walk(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every node with its path, parents first; an independent definition of paths."""
    yield path, tree
    for step, child in children_of(tree):
        yield from walk(child, path + step)


def children_of(tree: Any) -> list[tuple[str, Any]]:
    if isinstance(tree, dict):
        return [(f"[{key!r}]", child) for key, child in tree.items()]
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return [(f".{name}", getattr(tree, name)) for name in tree._fields]
    if isinstance(tree, (list, tuple, deque)):
        return [(f"[{i}]", child) for i, child in enumerate(tree)]
    return []


def replace_at(tree: Any, path: str, change: Callable[[Any], Any], here: str = "") -> Any:
    """Return the tree with the node at a path replaced by the result of `change`."""
    if here == path:
        return change(tree)
    new = [replace_at(child, path, change, here + step) for step, child in children_of(tree)]
    if isinstance(tree, dict):
        other = copy.copy(tree)
        other.update(zip(tree, new, strict=True))
        return other
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*new)
    return type(tree)(new) if isinstance(tree, (list, tuple, deque)) else tree


def another_kind(node: Any) -> Any:
    """Return the same children in another kind of node."""
    if node is None:
        return np.zeros(2)
    if isinstance(node, dict):
        return list(node.values())
    if isinstance(node, Point):
        return tuple(node)
    if isinstance(node, list):
        return tuple(node)
    if isinstance(node, deque):
        return Point(*node) if len(node) == 2 else list(node)
    return list(node) if isinstance(node, tuple) else None


def assert_refused_everywhere(spec: TreeSpec, tree: Any, path: str) -> None:
    """Assert that a tree is rejected with exactly this path, as a sample and as an example."""
    for _ in range(2):  # a refusal leaves the spec as it was
        with pytest.raises(SpecMismatchError) as caught:
            spec.check(tree)
        assert caught.value.path == path
    if optree.tree_leaves(tree):
        other = TreeSpec.from_example(tree)
        assert other.digest() != spec.digest()
        for whose, own, theirs in (("server", other, spec), ("client", spec, other)):
            with pytest.raises(SpecMismatchError) as caught:
                own.require_equal(theirs.to_wire(), whose=whose)
            assert caught.value.path == path


@quick
@given(trees)
def test_a_tree_fits_its_own_spec_leaf_by_leaf(tree: Any) -> None:
    spec = TreeSpec.from_example(tree)
    named = {path: node for path, node in walk(tree) if isinstance(node, np.ndarray)}
    assert {leaf.path for leaf in spec.leaves} == set(named)
    for out in (spec.check(tree), spec.flatten(tree), spec.fast_flatten(tree)):
        assert all(got is named[leaf.path] for got, leaf in zip(out, spec.leaves, strict=True))
    assert spec.nbytes == sum(leaf.nbytes for leaf in named.values())
    rebuilt = spec.unflatten(spec.check(tree))
    assert optree.tree_structure(rebuilt) == optree.tree_structure(tree)
    for got, original in zip(optree.tree_leaves(rebuilt), optree.tree_leaves(tree), strict=True):
        assert got is original


@quick
@given(trees, st.integers(0, 4))
def test_a_stack_of_a_tree_fits_and_one_short_leaf_is_named(tree: Any, count: int) -> None:
    spec = TreeSpec.from_example(tree)
    stack = optree.tree_map(lambda leaf: np.zeros((count + 1, *leaf.shape), leaf.dtype), tree)
    assert spec.check_stacked(stack)[0] == count + 1
    assert len(spec.check(stack, stacked=count + 1)) == len(spec.leaves)
    if len(spec.leaves) > 1:
        last = spec.leaves[-1].path
        short = replace_at(stack, last, lambda leaf: leaf[:count])
        with pytest.raises(
            SpecMismatchError, match=f"{count + 1} samples .* got {count}$"
        ) as caught:
            spec.check_stacked(short)
        assert caught.value.path == last


@quick
@given(trees, st.data())
def test_another_dtype_or_shape_of_one_leaf_is_named_by_its_path(tree: Any, data: Any) -> None:
    spec = TreeSpec.from_example(tree)
    leaf = data.draw(st.sampled_from(spec.leaves))
    if data.draw(st.booleans()):
        dtype = data.draw(st.sampled_from(DTYPES).filter(lambda dtype: dtype != leaf.dtype))
        shape = leaf.shape
        assume(shape or not keeps_the_kind(dtype, leaf.dtype))
    else:
        dtype, shape = leaf.dtype, data.draw(shapes.filter(lambda shape: shape != leaf.shape))
    changed = replace_at(tree, leaf.path, lambda _: np.zeros(shape, dtype))
    assert_refused_everywhere(spec, changed, leaf.path)


def keeps_the_kind(dtype: np.dtype[Any], leaf: np.dtype[Any]) -> bool:
    """Return True if a 0-d leaf takes a 0 of another dtype as a number."""
    ranks = {"b": 0, "i": 1, "u": 1, "f": 2, "c": 3}
    return ranks.get(dtype.kind, 4) <= ranks.get(leaf.kind, -1)


@quick
@given(trees, st.data())
def test_another_kind_of_one_node_is_named_by_its_path(tree: Any, data: Any) -> None:
    spec = TreeSpec.from_example(tree)
    nodes = [(path, node) for path, node in walk(tree)]
    path, _ = data.draw(st.sampled_from(nodes))
    assert_refused_everywhere(spec, replace_at(tree, path, another_kind), path)


@quick
@given(trees, st.data())
def test_a_missing_or_extra_key_is_named_by_its_path(tree: Any, data: Any) -> None:
    mappings = [(path, node) for path, node in walk(tree) if isinstance(node, dict)]
    assume(mappings)
    spec = TreeSpec.from_example(tree)
    path, node = data.draw(st.sampled_from(mappings))
    less = copy.copy(node)
    if node and data.draw(st.booleans()):
        key = data.draw(st.sampled_from(list(node)))
        del less[key]
    else:
        key = data.draw(keys.filter(lambda key: key not in node))
        less[key] = np.zeros(1)
    assert_refused_everywhere(spec, replace_at(tree, path, lambda _: less), f"{path}[{key!r}]")


def reordered(
    tree: Any, order: Callable[[list[Any]], list[Any]], mapping: Callable[..., Any]
) -> Any:
    """Return the same tree with mappings of another type, filled in another order."""
    if isinstance(tree, dict):
        return mapping({key: reordered(tree[key], order, mapping) for key in order(list(tree))})
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(reordered(child, order, mapping) for child in tree))
    if isinstance(tree, (list, tuple, deque)):
        return type(tree)(reordered(child, order, mapping) for child in tree)
    return tree


@quick
@given(trees, st.randoms(use_true_random=False))
def test_order_and_type_of_mappings_do_not_matter(tree: Any, random: Any) -> None:
    spec = TreeSpec.from_example(tree)

    def shuffle(items: list[Any]) -> list[Any]:
        return random.sample(items, len(items))

    expected = spec.check(tree)
    for mapping in (dict, OrderedDict, lambda items: defaultdict(list, items), MappingProxyType):
        other = reordered(tree, shuffle, mapping)
        got = spec.check(other)
        assert all(a is b for a, b in zip(got, expected, strict=True))
        if mapping is not MappingProxyType:
            theirs = TreeSpec.from_example(other)
            assert theirs.leaves == spec.leaves
            assert theirs.digest() == spec.digest()
            spec.require_equal(theirs.to_wire())


@quick
@given(trees, trees)
def test_digests_are_equal_exactly_when_the_comparison_passes(one: Any, other: Any) -> None:
    left, right = TreeSpec.from_example(one), TreeSpec.from_example(other)
    wire = msgpack.unpackb(msgpack.packb(right.to_wire()), strict_map_key=False)
    try:
        left.require_equal(wire)
    except SpecMismatchError:
        assert left.digest() != right.digest()
    else:
        assert left.digest() == right.digest()
        assert left.leaves == right.leaves


words = st.sampled_from(["leaf", "none", "dict", "list", "namedtuple", "custom"])
plain = st.one_of(
    *(st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats()),
    *(st.text(max_size=5), st.binary(max_size=5), words),
)
junk = st.recursive(
    plain, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner)
)


@quick
@given(trees, st.data())
def test_a_damaged_wire_form_is_rejected_or_equal_and_never_crashes(tree: Any, data: Any) -> None:
    spec = TreeSpec.from_example(tree)
    wire = copy.deepcopy(spec.to_wire())
    target: Any = wire["nodes"]
    while True:
        assume(target)
        index = data.draw(st.integers(0, len(target) - 1))
        if not isinstance(target[index], list) or data.draw(st.booleans()):
            break
        target = target[index]
    match data.draw(st.sampled_from(["replace", "drop", "repeat"])):
        case "replace":
            target[index] = data.draw(junk)
        case "drop":
            del target[index]
        case _:
            target.insert(index, target[index])
    try:
        spec.require_equal(wire)
    except (ProtocolError, SpecMismatchError):
        pass
    else:
        assert wire == spec.to_wire()


@quick
@given(junk)
def test_arbitrary_data_is_rejected_as_wire_form(wire: Any) -> None:
    with pytest.raises(ProtocolError):
        TreeSpec.from_example(np.zeros(1)).require_equal(wire)


# ---------------------------------------------------------------- other processes

# The argument is the order in which dicts are filled: 1, or -1 for backwards.
SCRIPT = """
import enum, sys
from collections import OrderedDict, namedtuple
import numpy as np
from shm_echo.spec import TreeSpec

step = int(sys.argv[1])
Point = namedtuple("Point", ["x", "y"])
Color = enum.Enum("Color", ["RED", "GREEN"])
leaf = np.zeros(3, ">f4")

def mapping(items, kind=dict):
    return kind(items[::step])

example = mapping([
    ("obs", mapping([("pos", leaf), ("vel", np.float16(0)), ("mask", None)], OrderedDict)),
    ("action", (Point(np.zeros(()), [np.zeros((2, 0), "M8[us]")]),)),
    (frozenset("abcdefgh"), np.zeros(2, [("a", "u1"), ("b", "<i8")])),
    (Color.RED, np.zeros(1, "S3")),
    (Color.GREEN, np.zeros(1, "U3")),
    (("t", frozenset(["left", "right", "up", "down"])), leaf),
    (7, leaf),
    (b"raw", leaf),
    (2**80, leaf),
])
spec = TreeSpec.from_example(example)
print(spec.digest().hex())
print(*(leaf.path for leaf in spec.leaves), sep="|")
"""


def test_digest_and_leaf_order_are_equal_in_processes_with_other_hash_seeds() -> None:
    outputs = set()
    for seed, step in (("0", "1"), ("1", "-1"), ("12345", "1")):
        run = subprocess.run(
            [sys.executable, "-W", "error", "-c", SCRIPT, step],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, run.stderr
        outputs.add(run.stdout)
    assert len(outputs) == 1
    digest, paths = outputs.pop().splitlines()
    assert len(bytes.fromhex(digest)) == 32
    assert "frozenset({'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'})" in paths
