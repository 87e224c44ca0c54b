"""The torch face beyond torch's loader: reproducible augmentation, deaths, positions."""

from __future__ import annotations

import inspect
import json
import logging
import os
import random
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils import data as torch_data

from shm_echo import Ragged
from shm_echo.loader import item_rng, worker_info
from shm_echo.torch import DataLoader
from tests.support import torch_datasets as datasets
from tests.support.torch_datasets import batches, plain

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")


def epochs(count: int, seed: int = 3, **options: Any) -> list[Any]:
    torch.manual_seed(seed)
    loader = DataLoader(datasets.Augmented(23), 4, True, **options)
    return [batches(loader) for _ in range(count)]


# ---------------------------------------------------------------- random numbers


@pytest.mark.parametrize("persistent", [False, True])
def test_augmentation_does_not_depend_on_the_number_of_workers(persistent: bool) -> None:
    one, two, five = (
        epochs(2, num_workers=count, persistent_workers=persistent) for count in (1, 2, 5)
    )
    assert one == two == five
    assert one[0] != one[1]


def test_augmentation_of_collated_batches_does_not_depend_on_it_either() -> None:
    one, two = (epochs(1, num_workers=count, collate_fn=_as_list) for count in (1, 2))
    assert one == two


def _as_list(items: list[Any]) -> list[Any]:
    return [str(item["torch"].tolist()) + str(item["python"]) for item in items]


def test_the_generator_of_an_item_is_the_same_without_workers() -> None:
    def own(**options: Any) -> list[Any]:
        torch.manual_seed(3)
        loader = DataLoader(_OwnNumbers(23), 4, True, **options)
        return [batches(loader) for _ in range(2)]

    assert own(num_workers=0) == own(num_workers=1) == own(num_workers=2)


class _OwnNumbers(datasets.Tensors):
    def __getitem__(self, index: int) -> Any:
        return index, item_rng().normal(size=2)


def test_a_seed_of_ones_own() -> None:
    def run(torch_seed: int, seed: int) -> list[Any]:
        torch.manual_seed(torch_seed)
        loader = DataLoader(datasets.Augmented(8), 4, num_workers=1, seed=seed)
        return batches(loader)

    assert run(1, 5) == run(2, 5)
    assert run(1, 5) != run(1, 6)


def test_the_loops_generators_are_left_alone() -> None:
    torch.manual_seed(1)
    loader = DataLoader(datasets.Augmented(8), 4, num_workers=1)
    expected_after = torch.utils.data.DataLoader(datasets.Tensors(8), 4, num_workers=1)
    list(loader)
    found = torch.rand(3)
    torch.manual_seed(1)
    list(expected_after)
    assert found.tolist() == torch.rand(3).tolist()


# ---------------------------------------------------------------- deaths


@pytest.mark.parametrize("persistent", [False, True])
def test_a_killed_worker_is_replaced_and_nothing_changes(tmp_path: Path, persistent: bool) -> None:
    options = {"num_workers": 2, "persistent_workers": persistent}
    torch.manual_seed(3)
    loader = DataLoader(_DyingOnce(23, tmp_path), 4, True, **options)
    assert [batches(loader) for _ in range(2)] == epochs(2, **options)
    assert len(os.listdir(tmp_path)) == 3


