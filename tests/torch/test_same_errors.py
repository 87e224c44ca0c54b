"""Errors and arguments: each case runs with torch's loader and with ours."""

from __future__ import annotations

import gc
import re
import subprocess
import sys
import warnings
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.utils import data as torch_data

from tests.support import torch_datasets as datasets
from tests.support.waiting import wait_until

pytestmark = [
    # torch warns where a machine has fewer CPUs than a case has workers.
    pytest.mark.filterwarnings("ignore:This DataLoader will create"),
    # Python 3.12: torch forks beside the threads of other tests.
    pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning"),
]


# ---------------------------------------------------------------- errors


def test_an_item_that_raises_costs_its_batch(loader_of: Any) -> None:
    loop = iter(loader_of(datasets.Failing(8, 2), batch_size=2, num_workers=2))
    assert next(loop)[1].tolist() == [0, 1]
    with pytest.raises(ValueError, match="no item 2"):
        next(loop)
    assert [batch[1].tolist() for batch in loop] == [[4, 5], [6, 7]]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_every_item_raises(loader_of: Any, num_workers: int) -> None:
    loop = iter(loader_of(datasets.Unwritten(), batch_size=2, num_workers=num_workers))
    errors = 0
    while True:
        try:
            next(loop)
        except NotImplementedError:
            errors += 1
        except StopIteration:
            break
    assert errors == 4


def test_a_collate_fn_that_raises(loader_of: Any) -> None:
    loop = iter(loader_of(range(4), batch_size=2, num_workers=1, collate_fn=_no_first))
    with pytest.raises(LookupError, match="not the first"):
        next(loop)
    assert next(loop) == [2, 3]


def _no_first(items: list[int]) -> list[int]:
    if 0 in items:
        raise LookupError("not the first")
    return items


@pytest.mark.parametrize("persistent", [False, True])
def test_a_time_limit(loader_of: Any, persistent: bool) -> None:
    loader = loader_of(
        datasets.Slow(4, 3.0), num_workers=1, timeout=1, persistent_workers=persistent
    )
    with pytest.raises(RuntimeError, match=r"DataLoader timed out after 1 seconds"):
        next(iter(loader))


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ("Crashing", r"DataLoader worker \(pid \d+\) is killed by signal: "),
        ("Exiting", r"DataLoader worker \(pid.*\d+\) exited unexpectedly"),
    ],
)
def test_workers_that_end(loader_of: Any, dataset: str, message: str) -> None:
    # In a process of its own: torch raises from a signal handler, wherever the program is then.
    done = subprocess.run(
        [sys.executable, "-c", _ENDING, loader_of.__module__, dataset],
        capture_output=True,
        text=True,
    )
    if loader_of.__module__.startswith("torch."):
        # Which of its ways notices the end first is a race there: the other sentence, or a broken
        # connection, may come, outside of the `try`, too.
        message = "DataLoader worker|ConnectionResetError"
    assert re.search(message, done.stdout + done.stderr)


_ENDING = """
import importlib, sys
from tests.support import torch_datasets
if __name__ == "__main__":
    loader = importlib.import_module(sys.argv[1]).DataLoader
    try:
        list(loader(getattr(torch_datasets, sys.argv[2])(8), num_workers=1))
    except RuntimeError as error:
        print(error)
"""


@pytest.mark.parametrize(
    "options",
    [
        {"num_workers": -1},
        {"timeout": -1},
        {"prefetch_factor": 2},
        {"num_workers": 1, "prefetch_factor": -1},
        {"persistent_workers": True},
        {"sampler": [0], "shuffle": True},
        {"batch_sampler": [[0]], "batch_size": 2},
        {"batch_sampler": [[0]], "drop_last": True},
        {"batch_size": None, "drop_last": True},
        {"num_workers": 1, "multiprocessing_context": "bad"},
        {"multiprocessing_context": "fork"},
    ],
    ids=str,
)
def test_arguments_that_are_refused(loader_of: Any, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="option|can only be used"):
        loader_of(range(4), **options)


def test_attributes_are_fixed(loader_of: Any) -> None:
    loader = loader_of(range(4))
    for name in ("batch_size", "sampler", "batch_sampler", "drop_last", "dataset"):
        with pytest.raises(ValueError, match=f"{name} attribute should not be set"):
            setattr(loader, name, None)
    loader.num_workers = 0


