"""Items as rows: what an item may be, the spec that the first one fixes, and errors by index."""

from __future__ import annotations

import enum
import pickle
import sys
from collections import OrderedDict, UserDict, deque, namedtuple
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from shm_echo.errors import SpecMismatchError
from shm_echo.loader.item_hooks import ItemHooks
from shm_echo.loader.items import ItemSpec, item_arrays
from shm_echo.spec import TreeSpec

Point = namedtuple("Point", "x y")


class Rows:
    """Rows over private arrays, with the checks of a run of the ring."""

    def __init__(self, spec: TreeSpec, count: int = 4) -> None:
        self.spec = spec
        self.arrays = [np.zeros((count, *leaf.shape), leaf.dtype) for leaf in spec.leaves]
        self.attempts = 0

    def write(self, row: int, tree: Any, /) -> None:
        self.attempts += 1
        for array, value in zip(self.arrays, self.spec.check(tree), strict=True):
            array[row] = value


class Tensor:
    """As much of `torch.Tensor` as the loader uses."""

    def __init__(self, array: Any, device: str = "cpu", error: Exception | None = None) -> None:
        self.array, self.error = np.asarray(array), error
        self.device = SimpleNamespace(type=device)
        self.dtype, self.layout = self.array.dtype, "strided"
        self.requires_grad = True

    def detach(self) -> Tensor:
        tensor = Tensor(self.array, self.device.type, self.error)
        tensor.requires_grad = False
        return tensor

    def resolve_conj(self) -> Tensor:
        return self

    resolve_neg = resolve_conj

    def numpy(self) -> np.ndarray:
        assert not self.requires_grad
        if self.error is not None:
            raise self.error
        return self.array


@pytest.fixture
def _torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(Tensor=Tensor))  # type: ignore[arg-type]


def leaves(item: Any) -> list[str]:
    return [f"{leaf.path}: {leaf}" for leaf in ItemSpec.from_item(item, 0).tree.leaves]


def written(first: Any, *items: Any) -> Any:
    """Return the batch that the items make, with the spec of the first."""
    spec = ItemSpec.from_item(first, 0)
    rows = Rows(spec.tree, 1 + len(items))
    for row, item in enumerate((first, *items)):
        spec.write(rows, row, item, index=row)
    return spec.tree.unflatten(rows.arrays)


# ---------------------------------------------------------------- leaves


class Color(enum.IntEnum):
    RED = 3


@pytest.mark.parametrize(
    ("item", "leaf"),
    [
        (np.zeros((2, 3), np.float32), "float32 (2, 3)"),
        (np.float16(1), "float16 ()"),
        (np.array(5), "int64 ()"),
        (np.datetime64("2020-01-01"), "datetime64[D] ()"),
        (np.array(["ab"]), "<U2 (1,)"),
        (True, "bool ()"),
        (3, "int64 ()"),
        (2.5, "float64 ()"),
        (1j, "complex128 ()"),
        (Color.RED, "int64 ()"),
        (Image.new("RGB", (4, 3)), "uint8 (3, 4, 3)"),
        (Image.new("RGBA", (4, 3)), "uint8 (3, 4, 4)"),
        (Image.new("L", (4, 3)), "uint8 (3, 4)"),
        (Image.new("1", (4, 3)), "bool (3, 4)"),
        (Image.new("F", (4, 3)), "float32 (3, 4)"),
        (Image.new("I", (4, 3)), "int32 (3, 4)"),
        (Tensor(np.zeros((2, 2), np.int16)), "int16 (2, 2)"),
        (Tensor(1.5), "float64 ()"),
    ],
    ids=repr,
)
@pytest.mark.usefixtures("_torch")
def test_an_item_or_a_leaf_of_it_may_be(item: Any, leaf: str) -> None:
    assert leaves(item) == [f": {leaf}"]
    assert leaves({"a": [item], "b": (item,)}) == [f"['a'][0]: {leaf}", f"['b'][0]: {leaf}"]
    batch = written(item, item)
    assert (batch[0] == batch[1]).all()


