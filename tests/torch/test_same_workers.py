"""Iterables and workers: each case runs with torch's loader and with ours."""

from __future__ import annotations

import gc
import threading
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils import data as torch_data

from tests.support import torch_datasets as datasets
from tests.support.torch_datasets import batches, expected

pytestmark = [
    # torch warns where a machine has fewer CPUs than a case has workers.
    pytest.mark.filterwarnings("ignore:This DataLoader will create"),
    # Python 3.12: torch forks beside the threads of other tests.
    pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning"),
]


# ---------------------------------------------------------------- iterables


@pytest.mark.parametrize("persistent", [False, True])
def test_each_worker_has_its_shard(loader_of: Any, persistent: bool) -> None:
    loader = loader_of(
        datasets.Shards(7, 3), batch_size=2, num_workers=2, persistent_workers=persistent
    )
    for _ in range(2):
        assert [b.tolist() for b in loader] == [[0, 1], [7, 8], [2, 3], [9], [4, 5], [6]]


def test_drop_last_is_of_each_worker(loader_of: Any) -> None:
    loader = loader_of(datasets.Shards(5, 3), batch_size=2, num_workers=2, drop_last=True)
    assert [b.tolist() for b in loader] == [[0, 1], [5, 6], [2, 3]]


def test_iterables_without_batching(loader_of: Any) -> None:
    loader = loader_of(datasets.Shards(2, 4), batch_size=None, num_workers=2)
    assert list(loader) == [0, 2, 1, 3, 4, 5]


def test_a_chain_of_iterables(loader_of: Any) -> None:
    chain = torch_data.ChainDataset([datasets.Shards(2, 2), datasets.Shards(1, 1)])
    loader = loader_of(chain, batch_size=2, num_workers=2)
    assert sorted(x for b in loader for x in b.tolist()) == [0, 0, 1, 1, 2, 3]


def test_an_iterable_that_is_longer_than_it_says_warns(loader_of: Any) -> None:
    loader = loader_of(datasets.Shards(2, 2, claims=3), batch_size=None, num_workers=2)
    assert len(loader) == 3
    with pytest.warns(UserWarning, match="Length of IterableDataset .* was reported to be 3"):
        list(loader)


def test_an_iterable_has_no_sampler(loader_of: Any) -> None:
    for option in ({"shuffle": True}, {"sampler": [0]}, {"batch_sampler": [[0]]}):
        with pytest.raises(ValueError, match="expected unspecified"):
            loader_of(datasets.Shards(1), **option)


# ---------------------------------------------------------------- workers


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_start_methods(loader_of: Any, method: str) -> None:
    context: Any = torch.multiprocessing.get_context(method) if method == "spawn" else method
    loader = loader_of(
        datasets.Tensors(4), batch_size=2, num_workers=1, multiprocessing_context=context
    )
    assert batches(loader) == expected(datasets.Tensors(4), batch_size=2)


def test_worker_info(loader_of: Any) -> None:
    loader = loader_of(
        datasets.WhoAmI(8), batch_size=1, num_workers=2, worker_init_fn=datasets.set_value
    )
    loop = iter(loader)
    pids = {worker.pid for worker in loop._workers}
    found = list(loop)
    assert {batch["pid"].item() for batch in found} <= pids
    assert torch_data.get_worker_info() is None
    for batch in found:
        number = batch["id"].item()
        assert batch["value"].item() == 100 + number
        assert batch["num_workers"].item() == 2
        assert batch["threads"].item() == 1
        assert batch["same"].item()
    assert len({b["seed"].item() - b["id"].item() for b in found}) == 1


def test_a_worker_init_fn_that_seeds(loader_of: Any) -> None:
    loader = loader_of(
        datasets.WhoAmI(4), batch_size=2, num_workers=2, worker_init_fn=datasets.seed_torch
    )
    assert {i for b in loader for i in b["initial seed"].tolist()} == {12345}


def test_a_worker_init_fn_that_raises(loader_of: Any) -> None:
    loader = loader_of(range(4), num_workers=2, worker_init_fn=datasets.fail_to_start)
    with pytest.raises(RuntimeError, match="no start today"):
        list(loader)


