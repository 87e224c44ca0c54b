"""The wire form of a spec: the differences that it shows, and malformed forms of a peer."""

from __future__ import annotations

from collections import deque
from typing import Any

import msgpack
import numpy as np
import pytest

from shm_echo.errors import ProtocolError, SpecMismatchError
from shm_echo.spec import TreeSpec
from shm_echo.spec.leaf import dtype_text
from tests.spec.trees import F4, OtherPoint, Pair, Point, array


def over_the_wire(example: Any) -> Any:
    return msgpack.unpackb(msgpack.packb(TreeSpec.from_example(example).to_wire()))


def test_the_wire_form_is_flat_and_survives_msgpack() -> None:
    tree: Any = {
        "a": array(2),
        1: [Point(array(1, dtype=">i2"), None), (array(),), deque([array()])],
    }
    spec = TreeSpec.from_example(tree)
    assert over_the_wire(tree) == spec.to_wire()
    assert spec.to_wire()["nodes"][:3] == [
        ["dict", [1, "a"]],
        ["list", 3],
        ["namedtuple", "Point", ["x", "y"]],
    ]
    for use_list in (True, False):
        wire = msgpack.unpackb(msgpack.packb(spec.to_wire()), use_list=use_list)
        spec.require_equal(wire)
        spec.require_equal(wire, whose="client")
    assert len(spec.digest()) == 32


@pytest.mark.parametrize(
    ("server", "client", "path", "words"),
    [
        ([array(4)], [array(4, dtype="f8")], "[0]", "expected float32 (4,), got float64 (4,)"),
        ([array(4)], [array(4, dtype="i4")], "[0]", "expected float32 (4,), got int32 (4,)"),
        ([array(4)], [array(4, dtype=">f4")], "[0]", "expected float32 (4,), got >f4 (4,)"),
        ([array(4)], [array(5)], "[0]", "expected float32 (4,), got float32 (5,)"),
        ([array(4)], [array(4, 1)], "[0]", "expected float32 (4,), got float32 (4, 1)"),
        ([array(4)], [[array(4)]], "[0]", "expected float32 (4,), got a list of 1"),
        ([array(4), None], [array(4), array(4)], "[1]", "expected None, got float32 (4,)"),
        ([array(4), array(4)], [array(4), None], "[1]", "expected float32 (4,), got None"),
        ([array(4)], (array(4),), "", "expected a list of 1, got a tuple of 1"),
        ([array(4)], {"a": array(4)}, "", "expected a list of 1, got a dict with keys ['a']"),
        ([array(4)], [array(4)] * 2, "", "expected a list of 1, got a list of 2"),
        (
            [Point(array(), array())],
            [(array(), array())],
            "[0]",
            "a Point(x, y) namedtuple, got a tuple",
        ),
        ([Point(array(), array())], [Pair(array(), array())], "[0]", "got a Pair(x, y) namedtuple"),
        ({"o": {"a": array()}}, {"o": {"b": array()}}, "['o']['a']", "keys ['b'] without this key"),
        (
            {"a": array()},
            {"a": array(), "b": array(3)},
            "['b']",
            "without this key, got float32 (3,)",
        ),
        ({1: array()}, {"1": array()}, "[1]", "without this key"),
        ([array(dtype=[("a", "f4")])], [array(dtype=[("b", "f4")])], "[0]", '"a": <f4 @0'),
        (
            [array(dtype="M8[s]")],
            [array(dtype="M8[ms]")],
            "[0]",
            "datetime64[s] (), got datetime64[ms]",
        ),
    ],
)
def test_a_difference_of_examples_is_reported_with_path_and_both_sides(
    server: Any, client: Any, path: str, words: str
) -> None:
    mine = TreeSpec.from_example(client)
    theirs = TreeSpec.from_example(server)
    assert mine.digest() != theirs.digest()
    for attempt in (
        lambda: mine.require_equal(over_the_wire(server)),
        lambda: theirs.require_equal(over_the_wire(client), whose="client"),
    ):
        with pytest.raises(SpecMismatchError) as caught:
            attempt()
        assert (caught.value.path, words in str(caught.value)) == (path, True), str(caught.value)


def test_namedtuples_of_two_classes_are_equal_on_the_wire() -> None:
    mine = TreeSpec.from_example(Point(array(1), array(2)))
    mine.require_equal(over_the_wire(OtherPoint(array(1), array(2))))