class LazyRow(Mapping[str, Any]):
    """A mapping that is no dict, as rows of tables are."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.values_ = values

    def __getitem__(self, key: str) -> Any:
        return self.values_[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.values_)

    def __len__(self) -> int:
        return len(self.values_)


class Pair(tuple):  # type: ignore[type-arg]
    pass


class Shape(list):  # type: ignore[type-arg]
    pass


@pytest.mark.parametrize(
    ("item", "batch"),
    [
        ((1, 2.0), ([1, 1], [2.0, 2.0])),
        ([1, [2]], [[1, 1], [[2, 2]]]),
        ({"b": 1, "a": 2}, {"a": [2, 2], "b": [1, 1]}),
        (Point(1, 2), Point([1, 1], [2, 2])),
        (deque([1]), deque([[1, 1]])),
        ((1, None), ([1, 1], None)),
        ({"a": 1, "b": None}, {"a": [1, 1], "b": None}),
        (UserDict(a=1), {"a": [1, 1]}),
        (LazyRow({"a": (1,)}), {"a": ([1, 1],)}),
        (Pair((1, 2)), ([1, 1], [2, 2])),
        (Shape([1, 2]), [[1, 1], [2, 2]]),
        (OrderedDict(b=1, a=Image.new("L", (1, 1))), {"a": [[[0]], [[0]]], "b": [1, 1]}),
        (Point(Image.new("L", (1, 1), 9), 2), Point([[[9]], [[9]]], [2, 2])),
        (deque([Image.new("L", (1, 1), 9)]), deque([[[[9]], [[9]]]])),
    ],
    ids=repr,
)
def test_a_batch_has_the_containers_of_an_item(item: Any, batch: Any) -> None:
    made = written(item, item)

    def listed(tree: Any) -> Any:
        if isinstance(tree, np.ndarray):
            return tree.tolist()
        if isinstance(tree, Mapping):
            return {key: listed(value) for key, value in tree.items()}
        if tree is None:
            return None
        children = [listed(child) for child in tree]
        return type(tree)._make(children) if hasattr(tree, "_make") else type(tree)(children)

    assert listed(made) == batch
    assert type(made) in (type(batch), OrderedDict)


@pytest.mark.usefixtures("_torch")
def test_tensors_and_arrays_alias_their_memory() -> None:
    array = np.zeros(3)
    converted, changed = item_arrays({"x": Tensor(array), "y": array})
    assert changed
    assert converted["x"] is array
    assert converted["y"] is array
    item = (array, 1, {"a": np.float32(1), "b": None})
    assert item_arrays(item) == (item, False)
    assert item_arrays(item)[0] is item


def test_rows_of_a_memmap_become_plain_arrays_without_a_copy(tmp_path: Path) -> None:
    dataset = np.memmap(tmp_path / "data", np.float32, "w+", shape=(3, 4))
    dataset[:] = np.arange(12).reshape(3, 4)
    converted, changed = item_arrays(dataset[1])
    assert changed
    assert type(converted) is np.ndarray
    assert np.shares_memory(converted, dataset)
    assert written(dataset[0], dataset[1], dataset[2]).tolist() == dataset.tolist()


# ---------------------------------------------------------------- what an item can't be


class Anything:
    pass


@pytest.mark.parametrize(
    ("leaf", "text"),
    [
        ("text", "str does not fit into an array (got 'text')"),
        (b"raw", "bytes does not fit into an array"),
        (np.str_("text"), "str does not fit"),
        (Anything(), "no batch can be made of a "),
        ({1, 2}, "no batch can be made of a builtins.set"),
        (np.array([None]), "holds Python objects"),
        (np.ma.masked_array([1.0], [True]), "masked array"),
        (Image.new("P", (2, 2)), "image.convert('RGB')"),
        (Tensor(0, device="cuda"), "move it to the CPU"),
        (Tensor(0, error=TypeError("Got unsupported ScalarType BFloat16")), "bfloat16"),
    ],
    ids=repr,
)
@pytest.mark.usefixtures("_torch")
def test_a_leaf_that_no_batch_can_be_made_of_is_named(leaf: Any, text: str) -> None:
    for item, path in ((leaf, ""), ({"a": (1, leaf)}, r"['a'][1]")):
        with pytest.raises(TypeError) as caught:
            ItemSpec.from_item(item, 41)
        assert str(caught.value).startswith("item 41 of the dataset: " + path)
        assert text in str(caught.value)
        with pytest.raises(TypeError, match=r"^the example: "):
            ItemSpec.from_item(item)


def test_an_item_needs_an_array_somewhere() -> None:
    for item in (None, {}, [], (None,)):
        with pytest.raises(ValueError, match="item 3 of the dataset: .*no array leaves"):
            ItemSpec.from_item(item, 3)


def test_a_cycle_is_an_error() -> None:
    item: list[Any] = [1]
    item.append(item)
    with pytest.raises(ValueError, match="cyclic or nested deeper than 64"):
        ItemSpec.from_item(item, 0)


# ---------------------------------------------------------------- items that differ

FIRST = {"x": np.zeros(3, np.float32), "y": 1, "z": None}


@pytest.mark.parametrize(
    ("change", "path", "text"),
    [
        ({"x": np.zeros(4, np.float32)}, "['x']", "expected float32 (3,), got float32 (4,)"),
        ({"x": np.zeros(3)}, "['x']", "got float64 (3,)"),
        ({"x": None}, "['x']", "got None"),
        ({"z": 1}, "['z']", "expected None"),
        ({"y": 1.5}, "['y']", "got a Python float"),
        ({"y": "a"}, "['y']", "str does not fit"),
        ({"y": [1]}, "['y']", "got a list of 1"),
        ({"w": 1}, "['w']", "not in the example"),
        ({"x": Tensor(np.zeros(5, np.float32))}, "['x']", "got float32 (5,)"),
    ],
    ids=str,
)
@pytest.mark.usefixtures("_torch")
def test_an_item_that_differs_is_named_by_index_and_path(
    change: dict[str, Any], path: str, text: str
) -> None:
    for first in (FIRST, UserDict(FIRST)):
        spec = ItemSpec.from_item(first, 0)
        with pytest.raises(SpecMismatchError) as caught:
            spec.write(Rows(spec.tree), 0, {**FIRST, **change}, index=17)
        assert caught.value.path == path
        assert "item 17 of the dataset" in str(caught.value)
        assert path in str(caught.value)
        assert text in str(caught.value)


def test_the_error_of_a_shape_says_what_to_do() -> None:
    spec = ItemSpec.from_item(Image.new("L", (4, 4)), 0)
    with pytest.raises(SpecMismatchError, match=r"first one: expected uint8 .*\(5, 4\); .*resize"):
        spec.write(Rows(spec.tree), 0, Image.new("L", (4, 5)), 2)


def test_a_missing_key_is_named() -> None:
    spec = ItemSpec.from_item({"a": 1, "b": 2}, 0)
    with pytest.raises(SpecMismatchError, match=r"item 2 .*\['b'\].*missing"):
        spec.write(Rows(spec.tree), 0, {"a": 1}, 2)


@pytest.mark.usefixtures("_torch")
def test_later_items_may_be_of_other_types_with_the_same_arrays() -> None:
    array = np.arange(3, dtype=np.float32)
    batch = written((array, 1), (Tensor(array), 2), (array, np.int16(3)), Pair((array, True)))
    assert batch[0].tolist() == [[0, 1, 2]] * 4
    assert batch[1].tolist() == [1, 2, 3, 1]


def test_plain_items_are_written_as_they_are() -> None:
    spec = ItemSpec.from_item((np.zeros(2), 1), 0)
    rows = Rows(spec.tree)
    spec.write(rows, 1, (np.ones(2), 5), 0)
    assert rows.attempts == 1
    converting = ItemSpec.from_item(UserDict(a=1), 0)
    rows = Rows(converting.tree)
    converting.write(rows, 1, UserDict(a=2), 0)
    assert rows.attempts == 1  # no failing attempt before it


def test_an_error_of_the_rows_themselves_comes_out_as_it_is() -> None:
    class Gone(Rows):
        def write(self, row: int, tree: Any, /) -> None:
            raise ConnectionError("the ring is closed")

    spec = ItemSpec.from_item(1, 0)
    with pytest.raises(ConnectionError, match="the ring is closed"):
        spec.write(Gone(spec.tree), 0, 1, 0)


# ---------------------------------------------------------------- the spec as an object


@pytest.mark.parametrize("item", [(np.zeros(2), 1), UserDict(a=Image.new("L", (2, 2)))])
def test_a_spec_can_be_pickled(item: Any) -> None:
    spec = ItemSpec.from_item(item, 0)
    other = pickle.loads(pickle.dumps(spec))
    assert other.tree.digest() == spec.tree.digest()
    assert other.nbytes == spec.nbytes == spec.tree.nbytes
    rows = Rows(other.tree)
    other.write(rows, 0, item, 0)
    assert rows.attempts == 1


def test_a_spec_says_what_it_is() -> None:
    assert repr(ItemSpec.from_item((np.zeros(2, np.float32), 1))) == (
        "<ItemSpec [0]: float32 (2,), [1]: int64 ()>"
    )
    assert "(9 leaves)" in repr(ItemSpec.from_item([1] * 9))


def test_hooks_keep_the_spec_and_carry_it_to_a_worker() -> None:
    hooks = ItemHooks(seed=0)
    spec = hooks.spec_of((np.zeros(2), 1), 0)
    worker = pickle.loads(pickle.dumps(hooks))
    rows = Rows(spec.tree)
    worker.write(rows, 2, (np.ones(2), 7), 5)
    assert rows.arrays[1].tolist() == [0, 0, 7, 0]