def test_workers_have_seeds_of_their_own_and_again_the_same_ones(loader_of: Any) -> None:
    def seeds() -> set[int]:
        loader = loader_of(
            datasets.Barrier(3, 3),
            batch_size=1,
            num_workers=3,
            generator=torch.Generator().manual_seed(42),
        )
        return {int(batch) for batch in loader}

    assert len(seeds()) == 3
    assert seeds() == seeds()


def test_the_random_numbers_of_a_seed(loader_of: Any) -> None:
    def run() -> Any:
        torch.manual_seed(5)
        loader = loader_of(_Random(), batch_size=2, num_workers=1)
        return [[batches(loader)[:4], batches(loader)[:4]]]

    first = run()
    assert first == run()
    assert first[0][0] != first[0][1]


class _Random(datasets.Tensors):
    def __getitem__(self, index: int) -> Any:
        return torch.rand(2), np.random.rand()


def test_persistent_workers_stay(loader_of: Any) -> None:
    loader = loader_of(datasets.WhoAmI(4), num_workers=2, persistent_workers=True)
    loop = iter(loader)
    pids = [worker.pid for worker in loop._workers]
    list(loop)
    assert iter(loader) is loop
    list(loop)
    assert [worker.pid for worker in loop._workers] == pids
    assert all(worker.is_alive() for worker in loop._workers)


def test_workers_end_with_the_loop(loader_of: Any) -> None:
    loop = iter(loader_of(range(6), num_workers=2))
    workers = loop._workers
    assert [worker.exitcode for worker in workers] == [None, None]
    list(loop)
    for worker in workers:
        worker.join(20)
        assert not worker.is_alive()
        assert worker.exitcode == 0


@pytest.mark.parametrize("persistent", [False, True])
def test_workers_end_with_the_iterator(loader_of: Any, persistent: bool) -> None:
    loader = loader_of(range(100), num_workers=2, persistent_workers=persistent)
    loop = iter(loader)
    next(loop)
    workers = loop._workers
    del loop, loader
    gc.collect()
    for worker in workers:
        worker.join(20)
        assert not worker.is_alive()


def test_loops_inside_each_other(loader_of: Any) -> None:
    loader = loader_of(range(4), batch_size=2, num_workers=1)
    found = [(a.tolist(), b.tolist()) for a in loader for b in loader]
    assert found == [(a, b) for a in ([0, 1], [2, 3]) for b in ([0, 1], [2, 3])]


def test_several_loaders_at_once(loader_of: Any) -> None:
    first, second = (loader_of(range(i, i + 4), batch_size=2, num_workers=1) for i in (0, 10))
    pairs = [(a.tolist(), b.tolist()) for a, b in zip(first, second, strict=True)]
    assert pairs == [([0, 1], [10, 11]), ([2, 3], [12, 13])]


def test_break_and_a_new_loop(loader_of: Any) -> None:
    loader = loader_of(range(20), batch_size=2, num_workers=2, persistent_workers=True)
    for _ in range(3):
        for batch in loader:
            assert batch.tolist() == [0, 1]
            break
    assert [b.tolist()[0] for b in loader] == list(range(0, 20, 2))


def test_kept_batches_stay_as_they_are(loader_of: Any) -> None:
    kept = list(loader_of(range(100), batch_size=2, num_workers=2))
    assert [batch.tolist() for batch in kept] == [[i, i + 1] for i in range(0, 100, 2)]


def test_a_loop_in_a_thread(loader_of: Any) -> None:
    found: list[Any] = []
    thread = threading.Thread(
        target=lambda: found.extend(batches(loader_of(range(4), batch_size=2, num_workers=2)))
    )
    thread.start()
    thread.join()
    assert found == expected(range(4), batch_size=2)


def test_torch_computes_in_the_workers_after_it_computed_in_the_loop(loader_of: Any) -> None:
    torch.nn.functional.conv2d(torch.ones(1, 1, 64, 64), torch.ones(4, 1, 3, 3))  # starts threads
    loader = loader_of(_Convolved(), batch_size=2, num_workers=2, multiprocessing_context="fork")
    assert [b.tolist() for b in loader] == [[9.0, 9.0], [9.0, 9.0]]


class _Convolved(datasets.Tensors):
    def __init__(self) -> None:
        super().__init__(4)

    def __getitem__(self, index: int) -> Any:
        image = torch.nn.functional.conv2d(torch.ones(1, 1, 64, 64), torch.ones(4, 1, 3, 3))
        return image[0, 0, 0, 0]
