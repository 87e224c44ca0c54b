"""TrajectoryAccumulator that writes straight into a slot."""

from __future__ import annotations

from typing import Any

import numpy as np
import optree
import pytest

from shm_echo.errors import SpecMismatchError
from shm_echo.trajectory import TrajectoryAccumulator
from tests.support.trajectories import F4, Step, array, assert_same, example, slot_like, step


def test_adds_go_straight_into_an_attached_slot_and_build_detaches() -> None:
    acc = TrajectoryAccumulator(example())
    own = acc.build()
    slot = slot_like(example())
    acc.attach(slot)
    acc.add("steps", step(1))
    assert slot.tree["steps"].obs[0].tolist() == [1, 1]
    acc.add("steps", step(2))
    acc.add("last", {"obs": np.array([8, 9], F4)})
    assert acc.counts == {"steps": 2, "last": 1, "episode": 0}
    built = acc.build()
    assert built is slot.tree
    assert_same(
        built,
        {
            "steps": Step(
                np.array([[1, 1], [2, 2], [0, 0]], F4),
                {"reward": np.array([1, 2, 0], F4), "action": np.array([[1], [2], [0]], "i4")},
            ),
            "last": {"obs": np.array([[8, 9]], F4)},
            "episode": {"return": np.array(0.0), "counts": np.zeros(4, "i8")},
        },
    )
    assert not any(leaf.any() for leaf in optree.tree_leaves(own))
    acc.add("steps", step(5))
    assert slot.tree["steps"].obs[0].tolist() == [1, 1]
    own = acc.build()
    assert own["steps"].obs[0].tolist() == [5, 5]


def test_a_plain_tree_can_be_attached() -> None:
    acc = TrajectoryAccumulator({"s": array(2)})
    target = {"s": np.full(2, 77, F4)}
    acc.attach(target)
    acc.add("s", 1.0)
    assert acc.build() is target
    assert target["s"].tolist() == [1, 0]


@pytest.mark.parametrize("leave", ["reset", "detach"])
def test_after_reset_or_detach_the_slot_is_not_written(leave: str) -> None:
    acc = TrajectoryAccumulator({"s": array(2), "one": array(1)})
    slot = slot_like({"s": array(2), "one": array(1)})
    acc.attach(slot)
    acc.add("s", 1.0)
    getattr(acc, leave)()
    assert acc.counts == {"s": 0, "one": 0}
    acc.add("s", 2.0)
    acc.add("one", 3.0)
    tree = acc.build()
    assert slot.tree["s"].tolist() == [1, 77]
    assert slot.tree["one"].tolist() == [77]
    assert (tree["s"].tolist(), tree["one"].tolist()) == ([2, 0], [3])


def test_attaching_discards_the_added_rows_and_does_not_write_an_earlier_slot() -> None:
    acc = TrajectoryAccumulator({"s": array(2)})
    acc.add("s", 9.0)
    first, second = slot_like({"s": array(2)}), slot_like({"s": array(2)})
    acc.attach(first)
    acc.attach(second)
    assert acc.counts == {"s": 0}
    acc.add("s", 1.0)
    assert acc.build() is second.tree
    assert first.tree["s"].tolist() == [77, 77]
    assert second.tree["s"].tolist() == [1, 0]


@pytest.mark.parametrize(
    ("target", "path", "words"),
    [
        ({"s": array(2), "t": array(1)}, "", "expected a slot with the time scales ['s']"),
        ({}, "", "got a dict with keys []"),
        ([array(2)], "", "got a list of 1"),
        (None, "", "got None"),
        ({"s": array(2)}, "['s']", "expected a dict with keys ['a'], got float32 (2,)"),
        ({"s": {"a": array(3)}}, "['s']['a']", "expected float32 (2,), got float32 (3,)"),
        (
            {"s": {"a": array(2, dtype="f8")}},
            "['s']['a']",
            "expected float32 (2,), got float64 (2,)",
        ),
        ({"s": {"a": [0.0, 0.0]}}, "['s']['a']", "expected float32 (2,), got a list of 2"),
        ({"s": {"a": 1.0}}, "['s']['a']", "expected float32 (2,), got a Python float"),
        ({"s": {"a": F4(1)}}, "['s']['a']", "expected float32 (2,), got float32 ()"),
        ({"s": {"a": np.broadcast_to(F4(1), 2)}}, "['s']['a']", "expected a writable float32 (2,)"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_slot_unlike_the_example_is_rejected_without_effect(
    target: Any, path: str, words: str
) -> None:
    acc = TrajectoryAccumulator({"s": {"a": array(2)}})
    acc.add("s", {"a": 4.0})
    with pytest.raises(SpecMismatchError) as caught:
        acc.attach(target)
    assert (caught.value.path, words in str(caught.value)) == (path, True), str(caught.value)
    assert acc.build()["s"]["a"].tolist() == [4, 0]


def test_a_read_only_slot_is_not_written_and_the_error_names_the_remedy() -> None:
    acc = TrajectoryAccumulator({"s": array(2), "one": array()})
    slot = slot_like({"s": array(2), "one": array()})
    acc.attach(slot)
    acc.add("s", 1.0)
    for leaf in slot.tree.values():
        leaf.flags.writeable = False
    for name in ("s", "one"):
        with pytest.raises(RuntimeError, match=r"committed or aborted; call reset\(\)"):
            acc.add(name, 2.0)
    with pytest.raises(RuntimeError, match=r"committed or aborted; call reset\(\)"):
        acc.build()
    acc.reset()
    acc.add("s", 3.0)
    assert acc.build()["s"].tolist() == [3, 0]