class _DyingOnce(datasets.Augmented):
    """Kills its worker at items 0, 10 and 20, the first time."""

    def __init__(self, length: int, folder: Path) -> None:
        super().__init__(length)
        self.folder = str(folder)

    def __getitem__(self, index: int) -> Any:
        item = super().__getitem__(index)
        mark = os.path.join(self.folder, str(index))
        if index % 10 == 0 and worker_info() is not None and not os.path.exists(mark):
            open(mark, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        return item


# ---------------------------------------------------------------- positions


@pytest.mark.parametrize("before", [0, 2])
@pytest.mark.parametrize("after", [0, 1, 2])
@pytest.mark.parametrize("stop", [0, 1, 5, 6])
def test_a_loop_goes_on_in_another_process(before: int, after: int, stop: int) -> None:
    def loader(workers: int) -> Any:
        return DataLoader(datasets.Made("dict", 23), 4, shuffle=True, num_workers=workers)

    torch.manual_seed(9)
    first = loader(before)
    list(first)
    found = []
    loop = iter(first)
    for _ in range(stop):
        found.append(plain(next(loop)))
    state = json.loads(json.dumps(first.state_dict()))
    rest = [plain(batch) for batch in loop]
    later = batches(first)
    torch.manual_seed(random.randrange(1000))
    second = loader(after)
    second.load_state_dict(state)
    assert batches(second) == rest
    assert batches(second) == later


def test_a_position_between_two_epochs() -> None:
    torch.manual_seed(9)
    first = DataLoader(datasets.Augmented(12), 4, shuffle=True, num_workers=1)
    list(first)
    state = first.state_dict()
    later = [batches(first), batches(first)]
    torch.manual_seed(1)
    second = DataLoader(datasets.Augmented(12), 4, shuffle=True, num_workers=2)
    second.load_state_dict(state)
    assert [batches(second), batches(second)] == later


@pytest.mark.parametrize("persistent", [False, True])
def test_augmentation_goes_on_as_it_was(persistent: bool) -> None:
    def loader(workers: int) -> Any:
        generator = torch.Generator().manual_seed(8)
        return DataLoader(
            datasets.Augmented(20),
            3,
            shuffle=True,
            num_workers=workers,
            generator=generator,
            persistent_workers=persistent,
        )

    first = loader(1)
    list(first)
    loop = iter(first)
    next(loop)
    next(loop)
    state = loop.state_dict()
    rest = [batches(loop), batches(first)]
    second = loader(2)
    second.load_state_dict(state)
    assert [batches(second), batches(second)] == rest


@pytest.mark.parametrize("workers", [0, 2])
def test_an_iterable_goes_on(workers: int) -> None:
    def loader() -> Any:
        return DataLoader(datasets.Shards(9, 5), batch_size=2, num_workers=workers)

    first = loader()
    loop = iter(first)
    next(loop)
    next(loop)
    state = first.state_dict()
    rest = batches(loop)
    second = loader()
    second.load_state_dict(state)
    assert batches(second) == rest


def test_nothing_that_was_seen_is_loaded_again() -> None:
    first = DataLoader(_Fragile(20, 0), 2, num_workers=1)
    loop = iter(first)
    for _ in range(5):
        next(loop)
    state = first.state_dict()
    del loop
    second = DataLoader(_Fragile(20, 10), 2, num_workers=1)
    second.load_state_dict(state)
    assert [batch.tolist()[0] for batch in second] == [10, 12, 14, 16, 18]


class _Fragile(datasets.Tensors):
    """Items below a limit raise."""

    def __init__(self, length: int, least: int) -> None:
        super().__init__(length)
        self.least = least

    def __getitem__(self, index: int) -> Any:
        if index < self.least:
            raise AssertionError(f"item {index} is loaded again")
        return index


def test_a_position_that_does_not_fit_is_refused() -> None:
    state = DataLoader(range(10), 2, seed=1).state_dict()
    with pytest.raises(ValueError, match="length was 10 and is 12"):
        DataLoader(range(12), 2, seed=1).load_state_dict(state)
    with pytest.raises(ValueError, match="batch_size was 2 and is 5"):
        DataLoader(range(10), 5, seed=1).load_state_dict(state)
    with pytest.raises(ValueError, match="seed was 1 and is 2"):
        DataLoader(range(10), 2, seed=2).load_state_dict(state)
    with pytest.raises(ValueError, match="torchdata's StatefulDataLoader"):
        DataLoader(range(10), 2).load_state_dict({"_snapshot": {}})
    with pytest.raises(RuntimeError, match="this loader has no positions"):
        DataLoader(range(10), 2, num_workers=1, in_order=False).state_dict()


# ---------------------------------------------------------------- memory


def test_tensors_refer_to_the_ring_and_go_on_when_it_is_closed() -> None:
    loader = DataLoader(datasets.Tensors(64), 4, num_workers=1)
    loop = iter(loader)
    first, _ = next(loop)
    assert loader.stats().held_batches >= 1
    assert not first.is_shared()
    kept = [first] + [x for x, _ in loop]
    assert [x[0, 0].item() for x in kept] == list(range(0, 64, 4))


def test_saved_tensors_hold_their_batch() -> None:
    loader = DataLoader(datasets.Tensors(400), 4, num_workers=1)
    weight = torch.ones(3, requires_grad=True)
    losses = [(x * weight).sum() for x, _ in loader]  # x is only in the graph from here on
    torch.stack(losses).sum().backward()
    assert weight.grad is not None
    assert weight.grad.tolist() == [float(sum(range(400)))] * 3


def test_the_memory_has_a_limit() -> None:
    loader = DataLoader(datasets.Tensors(64), 4, num_workers=1, max_bytes=1000)
    with pytest.raises(ValueError, match="max_bytes is 1,000"):
        list(loader)


def test_prefetching_large_batches_stays_within_bounds() -> None:
    loader = DataLoader(_Large(), 8, num_workers=2, prefetch_factor=64)
    loop = iter(loader)
    next(loop)
    assert 0 < loader.stats().nbytes < 400 * 2**20


class _Large(datasets.Tensors):
    def __getitem__(self, index: int) -> Any:
        return np.zeros(1 << 20, np.uint8)


def test_collating_as_a_whole_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    loader = DataLoader(datasets.Made("str"), 2, num_workers=1)
    with caplog.at_level(logging.INFO, logger="shm_echo"):
        for _ in range(2):
            list(loader)
    assert len([r for r in caplog.records if "as a whole" in r.getMessage()]) == 1


# ---------------------------------------------------------------- arguments


def test_a_loader_can_be_made_anew_from_its_attributes() -> None:
    """As Lightning does: the arguments are attributes of the same names."""
    options: dict[str, Any] = {
        "seed": 3,
        "rows_per_claim": 2,
        "on_hang": "restart",
        "max_bytes": 10**9,
        "reuse": True,
        "example": (torch.zeros(3), 0),
    }
    loader = DataLoader(datasets.Tensors(9), 4, num_workers=1, **options)
    names = set(inspect.signature(DataLoader.__init__).parameters) - {"self"}
    given = {name: value for name, value in vars(loader).items() if name in names}
    assert options.items() <= given.items() | {("example", loader.example)} or all(
        given[name] is options[name] for name in options
    )
    assert {"dataset", "num_workers", "device", "progress"} <= set(given)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"seed": -1}, ValueError, "seed"),
        ({"rows_per_claim": 0}, ValueError, "rows_per_claim"),
        ({"on_hang": "wait"}, ValueError, "on_hang"),
        ({"max_bytes": 0}, ValueError, "max_bytes"),
        ({"reuse": 1}, TypeError, "reuse"),
        ({"device": "cpu"}, ValueError, "device must be a CUDA device"),
        ({"device": "no such device"}, ValueError, "device"),
        ({"device": "cuda", "reuse": True}, ValueError, "reuse=True"),
    ],
    ids=str,
)
def test_new_arguments_are_checked(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        DataLoader(range(4), **options)


def test_items_in_place_and_rows_per_claim() -> None:
    torch.manual_seed(1)
    loader = DataLoader(_InPlace(40), 16, num_workers=2, rows_per_claim=8)
    found = [x for batch in loader for x in batch["x"][:, 0].tolist()]
    assert found == list(range(40))


class _InPlace(datasets.Tensors):
    def __getitem__(self, index: int) -> Any:
        return {"x": np.full(4, index, np.int32)}

    def load_into(self, index: int, out: Any) -> None:
        out["x"][:] = index


def test_subsets_of_subsets_and_workers_of_a_loader() -> None:
    subset = torch_data.Subset(torch_data.Subset(datasets.Tensors(10), range(8)), [1, 3, 5])
    loader = DataLoader(subset, num_workers=1)
    loop = iter(loader)
    assert len(loader.worker_pids()) == len(loop._workers) == 1
    assert [i.item() for _, i in loop] == [1, 3, 5]


def test_ragged_leaves_are_batches_of_tensors() -> None:
    example = {"tokens": Ragged(np.int64, 6), "label": 0}
    loader = DataLoader(_Tokens(5), 2, num_workers=1, example=example)
    found = list(loader)
    assert [batch["label"].tolist() for batch in found] == [[0, 1], [2, 3], [4]]
    tokens = found[1]["tokens"]
    assert tokens.padded.dtype == torch.int64
    assert tokens.padded.tolist() == [[2, 2, 0, 0, 0, 0], [3, 3, 3, 0, 0, 0]]
    assert tokens.lengths.tolist() == [2, 3]
    assert tokens[0].tolist() == [2, 2]


class _Tokens(datasets.Tensors):
    def __getitem__(self, index: int) -> Any:
        return {"tokens": np.full(index, index), "label": index}


def test_a_measured_number_of_rows_is_kept() -> None:
    def loader() -> Any:
        return DataLoader(datasets.Augmented(64), 16, num_workers=1, rows_per_claim="measure")

    torch.manual_seed(4)
    first = loader()
    loop = iter(first)
    next(loop)
    state = first.state_dict()
    rest = batches(loop)
    assert state["rows_per_claim"]["used"] >= 1
    second = loader()
    second.load_state_dict(state)
    assert batches(second) == rest


def test_an_iterable_that_torch_takes_for_a_map_is_explained() -> None:
    loader = DataLoader((number for number in range(4)), 2, num_workers=1)
    with pytest.raises(TypeError, match=r"\(generator\) has __iter__.*IterableDataset"):
        next(iter(loader))
