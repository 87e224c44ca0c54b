"""A commit sends what the slot's tree says at that moment, however the tree came to say it."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import optree
import pytest

from shm_echo import ConnectionClosedError, Slot, SpecMismatchError
from tests.support.slots import Box, Rebuilding, pair

F4 = np.float32
X, N = np.arange(4, dtype=F4), np.int64(9)


class Step(NamedTuple):
    obs: Any
    reward: Any


def zeros() -> Any:
    return {
        "obs": {"pos": np.zeros(4, F4), "vel": np.zeros(4, F4)},
        "list": [np.zeros(2, F4), (np.zeros(2, F4), np.zeros((), np.int64))],
        "n": np.int64(0),
    }


def fill(tree: Any) -> None:
    for i, leaf in enumerate(optree.tree_leaves(tree)):
        leaf[...] = 10 + i


def replace_pos(slot: Slot) -> None:
    slot["obs"]["pos"] = X


def replace_by_update(slot: Slot) -> None:
    slot["obs"].update(pos=X)


def replace_in_list(slot: Slot) -> None:
    slot["list"][0] = np.full(2, 5, F4)


def replace_list(slot: Slot) -> None:
    slot["list"] = [np.full(2, 5, F4), slot["list"][1]]


def replace_tuple(slot: Slot) -> None:
    slot["list"][1] = (np.full(2, 5, F4), 6)


def replace_subtree(slot: Slot) -> None:
    slot["obs"] = {"vel": X + 1, "pos": X}


def replace_tree(slot: Slot) -> None:
    slot.tree = {**slot.tree, "n": 9}


def replace_by_strided(slot: Slot) -> None:
    slot["obs"]["vel"] = np.arange(8, dtype=F4)[::2]


def replace_by_another_mapping(slot: Slot) -> None:
    slot["obs"] = OrderedDict(vel=X, pos=X + 1)


def delete_and_set(slot: Slot) -> None:
    del slot["n"]
    slot["n"] = N


WAYS = [
    replace_pos,
    replace_by_update,
    replace_in_list,
    replace_list,
    replace_tuple,
    replace_subtree,
    replace_tree,
    replace_by_strided,
    replace_by_another_mapping,
    delete_and_set,
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("end", ["with", "commit"])
def test_a_replaced_leaf_is_sent_with_the_written_ones(name: str, way: Any, end: str) -> None:
    with pair(name, zeros()) as both:
        slot = both.client.reserve()
        fill(slot.tree)
        way(slot)
        wanted = optree.tree_map(np.array, slot.tree)
        if end == "with":
            with slot:
                pass
        else:
            slot.commit()
        came = both.taken()
        for key in ("pos", "vel"):
            np.testing.assert_array_equal(came["obs"][key], wanted["obs"][key])
        np.testing.assert_array_equal(came["n"], wanted["n"])
        first, (second, third) = came["list"]
        np.testing.assert_array_equal(first, wanted["list"][0])
        np.testing.assert_array_equal(second, wanted["list"][1][0])
        assert third == wanted["list"][1][1]


def test_a_slot_takes_and_deletes_items(name: str) -> None:
    with pair(name, {"x": np.zeros(4, F4), "n": np.int64(0)}) as both:
        with both.client.reserve() as slot:
            slot["x"][:] = 1
            slot["n"] = 7
            slot["x"] = X
        came = both.taken()
        assert (came["x"].tolist(), int(came["n"])) == (X.tolist(), 7)
        with pytest.raises(SpecMismatchError), both.client.reserve() as slot:
            del slot["n"]


def test_a_single_leaf_is_replaced_as_the_whole_tree(name: str) -> None:
    with pair(name, np.zeros(4, F4)) as both:
        with both.client.reserve() as slot:
            slot.tree = X
        assert both.taken().tolist() == X.tolist()
        with both.client.reserve() as slot:
            slot[1:3] = 5
            slot[0] = slot[3] = 0
        assert both.taken().tolist() == [0, 5, 5, 0]


@pytest.mark.parametrize("node", [Step, Box], ids=["namedtuple", "custom"])
def test_a_node_that_is_not_plain_may_be_replaced(name: str, node: Any) -> None:
    example = {"step": node(np.zeros(4, F4), np.float32(0)), "n": np.int64(0)}
    with pair(name, example) as both:
        with both.client.reserve() as slot:
            slot["n"] = 3
            if node is Step:
                slot["step"] = slot["step"]._replace(obs=X)
            else:
                slot["step"].a = X
            optree.tree_leaves(slot["step"])[1][...] = 0.5
        came = both.taken()
        obs, reward = optree.tree_leaves(came["step"])
        assert (obs.tolist(), float(reward), int(came["n"])) == (X.tolist(), 0.5, 3)
        with both.client.reserve() as slot:
            slot.tree = {"n": 4, "step": node(X + 1, 1)}
        came = both.taken()
        obs, reward = optree.tree_leaves(came["step"])
        assert (obs.tolist(), float(reward), int(came["n"])) == ((X + 1).tolist(), 1.0, 4)


def test_a_deque_may_be_rearranged(name: str) -> None:
    with pair(name, deque([np.zeros(2, F4), np.zeros(2, F4)])) as both:
        with both.client.reserve() as slot:
            slot[0][:] = 1
            slot[1][:] = 2
            slot.tree.rotate(1)  # each of the two arrays in the other's place
        first, second = both.taken()
        assert (first.tolist(), second.tolist()) == ([2, 2], [1, 1])


# ---------------------------------------------------------------- memory of the ring itself


def test_leaves_may_be_swapped(name: str) -> None:
    example = {key: np.zeros(3, F4) for key in "abc"}
    with pair(name, example) as both:
        with both.client.reserve() as slot:
            for value, key in enumerate("abc"):
                slot[key][:] = value
            slot["a"], slot["b"], slot["c"] = slot["b"], slot["c"], slot["a"]
        assert {key: leaf.tolist() for key, leaf in both.taken().items()} == {
            "a": [1] * 3,
            "b": [2] * 3,
            "c": [0] * 3,
        }


def test_a_leaf_may_be_a_rearranged_view_of_itself_or_of_another(name: str) -> None:
    example = {"a": np.zeros((2, 2), F4), "b": np.zeros((2, 2), F4), "c": np.zeros(4, F4)}
    with pair(name, example) as both:
        with both.client.reserve() as slot:
            slot["a"][:] = [[1, 2], [3, 4]]
            slot["c"][:] = [5, 6, 7, 8]
            a, c = slot["a"], slot["c"]
            slot["a"], slot["b"], slot["c"] = a.T, c[::-1].reshape(2, 2), a.ravel()
        came = both.taken()
        assert came["a"].tolist() == [[1, 3], [2, 4]]
        assert came["b"].tolist() == [[8, 7], [6, 5]]
        assert came["c"].tolist() == [1, 2, 3, 4]


def test_a_leaf_may_come_from_another_slot(name: str) -> None:
    with pair(name, {"x": np.zeros(4, F4)}) as both:
        first, second = both.client.reserve(), both.client.reserve()
        first["x"][:] = 1
        second["x"] = first["x"]
        second.commit()
        first.commit()
        assert both.taken()["x"].tolist() == [1] * 4
        assert both.taken()["x"].tolist() == [1] * 4


def test_another_object_over_the_same_memory_is_the_same_leaf(name: str) -> None:
    example = {"x": np.zeros((2, 3), F4), "n": np.int64(0)}
    with pair(name, example) as both:
        with both.client.reserve() as slot:
            slot["x"] = slot["x"].view()
            slot["n"] = slot["n"].view(type("Named", (np.ndarray,), {}))
            slot["x"][:] = 4
            slot["n"][...] = 5
        came = both.taken()
        assert (came["x"].tolist(), int(came["n"])) == ([[4] * 3] * 2, 5)


def test_a_node_that_hands_out_new_objects_sends_what_was_written(name: str) -> None:
    with pair(name, {"box": Rebuilding(np.zeros(4, F4), np.zeros(2, F4))}) as both:
        with both.client.reserve() as slot:
            slot["box"].a[:] = X
            slot["box"].b[:] = 7
        box = both.taken()["box"]
        assert (box.a.tolist(), box.b.tolist()) == (X.tolist(), [7, 7])


def test_the_same_memory_with_another_dtype_is_not_the_same_leaf(name: str) -> None:
    words = r"^\['x'\]: expected float32 \(4,\), got int32 \(4,\)"
    with pair(name, {"x": np.zeros(4, F4)}) as both:
        with pytest.raises(SpecMismatchError, match=words), both.client.reserve() as slot:
            slot["x"] = slot["x"].view(np.int32)
        both.nothing_was_sent()


def test_a_large_replaced_leaf_arrives_whole(name: str) -> None:
    large = np.random.default_rng(1).integers(0, 255, (300, 301, 3), np.uint8)
    with pair(name, {"frame": np.zeros_like(large), "n": np.int64(0)}) as both:
        with both.client.reserve() as slot:
            slot["frame"] = large
            slot["n"][...] = 1
        np.testing.assert_array_equal(both.taken()["frame"], large)


# ---------------------------------------------------------------- trees that do not fit


def spoil_dtype(slot: Slot) -> None:
    slot["obs"]["pos"] = np.zeros(4)


def spoil_shape(slot: Slot) -> None:
    slot["list"][0] = np.zeros(3, F4)


def spoil_by_list(slot: Slot) -> None:
    slot["n"] = [1]


def spoil_by_none(slot: Slot) -> None:
    slot["n"] = None


def extra_key(slot: Slot) -> None:
    slot["more"] = X


def extra_key_below(slot: Slot) -> None:
    slot["obs"]["more"] = X


def missing_key(slot: Slot) -> None:
    del slot["obs"]["vel"]


def longer_list(slot: Slot) -> None:
    slot["list"].append(X)


def shorter_list(slot: Slot) -> None:
    slot["list"].pop()


def other_tree(slot: Slot) -> None:
    slot.tree = [X]


def no_tree(slot: Slot) -> None:
    del slot.tree


SPOILED: list[tuple[Callable[[Slot], None], str]] = [
    (spoil_dtype, "['obs']['pos']: expected float32 (4,), got float64 (4,)"),
    (spoil_shape, "['list'][0]: expected float32 (2,), got float32 (3,)"),
    (spoil_by_list, "['n']: expected int64 (), got a list of 1"),
    (spoil_by_none, "['n']: expected int64 (), got None"),
    (extra_key, "['more']: this key is not in the example"),
    (extra_key_below, "['obs']['more']: this key is not in the example"),
    (missing_key, "['obs']['vel']: expected float32 (4,), but the key is missing"),
    (longer_list, "['list']: expected a list of 2, got a list of 3"),
    (shorter_list, "['list']: expected a list of 2, got a list of 1"),
    (other_tree, "the sample: expected a dict with keys ['list', 'n', 'obs'], got a list of 1"),
    (no_tree, "the sample: expected a dict with keys ['list', 'n', 'obs'], got None"),
]


@pytest.mark.parametrize(("spoil", "words"), SPOILED, ids=lambda v: getattr(v, "__name__", ""))
@pytest.mark.parametrize("end", ["with", "commit"])
def test_a_tree_that_does_not_fit_is_named_and_the_slot_given_back(
    name: str, spoil: Callable[[Slot], None], words: str, end: str
) -> None:
    with pair(name, zeros()) as both:
        for _ in range(5):  # more than there are slots
            slot = both.client.reserve(timeout=0)
            arrays = optree.tree_leaves(slot.tree)
            spoil(slot)
            with pytest.raises(SpecMismatchError) as caught:
                if end == "commit":
                    slot.commit()
                else:
                    slot.__exit__(None, None, None)
            assert str(caught.value).startswith(words)
            assert not slot.is_open
            assert not any(array.flags.writeable for array in arrays)
        both.nothing_was_sent()
        with pytest.raises(ConnectionClosedError, match="committed or given back"):
            slot.commit()


def test_an_aborted_slot_may_have_any_tree(name: str) -> None:
    with pair(name, zeros()) as both:
        with pytest.raises(KeyError, match="mine"), both.client.reserve() as slot:
            slot.tree = None
            raise KeyError("mine")
        both.client.reserve().abort()
        both.nothing_was_sent()