def test_iterators_cannot_be_pickled(loader_of: Any) -> None:
    with pytest.raises(NotImplementedError):
        iter(loader_of(range(3), num_workers=1)).__getstate__()


# ---------------------------------------------------------------- arguments


def test_all_arguments_by_position(loader_of: Any) -> None:
    loader = loader_of(
        datasets.Tensors(6), 2, False, None, None, 1, None, False, True, 30, None, "fork", None
    )
    assert [i.tolist() for _, i in loader] == [[0, 1], [2, 3], [4, 5]]
    assert (loader.batch_size, loader.num_workers, loader.timeout) == (2, 1, 30)
    assert (loader.drop_last, loader.prefetch_factor) == (True, 2)


def test_too_many_workers_warn(loader_of: Any) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loader_of(range(4), num_workers=500)
    assert any("excessive worker creation" in str(w.message) for w in caught)


@pytest.mark.skipif(torch.accelerator.is_available(), reason="it warns without a device only")
@pytest.mark.parametrize("num_workers", [0, 1])
def test_pinning_without_a_device_warns(loader_of: Any, num_workers: int) -> None:
    loader = loader_of(range(4), batch_size=2, pin_memory=True, num_workers=num_workers)
    with pytest.warns(UserWarning, match="no accelerator is found"):
        found = list(loader)
    assert [batch.tolist() for batch in found] == [[0, 1], [2, 3]]


def test_batches_out_of_order(loader_of: Any) -> None:
    loader = loader_of(range(9), batch_size=2, num_workers=2, in_order=False)
    assert sorted(x for b in loader for x in b.tolist()) == list(range(9))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_data_pipes(loader_of: Any) -> None:
    from torch.utils.data.datapipes.iter import IterableWrapper

    pipe = IterableWrapper(range(8)).shuffle().sharding_filter()
    torch.manual_seed(1)
    loader = loader_of(pipe, batch_size=2, num_workers=2, shuffle=True)
    assert sorted(x for b in loader for x in b.tolist()) == list(range(8))


def test_nested_tensors(loader_of: Any) -> None:
    dataset = [torch.nested.nested_tensor([torch.ones(2)], layout=torch.jagged)] * 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = list(loader_of(dataset, batch_size=2, num_workers=1, collate_fn=_first))
    assert found[0].is_nested
    assert found[0].size(0) == 1


def _first(items: list[Any]) -> Any:
    return items[0]


def test_a_changed_table_of_collate_functions(loader_of: Any, monkeypatch: Any) -> None:
    from torch.utils.data._utils.collate import default_collate_fn_map

    monkeypatch.setitem(default_collate_fn_map, int, _sum)
    loader = loader_of(range(6), batch_size=3, num_workers=1, multiprocessing_context="fork")
    assert list(loader) == ["sum 3", "sum 12"]


def _sum(batch: list[int], *, collate_fn_map: Any = None) -> str:
    return f"sum {sum(batch)}"


def test_subclasses_and_isinstance(loader_of: Any) -> None:
    class Twice(loader_of):  # type: ignore[misc]
        def __iter__(self) -> Iterator[Any]:
            yield from super().__iter__()
            yield from super().__iter__()

    loader = Twice(range(2), num_workers=1)
    assert isinstance(loader, torch_data.DataLoader)
    assert [b.item() for b in loader] == [0, 1, 0, 1]


def test_a_loop_ends_once_and_stays_ended(loader_of: Any) -> None:
    loop = iter(loader_of(range(2), num_workers=1))
    assert [b.item() for b in loop] == [0, 1]
    with pytest.raises(StopIteration):
        next(loop)


def test_ordered_dicts_keep_their_order(loader_of: Any) -> None:
    (batch,) = loader_of([OrderedDict(z=1, a=2)] * 2, batch_size=2, num_workers=1)
    assert list(batch.items()) == [("z", batch["z"]), ("a", batch["a"])]
    assert type(batch) is OrderedDict


def test_no_process_is_left(loader_of: Any) -> None:
    loader = loader_of(range(50), num_workers=2)
    loop = iter(loader)
    next(loop)
    pids = [worker.pid for worker in loop._workers]
    del loop
    gc.collect()
    wait_until(lambda: not any(_runs(pid) for pid in pids), "the workers have ended")


def _runs(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
