"""Parcels: a batch in one piece of memory, and back."""

from __future__ import annotations

import collections
import threading
from typing import Any

import numpy as np
import pytest

from shm_echo.loader.parcels import pack, unpack
from tests.support.parcel_datasets import as_plain

BATCHES: list[Any] = [
    None,
    "text",
    [],
    {"a": [1, "b", None], "c": (b"d", {1, 2})},
    collections.OrderedDict(x=np.arange(5)),
    np.zeros((0, 3)),
    np.array(1.5),
    np.arange(1000, dtype=">i4"),
    np.array([("a", 1)] * 40, dtype=[("name", "U4"), ("n", "i8")]),
    np.array(["x", None], dtype=object),
    np.asfortranarray(np.arange(600.0).reshape(20, 30)),
    np.arange(6000.0).reshape(20, 300)[::2, ::3],
    [np.ones(100), np.ones(100), "x" * 10_000],
]


@pytest.mark.parametrize("batch", BATCHES, ids=lambda batch: type(batch).__name__)
def test_a_batch_comes_back(batch: Any) -> None:
    parcel = pack(batch, 7)
    memory = np.full(parcel.nbytes + 100, 255, np.uint8)
    parcel.write(memory)
    found, items = unpack(memory)
    assert (as_plain(found), items) == (as_plain(batch), 7)
    assert as_plain(unpack(parcel.to_bytes())[0]) == as_plain(batch)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("step", [1, 3])
def test_arrays_refer_to_the_memory_and_can_be_written(order: Any, step: int) -> None:
    array = np.array(np.arange(3000.0).reshape(30, 100), order=order)[::step]
    parcel = pack({"x": array, "y": array[:, :50]}, 1)
    memory = np.zeros(parcel.nbytes, np.uint8)
    parcel.write(memory)
    found, _ = unpack(memory)
    for leaf in found.values():
        assert np.shares_memory(leaf, memory)
        assert leaf.flags.writeable
        assert leaf.ctypes.data % 16 == 0
    found["x"][:] = 7
    assert (unpack(memory)[0]["x"] == 7).all()
    assert array.max() > 7  # the items are not touched


def test_an_array_of_a_file_comes_back_as_an_array(tmp_path: Any) -> None:
    file = np.memmap(tmp_path / "data", np.float32, "w+", shape=(100, 10))
    found, _ = unpack(pack(file[3:90], 1).to_bytes())
    assert type(found) is np.ndarray
    assert found.shape == (87, 10)


def test_the_reducer_s_arrays_travel_beside_the_pickle() -> None:
    class Special:
        def __init__(self, array: Any) -> None:
            self.array = array

    def reducer(obj: Any) -> Any:
        return (rebuilt, (obj.array,)) if isinstance(obj, Special) else NotImplemented

    parcel = pack([Special(np.arange(1000)), "x"], 1, reducer)
    memory = np.zeros(parcel.nbytes, np.uint8)
    parcel.write(memory)
    (name, array), _ = unpack(memory)[0]
    assert name == "rebuilt"
    assert np.shares_memory(array, memory)


def rebuilt(array: Any) -> Any:
    return "rebuilt", array


def test_what_can_not_be_pickled_is_an_error() -> None:
    with pytest.raises(TypeError, match="pickle"):
        pack([threading.Lock()], 1)