def test_the_text_of_two_dtypes_is_equal_exactly_when_they_are() -> None:
    rational = pytest.importorskip("numpy._core._rational_tests").rational
    codes: list[Any] = [
        *("f4", "<f4", ">f4", "f8", "i4", "l", "q", "u4", "?", "S1", "c", "U1", ">U1", "V8", "V4"),
        *("M8[s]", "M8[ms]", "M8[2s]", "m8[s]", "M8", ">M8[s]", rational, []),
        [("a", "f4")],
        [("b", "f4")],
        [("a", ">f4")],
        [(("title", "a"), "f4")],
        [("a", "f4"), ("b", "f4")],
        [("b", "f4"), ("a", "f4")],
        [("a", "f4", (2,))],
        [("a", "f4", (1, 2))],
        [("a", [("b", "f4")])],
        (np.record, [("a", "f4")]),
        {"names": ["a"], "formats": ["f4"], "itemsize": 8},
        {"names": ["a"], "formats": ["f4"], "offsets": [4], "itemsize": 8},
        {"names": ["a", "b"], "formats": ["i4", "i2"], "offsets": [0, 0]},
    ]
    dtypes = [np.dtype(code) for code in codes]
    aligned = np.dtype([("a", "i1"), ("b", "f8")], align=True)
    dtypes += [aligned, np.dtype({"names": ["a", "b"], "formats": ["i1", "f8"], "offsets": [0, 8]})]
    dtypes += [np.dtype("f4", metadata={"unit": "m"})]
    for left in dtypes:
        for right in dtypes:
            assert (dtype_text(left) == dtype_text(right)) == (left == right), (left, right)


def test_the_text_of_a_user_defined_dtype_names_its_type() -> None:
    rational = pytest.importorskip("numpy._core._rational_tests").rational
    assert dtype_text(np.dtype(rational)) == "<V8:rational"


def wire_of(*nodes: Any) -> dict[str, Any]:
    return {"version": 1, "nodes": list(nodes)}


def nested_lists(depth: int) -> Any:
    tree: Any = []
    for _ in range(depth):
        tree = [tree]
    return tree


@pytest.mark.parametrize(
    ("wire", "words"),
    [
        (None, "not a map"),
        ([], "not a map"),
        ({}, "not a map"),
        ({"version": 1, "nodes": [["leaf", "<f4", []]], "more": 1}, "not a map"),
        ({"version": 2, "nodes": [["leaf", "<f4", []]]}, "version is 2"),
        ({"version": True, "nodes": [["leaf", "<f4", []]]}, "version is True"),
        ({"version": 1, "nodes": "leaf"}, "not a list"),
        (wire_of(), "not a list of 1"),
        (wire_of(*[["leaf", "<f4", []]] * 65537), "not a list of 1 to 65536"),
        (wire_of(["leaf", "<f4", []], ["none"]), "node 1 has no parent"),
        (wire_of(["list", 2], ["none"]), "ends before the last node"),
        (wire_of(["list", 1], ["list", 2], ["none"]), "ends before the last node"),
        (wire_of(["list", 65535]), "ends before the last node"),
        (wire_of(["list", 65536]), "node 0"),
        (wire_of(["list", -1]), "node 0"),
        (wire_of(["list", True], ["none"]), "node 0"),
        (wire_of(["list", 1.0], ["none"]), "node 0"),
        (wire_of(["set", 1], ["none"]), "node 0"),
        (wire_of([["list"], 1]), "node 0"),
        (wire_of([]), "node 0"),
        (wire_of("none"), "node 0"),
        (wire_of(["none", 0]), "node 0"),
        (wire_of(["leaf", "<f4"]), "node 0"),
        (wire_of(["leaf", 4, [2]]), "node 0"),
        (wire_of(["leaf", "<f4", [-2]]), "node 0"),
        (wire_of(["leaf", "<f4", [2.0]]), "node 0"),
        (wire_of(["leaf", "<f4", [2**63]]), "node 0"),
        (wire_of(["leaf", "<f4", [1] * 65]), "node 0"),
        (wire_of(["dict", ["b", "a"]], ["none"], ["none"]), "node 0"),
        (wire_of(["dict", ["a", "a"]], ["none"], ["none"]), "node 0"),
        (wire_of(["dict", [["bytes"]]], ["none"]), "node 0"),
        (wire_of(["dict", [None]], ["none"]), "node 0"),
        (wire_of(["dict", {"a": 1}], ["none"]), "node 0"),
        (wire_of(["namedtuple", "P", "xy"], ["none"], ["none"]), "node 0"),
        (wire_of(["namedtuple", 3, []]), "node 0"),
        (wire_of(["custom", "B", "None", [1]], ["none"]), "node 0"),
        (wire_of(["custom", "B", b"x", []]), "node 0"),
        (wire_of(*[["list", 1]] * 66, ["none"]), "nested deeper than 64"),
        (wire_of(nested_lists(5000)), "node 0"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_malformed_wire_form_is_a_protocol_error(wire: Any, words: str) -> None:
    with pytest.raises(ProtocolError, match="description of its example is malformed") as caught:
        TreeSpec.from_example([array(1)]).require_equal(wire)
    assert words in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_dtype_text_from_a_peer_is_only_shown() -> None:
    for text in ("O", "not a dtype", "<f3", "|V999999999", "f4,f4", "<M8[zz]", ""):
        with pytest.raises(SpecMismatchError, match=r"expected float32 \(\), got"):
            TreeSpec.from_example(F4(0)).require_equal(wire_of(["leaf", text, []]), whose="client")
