"""The batch of items that are no rows."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from datetime import date
from typing import Any

import numpy as np
import pytest

from shm_echo.loader.collation import LeafError, UnequalItemsError, collate, convert
from tests.support.parcel_datasets import Point, as_plain


@pytest.mark.parametrize(
    ("items", "batch"),
    [
        (["a", "bc"], ["a", "bc"]),
        ([b"a", b""], [b"a", b""]),
        ([None, None], None),
        ([1, 2], np.array([1, 2])),
        ([1, 2.5], np.array([1, 2.5])),
        ([True, False], np.array([True, False])),
        ([1j, 2], np.array([1j, 2])),
        ([np.float32(1), np.float32(2)], np.array([1, 2], np.float32)),
        ([np.ones(2), np.zeros(2)], np.array([[1, 1], [0, 0.0]])),
        ([np.array(3), np.array(4)], np.array([3, 4])),
        ([(1, "a"), (2, "b")], (np.array([1, 2]), ["a", "b"])),
        ([[1, "a"], [2, "b"]], [np.array([1, 2]), ["a", "b"]]),
        ([Point(1, "a"), Point(2, "b")], Point(np.array([1, 2]), ["a", "b"])),
        ([{"k": {"l": "a"}}, {"k": {"l": "b"}}], {"k": {"l": ["a", "b"]}}),
        ([date(2000, 1, 1), date(2001, 1, 1)], [date(2000, 1, 1), date(2001, 1, 1)]),
        ([(), ()], ()),
    ],
    ids=repr,
)
def test_leaves_are_stacked_or_listed(items: list[Any], batch: Any) -> None:
    assert as_plain(collate(items)) == as_plain(batch)


def test_dicts_keep_class_and_order() -> None:
    for kind in (dict, OrderedDict):
        batch = collate([kind(b="x", a=1), kind(a=2, b="y")])
        assert (type(batch), list(batch)) == (kind, ["b", "a"])
    batch = collate([defaultdict(list, a="x")])
    assert batch["missing"] == []


def test_masks_are_kept() -> None:
    batch = collate([np.ma.masked_array([1, 2], [True, False])] * 2)
    assert batch.mask.tolist() == [[True, False]] * 2


@pytest.mark.parametrize(
    ("first", "other", "path", "detail"),
    [
        (np.ones(2), np.ones(3), "", r"expected float64 \(2,\), got float64 \(3,\)"),
        (np.ones(2), np.ones(2, int), "", r"got int64"),
        ({"a": 1}, {"b": 1}, "", r"expected the keys \['a'\], got \['b'\]"),
        ((1, 2), (1, 2, 3), "", "expected 2 elements, got 3"),
        ({"a": (1, None)}, {"a": (1, 2)}, r"['a'][1]", "expected NoneType, got int"),
        ({"a": "x"}, {"a": b"x"}, "['a']", "expected str, got bytes"),
        (Point(1, [2]), Point(1, 2), ".y", "expected list, got int"),
        ([1], (1,), "", "expected list, got tuple"),
    ],
    ids=repr,
)
def test_items_that_differ_are_named(first: Any, other: Any, path: str, detail: str) -> None:
    with pytest.raises(UnequalItemsError, match=detail) as caught:
        collate([first, first, other, first])
    assert (caught.value.place, caught.value.path) == (2, path)


def test_a_cycle_is_named() -> None:
    cycle: list[Any] = ["x"]
    cycle.append(cycle)
    with pytest.raises(LeafError, match="cyclic") as caught:
        collate([["x", "y"], cycle])
    assert caught.value.place == 1


def test_an_item_that_is_a_batch_is_left_alone() -> None:
    item = [object()]
    assert convert(item) is item
