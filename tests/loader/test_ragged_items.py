"""Ragged leaves of a DataLoader: every way to make items, with any number of workers."""

from __future__ import annotations

import os
import signal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shm_echo import DataLoader, Ragged, RaggedBatch, RaggedRow, SpecMismatchError
from shm_echo.loader import item_rng
from shm_echo.loader.items import ItemSpec
from tests.support.ragged_rows import require_padding

MOST = 8
EXAMPLE: dict[str, Any] = {"tokens": Ragged(np.int32, MOST), "label": 0}


def row_of(index: int) -> Any:
    return np.arange(index, index + index % (MOST + 1), dtype=np.int32)


class Texts:
    """Rows of 0 to MOST tokens."""

    def __init__(self, length: int = 30) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Any:
        return {"tokens": row_of(index), "label": index}


class Lists(Texts):
    def __getitem__(self, index: int) -> Any:
        return {"tokens": row_of(index).tolist(), "label": index}


class Strided(Texts):
    def __getitem__(self, index: int) -> Any:
        return {"tokens": np.repeat(row_of(index), 2)[::2], "label": np.int64(index)}


class Together(Texts):
    def __getitems__(self, indices: list[int]) -> list[Any]:
        return [self[index] for index in indices]


class InPlace(Texts):
    def load_into(self, index: int, out: Any) -> None:
        assert isinstance(out["tokens"], RaggedRow)
        out["label"][...] = index
        if index % 2:
            out["tokens"].set(row_of(index).tolist())
        else:
            row = row_of(index)
            out["tokens"].padded[...] = 99
            out["tokens"].padded[: len(row)] = row
            out["tokens"].length = len(row)


class Stacked(Texts):
    def __getitems__(self, indices: list[int], out: Any) -> None:
        assert isinstance(out["tokens"], RaggedBatch)
        for place, index in enumerate(indices):
            out["tokens"][place] = row_of(index)
        out["label"][:] = indices


class ByMemory(Texts):
    def __getitems__(self, indices: list[int], out: Any) -> None:
        out["tokens"].padded[...] = 99
        for place, index in enumerate(indices):
            row = row_of(index)
            out["tokens"].padded[place, : len(row)] = row
            out["tokens"].lengths[place] = len(row)
        out["label"][:] = indices


class Random(Texts):
    def __getitem__(self, index: int) -> Any:
        rng = item_rng()
        return {"tokens": rng.integers(0, 99, rng.integers(MOST + 1)).astype(np.int32), "label": 0}


class TooLong(Texts):
    """Item 5 has one token too many."""

    def __getitem__(self, index: int) -> Any:
        return {"tokens": np.zeros(MOST + (index == 5), np.int32), "label": index}


class TooLongInPlace(Texts):
    def load_into(self, index: int, out: Any) -> None:
        out["label"][...] = index
        out["tokens"].set([1] * (MOST + (index == 5)))


class NeverWritten(Texts):
    def load_into(self, index: int, out: Any) -> None:
        out["label"][...] = index
        if index != 5:
            out["tokens"].set([])


class WrongLength(Texts):
    def __getitems__(self, indices: list[int], out: Any) -> None:
        out["label"][:] = indices
        for place, index in enumerate(indices):
            out["tokens"].lengths[place] = MOST + (index == 5)


