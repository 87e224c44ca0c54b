"""Resuming where batches are no rows of fixed shapes: text, collate_fn, ragged rows, iterables."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from shm_echo import DataLoader, Ragged
from shm_echo.loader import worker_info

WORDS = ["a", "bb", "ccc", "dd", "e", "ffff", "gg"]


class Tokens:
    """Item i has i numbers."""

    def __len__(self) -> int:
        return 9

    def __getitem__(self, index: int) -> Any:
        return np.arange(index, dtype=np.int32)


class Shards:
    """Each worker has every nth of 19 numbers."""

    def __iter__(self) -> Iterator[Any]:
        info = worker_info()
        first, step = (0, 1) if info is None else (info.id, info.num_workers)
        return iter(range(first, 19, step))


def joined(items: list[Any]) -> str:
    return "-".join(items)


def plain(batch: Any) -> Any:
    if hasattr(batch, "to_list"):
        return [row.tolist() for row in batch.to_list()]
    return batch.tolist() if hasattr(batch, "tolist") else batch


KINDS: dict[str, tuple[Any, dict[str, Any]]] = {
    "text": (WORDS, {"batch_size": 2, "shuffle": True}),
    "collate_fn": (WORDS, {"batch_size": 3, "shuffle": True, "collate_fn": joined}),
    "single items": (WORDS, {"batch_size": None}),
    "ragged": (Tokens(), {"batch_size": 4, "shuffle": True, "example": Ragged(np.int32, 8)}),
    "iterable": (Shards(), {"batch_size": 3}),
}


@pytest.mark.parametrize(("before", "after"), [(0, 1), (2, 2)])
@pytest.mark.parametrize("kind", KINDS)
def test_other_batches_go_on_at_every_batch_of_two_epochs(
    kind: str, before: int, after: int
) -> None:
    dataset, arguments = KINDS[kind]
    states: list[Any] = []
    with DataLoader(dataset, num_workers=before, seed=5, **arguments) as loader:
        found = []
        for _ in range(2):
            for batch in loader:
                found.append(plain(batch))
                states.append(json.loads(json.dumps(loader.state_dict())))
    with DataLoader(dataset, num_workers=after, seed=5, **arguments) as loader:
        for count, state in enumerate(states, 1):
            loader.load_state_dict(state)
            rest = [plain(b) for _ in range(state["epoch"], 2) for b in loader]
            assert rest == found[count:]


def test_an_iterable_needs_as_many_shards_as_before() -> None:
    with DataLoader(Shards(), 3, num_workers=2, seed=5) as loader:
        next(iter(loader))
        state = loader.state_dict()
    with pytest.raises(ValueError, match="shards was 2 and is 3"):
        DataLoader(Shards(), 3, num_workers=3, seed=5).load_state_dict(state)
