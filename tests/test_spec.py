"""TreeSpec: what examples are taken, what trees fit them, and what the refusals say."""

from __future__ import annotations

import enum
import time
from collections import OrderedDict, UserDict, defaultdict, deque, namedtuple
from collections.abc import Iterator
from types import MappingProxyType
from typing import Any, NamedTuple

import msgpack
import numpy as np
import optree
import pytest

from shm_echo.errors import ProtocolError, SpecMismatchError
from shm_echo.spec import TreeSpec
from shm_echo.spec.leaf import dtype_text

F4 = np.float32


class Point(NamedTuple):
    x: Any
    y: Any


# Another class of the same name and fields, as a spawned process has it.
OtherPoint = namedtuple("Point", ["x", "y"])  # type: ignore[misc]
Pair = namedtuple("Pair", ["x", "y"])


class Box:
    """A custom node, registered by the fixture of the same name."""

    def __init__(self, low: Any, high: Any, tag: Any = "closed") -> None:
        self.low, self.high, self.tag = low, high, tag


@pytest.fixture
def box() -> Iterator[type[Box]]:
    everywhere = getattr(optree.registry, "__GLOBAL_NAMESPACE")
    optree.register_pytree_node(
        Box,
        lambda node: ((node.low, node.high), node.tag, ("low", "high")),
        lambda tag, children: Box(*children, tag),
        namespace=everywhere,
    )
    yield Box
    optree.unregister_pytree_node(Box, namespace=everywhere)


def array(*shape: int, dtype: Any = F4) -> np.ndarray[Any, Any]:
    return np.zeros(shape, dtype)


def refusal(tree: Any, example: Any, **options: Any) -> SpecMismatchError:
    with pytest.raises(SpecMismatchError) as caught:
        TreeSpec.from_example(example).check(tree, **options)
    return caught.value


# ---------------------------------------------------------------- examples


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


def test_keys_without_a_stable_text_are_refused() -> None:
    with pytest.raises(TypeError, match=r"^\['a'\]: a key of type object has no text"):
        TreeSpec.from_example({"a": {object(): array(1)}})


def test_keys_that_read_alike_are_refused() -> None:
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


# ---------------------------------------------------------------- structure


class Frozen(UserDict[str, Any]):
    """A mapping that is no dict."""


def test_mappings_fit_by_their_key_set_alone() -> None:
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


def test_keys_of_mixed_types_have_one_order_whatever_the_insertion() -> None:
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