class Dying(Texts):
    """The first worker that makes item 7 is killed in the middle of it."""

    def __init__(self, length: int, flag: str) -> None:
        super().__init__(length)
        self.flag = flag

    def load_into(self, index: int, out: Any) -> None:
        out["label"][...] = index
        out["tokens"].padded[...] = 99
        if index == 7 and not os.path.exists(self.flag):
            open(self.flag, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        out["tokens"].set(row_of(index))


def rows_of(loader: DataLoader) -> list[tuple[int, list[int]]]:
    """Return label and tokens of each item of an epoch; writes over every batch."""
    found = []
    for batch in loader:
        assert isinstance(batch["tokens"], RaggedBatch)
        require_padding(batch["tokens"])
        for label, tokens in zip(batch["label"].tolist(), batch["tokens"], strict=True):
            found.append((label, tokens.tolist()))
        batch["tokens"].padded[...] = 77
        batch["tokens"].lengths[...] = 1
    return found


WANTED = [(i, row_of(i).tolist()) for i in range(30)]


@pytest.mark.parametrize("num_workers", [0, 1, 2])
@pytest.mark.parametrize(
    "dataset",
    [Texts, Lists, Strided, Together, InPlace, Stacked, ByMemory],
    ids=lambda d: d.__name__,
)
def test_every_way_makes_the_same_rows(dataset: Any, num_workers: int) -> None:
    options: dict[str, Any] = {"batch_size": 8, "rows_per_claim": 3, "example": EXAMPLE}
    with DataLoader(dataset(), num_workers=num_workers, **options) as loader:
        for _ in range(2):
            assert rows_of(loader) == WANTED


@settings(max_examples=15)
@given(
    length=st.integers(1, 25),
    batch_size=st.integers(1, 9),
    rows=st.integers(1, 9),
    num_workers=st.integers(0, 2),
)
def test_rows_do_not_depend_on_the_sizes(
    length: int, batch_size: int, rows: int, num_workers: int
) -> None:
    options: dict[str, Any] = {"shuffle": True, "seed": 3, "example": EXAMPLE}
    with DataLoader(Random(length), batch_size, **options) as loader:
        wanted = rows_of(loader)
    with DataLoader(
        Random(length), batch_size, rows_per_claim=rows, num_workers=num_workers, **options
    ) as loader:
        assert rows_of(loader) == wanted


@pytest.mark.parametrize("num_workers", [0, 1])
@pytest.mark.parametrize(
    ("dataset", "words"),
    [
        (TooLong, ["item 5 ", "['tokens']", "length is 9", "max_length 8", "truncate=True"]),
        (TooLongInPlace, ["the row", "list of 9", "max_length 8"]),
        (NeverWritten, ["item 5 ", "['tokens']", "not set"]),
        (WrongLength, ["item 5 ", "['tokens']", "no length 9"]),
    ],
)
def test_a_row_that_does_not_fit_is_an_error_of_its_item(
    dataset: Any, words: list[str], num_workers: int
) -> None:
    with DataLoader(dataset(), 4, num_workers=num_workers, example=EXAMPLE) as loader:
        loop = iter(loader)
        assert len(next(loop)["tokens"]) == 4
        with pytest.raises(SpecMismatchError) as caught:
            next(loop)
        for word in words:
            assert word in str(caught.value)
        assert next(loop)["label"].tolist() == [8, 9, 10, 11]  # the loop goes on


@pytest.mark.parametrize("num_workers", [0, 1])
def test_long_rows_are_cut_off_on_demand(num_workers: int) -> None:
    example = {"tokens": Ragged(np.int32, 3, truncate=True, padding_value=-1), "label": 0}
    for dataset in (Texts, Lists, InPlace, Stacked):
        if dataset is InPlace:
            continue  # it writes into the memory of the longest row itself
        with DataLoader(dataset(), 30, num_workers=num_workers, example=example) as loader:
            (batch,) = loader
        assert [row.tolist() for row in batch["tokens"]] == [row[:3] for _, row in WANTED]
        require_padding(batch["tokens"], -1)


def test_a_killed_worker_leaves_no_half_row(tmp_path: Any) -> None:
    dataset = Dying(30, str(tmp_path / "flag"))
    with DataLoader(dataset, 8, num_workers=2, example=EXAMPLE, rows_per_claim=3) as loader:
        assert rows_of(loader) == WANTED
        assert loader.stats().worker_deaths == 1


def test_the_example_may_be_ragged_and_need_conversions() -> None:
    torch_like = {"tokens": Ragged(np.int32, MOST), "label": 0, "box": [0.0, 1.0]}

    class Mixed(Texts):
        def __getitem__(self, index: int) -> Any:
            return {"tokens": row_of(index).tolist(), "label": index, "box": [0.5, index]}

    with DataLoader(Mixed(), 30, example=torch_like) as loader:
        (batch,) = loader
    assert [row.tolist() for row in batch["tokens"]] == [row for _, row in WANTED]
    assert batch["box"][1].tolist() == list(range(30))
    assert "['tokens']: ragged int32 (<=8,)" in repr(ItemSpec.from_item(torch_like))
