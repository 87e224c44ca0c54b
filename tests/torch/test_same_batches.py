"""The form of batches, and their items: each case runs with torch's loader and ours."""

from __future__ import annotations

import math
from collections.abc import Iterator
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


# ---------------------------------------------------------------- what a batch looks like


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("made", datasets.MAKERS)
def test_the_default_collation(loader_of: Any, made: str, num_workers: int) -> None:
    dataset = datasets.Made(made)
    found = batches(loader_of(dataset, batch_size=4, num_workers=num_workers))
    assert found == expected(dataset, batch_size=4)


@pytest.mark.parametrize("made", ["int", "str", "tuple", "namedtuple", "dict", "bfloat16"])
def test_no_batching(loader_of: Any, made: str) -> None:
    dataset = datasets.Made(made)
    found = batches(loader_of(dataset, batch_size=None, num_workers=2))
    assert found == expected(dataset, batch_size=None)


def test_arrays_become_tensors_without_batching(loader_of: Any) -> None:
    dataset = [np.arange(i + 1) for i in range(4)]
    found = list(loader_of(dataset, batch_size=None, num_workers=1))
    assert [type(batch) for batch in found] == [torch.Tensor] * 4
    assert [batch.tolist() for batch in found] == [a.tolist() for a in dataset]


def test_a_collate_fn_may_return_anything(loader_of: Any) -> None:
    found = list(loader_of(range(5), batch_size=2, num_workers=2, collate_fn=_as_text_and_packed))
    assert [text for text, _ in found] == ["[0, 1]", "[2, 3]", "[4]"]
    assert all(isinstance(p, torch.nn.utils.rnn.PackedSequence) for _, p in found)
    assert found[0][1].data.tolist() == [1.0, 1.0, 1.0]


def _as_text_and_packed(items: list[int]) -> Any:
    sequences = [torch.ones(len(items) - place, 1) for place in range(len(items))]
    packed = torch.nn.utils.rnn.pack_sequence(sequences)
    return str(items), packed._replace(data=packed.data[:, 0])


def test_padding_to_the_longest_of_a_batch(loader_of: Any) -> None:
    found = list(loader_of(range(1, 6), batch_size=2, num_workers=2, collate_fn=_pad))
    assert [tuple(batch.shape) for batch in found] == [(2, 2), (2, 4), (1, 5)]


def _pad(lengths: list[int]) -> Any:
    rows = [torch.ones(length) for length in lengths]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)


def test_shapes_that_differ_from_batch_to_batch(loader_of: Any) -> None:
    dataset = [torch.zeros(i + 1) for i in range(6)]
    found = list(loader_of(dataset, batch_size=1, num_workers=2))
    assert [tuple(batch.shape) for batch in found] == [(1, i + 1) for i in range(6)]


def test_shapes_that_differ_in_a_batch_are_an_error(loader_of: Any) -> None:
    dataset = [torch.zeros(2), torch.zeros(2), torch.zeros(3), torch.zeros(4)]
    loop = iter(loader_of(dataset, batch_size=2, num_workers=1))
    assert next(loop).shape == (2, 2)
    with pytest.raises(RuntimeError, match="stack expects each tensor to be equal size"):
        next(loop)


def test_none_is_no_item(loader_of: Any) -> None:
    with pytest.raises(TypeError, match="batch must contain tensors"):
        next(iter(loader_of([None, None], batch_size=2, num_workers=1)))


def test_channels_last_and_strides_stay(loader_of: Any) -> None:
    loader = loader_of(range(4), batch_size=2, num_workers=1, collate_fn=_channels_last)
    for batch in loader:
        assert batch.is_contiguous(memory_format=torch.channels_last)
        assert batch[1, 2, 3, 1].item() == _channels_last([0, 0])[1, 2, 3, 1].item()


def _channels_last(items: list[int]) -> Any:
    size = (len(items), 3, 4, 5)
    numbers = torch.arange(math.prod(size)).reshape(size)
    return numbers.to(memory_format=torch.channels_last)


def test_batches_can_be_written_and_trained_on(loader_of: Any) -> None:
    weight = torch.ones(3, requires_grad=True)
    total = torch.zeros(())
    for x, i in loader_of(datasets.Tensors(6), batch_size=2, num_workers=1):
        x += 1
        i[0] = 5
        total = total + (x * weight).sum()
    total.backward()
    assert weight.grad is not None
    assert weight.grad.tolist() == [21.0] * 3


# ---------------------------------------------------------------- which items, in which order


@pytest.mark.parametrize("num_workers", [0, 1, 2])
@pytest.mark.parametrize("persistent", [False, True])
def test_the_shuffle_of_a_seed(loader_of: Any, num_workers: int, persistent: bool) -> None:
    def epochs(kind: Any, num_workers: int) -> list[Any]:
        torch.manual_seed(7)
        options = {"persistent_workers": persistent and num_workers > 0}
        loader = kind(datasets.Tensors(17), 4, True, num_workers=num_workers, **options)
        return [batches(loader) for _ in range(3)] + [torch.rand(2).tolist()]

    assert epochs(loader_of, num_workers) == epochs(torch_data.DataLoader, num_workers)