def test_namedtuples_fit_by_name_and_fields_whatever_their_class() -> None:
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
def test_another_structure_is_refused_with_the_path_and_what_was_found(
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


# ---------------------------------------------------------------- leaves


@pytest.mark.parametrize(
    ("example", "value", "words"),
    [
        (array(4), array(4, dtype="f8"), "expected float32 (4,), got float64 (4,)"),
        (array(4), array(4, dtype=">f4"), "expected float32 (4,), got >f4 (4,)"),
        (array(4), array(5), "expected float32 (4,), got float32 (5,)"),
        (array(4), array(1, 4), "expected float32 (4,), got float32 (1, 4)"),
        (array(4), 1.0, "expected float32 (4,), got a Python float"),
        (array(4), F4(1), "expected float32 (4,), got float32 ()"),
        (array(1), 1.0, "expected float32 (1,), got a Python float"),
        (array(), np.float64(1), "expected float32 (), got float64 ()"),
        (array(), "1", "expected float32 (), got a Python str"),
        (array(), array(1), "expected float32 (), got float32 (1,)"),
        (array(), np.ma.zeros((), F4), "got a masked array: its mask would be lost"),
        (
            array(dtype="M8[s]"),
            np.datetime64(1, "ms"),
            "expected datetime64[s] (), got datetime64[ms]",
        ),
        (array(dtype="U3"), np.str_("ab"), "expected <U3 (), got <U2 ()"),
        (array(dtype=[("a", "f4")]), np.zeros((), [("b", "f4")]), "expected [('a', '<f4')] ()"),
    ],
)
def test_a_wrong_leaf_is_refused_with_expected_and_given(
    example: Any, value: Any, words: str
) -> None:
    error = refusal({"obs": {"pos": value}}, {"obs": {"pos": example}})
    assert error.path == "['obs']['pos']"
    assert words in str(error)


def test_arrays_of_other_libraries_are_refused_with_advice() -> None:
    class Tensor:
        def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
            return array(4)

    error = refusal([Tensor()], [array(4)])
    assert "Tensor (convert it with np.asarray)" in str(error)


def test_strided_and_fortran_ordered_arrays_come_back_as_they_are() -> None:
    spec = TreeSpec.from_example([array(3, 2), array(2)])
    fortran, strided = np.asfortranarray(np.ones((3, 2), F4)), np.ones(4, F4)[::2]
    out = spec.check([fortran, strided])
    assert out[0] is fortran
    assert out[1] is strided


def test_ndarray_subclasses_come_back_as_plain_arrays_over_the_same_memory() -> None:
    records = np.rec.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f4")])
    matrix = np.ones((2, 2), F4).view(type("Named", (np.ndarray,), {}))
    spec = TreeSpec.from_example([np.zeros(1, records.dtype.descr), array(2, 2)])
    out = spec.check([records, matrix])
    for given, got in zip([records, matrix], out, strict=True):
        assert type(got) is np.ndarray
        assert np.shares_memory(given, got)


def test_numpy_scalars_become_arrays_of_the_leafs_dtype() -> None:
    rational = pytest.importorskip("numpy._core._rational_tests").rational
    record = np.zeros(1, [("a", ">i2")])
    record["a"] = 7
    for example, value in (
        (F4(0), F4(3)),
        (np.zeros((), ">f4"), F4(3)),  # no scalar is big-endian
        (np.zeros((), "M8[s]"), np.datetime64(3, "s")),
        (np.zeros((), "U2"), np.str_("ab")),
        (np.zeros((), rational), np.zeros(1, rational)[0]),
        (record[0], record[0]),
    ):
        (got,) = TreeSpec.from_example([example]).check([value])
        assert type(got) is np.ndarray
        assert (got.shape, got.dtype) == ((), example.dtype)
        assert got[()] == value


NUMBERS: list[Any] = [
    *(True, False, 0, 1, -1, 127, 128, -128, -129, 255, 256, 32767, 32768, 65504, 65520, 70000),
    *(2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64),
    *(2**127, 2**128, 10**308, 10**309, -(10**400)),
    *(0.0, -0.0, 0.5, 1.0, 1e-50, 65504.0, 65519.9, 65520.0, 3.4028235e38, 3.41e38, -1e300),
    *(float("inf"), float("-inf"), float("nan")),
    *(1j, 1e300 + 1j, complex(1, -1e300), complex("inf"), complex(0, float("nan"))),
]


def cast_by_numpy(dtype: np.dtype[Any], number: Any) -> Any:
    """What NumPy makes of a Python number next to an array of a dtype, or None if it refuses."""
    if np.result_type(dtype, number) != dtype:
        return None
    try:
        with np.errstate(over="raise"):
            return np.full(1, False, dtype) + number
    except (OverflowError, FloatingPointError):
        return None


@pytest.mark.parametrize("number", NUMBERS, ids=lambda n: f"{n!r:.24}")
def test_python_numbers_cast_exactly_where_numpy_promotion_keeps_the_dtype(number: Any) -> None:
    for code in "?bBhHiIlLqQefdgFDG":
        for order in "<>":
            dtype = np.dtype(code).newbyteorder(order)
            spec = TreeSpec.from_example([np.zeros((), dtype)])
            wanted = cast_by_numpy(np.dtype(code), number)
            if wanted is None:
                with pytest.raises(
                    SpecMismatchError, match=r"^\[0\]: expected .* got .*(Python|an int of)"
                ):
                    spec.check([number])
            else:
                (got,) = spec.check([number])
                assert (got.shape, got.dtype) == ((), dtype)
                np.testing.assert_array_equal(got, wanted[0])
                assert wanted.dtype == np.dtype(code)


@pytest.mark.parametrize("code", ["M8[s]", "m8[s]", "U3", "S3", "V4"])
def test_python_numbers_do_not_become_dates_or_strings(code: str) -> None:
    for number in (True, 1, 1.0, 1j):
        assert "does not cast to it safely" in str(refusal([number], [np.zeros((), code)]))


def test_an_int_subclass_casts_as_an_int() -> None:
    class Action(enum.IntEnum):
        LEFT = 3

    (got,) = TreeSpec.from_example([np.int64(0)]).check([Action.LEFT])
    assert got[()] == 3
    assert "not between -128 and 127" in str(refusal([200], [np.int8(0)]))


# ---------------------------------------------------------------- stacks


def test_a_stack_has_the_same_leading_axis_on_every_leaf() -> None:
    spec = TreeSpec.from_example({"a": array(2), "r": array()})
    for n in (0, 1, 5):
        tree = {"a": array(n, 2), "r": array(n)}
        count, leaves = spec.check_stacked(tree)
        assert count == n
        assert leaves[0] is tree["a"]
        assert spec.check(tree, stacked=n)[1] is tree["r"]
    with pytest.raises(SpecMismatchError) as caught:
        spec.check_stacked({"a": array(5, 2), "r": array(3)})
    assert caught.value.path == "['r']"
    assert "expected 5 samples along the leading axis, as ['a'] has, got 3" in str(caught.value)
    with pytest.raises(
        SpecMismatchError, match=r"\['a'\]: expected float32 \(4, 2\), got .*\(5, 2\)"
    ):
        spec.check({"a": array(5, 2), "r": array(5)}, stacked=4)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (array(2), "expected float32 (N, 2), got float32 (2,)"),
        (array(5, 3), "expected float32 (N, 2), got float32 (5, 3)"),
        (array(5, 2, dtype="f8"), "got float64 (5, 2)"),
        (1.0, "got a Python float"),
        (F4(1), "got float32 ()"),
        ([array(2)], "got a list of 1"),
        (np.ma.zeros((5, 2), F4), "masked"),
    ],
)
def test_a_leaf_that_is_not_a_stack_is_refused(value: Any, words: str) -> None:
    assert words in str(refusal({"a": value}, {"a": array(2)}, stacked=5))


def test_a_stack_of_scalars_takes_no_python_number() -> None:
    assert "expected float32 (N,), got a Python float" in str(refusal([1.0], [array()], stacked=1))


# ---------------------------------------------------------------- the wire form


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
def test_examples_that_differ_are_told_apart_with_path_and_both_sides(
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


def test_a_dtype_text_from_a_peer_is_only_ever_shown() -> None:
    for text in ("O", "not a dtype", "<f3", "|V999999999", "f4,f4", "<M8[zz]", ""):
        with pytest.raises(SpecMismatchError, match=r"expected float32 \(\), got"):
            TreeSpec.from_example(F4(0)).require_equal(wire_of(["leaf", text, []]), whose="client")
