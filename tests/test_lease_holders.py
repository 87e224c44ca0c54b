"""Objects that hold a leased batch: all those through which its memory can still be read."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from shm_echo import Server

RECORD = np.dtype([("id", np.int32), ("pos", np.float32, (2,))])
EXAMPLE: dict[str, Any] = {
    "x": np.zeros((4, 3), np.float32),
    "record": np.zeros(2, RECORD),
    "empty": np.zeros((0, 5), np.float32),
    "when": np.datetime64(0, "s"),
}
Tree = dict[str, Any]


def sample(i: int) -> Tree:
    record = np.zeros(2, RECORD)
    record["id"], record["pos"] = i, i
    return {
        "x": np.full((4, 3), i, np.float32),
        "record": record,
        "empty": EXAMPLE["empty"],
        "when": np.datetime64(i, "s"),
    }


def take(server: Server) -> Tree:
    taken = server.sample(timeout=60)
    assert taken is not None
    return dict(taken.batch)


def a_batch(server: Server, number: int = 0) -> Tree:
    for _ in range(server.batch_size):
        server.submit(sample(number), timeout=0)
    return take(server)


def free_buffers(server: Server) -> int:
    """Return the number of buffers that the ring uses now, by filling it three times."""

    def where(number: int) -> int:
        x = a_batch(server, number)["x"]
        assert (x == number).all()
        return int(x.__array_interface__["data"][0])

    return len({where(i) for i in range(3 * server.num_buffers)})


def exported(array: Any) -> Any:
    """Through DLPack, as PyTorch, JAX and others take it."""
    return np.from_dlpack(array)


def capsule(array: Any) -> Any:
    """Return a DLPack capsule that no consumer has taken yet."""
    return array.__dlpack__()


class Interface:
    """An object with NumPy's array interface."""

    def __init__(self, array: Any) -> None:
        self._array = array
        self.__array_interface__ = array.__array_interface__


def traceback_of(batch: Tree) -> Any:
    try:
        raise ValueError(batch["x"].sum())
    except ValueError as error:
        return error  # its frame has the batch among its variables


def generator_over(batch: Tree) -> Any:
    rows = (row for row in batch["x"])
    next(rows)
    return rows


HOLDERS: dict[str, Callable[[Tree], Any]] = {
    "the batch": lambda b: b,
    "one leaf": lambda b: b["x"],
    "a row": lambda b: b["x"][1],
    "a slice": lambda b: b["x"][:1, ::2],
    "an empty slice": lambda b: b["x"][:0],
    "a transpose": lambda b: b["x"].T,
    "a reshape": lambda b: b["x"].reshape(-1),
    "a view as bytes": lambda b: b["x"].view(np.uint8),
    "a slice of a transpose of a reshape": lambda b: b["x"].reshape(2, -1).T[1:],
    "one more axis": lambda b: b["x"][None],
    "a broadcast": lambda b: np.broadcast_to(b["when"], (7, 2)),
    "a flat iterator": lambda b: b["x"].flat,
    "an nditer": lambda b: np.nditer(b["x"]),
    "a memoryview": lambda b: memoryview(b["x"]),
    "a slice of a memoryview": lambda b: memoryview(b["x"])[1:],
    "an array over a memoryview": lambda b: np.asarray(memoryview(b["x"])),
    "an array over bytes": lambda b: np.frombuffer(memoryview(b["x"]), np.uint8),
    "another owner by DLPack": lambda b: exported(b["x"]),
    "a slice of that": lambda b: exported(b["x"])[1:],
    "a DLPack capsule": lambda b: capsule(b["x"]),
    "a structured leaf": lambda b: b["record"],
    "a field": lambda b: b["record"]["pos"],
    "one record": lambda b: b["record"][1][0],
    "a leaf without bytes": lambda b: b["empty"],
    "a datetime leaf": lambda b: b["when"],
    "a ctypes pointer": lambda b: b["x"].ctypes,
    "an object with an array interface": lambda b: np.asarray(Interface(b["x"])),
    "a list of rows": lambda b: list(b["x"]),
    "a masked array": lambda b: np.ma.masked_array(b["x"], copy=False),
    "a traceback": traceback_of,
    "a generator": generator_over,
    "a closure": lambda b: lambda: b["x"],
}


@pytest.mark.parametrize("hold", HOLDERS.values(), ids=HOLDERS)
def test_a_batch_is_kept_as_long_as_its_memory_can_be_seen(hold: Callable[[Tree], Any]) -> None:
    # Writable, because older versions of NumPy export nothing else through DLPack.
    with Server(EXAMPLE, 2, num_buffers=3, lease=True, writable=True) as server:
        holder = hold(a_batch(server))
        assert free_buffers(server) == 2
        del holder
        assert free_buffers(server) == 3


COPIES: dict[str, Callable[[Tree], Any]] = {
    "a copy": lambda b: {key: leaf.copy() for key, leaf in b.items()},
    "a reduction": lambda b: b["x"].sum(axis=0),
    "an element": lambda b: (b["x"][0, 0, 0], b["when"][1], b["record"][0]["pos"].tolist()),
    "fancy indexing": lambda b: b["x"][[0, 1]],
    "bytes": lambda b: b["x"].tobytes(),
    "the info": lambda b: None,
}


@pytest.mark.parametrize("hold", COPIES.values(), ids=COPIES)
def test_a_batch_is_not_held_by_copies_of_it(hold: Callable[[Tree], Any]) -> None:
    with Server(EXAMPLE, 2, num_buffers=3, lease=True) as server:
        copied = hold(a_batch(server))
        assert free_buffers(server) == 3
        del copied


@pytest.mark.skipif(
    tuple(map(int, np.__version__.split(".")[:2])) < (2, 1),
    reason="this NumPy exports no read-only arrays through DLPack",
)
def test_a_read_only_batch_can_be_exported_by_dlpack_and_stays_read_only() -> None:
    with Server(EXAMPLE, 2, lease=True) as server:
        seen = exported(a_batch(server, 7)["x"])
        assert not seen.flags.writeable
        with pytest.raises(ValueError, match="WRITEABLE"):
            seen.flags.writeable = True
        assert free_buffers(server) == 2
        assert seen[:, 0, 0].tolist() == [7, 7]


def test_a_reference_cycle_keeps_a_batch_until_it_is_collected() -> None:
    with Server(EXAMPLE, 2, num_buffers=3, lease=True) as server:
        gc.collect()
        gc.disable()
        try:
            cycle: list[Any] = [a_batch(server)]
            cycle.append(cycle)
            del cycle
            assert free_buffers(server) == 2
        finally:
            gc.enable()
        gc.collect()
        assert free_buffers(server) == 3


def test_an_exception_that_passes_by_keeps_a_batch_until_it_is_forgotten() -> None:
    with Server(EXAMPLE, 2, num_buffers=3, lease=True) as server:

        def train() -> None:
            batch = a_batch(server)
            raise ArithmeticError(f"loss is {batch['x'][0, 0, 0]}")

        try:
            train()
        except ArithmeticError:
            assert free_buffers(server) == 2
        assert free_buffers(server) == 3


def test_arrays_may_outlive_each_other_in_any_order() -> None:
    with Server(EXAMPLE, 2, num_buffers=3, lease=True) as server:
        batch = a_batch(server)
        kept = [batch["x"], batch["x"].T, memoryview(batch["x"]), batch["record"]["id"]]
        del batch
        while kept:
            assert free_buffers(server) == 2
            kept.pop(len(kept) // 2)
        assert free_buffers(server) == 3