def test_the_shuffle_of_a_generator(loader_of: Any) -> None:
    def order(kind: Any) -> list[Any]:
        generator = torch.Generator().manual_seed(3)
        loader = kind(range(20), 3, shuffle=True, generator=generator, num_workers=2)
        return [batches(loader), batches(loader), generator.initial_seed()]

    assert order(loader_of) == order(torch_data.DataLoader)


def test_a_sampler_shares_the_global_generator_with_the_loop(loader_of: Any) -> None:
    """A sampler that draws as it goes gets the same numbers, and so does the training loop."""

    def run(kind: Any) -> list[Any]:
        torch.manual_seed(1)
        loader = kind(range(30), sampler=_Drawing(12), batch_size=2, num_workers=2)
        return [(batch.tolist(), torch.rand(()).item()) for batch in loader]

    assert run(loader_of) == run(torch_data.DataLoader)


class _Drawing(torch_data.Sampler):
    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[int]:
        for _ in range(self.count):
            yield int(torch.randint(30, ()))


@pytest.mark.parametrize("kind", ["weighted", "subset", "with replacement"])
def test_torchs_samplers(loader_of: Any, kind: str) -> None:
    def order(loader: Any) -> list[Any]:
        torch.manual_seed(2)
        sampler: Any = {
            "weighted": lambda: torch_data.WeightedRandomSampler([0.1, 0.9, 0.3, 0.2], 11),
            "subset": lambda: torch_data.SubsetRandomSampler([3, 5, 7, 9, 0]),
            "with replacement": lambda: torch_data.RandomSampler(
                range(10), replacement=True, num_samples=33
            ),
        }[kind]()
        return batches(loader(range(10), batch_size=4, sampler=sampler, num_workers=2))

    assert order(loader_of) == order(torch_data.DataLoader)


def test_a_distributed_sampler_and_its_epochs(loader_of: Any) -> None:
    sampler = torch_data.DistributedSampler(range(10), num_replicas=2, rank=1, seed=4)
    loader = loader_of(range(10), batch_size=2, sampler=sampler, num_workers=2)
    for epoch in range(3):
        sampler.set_epoch(epoch)
        assert [i for batch in loader for i in batch.tolist()] == list(sampler)


@pytest.mark.parametrize("lists", [[[0, 1, 2], [3], [4, 5]], [[3], [1, 2], [0, 1, 2, 3, 4]]])
def test_batch_samplers_with_lists_of_any_length(loader_of: Any, lists: Any) -> None:
    found = [b.tolist() for b in loader_of(range(6), batch_sampler=lists, num_workers=2)]
    assert found == lists


def test_a_batch_sampler_of_torch(loader_of: Any) -> None:
    sampler = torch_data.BatchSampler(torch_data.SequentialSampler(range(7)), 3, drop_last=True)
    loader = loader_of(range(7), batch_sampler=sampler, num_workers=2)
    assert [b.tolist() for b in loader] == [[0, 1, 2], [3, 4, 5]]
    assert len(loader) == 2
    assert loader.batch_size is None


@pytest.mark.parametrize(
    "keys", [["a", "b", "c"], [(1, 2), (3, 4)], [[0], [1]], [2**70, 1], [3, "x"]]
)
def test_keys_of_any_kind(loader_of: Any, keys: list[Any]) -> None:
    dataset = datasets.Keyed()
    found = batches(loader_of(dataset, batch_size=2, sampler=keys, num_workers=2))
    assert found == expected(dataset, batch_size=2, sampler=keys)


def test_indices_are_of_type_int(loader_of: Any) -> None:
    found = batches(loader_of(datasets.Keyed(3), shuffle=True, num_workers=1))
    assert sorted(found) == [("list", [("str", f"int {i}")]) for i in range(3)]


def test_dataset_combinations(loader_of: Any) -> None:
    tensors = torch_data.TensorDataset(torch.arange(6).reshape(6, 1), torch.arange(6))
    first, second = torch_data.random_split(tensors, [4, 2])
    whole = torch_data.ConcatDataset([first, second, torch_data.Subset(tensors, [5, 0])])
    stack = torch_data.StackDataset(a=torch.arange(4), b=list("wxyz"))
    for dataset in (tensors, first, whole, stack):
        found = batches(loader_of(dataset, batch_size=3, num_workers=2))
        assert found == expected(dataset, batch_size=3)


def test_getitems(loader_of: Any) -> None:
    found = batches(loader_of(datasets.Together(10), batch_size=4, num_workers=2))
    assert found == expected(datasets.Tensors(10), batch_size=4)


def test_drop_last_and_the_length(loader_of: Any) -> None:
    for drop_last, count in ((False, 4), (True, 3)):
        loader = loader_of(range(10), batch_size=3, drop_last=drop_last, num_workers=1)
        assert len(loader) == len(list(loader)) == count
        assert len(iter(loader)) == count


def test_a_dataset_that_grows(loader_of: Any) -> None:
    dataset = datasets.Growing(3)
    loader = loader_of(dataset, batch_size=2, num_workers=1)
    assert batches(loader) == expected(datasets.Growing(3), batch_size=2)
    dataset.length = 5
    assert len(loader) == 3
    assert batches(loader) == expected(datasets.Growing(5), batch_size=2)
