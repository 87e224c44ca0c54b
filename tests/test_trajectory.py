"""TrajectoryAccumulator: rows, time scales and rejected items."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import numpy as np
import optree
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shm_echo.errors import SpecMismatchError
from shm_echo.trajectory import TrajectoryAccumulator
from tests.support.trajectories import F4, Step, array, assert_same, example, slot_like, step

# ---------------------------------------------------------------- rows


def test_buffered_adds_fill_row_after_row_and_single_items_replace_the_leaf() -> None:
    acc = TrajectoryAccumulator(example())
    for i in (1, 2, 3):
        acc.add("steps", step(i))
    acc.add("last", {"obs": np.array([8, 9], F4)})
    acc.add("episode", {"return": np.float64(6), "counts": np.arange(4)})
    assert acc.counts == {"steps": 3, "last": 1, "episode": 1}
    assert_same(
        acc.build(),
        {
            "steps": Step(
                np.array([[1, 1], [2, 2], [3, 3]], F4),
                {"reward": np.array([1, 2, 3], F4), "action": np.array([[1], [2], [3]], "i4")},
            ),
            "last": {"obs": np.array([[8, 9]], F4)},
            "episode": {"return": np.array(6.0), "counts": np.arange(4)},
        },
    )
    assert acc.counts == {"steps": 0, "last": 0, "episode": 0}


def where(tree: Any) -> list[int]:
    """Return the addresses of the leaves."""
    return [leaf.__array_interface__["data"][0] for leaf in optree.tree_leaves(tree)]


def test_a_tree_that_is_dropped_leaves_its_buffers_to_the_next_one() -> None:
    given_example = example()
    acc = TrajectoryAccumulator(given_example)
    acc.add("steps", step(1))
    first = acc.build()
    addresses = where(first)
    first["last"] = None  # containers are the caller's own
    del first
    acc.add("steps", step(5))
    second = acc.build()
    assert where(second) == addresses
    assert second["last"] is not None
    assert not given_example["steps"].obs.any()


HOLDERS: dict[str, Callable[[Any], Any]] = {
    "the tree": lambda tree: tree,
    "a leaf": lambda tree: tree["steps"].obs,
    "a slice": lambda tree: tree["steps"].obs[1:],
    "a transpose of a slice": lambda tree: tree["steps"].obs[1:].T,
    "a memoryview": lambda tree: memoryview(tree["steps"].obs),
    "another owner by DLPack": lambda tree: np.from_dlpack(tree["steps"].obs),
    "an iterator": lambda tree: tree["steps"].obs.flat,
}


@pytest.mark.parametrize("hold", HOLDERS.values(), ids=HOLDERS)
def test_a_rollout_that_is_kept_is_never_overwritten(hold: Callable[[Any], Any]) -> None:
    acc = TrajectoryAccumulator(example())
    kept = []
    for i in range(1, 6):
        for _ in range(3):
            acc.add("steps", step(i))
        kept.append(hold(acc.build()))
    empty = acc.build()  # which writes zeros
    assert not empty["steps"].obs.any()
    for i, holder in enumerate(kept, start=1):
        leaf = holder["steps"].obs if isinstance(holder, dict) else holder
        array = np.array([*leaf]) if isinstance(leaf, np.flatiter) else np.asarray(leaf)
        assert (array == i).all()


def test_only_the_leaves_that_are_kept_get_new_buffers() -> None:
    acc = TrajectoryAccumulator(example())
    acc.add("steps", step(1))
    tree = acc.build()
    addresses, kept = where(tree), tree["steps"].obs
    del tree
    acc.add("steps", step(2))
    now = where(acc.build())
    assert [a for a, b in zip(addresses, now, strict=True) if a != b] == where(kept)
    assert kept[0].tolist() == [1, 1]


def test_rows_that_were_not_added_read_as_zeros_not_as_an_earlier_trajectory() -> None:
    acc = TrajectoryAccumulator(
        {"s": {"a": array(3), "t": array(3, dtype="U4"), "r": array(3, dtype=[("x", "S2")])},
         "one": [array(dtype="i4"), array(2, dtype="M8[s]")]}
    )  # fmt: skip
    item = {"a": 1.0, "t": np.str_("full"), "r": np.array(("ab",), [("x", "S2")])}
    for _ in range(3):
        acc.add("s", item)
    acc.add("one", [7, np.array([1, 2], "M8[s]")])
    acc.build()
    acc.add("s", item)
    tree = acc.build()
    assert tree["s"]["a"].tolist() == [1, 0, 0]
    assert tree["s"]["t"].tolist() == ["full", "", ""]
    assert tree["s"]["r"]["x"].tolist() == [b"ab", b"", b""]
    assert tree["one"][0].tolist() == 0
    assert tree["one"][1].tolist() == array(2, dtype="M8[s]").tolist()


def test_reset_discards_the_added_rows() -> None:
    acc = TrajectoryAccumulator(example())
    acc.add("steps", step(1))
    acc.reset()
    assert acc.counts["steps"] == 0
    assert not acc.build()["steps"].obs.any()


def test_a_row_takes_leading_axes_of_length_one_as_slice_assignment_does() -> None:
    acc = TrajectoryAccumulator({"s": {"a": array(2, 3), "b": array(2, 1, 3), "c": array(2)}})
    acc.add("s", {"a": np.ones((1, 3), F4), "b": np.ones(3, F4), "c": np.ones((1,), F4)})
    acc.add("s", {"a": np.ones(3, F4), "b": np.ones((1, 1, 3), F4), "c": np.ones((), F4)})
    assert all(leaf.all() for leaf in acc.build()["s"].values())
    one = TrajectoryAccumulator(
        {"a": {"x": array(1), "y": array(1, 3)}, "b": [array(), array(1, 3)]}
    )
    column = TrajectoryAccumulator({"s": array(2, 1, 1)})
    column.add("s", 1.0)
    column.add("s", np.float32(1))
    assert column.build()["s"].all()
    one.add("a", {"x": 2.0, "y": np.ones((1, 3), F4)})
    one.add("b", [np.ones((1,), F4), np.ones(3, F4)])
    assert all(leaf.all() for leaf in optree.tree_leaves(one.build()))


@pytest.mark.parametrize(
    "value",
    [np.int64(3), np.uint8(3), np.array(3), np.array([3], np.int16), 3, np.bool_(True)],
    ids=repr,
)
def test_a_single_number_is_cast_by_its_value(value: Any) -> None:
    acc = TrajectoryAccumulator({"rows": {"n": np.zeros(2, np.uint8)}, "one": {"n": np.uint8(0)}})
    acc.add("rows", {"n": value})
    acc.add("one", {"n": value})
    tree = acc.build()
    assert tree["rows"]["n"].tolist() == [int(np.reshape(value, ())), 0]
    assert tree["one"]["n"] == int(np.reshape(value, ()))


@pytest.mark.parametrize("value", [np.int64(300), np.array(-1), np.array([256]), 300], ids=repr)
def test_a_single_number_that_is_out_of_range_is_refused(value: Any) -> None:
    acc = TrajectoryAccumulator({"rows": {"n": np.zeros(2, np.uint8)}})
    with pytest.raises(SpecMismatchError, match=r"^\['rows'\]\['n'\]: .*not between 0 and 255"):
        acc.add("rows", {"n": value})
    assert acc.counts == {"rows": 0}


def test_a_single_float_may_not_become_infinite() -> None:
    acc = TrajectoryAccumulator({"rows": {"r": np.zeros(2, np.float32)}})
    with pytest.raises(SpecMismatchError, match=r"\['r'\]: .*overflows to infinity"):
        acc.add("rows", {"r": np.float64(1e39)})
    acc.add("rows", {"r": np.float64("inf")})
    assert acc.build()["rows"]["r"].tolist() == [float("inf"), 0.0]


def test_values_are_cast_where_numpy_says_same_kind() -> None:
    acc = TrajectoryAccumulator(
        {"s": {"f": array(4), "i": array(4, dtype="i4"), "b": array(4, dtype="?")}}
    )
    acc.add("s", {"f": np.float64(0.5), "i": np.int64(7), "b": np.bool_(True)})
    acc.add("s", {"f": np.int32(2), "i": np.uint8(8), "b": True})
    acc.add("s", {"f": 1, "i": 9, "b": np.array(True)})
    acc.add("s", {"f": 0.25, "i": True, "b": np.array([True])})
    tree = acc.build()["s"]
    assert tree["f"].tolist() == [0.5, 2, 1, 0.25]
    assert tree["i"].tolist() == [7, 8, 9, 1]
    assert tree["b"].all()


def test_mappings_fit_by_their_keys() -> None:
    acc = TrajectoryAccumulator({"s": OrderedDict(b=array(2), a=array(2, 2))})
    acc.add("s", {"a": np.ones(2, F4), "b": np.float32(3)})
    acc.add("s", MappingProxyType({"a": np.ones(2, F4), "b": 4}))
    tree = acc.build()["s"]
    assert tree["b"].tolist() == [3, 4]
    assert list(tree) == ["b", "a"]


# ---------------------------------------------------------------- refusals


def test_an_unknown_time_scale_is_a_key_error_that_lists_the_known_ones() -> None:
    with pytest.raises(KeyError, match=r"unknown time scale 'stesp'; known are .*steps.*last"):
        TrajectoryAccumulator(example()).add("stesp", step(1))


def test_adding_past_the_capacity_is_an_index_error_with_name_capacity_and_index() -> None:
    acc = TrajectoryAccumulator(example())
    for i in range(3):
        acc.add("steps", step(i))
    with pytest.raises(IndexError, match=r"'steps' is full: its capacity is 3, .* index 3"):
        acc.add("steps", step(9))
    acc.add("last", {"obs": np.ones(2, F4)})
    with pytest.raises(IndexError, match=r"'last' is full: its capacity is 1, .* index 1"):
        acc.add("last", {"obs": np.ones(2, F4)})
    assert acc.build()["steps"].obs[:, 0].tolist() == [0, 1, 2]
    acc.add("steps", step(9))


@pytest.mark.parametrize("wrong", [[array(2)], None, array(2), (array(2),)])
def test_an_example_that_is_no_dict_is_a_type_error(wrong: Any) -> None:
    with pytest.raises(TypeError, match="must be a dict with the time scales"):
        TrajectoryAccumulator(wrong)


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ({"s": [array(3), array(2, 2)]}, r"'s' must share one leading dimension, got \[3, 2\]"),
        ({"s": [array(3), array(1, 2)]}, r"share one leading dimension, got \[3, 1\]"),
        ({"s": [array(0, 2), array(0)]}, "'s' have a leading dimension of 0"),
        ({"s": []}, r"^\['s'\] has no array leaves"),
        ({"a": array(1), "s": {"x": None}}, r"^\['s'\] has no array leaves"),
        ({}, "no time scales"),
    ],
)
def test_an_example_without_rows_is_a_value_error(tree: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        TrajectoryAccumulator(tree)


def test_an_example_leaf_that_is_no_array_is_a_type_error_with_its_path() -> None:
    with pytest.raises(TypeError, match=r"^\['s'\]\['reward'\]: .* got a Python float"):
        TrajectoryAccumulator({"s": {"reward": 0.0}})


@pytest.mark.parametrize(
    ("change", "path", "words"),
    [
        ({"b": array(3)}, "['s']['b']", "expected float32 (2,), got float32 (3,)"),
        ({"b": array(2, 1)}, "['s']['b']", "expected float32 (2,), got float32 (2, 1)"),
        ({"b": array()}, "['s']['b']", "expected float32 (2,), got float32 ()"),
        ({"b": 1.0}, "['s']['b']", "expected float32 (2,), got a Python float"),
        ({"b": [1.0, 2.0]}, "['s']['b']", "expected float32 (2,), got a list of 2"),
        ({"b": None}, "['s']['b']", "expected float32 (2,), got None"),
        ({"b": np.ma.zeros(2, F4)}, "['s']['b']", "its mask would be lost"),
        ({"b": array(2, dtype="F")}, "['s']['b']", "does not cast to it by its 'same_kind' rule"),
        ({"b": array(2, dtype="O")}, "['s']['b']", "does not cast to it by its 'safe' rule"),
        ({"c": array()}, "['s']['c']", "expected int16 (), got float32 ()"),
        ({"c": 0.5}, "['s']['c']", "does not cast to it safely"),
        ({"c": 2**15}, "['s']['c']", "not between -32768 and 32767"),
        ({"d": np.str_("too long")}, "['s']['d']", "does not cast to it by its 'safe' rule"),
        ({"e": 1}, "['s']['e']", "this key is not in the example"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_rejected_item_names_its_leaf_and_is_not_stored(
    change: dict[str, Any], path: str, words: str
) -> None:
    acc = TrajectoryAccumulator(
        {
            "s": {
                "a": array(3),
                "b": array(3, 2),
                "c": array(3, dtype="i2"),
                "d": array(3, dtype="U3"),
            }
        }
    )
    good = {"a": np.ones((), F4), "b": np.ones(2, F4), "c": np.ones((), "i2"), "d": np.array("abc")}
    acc.add("s", good)
    stored = acc.build()["s"]
    acc.add("s", good)
    for leaf in stored.values():
        leaf[1:] = leaf[0]  # a mark that a partial write would overwrite
    with pytest.raises(SpecMismatchError) as caught:
        acc.add("s", {**good, "a": np.full((), 5, F4), **change})
    assert (caught.value.path, words in str(caught.value)) == (path, True), str(caught.value)
    assert acc.counts == {"s": 1}
    for leaf in stored.values():
        assert (leaf == leaf[0]).all()


def test_another_structure_is_refused_with_its_path() -> None:
    acc = TrajectoryAccumulator(example())
    for wrong, path in (
        ((array(2), {}), "['steps']"),
        (step(1)._replace(info={"reward": array()}), "['steps'].info['action']"),
        (step(1)._replace(info=[array(), array(1)]), "['steps'].info"),
    ):
        with pytest.raises(SpecMismatchError) as caught:
            acc.add("steps", wrong)
        assert caught.value.path == path


# ---------------------------------------------------------------- against a naive model


class Model:
    """The specification of an accumulator: a list of items per time scale."""

    def __init__(self, capacities: dict[str, int]) -> None:
        self.capacities = capacities
        self.items: dict[str, list[float]] = {name: [] for name in capacities}

    def rows(self, name: str) -> list[float]:
        return self.items[name] + [0.0] * (self.capacities[name] - len(self.items[name]))

    def clear(self) -> None:
        self.items = {name: [] for name in self.capacities}


operation = st.one_of(
    st.tuples(
        st.just("add"), st.sampled_from(["long", "short", "one", "flat"]), st.integers(1, 99)
    ),
    st.sampled_from([("build",), ("build",), ("reset",), ("attach",), ("detach",), ("bad",)]),
)


@settings(deadline=None, max_examples=100)
@given(st.lists(operation, max_size=40))
def test_any_sequence_of_calls_agrees_with_a_list_per_time_scale(operations: list[Any]) -> None:
    shape = {
        "long": {"x": array(4, 3), "y": array(4, dtype="i8")},
        "short": {"x": array(2, 3), "y": array(2, dtype="i8")},
        "one": {"x": array(1, 3), "y": array(1, dtype="i8")},
        "flat": {"x": array(3), "y": np.int64(0)},
    }
    acc = TrajectoryAccumulator(shape)
    model = Model({"long": 4, "short": 2, "one": 1, "flat": 1})
    slot = None
    for what, *arguments in operations:
        if what == "add":
            name, value = arguments
            item = {"x": np.full(3, value, F4), "y": value}
            if len(model.items[name]) == model.capacities[name]:
                with pytest.raises(IndexError):
                    acc.add(name, item)
            else:
                acc.add(name, item)
                model.items[name].append(value)
        elif what == "bad":
            with pytest.raises((SpecMismatchError, IndexError)):
                acc.add("long", {"x": np.full(3, 1, F4), "y": 0.5})
        elif what == "build":
            tree = acc.build()
            assert slot is None or tree is slot.tree
            for name in shape:
                rows = model.rows(name)
                assert np.atleast_1d(tree[name]["y"]).tolist() == rows
                assert tree[name]["x"].reshape(-1, 3).tolist() == [[row] * 3 for row in rows]
            model.clear()
            slot = None
        else:
            slot = slot_like(shape) if what == "attach" else None
            acc.attach(slot) if slot else getattr(acc, what)()
            model.clear()
        assert acc.counts == {name: len(items) for name, items in model.items.items()}
